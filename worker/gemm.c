/* OpenBLAS behind one call. */
#include "gemm.h"

#include "units.h"

#include <cblas.h>
#include <stdio.h>
#include <strings.h>

void wb_gemm(float *c, int64_t ldc, const float *a, int64_t lda, wb_transpose a_form,
             const float *b, int64_t ldb, wb_transpose b_form, int64_t m, int64_t n, int64_t k,
             float alpha, float beta) {
    if (m == 0 || n == 0 || (k == 0 && beta == 1.0f)) {
        return;
    }
    cblas_sgemm(CblasRowMajor, a_form == WB_TRANSPOSED ? CblasTrans : CblasNoTrans,
                b_form == WB_TRANSPOSED ? CblasTrans : CblasNoTrans, wb_int(m), wb_int(n),
                wb_int(k), alpha, a, wb_int(lda), b, wb_int(ldb), beta, c, wb_int(ldc));
}

double wb_gemm_rate(int64_t m, int64_t n, int64_t k, double seconds, float *scratch) {
    float *a = scratch, *b = a + m * k, *c = b + n * k;
    for (int64_t i = 0; i < m * k + n * k; i++) {
        scratch[i] = (float)(i % 7) * 0.125f;
    }
    wb_gemm(c, n, a, k, WB_PLAIN, b, k, WB_TRANSPOSED, m, n, k, 1.0f, 0.0f);
    const double began = wb_now();
    double elapsed = 0.0;
    int64_t rounds = 0;
    for (; elapsed < seconds; rounds++, elapsed = wb_now() - began) {
        wb_gemm(c, n, a, k, WB_PLAIN, b, k, WB_TRANSPOSED, m, n, k, 1.0f, 0.0f);
    }
    return 2.0 * (double)m * (double)n * (double)k * (double)rounds / elapsed;
}

const char *wb_gemm_library(void) {
    static char text[256];
    (void)snprintf(text, sizeof(text), "%s, kernels for %s", openblas_get_config(),
                   openblas_get_corename());
    return text;
}

const char *wb_gemm_kernels(void) {
    return openblas_get_corename();
}

const char *wb_gemm_better_kernels(const char *chosen, bool avx512, bool avx512_bf16) {
    static const char *const wide[] = {"SkylakeX", "Cooperlake", "SapphireRapids"};
    for (size_t i = 0; i < sizeof(wide) / sizeof(wide[0]); i++) {
        if (strcasecmp(chosen, wide[i]) == 0) {
            return NULL;
        }
    }
    return !avx512 ? NULL : (avx512_bf16 ? "Cooperlake" : "SkylakeX");
}
