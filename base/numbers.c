/* fp32 to bf16 and back, vectorised. */
#include "numbers.h"

#include <string.h>

void wb_widen(float *restrict to, const uint16_t *restrict from, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const uint32_t bits = (uint32_t)from[i] << 16;
        memcpy(to + i, &bits, sizeof(bits));
    }
}

void wb_narrow(uint16_t *restrict to, const float *restrict from, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, from + i, sizeof(bits));
        const uint32_t rounded = bits + 0x7fffu + (bits >> 16 & 1u);
        const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
        to[i] = (uint16_t)((is_nan ? bits | 0x400000u : rounded) >> 16);
    }
}
