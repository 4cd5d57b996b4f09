/* The contrastive loss as a textbook writes it, in double, with all scores of a row in a list: what
 * the two walks over tiles and the whole step are compared with. */
#ifndef WB_PLAIN_LOSS_H
#define WB_PLAIN_LOSS_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

/* B queries, group passages each; reps [B (1 + group), d]: the queries, then the passages, of which
 * i * group is query i's positive. The terms and masks are those of infonce.h. */
typedef struct plain_terms {
    int64_t B, group, d;
    double tau, margin;
    int filter; /* 0: none, 1: absolute, 2: relative */
    double filter_margin;
    const float
        *guide; /* [B (1 + group), guide_width], whose products the filter compares; or NULL */
    int64_t guide_width;
    bool all_positives, symmetric, query_query, passage_passage;
    const uint64_t *query_keys, *passage_keys; /* or NULL */
    const int64_t *known_firsts, *known;       /* or NULL */
} plain_terms;

/* One row's softmax: pairs of vectors with their scores and what their probability should be. */
typedef struct plain_row {
    int64_t *a, *b;
    double *scores, *wanted;
    int64_t count;
    double limit; /* candidates more similar than this are left out */
} plain_row;

static inline double plain_dot(const plain_terms *t, const double *reps, int64_t a, int64_t b) {
    double dot = 0.0;
    for (int64_t k = 0; k < t->d; k++) {
        dot += reps[a * t->d + k] * reps[b * t->d + k];
    }
    return dot;
}

/* As the filter sees it: it does not move with the representations where a guide tells. */
static inline double plain_similarity(const plain_terms *t, const double *reps, int64_t a,
                                      int64_t b) {
    double dot = 0.0;
    for (int64_t k = 0; t->guide && k < t->guide_width; k++) {
        dot += (double)t->guide[a * t->guide_width + k] * (double)t->guide[b * t->guide_width + k];
    }
    return t->guide ? dot : plain_dot(t, reps, a, b);
}

static inline void plain_pair(plain_row *row, const plain_terms *t, const double *reps, int64_t a,
                              int64_t b, double wanted) {
    const double dot = plain_dot(t, reps, a, b);
    if (wanted == 0.0 && t->filter != 0 && plain_similarity(t, reps, a, b) > row->limit) {
        return;
    }
    row->a[row->count] = a;
    row->b[row->count] = b;
    row->wanted[row->count] = wanted;
    row->scores[row->count++] = (wanted > 0.0 ? dot - t->margin : dot) / t->tau;
}

static inline bool plain_knows(const plain_terms *t, int64_t query, int64_t passage) {
    for (int64_t k = t->known_firsts ? t->known_firsts[query] : 0;
         t->known_firsts && k < t->known_firsts[query + 1]; k++) {
        if (t->known[k] == passage) {
            return true;
        }
    }
    return false;
}

/* May passage compete for the query? Not if it, or its text, answers the query. */
static inline bool plain_competes(const plain_terms *t, int64_t query, int64_t passage) {
    const uint64_t *keys = t->passage_keys;
    const int64_t own = query * t->group;
    bool answers = passage == own || (keys && keys[passage] == keys[own]);
    for (int64_t k = t->known_firsts ? t->known_firsts[query] : 0;
         t->known_firsts && k < t->known_firsts[query + 1]; k++) {
        const int64_t other = t->known[k];
        answers = answers || passage == other || (keys && keys[passage] == keys[other]);
    }
    return !answers;
}

static inline void plain_to_passages(plain_row *row, const plain_terms *t, const double *reps,
                                     int64_t i) {
    const int64_t own = i * t->group;
    const int64_t more =
        t->all_positives && t->known_firsts ? t->known_firsts[i + 1] - t->known_firsts[i] : 0;
    for (int64_t j = 0; j < t->B * t->group; j++) {
        const bool positive = j == own || (t->all_positives && plain_knows(t, i, j));
        if (positive || plain_competes(t, i, j)) {
            plain_pair(row, t, reps, i, t->B + j, positive ? 1.0 / (double)(1 + more) : 0.0);
        }
        if (t->passage_passage && plain_competes(t, i, j)) {
            plain_pair(row, t, reps, t->B + own, t->B + j, 0.0);
        }
    }
    for (int64_t j = 0; t->query_query && j < t->B; j++) {
        if (j != i && !(t->query_keys && t->query_keys[j] == t->query_keys[i])) {
            plain_pair(row, t, reps, i, j, 0.0);
        }
    }
}

