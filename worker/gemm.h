/* Matrix products: the only file that calls BLAS. Row-major throughout. */
#ifndef WB_GEMM_H
#define WB_GEMM_H

#include "numbers.h"

#include <stdbool.h>
#include <stdint.h>

/* Local. c = alpha * op(a) op(b) + beta * c, op(a) [m, k], op(b) [k, n], c [m, n]; lda, ldb and ldc
 * are the row lengths of the arrays as stored. c is filled (added to where beta is 1). */
void wb_gemm(float *c, int64_t ldc, const float *a, int64_t lda, wb_transpose a_form,
             const float *b, int64_t ldb, wb_transpose b_form, int64_t m, int64_t n, int64_t k,
             float alpha, float beta);

/* Local. Floating-point operations a second of one product of this shape with op(b) transposed,
 * over about `seconds`; scratch [m k + n k + m n]. All threads of the rank work on it. */
double wb_gemm_rate(int64_t m, int64_t n, int64_t k, double seconds, float *scratch);

/* Local. What the BLAS library says of itself: its processor path and version. */
const char *wb_gemm_library(void);

/* Local. OpenBLAS chooses its kernels while it is loaded, by a list of processors: on one that is
 * newer than the list it may miss half of the machine. Returns the kernels (a value of
 * OPENBLAS_CORETYPE) that suit these instructions better than `chosen` does, or NULL. */
const char *wb_gemm_better_kernels(const char *chosen, bool avx512, bool avx512_bf16);

/* Local. The kernels that OpenBLAS chose. */
const char *wb_gemm_kernels(void);

#endif
