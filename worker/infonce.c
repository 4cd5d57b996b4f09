/* InfoNCE in two walks over tiles.
 *
 * The first walk takes rows along all columns, the second columns along all rows; both leave the
 * same scores out (candidates.h). Positives are in no tile: with x = log-sum-exp of the candidates
 * - the positive's score, the loss is log(1 + e^x), of which a trained model's tiny values would
 * leave no digits as the difference of two scores.
 */
#include "infonce.h"

#include "candidates.h"
#include "kept_scores.h"
#include "score_terms.h"
#include "score_tile.h"
#include "tile_product.h"
#include "units.h"
#include "vector_math.h"

#include <string.h>

/* Sums over the candidates of one term that rows have met. */
typedef struct sums {
    float *most;    /* [n], running maximum of scores */
    float *sum;     /* [n], of exp(score - most) */
    float *vectors; /* [n, d], of exp(score - most) column */
} sums;

struct wb_infonce_part {
    const wb_infonce *loss;
    const wb_infonce_batch *batch;
    wb_infonce_block own;
    sums of[WB_SCORE_TERMS];
    float *known; /* [known passages of its queries, d], with all_positives */
};

/* Of every gradient: 1 / (directions B tau). */
static float scale_of(const wb_infonce *loss) {
    return (float)(1.0 /
                   ((double)wb_score_directions(loss) * (double)loss->batch * loss->temperature));
}

/* y += a x */
static void add(float *y, float a, const float *x, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        y[i] += a * x[i];
    }
}

/* ---- First walk: rows
 * ------------------------------------------------------------------------------------- */

static int64_t count_known(const wb_infonce *loss, const wb_infonce_batch *batch, int64_t first,
                           int64_t n) {
    return loss->all_positives && batch->known_firsts
               ? batch->known_firsts[first + n] - batch->known_firsts[first]
               : 0;
}

size_t wb_infonce_part_bytes(const wb_infonce *loss, int64_t n, int64_t known) {
    const size_t sums_bytes =
        2 * wb_arena_rounded(wb_float_bytes(n)) + wb_arena_rounded(wb_float_bytes(n * loss->width));
    return wb_arena_rounded(sizeof(wb_infonce_part)) + (size_t)wb_score_terms(loss) * sums_bytes +
           (loss->all_positives ? wb_arena_rounded(wb_float_bytes(known * loss->width)) : 0);
}

wb_status wb_infonce_begin(wb_infonce_part **part, const wb_infonce *loss,
                           const wb_infonce_batch *batch, const wb_infonce_block *own,
                           wb_arena *arena) {
    wb_status status = WB_OK;
    const int64_t n = own->n, d = loss->width;
    void *taken = NULL;
    WB_TRY(wb_arena_take(arena, sizeof(**part), &taken));
    wb_infonce_part *made = taken;
    *made = (wb_infonce_part){.loss = loss, .batch = batch, .own = *own};
    for (int k = 0; k < wb_score_terms(loss); k++) {
        sums *s = &made->of[k];
        WB_TRY(wb_arena_floats(arena, n, &s->most));
        WB_TRY(wb_arena_floats(arena, n, &s->sum));
        WB_TRY(wb_arena_floats(arena, n * d, &s->vectors));
        for (int64_t i = 0; i < n; i++) {
            s->most[i] = -INFINITY;
            s->sum[i] = 0.0f;
        }
        memset(s->vectors, 0, wb_float_bytes(n * d));
    }
    if (loss->all_positives) {
        WB_TRY(wb_arena_floats(arena, count_known(loss, batch, own->first, n) * d, &made->known));
    }
    for (int64_t i = 0; i < n; i++) {
        batch->rows[own->first + i] = (wb_infonce_row){.limit = wb_candidates_limit(loss, own, i)};
    }
    *part = made;
done:
    return status;
}

/* Brings rows up to date with a tile of scores; its scratch [columns, rows] filled with exp(score -
 * maximum). A score of -infinity takes no part. */