static inline void plain_to_queries(plain_row *row, const plain_terms *t, const double *reps,
                                    int64_t i) {
    for (int64_t j = 0; j < t->B; j++) {
        if (j == i || plain_competes(t, j, i * t->group)) {
            plain_pair(row, t, reps, t->B + i * t->group, j, j == i ? 1.0 : 0.0);
        }
    }
}

static inline double plain_limit(const plain_terms *t, const double *reps, int64_t i) {
    const double own = plain_similarity(t, reps, i, t->B + i * t->group);
    return t->filter == 0   ? INFINITY
           : t->filter == 1 ? own - t->filter_margin
                            : own - fabs(own) * t->filter_margin;
}

/* The row's loss; dreps are added to, weighted. */
static inline double plain_softmax(double *dreps, const double *reps, const plain_row *row,
                                   const plain_terms *t, double weight) {
    double most = -INFINITY, sum = 0.0, loss = 0.0;
    for (int64_t e = 0; e < row->count; e++) {
        most = fmax(most, row->scores[e]);
    }
    for (int64_t e = 0; e < row->count; e++) {
        sum += exp(row->scores[e] - most);
    }
    for (int64_t e = 0; e < row->count; e++) {
        loss += row->wanted[e] * (most + log(sum) - row->scores[e]);
        const double share = exp(row->scores[e] - most) / sum - row->wanted[e];
        const double scale = weight * share / (t->tau * (double)t->B);
        for (int64_t k = 0; dreps && k < t->d; k++) {
            dreps[row->a[e] * t->d + k] += scale * reps[row->b[e] * t->d + k];
            dreps[row->b[e] * t->d + k] += scale * reps[row->a[e] * t->d + k];
        }
    }
    return loss;
}

/* The mean loss of B queries, in nats. losses [B] and dreps (as reps) are filled where not NULL. */
static inline double plain_loss(double *losses, double *dreps, const double *reps,
                                const plain_terms *t) {
    const size_t most = (size_t)(t->B * (2 * t->group + 1));
    plain_row row = {malloc(most * sizeof(int64_t)),
                     malloc(most * sizeof(int64_t)),
                     malloc(most * sizeof(double)),
                     malloc(most * sizeof(double)),
                     0,
                     0.0};
    double mean = 0.0;
    for (int64_t i = 0; dreps && i < t->B * (1 + t->group) * t->d; i++) {
        dreps[i] = 0.0;
    }
    for (int64_t i = 0; i < t->B; i++) {
        const double weight = t->symmetric ? 0.5 : 1.0;
        row.count = 0;
        row.limit = plain_limit(t, reps, i);
        plain_to_passages(&row, t, reps, i);
        double loss = weight * plain_softmax(dreps, reps, &row, t, weight);
        if (t->symmetric) {
            row.count = 0;
            plain_to_queries(&row, t, reps, i);
            loss += weight * plain_softmax(dreps, reps, &row, t, weight);
        }
        mean += loss / (double)t->B;
        if (losses) {
            losses[i] = loss;
        }
    }
    free(row.a);
    free(row.b);
    free(row.scores);
    free(row.wanted);
    return mean;
}

/* The same for single-precision representations; dreps is rounded once, at the end. */
static inline double plain_loss_of_floats(double *losses, float *dreps, const float *reps,
                                          const plain_terms *t) {
    const int64_t count = t->B * (1 + t->group) * t->d;
    double *reps64 = calloc((size_t)count, sizeof(*reps64));
    double *dreps64 = malloc((size_t)count * sizeof(*dreps64));
    for (int64_t i = 0; i < count; i++) {
        reps64[i] = (double)reps[i];
    }
    const double loss = plain_loss(losses, dreps64, reps64, t);
    for (int64_t i = 0; i < count; i++) {
        dreps[i] = (float)dreps64[i];
    }
    free(reps64);
    free(dreps64);
    return loss;
}

#endif
