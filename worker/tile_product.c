/* A tile of c stays in registers over the whole of k; b's rows are read as they stand, elements of
 * a are spread over the lanes. */
#include "tile_product.h"

#include "lanes.h"

static int64_t rounded(int64_t count, int64_t to) {
    return (count + to - 1) / to * to;
}

int64_t wb_tile_rows(int64_t count) {
    return rounded(count, WB_TILE_ROWS);
}

int64_t wb_tile_columns(int64_t count) {
    return rounded(count, WB_LANES);
}

/* One tile of WB_TILE_ROWS rows and `vectors` vectors, a constant where this is inlined. */
static inline __attribute__((always_inline)) void tile(float *c, int64_t ldc, bool add,
                                                       const float *a, int64_t row, int64_t column,
                                                       const float *b, int64_t ldb, int64_t k,
                                                       const int vectors) {
    wb_lanes sums[WB_TILE_ROWS][2];
    for (int i = 0; i < WB_TILE_ROWS; i++) {
        for (int v = 0; v < vectors; v++) {
            sums[i][v] = add ? wb_lanes_load(c + i * ldc + v * WB_LANES) : (wb_lanes){0};
        }
    }
    for (int64_t j = 0; j < k; j++) {
        wb_lanes right[2];
        for (int v = 0; v < vectors; v++) {
            right[v] = wb_lanes_load(b + j * ldb + v * WB_LANES);
        }
        for (int i = 0; i < WB_TILE_ROWS; i++) {
            const float left = a[i * row + j * column];
            for (int v = 0; v < vectors; v++) {
                sums[i][v] += left * right[v];
            }
        }
    }
    for (int i = 0; i < WB_TILE_ROWS; i++) {
        for (int v = 0; v < vectors; v++) {
            wb_lanes_store(c + i * ldc + v * WB_LANES, sums[i][v]);
        }
    }
}

void wb_tile_product(float *c, int64_t ldc, bool add, const float *a, int64_t row, int64_t column,
                     const float *b, int64_t ldb, int64_t m, int64_t n, int64_t k) {
    for (int64_t j = 0; j < n; j += 2 * WB_LANES) {
        for (int64_t i = 0; i < m; i += WB_TILE_ROWS) {
            float *to = c + i * ldc + j;
            if (n - j > WB_LANES) {
                tile(to, ldc, add, a + i * row, row, column, b + j, ldb, k, 2);
            } else {
                tile(to, ldc, add, a + i * row, row, column, b + j, ldb, k, 1);
            }
        }
    }
}
