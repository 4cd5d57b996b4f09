/* A tile of c stays in registers over the whole of k; b's rows are read as they stand, elements of
 * a are spread over the lanes. */
#include "tile_product.h"

#include "lanes.h"

#if defined(__AVX512F__)
enum { TALL_ROWS = 14 }; /* 28 of 32 registers hold sums */
#else
enum { TALL_ROWS = 6 }; /* 12 of 16 */
#endif

static int64_t rounded(int64_t count, int64_t to) {
    return (count + to - 1) / to * to;
}

int64_t wb_tile_rows(int64_t count) {
    return rounded(count, WB_TILE_ROWS);
}

int64_t wb_tile_columns(int64_t count) {
    return rounded(count, WB_LANES);
}

/* A product, or what is left of it below and right of some element. */
typedef struct product {
    float *c;
    int64_t ldc;
    const float *from; /* what is added to: c, one row for all, or NULL */
    int64_t ldfrom;
    float alpha;
    const float *a;
    int64_t row, column;
    const float *b;
    int64_t ldb, k;
} product;

/* One tile of `rows` rows and `vectors` vectors, constants where this is inlined. */
static inline __attribute__((always_inline)) void tile(const product *p, int64_t i0, int64_t j0,
                                                       const int rows, const int vectors) {
    float *const c = p->c + i0 * p->ldc + j0;
    const int64_t ldc = p->ldc, row = p->row, column = p->column, ldb = p->ldb, k = p->k;
    const float *b = p->b + j0;
    /* rows of a are reached from every third one: an address takes one multiple of `row` */
    const float *left[TALL_ROWS / 3 + 1];
    wb_lanes sums[TALL_ROWS][2];
    for (int i = 0; i < rows; i++) {
        left[i / 3] = p->a + (i0 + i / 3 * 3) * row;
        for (int v = 0; v < vectors; v++) {
            sums[i][v] = (wb_lanes){0};
            __builtin_prefetch(c + i * ldc + v * WB_LANES, 1);
        }
    }
    for (int64_t j = 0; j < k; j++) {
        wb_lanes right[2];
        for (int v = 0; v < vectors; v++) {
            right[v] = wb_lanes_load(b + j * ldb + v * WB_LANES);
        }
        for (int i = 0; i < rows; i++) {
            const float factor = left[i / 3][i % 3 * row];
            for (int v = 0; v < vectors; v++) {
                sums[i][v] = wb_lanes_fma(factor, right[v], sums[i][v]);
            }
        }
        for (int i = 0; i < rows; i += 3) {
            left[i / 3] += column;
        }
    }
    const float *const from = p->from ? p->from + i0 * p->ldfrom + j0 : NULL;
    for (int i = 0; i < rows; i++) {
        for (int v = 0; v < vectors; v++) {
            const wb_lanes before =
                from ? wb_lanes_load(from + i * p->ldfrom + v * WB_LANES) : (wb_lanes){0};
            wb_lanes_store(c + i * ldc + v * WB_LANES, wb_lanes_fma(p->alpha, sums[i][v], before));
        }
    }
}

/* Fewer columns than a vector has. */
static void narrow_rows(const product *p, int64_t m, int64_t j0, int64_t columns) {
    for (int64_t i = 0; i < m; i++) {
        float sums[WB_LANES] = {0}, *to = p->c + i * p->ldc + j0;
        for (int64_t j = 0; j < p->k; j++) {
            const float factor = p->a[i * p->row + j * p->column];
            for (int64_t t = 0; t < columns; t++) {
                sums[t] = wb_lane_fma(factor, p->b[j * p->ldb + j0 + t], sums[t]);
            }
        }
        for (int64_t t = 0; t < columns; t++) {
            const float before = p->from ? p->from[i * p->ldfrom + j0 + t] : 0.0f;
            to[t] = wb_lane_fma(p->alpha, sums[t], before);
        }
    }
}

/* All columns of `rows` rows, a constant where this is inlined: what they read of a stays near. */
static inline __attribute__((always_inline)) void rows_of_tiles(const product *p, int64_t i,
                                                                int64_t n, const int rows) {
    int64_t j = 0;
    for (; j + 2 * WB_LANES <= n; j += 2 * WB_LANES) {
        tile(p, i, j, rows, 2);
    }
    if (j + WB_LANES <= n) {
        tile(p, i, j, rows < WB_TILE_ROWS ? rows : WB_TILE_ROWS, 1);
        for (int done = WB_TILE_ROWS; done < rows; done += 2) {
            tile(p, i + done, j, 2, 1);
        }
    }
}

