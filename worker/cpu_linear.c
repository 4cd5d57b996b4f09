/* Linear layers and GELU on the CPU. */
#include "gemm.h"
#include "ops.h"
#include "vector_math.h"

#include <string.h>

void wb_linear_forward(float *y, const float *x, const float *w, const float *b, int64_t rows,
                       int64_t in, int64_t out) {
    /* The bias goes in first: the product is then added, with no pass of its own. */
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        memcpy(y + row * out, b, (size_t)out * sizeof(float));
    }
    wb_gemm(y, out, x, in, WB_PLAIN, w, in, WB_TRANSPOSED, rows, out, in, 1.0f, 1.0f);
}

/* total [columns] added to; each strip of columns is summed by one thread, top to bottom */
static void column_sums(float *total, const float *x, int64_t rows, int64_t columns) {
    enum { STRIP = 64 };
    const int64_t strips = (columns + STRIP - 1) / STRIP;
#pragma omp parallel for schedule(static)
    for (int64_t strip = 0; strip < strips; strip++) {
        const int64_t first = strip * STRIP;
        const int64_t width = columns - first < STRIP ? columns - first : STRIP;
        float sums[STRIP] = {0};
        for (int64_t row = 0; row < rows; row++) {
            const float *from = x + row * columns + first;
#pragma omp simd
            for (int64_t i = 0; i < width; i++) {
                sums[i] += from[i];
            }
        }
        for (int64_t i = 0; i < width; i++) {
            total[first + i] += sums[i];
        }
    }
}

void wb_linear_backward_input(float *dx, bool add_dx, const float *dy, const float *w, int64_t rows,
                              int64_t in, int64_t out) {
    wb_gemm(dx, in, dy, out, WB_PLAIN, w, in, WB_PLAIN, rows, in, out, 1.0f, add_dx ? 1.0f : 0.0f);
}

void wb_linear_backward_weights(float *dw, float *db, const float *dy, const float *x, int64_t rows,
                                int64_t in, int64_t out) {
    wb_gemm(dw, in, dy, out, WB_TRANSPOSED, x, in, WB_PLAIN, out, in, rows, 1.0f, 1.0f);
    column_sums(db, dy, rows, out);
}

void wb_gelu_forward(float *y, const float *x, int64_t count) {
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) {
        float density;
        y[i] = x[i] * wb_normal(x[i], &density);
    }
}

void wb_gelu_backward(float *dx, float *y, const float *dy, const float *x, int64_t count) {
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) {
        float density;
        const float probability = wb_normal(x[i], &density);
        const float slope = probability + x[i] * density;
        y[i] = x[i] * probability;
        dx[i] = dy[i] * slope;
    }
}
