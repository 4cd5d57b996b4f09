/* Cutting and widening rows; unit length is the pooling's normalisation. */
#include "matryoshka.h"

#include "ops.h"
#include "units.h"

#include <string.h>

void wb_matryoshka_forward(float *y, float *norms, const float *x, int64_t n, int64_t d,
                           int64_t width) {
    for (int64_t i = 0; i < n; i++) {
        memcpy(y + i * width, x + i * d, wb_float_bytes(width));
    }
    if (norms) {
        wb_normalize_forward(y, norms, y, n, width);
    }
}

void wb_matryoshka_backward(float *dx, float *dy, const float *y, const float *norms, int64_t n,
                            int64_t d, int64_t width, double weight) {
    const float by = (float)weight;
    if (norms) {
        wb_normalize_backward(dy, dy, y, norms, n, width);
    }
    for (int64_t i = 0; i < n; i++) {
#pragma omp simd
        for (int64_t k = 0; k < width; k++) {
            dx[i * d + k] += by * dy[i * width + k];
        }
    }
}
