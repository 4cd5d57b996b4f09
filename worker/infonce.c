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
 * - maximum); sum_row [d] is rescaled to the new maximum. A score of -infinity takes no part. */
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
        scores[j] = scores[j] == -INFINITY ? 0.0f : wb_exp(scores[j] - tile_most);
        added += scores[j];
    }
    *sum += added;
}

/* What one query's walk over the negatives left, and its positive's score, become loss and
 * gradient.
 *
 * The positive is kept out of the sums: with x = log-sum-exp of the negatives - its score, the loss
 * is log(1 + e^x) and the gradient sigmoid(x) (mean of the negatives - positive). A trained model's
 * losses are tiny, and 1 - probability would leave no digits of them in single precision. */
static void finish_query(float *loss, float *lse, float *dq, const float *positive, float score,
                         float most, float sum, float scale, int64_t d) {
    const float x = (most - score) + logf(sum);
    *loss = x > 0.0f ? x + log1pf(expf(-x)) : log1pf(expf(x));
    *lse = score + *loss;
    const float share = sum == 0.0f ? 0.0f : 1.0f / sum;
    const float miss = scale / (1.0f + expf(-x));
#pragma omp simd
    for (int64_t k = 0; k < d; k++) {
        dq[k] = miss * (dq[k] * share - positive[k]);
    }
}

/* ROWS queries at most, against all passages. */
static void query_tile(float *losses, float *lse, float *dq, const float *q, const float *p,
                       int64_t first, int64_t rows, const wb_infonce *loss, float *scores) {
    const int64_t d = loss->width, N = loss->batch * loss->group;
    float most[ROWS], sum[ROWS], positive[ROWS];
    for (int64_t i = 0; i < rows; i++) {
        most[i] = -INFINITY;
        sum[i] = 0.0f;
    }
    memset(dq, 0, wb_float_bytes(rows * d));
    for (int64_t column = 0; column < N; column += COLUMNS) {
        const int64_t columns = at_most(N - column, COLUMNS);
        tile_scores(scores, q, p + column * d, rows, columns, loss);
        for (int64_t i = 0; i < rows; i++) {
            float *row = scores + i * columns;
            const int64_t own = (first + i) * loss->group - column;
            if (own >= 0 && own < columns) {
                positive[i] = row[own];
                row[own] = -INFINITY;
            }
            fold_row(row, columns, &most[i], &sum[i], dq + i * d, d);
        }
        wb_gemm(dq, d, scores, columns, WB_PLAIN, p + column * d, d, WB_PLAIN, rows, d, columns,
                1.0f, 1.0f);
    }
    const float scale = (float)(1.0 / ((double)loss->batch * loss->temperature));
    for (int64_t i = 0; i < rows; i++) {
        finish_query(&losses[i], &lse[i], dq + i * d, p + (first + i) * loss->group * d,
                     positive[i], most[i], sum[i], scale, d);
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

/* ROWS passages at most, against all queries. The weight of a query's own positive is its
 * probability less one, which the loss tells without cancellation. */
static void passage_tile(float *dp, const float *p, const float *q, const float *lse,
                         const float *losses, int64_t first, int64_t rows, const wb_infonce *loss,
                         float *scores) {
    const int64_t d = loss->width, B = loss->batch;
    const float scale = (float)(1.0 / ((double)B * loss->temperature));
    for (int64_t column = 0; column < B; column += COLUMNS) {
        const int64_t columns = at_most(B - column, COLUMNS);
        tile_scores(scores, p, q + column * d, rows, columns, loss);
        for (int64_t i = 0; i < rows; i++) {
            float *row = scores + i * columns;
#pragma omp simd
            for (int64_t j = 0; j < columns; j++) {
                row[j] = wb_exp(row[j] - lse[column + j]);
            }
            const int64_t own = (first + i) / loss->group - column;
            if ((first + i) % loss->group == 0 && own >= 0 && own < columns) {
                row[own] = expm1f(-losses[column + own]);
            }
        }
        wb_gemm(dp, d, scores, columns, WB_PLAIN, q + column * d, d, WB_PLAIN, rows, d, columns,
                scale, column == 0 ? 0.0f : 1.0f);
    }
}

wb_status wb_infonce_passages(float *dp, const float *p, const float *q, const float *lse,
                              const float *losses, int64_t first, int64_t n, const wb_infonce *loss,
                              wb_arena *arena) {
    wb_status status = WB_OK;
    const size_t mark = wb_arena_mark(arena);
    const int64_t d = loss->width;
    float *scores;
    WB_TRY(wb_arena_floats(arena, (int64_t)wb_threads() * ROWS * COLUMNS, &scores));
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < n; row += ROWS) {
        passage_tile(dp + row * d, p + row * d, q, lse, losses, first + row, at_most(n - row, ROWS),
                     loss, scores + wb_thread() * ROWS * COLUMNS);
    }
done:
    wb_arena_release(arena, mark);
    return status;
}
