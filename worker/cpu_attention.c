/* Attention over packed sequences on the CPU.
 *
 * The unit of work is one head of one sequence. Its query, key and value are copied side by side,
 * key and value transposed too, so that every product reads whole registers (tile_product.h); then
 * it is walked in blocks of query rows, whose scores [QUERY_BLOCK, length] stay in the first-level
 * cache between products and softmax. Backward computes the scores again from query, key and the
 * kept log-sum-exp instead of keeping h * T * T probabilities.
 */
#include "ops.h"
#include "threads.h"
#include "tile_product.h"
#include "vector_math.h"

#include <math.h>

enum { QUERY_BLOCK = 32 };

/* One head of one sequence, and what its thread works in. Rows of D floats are padded to W, rows
 * of `length` scores to `padded`. */
typedef struct head {
    int64_t length, D, W, padded;
    uint32_t example;
    uint64_t first_row;      /* head * length: rows of this head's mask begin here */
    float *q, *k, *v;        /* [length, W]; q times 1 / sqrt(D) */
    float *kt, *vt;          /* [D, padded] */
    float *y, *dy;           /* [length, W] */
    float *dq, *dk, *dv;     /* [length, W] */
    float *scores, *dscores; /* [QUERY_BLOCK, padded] */
} head;

/* Rows a matrix of `length` rows has in the scratch: whole tiles of rows and of columns. */
static int64_t padded_length(int64_t length) {
    return wb_tile_columns(wb_tile_rows(length));
}

enum { ROW_ARRAYS = 8, COLUMN_ARRAYS = 2, SCORE_ARRAYS = 2 };

static int64_t thread_scratch(int64_t longest, int64_t D) {
    const int64_t padded = padded_length(longest);
    return padded *
           (ROW_ARRAYS * wb_tile_columns(D) + COLUMN_ARRAYS * D + SCORE_ARRAYS * QUERY_BLOCK);
}

int64_t wb_attention_scratch(int64_t longest, int64_t D) {
    return (int64_t)wb_threads() * thread_scratch(longest, D);
}

static head place_head(const wb_chunk *chunk, int64_t sequence, int64_t h, int64_t D,
                       float *scratch) {
    const int64_t *offsets = chunk->packed.offsets;
    const int64_t length = offsets[sequence + 1] - offsets[sequence];
    head a = {.length = length,
              .D = D,
              .W = wb_tile_columns(D),
              .padded = padded_length(length),
              .example = chunk->examples[sequence],
              .first_row = (uint64_t)(h * length)};
    float **const rows[ROW_ARRAYS] = {&a.q, &a.k, &a.v, &a.y, &a.dy, &a.dq, &a.dk, &a.dv};
    for (int i = 0; i < ROW_ARRAYS; i++, scratch += a.padded * a.W) {
        *rows[i] = scratch;
    }
    a.kt = scratch;
    a.vt = a.kt + D * a.padded;
    a.scores = a.vt + D * a.padded;
    a.dscores = a.scores + QUERY_BLOCK * a.padded;
    return a;
}

/* to [length, W]: factor times rows of D numbers that stand ld apart, the first at `at` */
static void copy_rows(float *to, const head *a, wb_numbers from, int64_t at, int64_t ld,
                      float factor) {
    for (int64_t row = 0; row < a->length; row++) {
        float *out = to + row * a->W;
        const float *in = wb_numbers_read(out, from, at + row * ld, a->D);
        wb_numbers_ask(from, at + row * ld + a->D, a->D); /* the next head's */
#pragma omp simd
        for (int64_t i = 0; i < a->D; i++) {
            out[i] = factor * in[i];
        }
    }
}

/* and back; `from` [length, W] is lost */
static void place_rows(wb_numbers to, int64_t at, int64_t ld, const head *a, float *from,
                       float factor) {
    for (int64_t row = 0; row < a->length; row++) {
        float *in = from + row * a->W;
        float *out = wb_numbers_place(in, to, at + row * ld);
        wb_numbers_ask(to, at + row * ld + a->D, a->D);
#pragma omp simd
        for (int64_t i = 0; i < a->D; i++) {
            out[i] = factor * in[i];
        }
        wb_numbers_write(to, at + row * ld, out, a->D);
    }
}

