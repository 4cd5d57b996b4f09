/* The contrastive loss as a textbook writes it, in double, with a matrix of all scores: what the
 * two walks over tiles and the whole step are compared with. */
#ifndef WB_PLAIN_LOSS_H
#define WB_PLAIN_LOSS_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

/* The mean loss of B queries, in nats. reps [B (1 + group), d]: the queries, then the passages, of
 * which i * group is query i's positive. losses [B] and dreps (as reps) are filled where not NULL.
 */
static inline double plain_loss(double *losses, double *dreps, const double *reps, int64_t B,
                                int64_t group, int64_t d, double tau) {
    const int64_t N = B * group;
    const double *q = reps, *p = reps + B * d;
    double *scores = malloc((size_t)N * sizeof(*scores));
    double mean = 0.0;
    for (int64_t i = 0; dreps && i < (B + N) * d; i++) {
        dreps[i] = 0.0;
    }
    for (int64_t i = 0; i < B; i++) {
        double most = -INFINITY, sum = 0.0;
        for (int64_t j = 0; j < N; j++) {
            scores[j] = 0.0;
            for (int64_t k = 0; k < d; k++) {
                scores[j] += q[i * d + k] * p[j * d + k] / tau;
            }
            most = fmax(most, scores[j]);
        }
        for (int64_t j = 0; j < N; j++) {
            sum += exp(scores[j] - most);
        }
        const double loss = most + log(sum) - scores[i * group];
        mean += loss / (double)B;
        if (losses) {
            losses[i] = loss;
        }
        for (int64_t j = 0; dreps && j < N; j++) {
            const double share = exp(scores[j] - most) / sum - (j == i * group ? 1.0 : 0.0);
            for (int64_t k = 0; k < d; k++) {
                dreps[i * d + k] += share * p[j * d + k] / (tau * (double)B);
                dreps[(B + j) * d + k] += share * q[i * d + k] / (tau * (double)B);
            }
        }
    }
    free(scores);
    return mean;
}

/* The same for single-precision representations; dreps is rounded once, at the end. */
static inline double plain_loss_of_floats(double *losses, float *dreps, const float *reps,
                                          int64_t B, int64_t group, int64_t d, double tau) {
    const int64_t count = B * (1 + group) * d;
    double *reps64 = calloc((size_t)count, sizeof(*reps64));
    double *dreps64 = malloc((size_t)count * sizeof(*dreps64));
    for (int64_t i = 0; i < count; i++) {
        reps64[i] = (double)reps[i];
    }
    const double loss = plain_loss(losses, dreps64, reps64, B, group, d, tau);
    for (int64_t i = 0; i < count; i++) {
        dreps[i] = (float)dreps64[i];
    }
    free(reps64);
    free(dreps64);
    return loss;
}

#endif
