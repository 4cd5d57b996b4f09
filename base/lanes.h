/* Vectors that stay in registers: the compiler extension behind kernels whose registers are laid
 * out by hand. GCC and clang make one instruction of each operation, on any processor; the
 * exceptions are named below. */
#ifndef WB_LANES_H
#define WB_LANES_H

#include <stdbool.h>
#include <stdint.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

/* What the program was compiled for. */
#if defined(__AVX512F__)
#define WB_BUILT_FOR "AVX-512"
#elif defined(__AVX2__)
#define WB_BUILT_FOR "AVX2"
#else
#define WB_BUILT_FOR "the baseline processor"
#endif

#if defined(__AVX512F__)
enum { WB_LANES = 16, WB_TILE_ROWS = 8 }; /* 16 of 32 registers hold a tile of two columns */
#else
enum { WB_LANES = 8, WB_TILE_ROWS = 4 }; /* 8 of 16 */
#endif

typedef float wb_lanes __attribute__((vector_size(WB_LANES * 4)));

/* The same at any address of an array of floats. */
typedef float wb_lanes_anywhere __attribute__((vector_size(WB_LANES * 4), aligned(4), may_alias));

static inline wb_lanes wb_lanes_load(const float *from) {
    return *(const wb_lanes_anywhere *)from;
}

static inline void wb_lanes_store(float *to, wb_lanes x) {
    *(wb_lanes_anywhere *)to = x;
}

/* a b + c, rounded once where the processor can: one way for vectors and for what is left beside
 * them, where a compiler might contract one and not the other. */
static inline wb_lanes wb_lanes_fma(float a, wb_lanes b, wb_lanes c) {
#if defined(__AVX512F__)
    return (wb_lanes)_mm512_fmadd_ps(_mm512_set1_ps(a), (__m512)b, (__m512)c);
#elif defined(__AVX2__) && defined(__FMA__)
    return (wb_lanes)_mm256_fmadd_ps(_mm256_set1_ps(a), (__m256)b, (__m256)c);
#else
    return a * b + c;
#endif
}

static inline float wb_lane_fma(float a, float b, float c) {
#if defined(__FMA__)
    return __builtin_fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

/* a0 b0 a1 b1 …: of the first halves, or of the second ones. */
static inline wb_lanes wb_lanes_zip(wb_lanes a, wb_lanes b, bool second) {
#if defined(__AVX512F__)
    return second ? __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14,
                                            30, 15, 31)
                  : __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22,
                                            7, 23);
#else
    return second ? __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
                  : __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
#endif
}

/* 64-bit whole numbers, and the whole product of their lower halves: one instruction, which no
 * compiler finds in the product of two numbers whose upper halves are cleared. */
enum { WB_WIDE_LANES = WB_LANES / 2 };

typedef uint64_t wb_wide_lanes __attribute__((vector_size(WB_WIDE_LANES * 8)));

static inline wb_wide_lanes wb_wide_product(wb_wide_lanes a, wb_wide_lanes b) {
#if defined(__AVX512F__)
    return (wb_wide_lanes)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
    return (wb_wide_lanes)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#else
    return (a & UINT32_MAX) * (b & UINT32_MAX);
#endif
}

#endif
