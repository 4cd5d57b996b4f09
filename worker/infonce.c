/* InfoNCE in two walks. */
#include "infonce.h"

#include "gemm.h"
#include "units.h"
#include "vector_math.h"

#include <string.h>

/* ROWS of one side against COLUMNS of the other: a tile of scores and both operands stay in a
 * second-level cache of 1 MiB for d = 384. */
enum { ROWS = 64, COLUMNS = 256 };

static int64_t at_most(int64_t value, int64_t limit) {
    return value < limit ? value : limit;
}

/* scores [rows, columns] = a bᵀ / tau */
static void tile_scores(float *scores, const float *a, const float *b, int64_t rows,
                        int64_t columns, const wb_infonce *loss) {
    const int64_t d = loss->width;
    wb_gemm(scores, columns, a, d, WB_PLAIN, b, d, WB_TRANSPOSED, rows, columns, d,
            (float)(1.0 / loss->temperature), 0.0f);
}

/* Brings one row's running maximum and sum up to date with a tile of scores, which become exp(score
 * - maximum); sum_row [d] is rescaled to the new maximum. */
static void fold_row(float *scores, int64_t columns, float *most, float *sum, float *sum_row,
                     int64_t d) {
    float tile_most = *most;
#pragma omp simd reduction(max : tile_most)
    for (int64_t j = 0; j < columns; j++) {
        tile_most = scores[j] > tile_most ? scores[j] : tile_most;
    }
    if (tile_most > *most) {
        const float shrink = wb_exp(*most - tile_most);
        *sum *= shrink;
#pragma omp simd
        for (int64_t i = 0; i < d; i++) {
            sum_row[i] *= shrink;
        }
        *most = tile_most;
    }
    float added = 0.0f;
#pragma omp simd reduction(+ : added)
    for (int64_t j = 0; j < columns; j++) {
        scores[j] = wb_exp(scores[j] - tile_most);
        added += scores[j];
    }
    *sum += added;
}

static float dot(const float *a, const float *b, int64_t n) {
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

/* ROWS queries at most, against all passages. */
static void query_tile(float *losses, float *lse, float *dq, const float *q, const float *p,
                       int64_t first, int64_t rows, const wb_infonce *loss, float *scores) {
    const int64_t d = loss->width, N = loss->batch * loss->group;
    float most[ROWS], sum[ROWS];
    for (int64_t i = 0; i < rows; i++) {
        most[i] = -INFINITY;
        sum[i] = 0.0f;
    }
    memset(dq, 0, wb_float_bytes(rows * d));
    for (int64_t column = 0; column < N; column += COLUMNS) {
        const int64_t columns = at_most(N - column, COLUMNS);
        tile_scores(scores, q, p + column * d, rows, columns, loss);
        for (int64_t i = 0; i < rows; i++) {
            fold_row(scores + i * columns, columns, &most[i], &sum[i], dq + i * d, d);
        }
        wb_gemm(dq, d, scores, columns, WB_PLAIN, p + column * d, d, WB_PLAIN, rows, d, columns,
                1.0f, 1.0f);
    }
    const float scale = (float)(1.0 / ((double)loss->batch * loss->temperature));
    for (int64_t i = 0; i < rows; i++) {
        const float *positive = p + (first + i) * loss->group * d;
        const float score = dot(q + i * d, positive, d) * (float)(1.0 / loss->temperature);
        const float share = 1.0f / sum[i];
        lse[i] = most[i] + logf(sum[i]);
        losses[i] = lse[i] - score;
#pragma omp simd
        for (int64_t k = 0; k < d; k++) {
            dq[i * d + k] = (dq[i * d + k] * share - positive[k]) * scale;
        }
    }
}

wb_status wb_infonce_queries(float *losses, float *lse, float *dq, const float *q, const float *p,
                             int64_t first, int64_t n, const wb_infonce *loss, wb_arena *arena) {
    wb_status status = WB_OK;
    const size_t mark = wb_arena_mark(arena);
    const int64_t d = loss->width;
    float *scores;
    WB_TRY(wb_arena_floats(arena, (int64_t)wb_threads() * ROWS * COLUMNS, &scores));
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < n; row += ROWS) {
        query_tile(losses + row, lse + row, dq + row * d, q + row * d, p, first + row,
                   at_most(n - row, ROWS), loss, scores + wb_thread() * ROWS * COLUMNS);
    }
    for (int64_t i = 0; i < n; i++) {
        WB_CHECK(
            isfinite(losses[i]), WB_ERR_NUMERIC,
            "the loss of query %lld of the batch is %g: representations or temperature are out "
            "of range",
            (long long)(first + i), (double)losses[i]);
    }
done:
    wb_arena_release(arena, mark);
    return status;
}

/* ROWS passages at most, against all queries. */
static void passage_tile(float *dp, const float *p, const float *q, const float *lse, int64_t first,
                         int64_t rows, const wb_infonce *loss, float *scores) {
    const int64_t d = loss->width, B = loss->batch;
    for (int64_t column = 0; column < B; column += COLUMNS) {
        const int64_t columns = at_most(B - column, COLUMNS);
        tile_scores(scores, p, q + column * d, rows, columns, loss);
        for (int64_t i = 0; i < rows; i++) {
            float *row = scores + i * columns;
#pragma omp simd
            for (int64_t j = 0; j < columns; j++) {
                row[j] = wb_exp(row[j] - lse[column + j]);
            }
        }
        wb_gemm(dp, d, scores, columns, WB_PLAIN, q + column * d, d, WB_PLAIN, rows, d, columns,
                1.0f, column == 0 ? 0.0f : 1.0f);
    }
    const float scale = (float)(1.0 / ((double)B * loss->temperature));
    for (int64_t i = 0; i < rows; i++) {
        const int64_t passage = first + i;
        const bool positive = passage % loss->group == 0;
        const float *query = q + passage / loss->group * d;
#pragma omp simd
        for (int64_t k = 0; k < d; k++) {
            dp[i * d + k] = (dp[i * d + k] - (positive ? query[k] : 0.0f)) * scale;
        }
    }
}

wb_status wb_infonce_passages(float *dp, const float *p, const float *q, const float *lse,
                              int64_t first, int64_t n, const wb_infonce *loss, wb_arena *arena) {
    wb_status status = WB_OK;
    const size_t mark = wb_arena_mark(arena);
    const int64_t d = loss->width;
    float *scores;
    WB_TRY(wb_arena_floats(arena, (int64_t)wb_threads() * ROWS * COLUMNS, &scores));
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < n; row += ROWS) {
        passage_tile(dp + row * d, p + row * d, q, lse, first + row, at_most(n - row, ROWS), loss,
                     scores + wb_thread() * ROWS * COLUMNS);
    }
done:
    wb_arena_release(arena, mark);
    return status;
}
