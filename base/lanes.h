/* Vectors of floats that stay in registers: the compiler extension behind kernels whose registers
 * are laid out by hand. GCC and clang make one instruction of each operation, on any processor. */
#ifndef WB_LANES_H
#define WB_LANES_H

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

#endif