static void fold(const wb_score_tile *t, sums s, int64_t d) {
    float most[WB_INFONCE_TILE];
    const int64_t rows = t->own.count;
    memcpy(most, s.most, wb_float_bytes(rows));
    for (int64_t j = 0; j < t->passing.count; j++) {
        const float *line = t->scores + j * t->apart;
#pragma omp simd
        for (int64_t i = 0; i < rows; i++) {
            most[i] = line[i] > most[i] ? line[i] : most[i];
        }
    }
    for (int64_t i = 0; i < rows; i++) {
        if (most[i] > s.most[i]) {
            const float shrink = wb_exp(s.most[i] - most[i]);
            s.sum[i] *= shrink;
#pragma omp simd
            for (int64_t k = 0; k < d; k++) {
                s.vectors[i * d + k] *= shrink;
            }
            s.most[i] = most[i];
        }
    }
    for (int64_t j = 0; j < t->passing.count; j++) {
        const float *line = t->scores + j * t->apart;
        float *to = t->scratch + j * rows;
#pragma omp simd
        for (int64_t i = 0; i < rows; i++) {
            const float power = line[i] == -INFINITY ? 0.0f : wb_exp(line[i] - most[i]);
            to[i] = power;
            s.sum[i] += power;
        }
    }
}

/* Rows meet all columns of one term; s is theirs. */
static void sum_candidates(sums s, const wb_score_term *of, wb_score_span rows,
                           const wb_score_walk *w, float *scratch) {
    const int64_t d = w->loss->width;
    const wb_score_side *columns = &of->columns;
    wb_score_tile t = wb_score_tile_begin(scratch, &of->rows, rows, true, w->loss);
    for (int64_t at = columns->first; at < columns->first + columns->count; at += WB_INFONCE_TILE) {
        wb_score_tile_meet(&t, wb_score_span_of(columns, at, WB_INFONCE_TILE));
        wb_kept_scores_lend(of->kept, &t);
        wb_score_tile_fill(&t, of, w);
        wb_kept_scores_take(of->kept, &t);
        fold(&t, s, d);
        wb_tile_product(s.vectors, d, true, 1.0f, t.scratch, 1, rows.count,
                        wb_score_vector(&columns->reps, at), columns->reps.apart, rows.count, d,
                        t.passing.count);
    }
}

/* Known positives that pass by are kept for the end. */
static void keep_known(const wb_infonce_part *part, const wb_infonce_block *block) {
    const int64_t d = part->loss->width, group = part->loss->group;
    const int64_t *const firsts = part->batch->known_firsts;
    const int64_t begin = firsts[part->own.first], end = firsts[part->own.first + part->own.n];
    for (int64_t k = begin; k < end; k++) {
        const int64_t at = part->batch->known[k] - block->first * group;
        if (at >= 0 && at < block->n * group) {
            memcpy(part->known + (k - begin) * d, block->p + at * d, wb_float_bytes(d));
        }
    }
}

wb_status wb_infonce_meet(wb_infonce_part *part, const wb_infonce_block *block, wb_arena *arena) {
    wb_status status = WB_OK;
    const size_t mark = wb_arena_mark(arena);
    const wb_score_walk w = wb_score_walk_of(part->loss, part->batch, &part->own, block);
    const int64_t n = part->own.n, high = wb_score_own(n);
    float *scratch;
    WB_ASSERT(block->first % WB_INFONCE_TILE == 0, "a block begins at query %lld",
              (long long)block->first);
    WB_TRY(wb_score_scratch(&scratch, part->loss, arena));
#pragma omp parallel for schedule(static)
    for (int64_t at = 0; at < n; at += high) {
        for (int k = 0; k < w.count; k++) {
            const sums *s = &part->of[k];
            const sums own = {s->most + at, s->sum + at, s->vectors + at * part->loss->width};
            const wb_score_side *rows = &w.terms[k].rows;
            sum_candidates(own, &w.terms[k], wb_score_span_of(rows, rows->first + at, high), &w,
                           scratch);
        }
    }
    if (part->loss->all_positives && part->batch->known_firsts) {
        keep_known(part, block);
    }
done:
    wb_arena_release(arena, mark);
    return status;
}

