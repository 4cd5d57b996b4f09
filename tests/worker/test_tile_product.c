/* Products of tiles in every form and at any size against the same sums in double. */
#include "rng.h"
#include "testing.h"
#include "tile_product.h"

enum { MOST = 70 * 90, LD = 90 };

typedef struct matrices {
    float a[MOST], b[MOST], c[MOST], before[MOST];
} matrices;

static matrices *draw(void) {
    matrices *x = calloc(1, sizeof(*x));
    const wb_rng_key key = {.seed = test_seed(), .site = wb_rng_site(WB_RNG_TEST, 9)};
    for (uint32_t i = 0; i < MOST; i++) {
        x->a[i] = wb_rng_normal(key, i);
        x->b[i] = wb_rng_normal(key, MOST + i);
        x->before[i] = wb_rng_normal(key, 2 * MOST + i);
    }
    memcpy(x->c, x->before, sizeof(x->c));
    return x;
}

/* Elements (i, j) of arrays with rows of LD; a as it stands, or its columns for rows. */
static void check(const matrices *x, bool add, float alpha, bool turned, int64_t m, int64_t n,
                  int64_t k) {
    for (int64_t i = 0; i < MOST / LD; i++) {
        for (int64_t j = 0; j < LD; j++) {
            const double before = (double)x->before[i * LD + j], got = (double)x->c[i * LD + j];
            if (i >= m || j >= n) {
                assert_true(got == before); /* nothing around it is touched */
                continue;
            }
            double sum = 0.0, size = 0.0;
            for (int64_t l = 0; l < k; l++) {
                const double a = (double)x->a[turned ? l * LD + i : i * LD + l];
                sum += a * (double)x->b[l * LD + j];
                size += fabs(a * (double)x->b[l * LD + j]);
            }
            const double wanted = (double)alpha * sum + (add ? before : 0.0);
            if (!(fabs(got - wanted) <= (double)(k + 4) * 0x1p-24 * (size + fabs(before)))) {
                fail_msg("%lld x %lld x %lld, element %lld, %lld: got %.9g, wanted %.9g",
                         (long long)m, (long long)n, (long long)k, (long long)i, (long long)j, got,
                         wanted);
            }
        }
    }
}

static void products_of_any_size_equal_sums_in_double(void **state) {
    (void)state;
    static const int64_t rows[] = {0, 1, 3, 8, 13, 56, 57, 70};
    static const int64_t columns[] = {1, 15, 16, 32, 48, 61, 90}, depths[] = {0, 1, 17, 70};
    matrices *x = draw();
    for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
        for (size_t c = 0; c < sizeof(columns) / sizeof(columns[0]); c++) {
            for (size_t d = 0; d < 2 * sizeof(depths) / sizeof(depths[0]); d++) {
                const bool turned = d % 2, add = (r + c) % 2;
                const float alpha = add ? 1.0f : -2.5f;
                const int64_t m = rows[r], n = columns[c], k = depths[d / 2];
                memcpy(x->c, x->before, sizeof(x->c));
                wb_tile_product(x->c, LD, add, alpha, x->a, turned ? 1 : LD, turned ? LD : 1, x->b,
                                LD, m, n, k);
                check(x, add, alpha, turned, m, n, k);
            }
        }
    }
    free(x);
}

/* One row below all, or rows of another array: as if c had held them before. */
static void a_product_is_added_to_rows_that_stand_elsewhere(void **state) {
    (void)state;
    enum { M = 23, N = 61, K = 19 };
    matrices *x = draw();
    float *expected = malloc(sizeof(x->c));
    for (int64_t apart = 0; apart <= LD; apart += LD) {
        memcpy(x->c, x->before, sizeof(x->c));
        for (int64_t i = 0; i < M; i++) {
            memcpy(x->c + i * LD, x->before + LD + i * apart, N * sizeof(float));
        }
        wb_tile_product(x->c, LD, true, 1.0f, x->a, LD, 1, x->b, LD, M, N, K);
        memcpy(expected, x->c, sizeof(x->c));
        memcpy(x->c, x->before, sizeof(x->c));
        wb_tile_product_from(x->c, LD, x->before + LD, apart, 1.0f, x->a, LD, 1, x->b, LD, M, N, K);
        assert_memory_equal(x->c, expected, sizeof(x->c));
    }
    free(expected);
    free(x);
}

/* Cut anywhere into four, and with the rows of a in any kind of tile. */
static void bits_do_not_depend_on_cuts(void **state) {
    (void)state;
    enum { M = 70, N = 90, K = 60 };
    matrices *x = draw();
    float *whole = malloc(sizeof(x->c));
    wb_tile_product(x->c, LD, true, 0.75f, x->a, LD, 1, x->b, LD, M, N, K);
    memcpy(whole, x->c, sizeof(x->c));
    const wb_rng_key key = {.seed = test_seed(), .site = wb_rng_site(WB_RNG_TEST, 10)};
    for (uint32_t cut = 0; cut < 40; cut++) {
        const int64_t i = (int64_t)(wb_rng_uniform(key, 2 * cut) * M);
        const int64_t j = (int64_t)(wb_rng_uniform(key, 2 * cut + 1) * N);
        memcpy(x->c, x->before, sizeof(x->c));
        wb_tile_product(x->c, LD, true, 0.75f, x->a, LD, 1, x->b, LD, i, j, K);
        wb_tile_product(x->c + j, LD, true, 0.75f, x->a, LD, 1, x->b + j, LD, i, N - j, K);
        wb_tile_product(x->c + i * LD, LD, true, 0.75f, x->a + i * LD, LD, 1, x->b, LD, M - i, j,
                        K);
        wb_tile_product(x->c + i * LD + j, LD, true, 0.75f, x->a + i * LD, LD, 1, x->b + j, LD,
                        M - i, N - j, K);
        assert_memory_equal(x->c, whole, sizeof(x->c));
    }
    free(whole);
    free(x);
}

static void turning_twice_changes_nothing(void **state) {
    (void)state;
    static const int64_t sizes[][2] = {{1, 1}, {16, 16}, {17, 33}, {70, 64}, {5, 90}, {48, 3}};
    matrices *x = draw();
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        const int64_t rows = sizes[s][0], columns = sizes[s][1];
        float turned[MOST];
        memcpy(x->c, x->before, sizeof(x->c));
        wb_tile_transpose(turned, rows, x->a, LD, rows, columns);
        wb_tile_transpose(x->c, LD, turned, rows, columns, rows);
        for (int64_t i = 0; i < MOST / LD; i++) {
            for (int64_t j = 0; j < LD; j++) {
                const bool inside = i < rows && j < columns;
                assert_true(x->c[i * LD + j] == (inside ? x->a : x->before)[i * LD + j]);
                assert_true(!inside || turned[j * rows + i] == x->a[i * LD + j]);
            }
        }
    }
    free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_of_any_size_equal_sums_in_double),
        cmocka_unit_test(a_product_is_added_to_rows_that_stand_elsewhere),
        cmocka_unit_test(bits_do_not_depend_on_cuts),
        cmocka_unit_test(turning_twice_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
