/* Products of small matrices that are in cache already: attention's, one head of one sequence at a
 * time. No packing, no threads, no tails: the caller pads rows and columns to whole tiles. */
#ifndef WB_TILE_PRODUCT_H
#define WB_TILE_PRODUCT_H

#include <stdbool.h>
#include <stdint.h>

/* Local. `count` rounded up to whole rows or columns of tiles. */
int64_t wb_tile_rows(int64_t count);
int64_t wb_tile_columns(int64_t count);

/* Local. c [m, n] filled, or added to: a [m, k] times b [k, n]. Element (i, j) of a is
 * a[i * row + j * column]: plain or transposed. m and n are whole tiles; rows and columns beyond
 * what the caller wants may hold anything, since no other element of c depends on them. */
void wb_tile_product(float *c, int64_t ldc, bool add, const float *a, int64_t row, int64_t column,
                     const float *b, int64_t ldb, int64_t m, int64_t n, int64_t k);

#endif