/* ---- Between the walks
 * -------------------------------------------------------------------------- */

/* A query's positives: its own, then with all_positives the known ones. */
static int64_t count_positives(const wb_infonce *loss, const wb_infonce_batch *batch,
                               int64_t query) {
    return 1 + count_known(loss, batch, query, 1);
}

/* Vector of the k-th positive of row i of the part. */
static const float *positive_of(const wb_infonce_part *part, int64_t i, int64_t k) {
    const int64_t d = part->loss->width, first = part->own.first;
    return k == 0 ? part->own.p + i * part->loss->group * d
                  : part->known + (count_known(part->loss, part->batch, first, i) + k - 1) * d;
}

static float positive_score(const wb_infonce *loss, const float *query, const float *passage) {
    const float similarity = wb_dot(query, passage, loss->width);
    return (similarity - (float)loss->margin) * (float)(1.0 / loss->temperature);
}

/* One direction of one query: loss and log-sum-exp, and `shares` by which the vectors of each term
 * enter the gradient. */
typedef struct softmax {
    float loss, lse;
    float shares[WB_SCORE_TERMS];
} softmax;

/* Row i of the part; own: the score of its own positive. */
static softmax close_row(const wb_infonce_part *part, const wb_score_walk *w,
                         wb_score_direction along, int64_t i, float own) {
    softmax result = {0};
    const sums *s = part->of;
    const float *query = part->own.q + i * w->loss->width;
    const int64_t positives =
        along == WB_TO_PASSAGES ? count_positives(w->loss, w->batch, part->own.first + i) : 1;
    float most = -INFINITY, sum = 0.0f, ahead = 0.0f;
    for (int k = 0; k < w->count; k++) {
        most = w->terms[k].along == along && !(s[k].most[i] <= most) ? s[k].most[i] : most;
    }
    for (int64_t k = 1; k < positives; k++) {
        most = fmaxf(most, positive_score(w->loss, query, positive_of(part, i, k)));
    }
    for (int k = 0; k < w->count; k++) {
        if (w->terms[k].along == along && s[k].sum[i] != 0.0f) {
            result.shares[k] = expf(s[k].most[i] - most);
            sum += result.shares[k] * s[k].sum[i];
        }
    }
    for (int64_t k = 1; k < positives; k++) {
        const float other = positive_score(w->loss, query, positive_of(part, i, k));
        sum += expf(other - most);
        ahead += own - other;
    }
    const float x = sum == 0.0f ? -INFINITY : (most - own) + logf(sum);
    const float beyond = x > 0.0f ? x + log1pf(expf(-x)) : log1pf(expf(x));
    const float miss = 1.0f / (1.0f + expf(-x));
    for (int k = 0; k < w->count; k++) {
        result.shares[k] *= sum == 0.0f ? 0.0f : miss / sum;
    }
    result.lse = own + beyond;
    result.loss = beyond + ahead / (float)positives;
    return result;
}

/* How far a positive's probability is from what it should be; beyond tells log(1 / probability). */
static float pull(float beyond, int64_t positives) {
    return positives == 1 ? expm1f(-beyond) : expf(-beyond) - 1.0f / (float)positives;
}