static void read_head(head *a, wb_numbers qkv, int64_t at, int64_t H) {
    const float scale = 1.0f / sqrtf((float)a->D);
    copy_rows(a->q, a, qkv, at, 3 * H, scale);
    copy_rows(a->k, a, qkv, at + H, 3 * H, 1.0f);
    copy_rows(a->v, a, qkv, at + 2 * H, 3 * H, 1.0f);
    wb_tile_transpose(a->kt, a->padded, a->k, a->W, a->length, a->D);
}

static int64_t rows_of_block(const head *a, int64_t first) {
    const int64_t left = a->length - first;
    return left < QUERY_BLOCK ? left : QUERY_BLOCK;
}

/* scores [rows, padded] of rows [.., W] from `first` on with a transposed matrix */
static void block_scores(float *scores, const head *a, const float *rows, const float *transposed,
                         int64_t first) {
    wb_tile_product(scores, a->padded, false, 1.0f, rows + first * a->W, a->W, 1, transposed,
                    a->padded, wb_tile_rows(rows_of_block(a, first)), wb_tile_columns(a->length),
                    a->D);
}

/* p [length] is multiplied by its mask; the mask of query row `row` of the head */
static void mask_probabilities(float *p, const head *a, int64_t row, const wb_dropout *dropout) {
    const int64_t groups = (a->length + WB_DROPOUT_GROUP - 1) / WB_DROPOUT_GROUP;
    float mask[WB_DROPOUT_GROUP];
    for (int64_t g = 0; g < groups; g++) {
        const int64_t left = a->length - g * WB_DROPOUT_GROUP;
        const int64_t n = left < WB_DROPOUT_GROUP ? left : WB_DROPOUT_GROUP;
        wb_dropout_mask(mask, dropout, a->example,
                        (a->first_row + (uint64_t)row) * (uint64_t)groups + (uint64_t)g);
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            p[g * WB_DROPOUT_GROUP + i] *= mask[i];
        }
    }
}

/* Scores of one row become probabilities; returns their log-sum-exp. */
static float softmax_row(float *p, int64_t length) {
    float most = -INFINITY, sum = 0.0f;
#pragma omp simd reduction(max : most)
    for (int64_t i = 0; i < length; i++) {
        most = p[i] > most ? p[i] : most;
    }
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < length; i++) {
        p[i] = wb_exp(p[i] - most);
        sum += p[i];
    }
    const float inverse = 1.0f / sum;
#pragma omp simd
    for (int64_t i = 0; i < length; i++) {
        p[i] *= inverse;
    }
    return most + logf(sum);
}

static void head_forward(float *lse, const head *a, const wb_dropout *dropout) {
    for (int64_t first = 0; first < a->length; first += QUERY_BLOCK) {
        const int64_t rows = rows_of_block(a, first);
        block_scores(a->scores, a, a->q, a->kt, first);
        for (int64_t row = 0; row < rows; row++) {
            float *p = a->scores + row * a->padded;
            lse[first + row] = softmax_row(p, a->length);
            if (dropout->probability > 0.0f) {
                mask_probabilities(p, a, first + row, dropout);
            }
        }
        wb_tile_product(a->y + first * a->W, a->W, false, 1.0f, a->scores, a->padded, 1, a->v, a->W,
                        wb_tile_rows(rows), a->W, a->length);
    }
}

void wb_attention_forward(wb_numbers y, float *lse, wb_numbers qkv, const wb_chunk *chunk,
                          const wb_dropout *dropout, int64_t heads, int64_t H, float *scratch) {
    const int64_t T = wb_packed_tokens(&chunk->packed), D = H / heads;
    const int64_t share = thread_scratch(wb_packed_longest(&chunk->packed), D);
    const int64_t tasks = chunk->packed.n * heads;
#pragma omp parallel for schedule(dynamic, 4)
    for (int64_t task = 0; task < tasks; task++) {
        const int64_t sequence = task / heads, h = task % heads;
        const int64_t start = chunk->packed.offsets[sequence] - chunk->packed.offsets[0];
        head a = place_head(chunk, sequence, h, D, scratch + wb_thread() * share);
        read_head(&a, qkv, start * 3 * H + h * D, H);
        head_forward(lse + h * T + start, &a, dropout);
        place_rows(y, start * H + h * D, H, &a, a.y, 1.0f);
    }
}

/* p: scores in, probabilities before dropout out; dp: gradient after dropout in, of the scores out,
 * and p masked. With D = sum_j dp_j p_j = dy . y of the row, dscore = p (mask dp - D). */
