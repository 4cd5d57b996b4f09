/* Attention over packed sequences on the CPU.
 *
 * The unit of work is one head of one sequence, walked in blocks of query rows: a block of scores
 * [QUERY_BLOCK, length] stays in the second-level cache between its products and its softmax.
 * Backward computes the scores again from query, key and the kept log-sum-exp: two more thin
 * products (under 3 % of a layer at 128 tokens) instead of h * T * T kept probabilities.
 */
#include "gemm.h"
#include "ops.h"
#include "vector_math.h"

#include <math.h>

enum { QUERY_BLOCK = 64 };

/* One head of one sequence. */
typedef struct head {
    const float *q, *k, *v; /* [length, D] with row length 3 H */
    int64_t length, D, ld;  /* ld = 3 H */
    float scale;            /* 1 / sqrt(D) */
    uint32_t example;
    uint64_t first_row; /* head * length: rows of this head's mask begin here */
} head;

int64_t wb_attention_scratch(int64_t longest) {
    return (int64_t)wb_threads() * 2 * QUERY_BLOCK * longest;
}

static float *my_scratch(float *scratch, int64_t longest) {
    return scratch + (int64_t)wb_thread() * 2 * QUERY_BLOCK * longest;
}

static int64_t longest_sequence(const wb_packed *packed) {
    int64_t longest = 0;
    for (int64_t i = 0; i < packed->n; i++) {
        const int64_t length = packed->offsets[i + 1] - packed->offsets[i];
        longest = length > longest ? length : longest;
    }
    return longest;
}

static head find_head(const float *qkv, const wb_chunk *chunk, int64_t sequence, int64_t h,
                      int64_t heads, int64_t H) {
    const int64_t *offsets = chunk->packed.offsets;
    const int64_t D = H / heads;
    const float *q = qkv + (offsets[sequence] - offsets[0]) * 3 * H + h * D;
    const int64_t length = offsets[sequence + 1] - offsets[sequence];
    return (head){.q = q,
                  .k = q + H,
                  .v = q + 2 * H,
                  .length = length,
                  .D = D,
                  .ld = 3 * H,
                  .scale = 1.0f / sqrtf((float)D),
                  .example = chunk->examples[sequence],
                  .first_row = (uint64_t)(h * length)};
}

/* scores [rows, length] = scale * q kᵀ for query rows first .. first + rows */
static void block_scores(float *scores, const head *a, int64_t first, int64_t rows) {
    wb_gemm(scores, a->length, a->q + first * a->ld, a->ld, WB_PLAIN, a->k, a->ld, WB_TRANSPOSED,
            rows, a->length, a->D, a->scale, 0.0f);
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

static void head_forward(float *y, float *lse, const head *a, const wb_dropout *dropout, int64_t H,
                         float *scores) {
    for (int64_t first = 0; first < a->length; first += QUERY_BLOCK) {
        const int64_t left = a->length - first;
        const int64_t rows = left < QUERY_BLOCK ? left : QUERY_BLOCK;
        block_scores(scores, a, first, rows);
        for (int64_t row = 0; row < rows; row++) {
            float *p = scores + row * a->length;
            lse[first + row] = softmax_row(p, a->length);
            if (dropout->probability > 0.0f) {
                mask_probabilities(p, a, first + row, dropout);
            }
        }
        wb_gemm(y + first * H, H, scores, a->length, WB_PLAIN, a->v, a->ld, WB_PLAIN, rows, a->D,
                a->length, 1.0f, 0.0f);
    }
}

void wb_attention_forward(float *y, float *lse, const float *qkv, const wb_chunk *chunk,
                          const wb_dropout *dropout, int64_t heads, int64_t H, float *scratch) {
    const int64_t T = wb_packed_tokens(&chunk->packed);
    const int64_t longest = longest_sequence(&chunk->packed);
    const int64_t tasks = chunk->packed.n * heads;
#pragma omp parallel for schedule(dynamic, 4)
    for (int64_t task = 0; task < tasks; task++) {
        const int64_t sequence = task / heads, h = task % heads;
        const int64_t start = chunk->packed.offsets[sequence] - chunk->packed.offsets[0];
        const head a = find_head(qkv, chunk, sequence, h, heads, H);
        head_forward(y + start * H + h * a.D, lse + h * T + start, &a, dropout, H,
                     my_scratch(scratch, longest));
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

static float row_dot(const float *a, const float *b, int64_t n) {
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

/* dq, dk, dv [length, D] with row length 3 H: dq filled, dk and dv added to */
static void head_backward(float *dq, float *dk, float *dv, const float *dy, const float *y,
                          const float *lse, const head *a, const wb_dropout *dropout, int64_t H,
                          float *p) {
    float *dp = p + QUERY_BLOCK * a->length;
    for (int64_t first = 0; first < a->length; first += QUERY_BLOCK) {
        const int64_t left = a->length - first;
        const int64_t rows = left < QUERY_BLOCK ? left : QUERY_BLOCK;
        const float *block_dy = dy + first * H;
        block_scores(p, a, first, rows);
        wb_gemm(dp, a->length, block_dy, H, WB_PLAIN, a->v, a->ld, WB_TRANSPOSED, rows, a->length,
                a->D, 1.0f, 0.0f);
        for (int64_t row = 0; row < rows; row++) {
            const float along = row_dot(block_dy + row * H, y + (first + row) * H, a->D);
            softmax_row_backward(p + row * a->length, dp + row * a->length, a, first + row,
                                 lse[first + row], along, dropout);
        }
        wb_gemm(dv, a->ld, p, a->length, WB_TRANSPOSED, block_dy, H, WB_PLAIN, a->length, a->D,
                rows, 1.0f, first == 0 ? 0.0f : 1.0f);
        wb_gemm(dk, a->ld, dp, a->length, WB_TRANSPOSED, a->q + first * a->ld, a->ld, WB_PLAIN,
                a->length, a->D, rows, a->scale, first == 0 ? 0.0f : 1.0f);
        wb_gemm(dq + first * a->ld, a->ld, dp, a->length, WB_PLAIN, a->k, a->ld, WB_PLAIN, rows,
                a->D, a->length, a->scale, 0.0f);
    }
}

void wb_attention_backward(float *dqkv, const float *dy, const float *y, const float *lse,
                           const float *qkv, const wb_chunk *chunk, const wb_dropout *dropout,
                           int64_t heads, int64_t H, float *scratch) {
    const int64_t T = wb_packed_tokens(&chunk->packed);
    const int64_t longest = longest_sequence(&chunk->packed);
    const int64_t tasks = chunk->packed.n * heads;
#pragma omp parallel for schedule(dynamic, 4)
    for (int64_t task = 0; task < tasks; task++) {
        const int64_t sequence = task / heads, h = task % heads;
        const int64_t start = chunk->packed.offsets[sequence] - chunk->packed.offsets[0];
        const head a = find_head(qkv, chunk, sequence, h, heads, H);
        float *dq = dqkv + start * 3 * H + h * a.D;
        const int64_t at = start * H + h * a.D;
        head_backward(dq, dq + H, dq + 2 * H, dy + at, y + at, lse + h * T + start, &a, dropout, H,
                      my_scratch(scratch, longest));
    }
}