/* One direction's loss and gradients of row i and of its own positive: added to. */
static void add_direction(wb_infonce_row *row, float *dq, float *dp, const wb_infonce_part *part,
                          const wb_score_walk *w, wb_score_direction along, int64_t i) {
    const wb_infonce *loss = w->loss;
    const int64_t d = loss->width, query = part->own.first + i;
    const float *q = part->own.q + i * d, *own = positive_of(part, i, 0);
    const float scale = scale_of(loss);
    const double unscale = (double)scale * (double)loss->batch; /* 1 / (directions tau) */
    const float own_score = positive_score(loss, q, own);
    const softmax soft = close_row(part, w, along, i, own_score);
    const int64_t positives = along == WB_TO_PASSAGES ? count_positives(loss, w->batch, query) : 1;
    row->lse[along] = soft.lse;
    row->loss += soft.loss / (float)wb_score_directions(loss);
    for (int k = 0; k < w->count; k++) {
        const wb_score_side *from = &w->terms[k].rows;
        const float *to = part->of[k].vectors + i * d;
        if (w->terms[k].along != along) {
            continue;
        }
        if (along == WB_TO_PASSAGES && part->of[k].sum[i] > 0.0f) {
            row->alone = 0.0f;
        }
        add(wb_score_of_queries(from) ? dq : dp, soft.shares[k] * scale, to, d);
        row->slope += (double)soft.shares[k] * unscale *
                      (double)wb_dot(wb_score_vector(&from->reps, query), to, d);
    }
    for (int64_t k = 0; k < positives; k++) {
        const float *passage = positive_of(part, i, k);
        const float at = k == 0 ? own_score : positive_score(loss, q, passage);
        const float by = pull(positives == 1 ? soft.loss : soft.lse - at, positives);
        row->slope += (double)by * unscale * (double)at * loss->temperature;
        add(dq, by * scale, passage, d);
        if (k == 0) {
            add(dp, by * scale, q, d);
        }
    }
}

wb_status wb_infonce_settle(wb_infonce_part *part, float *dq, float *dp) {
    wb_status status = WB_OK;
    const wb_infonce *loss = part->loss;
    const wb_infonce_block *own = &part->own;
    const wb_score_walk w = wb_score_walk_of(loss, part->batch, own, own);
    const int64_t d = loss->width;
    memset(dq, 0, wb_float_bytes(own->n * d));
    memset(dp, 0, wb_float_bytes(own->n * loss->group * d));
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < own->n; i++) {
        wb_infonce_row *row = &part->batch->rows[own->first + i];
        row->alone = 1.0f;
        for (int along = 0; along < wb_score_directions(loss); along++) {
            add_direction(row, dq + i * d, dp + i * loss->group * d, part, &w,
                          (wb_score_direction)along, i);
        }
    }
    for (int64_t i = own->first; i < own->first + own->n; i++) {
        const double value = (double)part->batch->rows[i].loss;
        WB_CHECK(isfinite(value), WB_ERR_NUMERIC,
                 "the loss of query %lld of the batch is %g: representations or temperature are "
                 "out of range",
                 (long long)i, value);
    }
done:
    return status;
}

/* ---- Second walk: columns
 * --------------------------------------------------------------------------------- */

/* dx [columns, d] += what the rows of a tile say to its columns in one term. */
static void add_tile(float *dx, const wb_score_term *of, const wb_score_tile *t,
                     const wb_score_walk *w) {
    const int64_t rows = t->passing.count, columns = t->own.count, d = w->loss->width;
    const float *const kept = wb_kept_scores_find(of->kept, t);
    float *const powers = t->scratch; /* [columns, rows] of kept scores, else [rows, columns] */
    float lse[WB_INFONCE_TILE];
    for (int64_t i = 0; i < rows; i++) {
        lse[i] = w->batch->rows[t->passing.first + i].lse[of->along];
    }
    if (kept) {
        for (int64_t j = 0; j < columns; j++) {
            const float *from = kept + j * of->kept->apart;
            float *line = powers + j * rows;
            wb_numbers_ask(wb_fp32(from), of->kept->apart, rows);
#pragma omp simd
            for (int64_t i = 0; i < rows; i++) {
                line[i] = wb_exp(from[i] - lse[i]);
            }
        }
    } else {
        wb_score_tile_fill(t, of, w);
        for (int64_t i = 0; i < rows; i++) {
            float *line = powers + i * columns;
#pragma omp simd
            for (int64_t j = 0; j < columns; j++) {
                line[j] = wb_exp(line[j] - lse[i]);
            }
        }
    }
    wb_tile_product(dx, d, true, scale_of(w->loss), powers, kept ? rows : 1, kept ? 1 : columns,
                    wb_score_vector(&of->rows.reps, t->passing.first), of->rows.reps.apart, columns,
                    d, rows);
}