/* Rows for tall tiles, which fill the registers: as many as leave whole tiles, if any do. */
static int64_t tall_rows(int64_t m) {
    enum { TRIES = WB_TILE_ROWS / 2 }; /* then remainders come again */
    for (int64_t tall = m / TALL_ROWS; tall >= 0 && tall > m / TALL_ROWS - TRIES; tall--) {
        if ((m - tall * TALL_ROWS) % WB_TILE_ROWS == 0) {
            return tall * TALL_ROWS;
        }
    }
    return m / TALL_ROWS * TALL_ROWS;
}

void wb_tile_product_from(float *c, int64_t ldc, const float *from, int64_t ldfrom, float alpha,
                          const float *a, int64_t row, int64_t column, const float *b, int64_t ldb,
                          int64_t m, int64_t n, int64_t k) {
    const product p = {c, ldc, from, ldfrom, alpha, a, row, column, b, ldb, k};
    const int64_t tall = tall_rows(m);
    int64_t i = 0;
    for (; i < tall; i += TALL_ROWS) {
        rows_of_tiles(&p, i, n, TALL_ROWS);
    }
    for (; i + WB_TILE_ROWS <= m; i += WB_TILE_ROWS) {
        rows_of_tiles(&p, i, n, WB_TILE_ROWS);
    }
    for (; i + 2 <= m; i += 2) {
        rows_of_tiles(&p, i, n, 2);
    }
    if (i < m) {
        rows_of_tiles(&p, i, n, 1);
    }
    if (n % WB_LANES > 0) {
        narrow_rows(&p, m, n / WB_LANES * WB_LANES, n % WB_LANES);
    }
}

void wb_tile_product(float *c, int64_t ldc, bool add, float alpha, const float *a, int64_t row,
                     int64_t column, const float *b, int64_t ldb, int64_t m, int64_t n, int64_t k) {
    wb_tile_product_from(c, ldc, add ? c : NULL, ldc, alpha, a, row, column, b, ldb, m, n, k);
}

/* Zipping rows with those half of the square away, as often as it takes, turns the square. */
static void turn_square(float *to, int64_t ldto, const float *from, int64_t ldfrom) {
    wb_lanes rows[WB_LANES], zipped[WB_LANES];
    for (int i = 0; i < WB_LANES; i++) {
        rows[i] = wb_lanes_load(from + i * ldfrom);
    }
    for (int turn = 1; turn < WB_LANES; turn *= 2) {
        for (int i = 0; i < WB_LANES / 2; i++) {
            zipped[2 * i] = wb_lanes_zip(rows[i], rows[i + WB_LANES / 2], false);
            zipped[2 * i + 1] = wb_lanes_zip(rows[i], rows[i + WB_LANES / 2], true);
        }
        for (int i = 0; i < WB_LANES; i++) {
            rows[i] = zipped[i];
        }
    }
    for (int i = 0; i < WB_LANES; i++) {
        wb_lanes_store(to + i * ldto, rows[i]);
    }
}

static void turn_rest(float *to, int64_t ldto, const float *from, int64_t ldfrom, int64_t rows,
                      int64_t columns) {
    for (int64_t j = 0; j < columns; j++) {
        for (int64_t i = 0; i < rows; i++) {
            to[j * ldto + i] = from[i * ldfrom + j];
        }
    }
}

void wb_tile_transpose(float *to, int64_t ldto, const float *from, int64_t ldfrom, int64_t rows,
                       int64_t columns) {
    const int64_t whole_rows = rows / WB_LANES * WB_LANES;
    const int64_t whole_columns = columns / WB_LANES * WB_LANES;
    for (int64_t j = 0; j < whole_columns; j += WB_LANES) {
        for (int64_t i = 0; i < whole_rows; i += WB_LANES) {
            turn_square(to + j * ldto + i, ldto, from + i * ldfrom + j, ldfrom);
        }
    }
    turn_rest(to + whole_columns * ldto, ldto, from + whole_columns, ldfrom, whole_rows,
              columns - whole_columns);
    turn_rest(to + whole_rows, ldto, from + whole_rows * ldfrom, ldfrom, rows - whole_rows,
              columns);
}
