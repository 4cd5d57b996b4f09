/* STREAM's triad. */
#include "triad.h"

#include "threads.h"
#include "units.h"

#include <unistd.h>

int64_t wb_triad_floats(void) {
    const int64_t usual = (int64_t)64 << 20, each = (int64_t)8 << 20; /* a thread's share of L3 */
    const int64_t cache = 2 * (int64_t)sysconf(_SC_LEVEL3_CACHE_SIZE), all = each * wb_threads();
    int64_t bytes = usual > cache ? usual : cache;
    bytes = bytes > all ? bytes : all;
    return bytes / (int64_t)sizeof(float);
}

static void triad(float *restrict a, const float *restrict b, const float *restrict c, int64_t n) {
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < n; i++) {
        a[i] = b[i] + 0.5f * c[i];
    }
}

/* By the threads that walk it later, so that pages lie near them. */
static void clear(float *restrict a, int64_t n) {
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < n; i++) {
        a[i] = 0.0f;
    }
}

double wb_triad_rate(int64_t n, double seconds, float *scratch) {
    float *a = scratch, *b = a + n, *c = b + n;
    clear(a, n);
    clear(b, n);
    clear(c, n);
    const double began = wb_now();
    double elapsed = 0.0;
    int64_t rounds = 0;
    for (; elapsed < seconds; rounds++, elapsed = wb_now() - began) {
        /* each round reads what the one before wrote: none can be left out */
        triad(rounds % 2 == 0 ? a : b, rounds % 2 == 0 ? b : a, c, n);
    }
    return 3.0 * (double)sizeof(float) * (double)n * (double)rounds / elapsed;
}