/* What the queries of a tile say to the known positives among its passages. */
static void pull_known(float *dp, const wb_score_tile *t, const wb_score_walk *w) {
    const wb_infonce_batch *batch = w->batch;
    const int64_t d = w->loss->width;
    const wb_score_span queries = t->passing, passages = t->own;
    const wb_score_term *of = &w->terms[0];
    for (int64_t query = queries.first; query < queries.first + queries.count; query++) {
        const float *q = wb_score_vector(&of->rows.reps, query);
        for (int64_t k = batch->known_firsts[query]; k < batch->known_firsts[query + 1]; k++) {
            const int64_t at = batch->known[k] - passages.first;
            if (at >= 0 && at < passages.count) {
                const float *p = wb_score_vector(&of->columns.reps, batch->known[k]);
                const float beyond =
                    batch->rows[query].lse[WB_TO_PASSAGES] - positive_score(w->loss, q, p);
                const float by = pull(beyond, count_positives(w->loss, batch, query));
                add(dp + at * d, by * scale_of(w->loss), q, d);
            }
        }
    }
}

/* The side that the terms have whose columns are queries, or are passages; NULL: none has. */
static const wb_score_side *columns_of(const wb_score_walk *w, bool queries) {
    for (int k = 0; k < w->count; k++) {
        if (wb_score_of_queries(&w->terms[k].columns) == queries) {
            return &w->terms[k].columns;
        }
    }
    return NULL;
}

/* dx [columns, d] += what a block's queries say to columns of one side, in all terms; tile by tile,
 * so that windows end where they like. */
static void add_to_columns(float *dx, const wb_score_side *side, wb_score_span columns,
                           const wb_score_walk *w, float *scratch) {
    const bool queries = wb_score_of_queries(side);
    const bool pulls = !queries && w->loss->all_positives && w->batch->known_firsts;
    const wb_score_side *rows = &w->terms[0].rows;
    wb_score_tile t = wb_score_tile_begin(scratch, side, columns, false, w->loss);
    for (int64_t at = rows->first; at < rows->first + rows->count; at += WB_INFONCE_TILE) {
        wb_score_tile_meet(&t, wb_score_span_of(rows, at, WB_INFONCE_TILE));
        for (int k = 0; k < w->count; k++) {
            if (wb_score_of_queries(&w->terms[k].columns) == queries) {
                add_tile(dx, &w->terms[k], &t, w);
            }
        }
        if (pulls) {
            pull_known(dx, &t, w);
        }
    }
}

wb_status wb_infonce_answer(wb_infonce_part *part, float *dq, float *dp,
                            const wb_infonce_block *block, wb_arena *arena) {
    wb_status status = WB_OK;
    const size_t mark = wb_arena_mark(arena);
    const wb_score_walk w = wb_score_walk_of(part->loss, part->batch, block, &part->own);
    const int64_t d = part->loss->width;
    float *scratch;
    WB_ASSERT(block->first % WB_INFONCE_TILE == 0, "a block begins at query %lld",
              (long long)block->first);
    WB_TRY(wb_score_scratch(&scratch, part->loss, arena));
    for (int queries = 0; queries < 2; queries++) {
        const wb_score_side *side = columns_of(&w, queries);
        float *dx = queries ? dq : dp;
        const int64_t count = side ? side->count : 0, wide = wb_score_own(count);
#pragma omp parallel for schedule(static)
        for (int64_t at = 0; at < count; at += wide) {
            add_to_columns(dx + at * d, side, wb_score_span_of(side, side->first + at, wide), &w,
                           scratch);
        }
    }
done:
    wb_arena_release(arena, mark);
    return status;
}
