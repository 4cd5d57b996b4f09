/* Products of matrices that are in cache already: attention's, one head of one sequence at a time,
 * and the loss's, one tile of scores at a time. Nothing is packed, no threads. Each element is a
 * sum in the order of k whatever its place, so that its bits do not depend on how a matrix is cut.
 */
#ifndef WB_TILE_PRODUCT_H
#define WB_TILE_PRODUCT_H

#include <stdbool.h>
#include <stdint.h>

/* Local. `count` rounded up to whole rows or columns of tiles: products are fastest there. */
int64_t wb_tile_rows(int64_t count);
int64_t wb_tile_columns(int64_t count);

/* Local. c [m, n] filled, or added to, with alpha a b: a [m, k], b [k, n]. Element (i, j) of a is
 * a[i * row + j * column]: plain or transposed. Where the caller has padded m and n, rows and
 * columns beyond what it wants may hold anything: no other element of c depends on them. */
void wb_tile_product(float *c, int64_t ldc, bool add, float alpha, const float *a, int64_t row,
                     int64_t column, const float *b, int64_t ldb, int64_t m, int64_t n, int64_t k);

/* Local. The same, but added to `from`, whose rows are ldfrom apart (0: one row for all). */
void wb_tile_product_from(float *c, int64_t ldc, const float *from, int64_t ldfrom, float alpha,
                          const float *a, int64_t row, int64_t column, const float *b, int64_t ldb,
                          int64_t m, int64_t n, int64_t k);

/* Local. to [columns, rows] filled with from [rows, columns]. */
void wb_tile_transpose(float *to, int64_t ldto, const float *from, int64_t ldfrom, int64_t rows,
                       int64_t columns);

#endif