static void softmax_row_backward(float *p, float *dp, const head *a, int64_t row, float lse,
                                 float along, const wb_dropout *dropout) {
    const int64_t length = a->length;
#pragma omp simd
    for (int64_t i = 0; i < length; i++) {
        p[i] = wb_exp(p[i] - lse);
    }
    if (dropout->probability <= 0.0f) {
#pragma omp simd
        for (int64_t i = 0; i < length; i++) {
            dp[i] = p[i] * (dp[i] - along);
        }
        return;
    }
    const int64_t groups = (length + WB_DROPOUT_GROUP - 1) / WB_DROPOUT_GROUP;
    float mask[WB_DROPOUT_GROUP];
    for (int64_t g = 0; g < groups; g++) {
        const int64_t left = length - g * WB_DROPOUT_GROUP;
        const int64_t n = left < WB_DROPOUT_GROUP ? left : WB_DROPOUT_GROUP;
        float *pg = p + g * WB_DROPOUT_GROUP, *dpg = dp + g * WB_DROPOUT_GROUP;
        wb_dropout_mask(mask, dropout, a->example,
                        (a->first_row + (uint64_t)row) * (uint64_t)groups + (uint64_t)g);
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            dpg[i] = pg[i] * (mask[i] * dpg[i] - along);
            pg[i] *= mask[i];
        }
    }
}

/* dq, dk, dv filled; dq is to be multiplied by 1 / sqrt(D), as q was */
static void head_backward(const head *a, const float *lse, const wb_dropout *dropout) {
    const int64_t W = a->W, all = wb_tile_rows(a->length);
    for (int64_t first = 0; first < a->length; first += QUERY_BLOCK) {
        const int64_t rows = rows_of_block(a, first);
        block_scores(a->scores, a, a->q, a->kt, first);
        block_scores(a->dscores, a, a->dy, a->vt, first);
        for (int64_t row = 0; row < rows; row++) {
            const int64_t at = (first + row) * W;
            softmax_row_backward(a->scores + row * a->padded, a->dscores + row * a->padded, a,
                                 first + row, lse[first + row], wb_dot(a->dy + at, a->y + at, a->D),
                                 dropout);
        }
        wb_tile_product(a->dv, W, first > 0, 1.0f, a->scores, 1, a->padded, a->dy + first * W, W,
                        all, W, rows);
        wb_tile_product(a->dk, W, first > 0, 1.0f, a->dscores, 1, a->padded, a->q + first * W, W,
                        all, W, rows);
        wb_tile_product(a->dq + first * W, W, false, 1.0f, a->dscores, a->padded, 1, a->k, W,
                        wb_tile_rows(rows), W, a->length);
    }
}

void wb_attention_backward(wb_numbers dqkv, const float *dy, wb_numbers y, const float *lse,
                           wb_numbers qkv, const wb_chunk *chunk, const wb_dropout *dropout,
                           int64_t heads, int64_t H, float *scratch) {
    const int64_t T = wb_packed_tokens(&chunk->packed), D = H / heads;
    const int64_t share = thread_scratch(wb_packed_longest(&chunk->packed), D);
    const int64_t tasks = chunk->packed.n * heads;
#pragma omp parallel for schedule(dynamic, 4)
    for (int64_t task = 0; task < tasks; task++) {
        const int64_t sequence = task / heads, h = task % heads;
        const int64_t start = chunk->packed.offsets[sequence] - chunk->packed.offsets[0];
        const int64_t at = start * H + h * D, at3 = start * 3 * H + h * D;
        head a = place_head(chunk, sequence, h, D, scratch + wb_thread() * share);
        read_head(&a, qkv, at3, H);
        copy_rows(a.y, &a, y, at, H, 1.0f);
        copy_rows(a.dy, &a, wb_fp32(dy), at, H, 1.0f);
        wb_tile_transpose(a.vt, a.padded, a.v, a.W, a.length, a.D);
        head_backward(&a, lse + h * T + start, dropout);
        place_rows(dqkv, at3, 3 * H, &a, a.dq, 1.0f / sqrtf((float)D));
        place_rows(dqkv, at3 + H, 3 * H, &a, a.dk, 1.0f);
        place_rows(dqkv, at3 + 2 * H, 3 * H, &a, a.dv, 1.0f);
    }
}
