/* Products of linear layers in every form and both precisions against the same sums in double. */
#include "product.h"
#include "rng.h"
#include "testing.h"
#include "units.h"

#ifdef _OPENMP
#include <omp.h>
#endif

enum { MOST = 70 * 300 };

typedef struct product_case {
    int64_t m, n, k;
    wb_transpose a, b;
    bool add, biased;
} product_case;

static const product_case cases[] = {
    {5, 6, 7, WB_PLAIN, WB_TRANSPOSED, false, true},
    {70, 48, 300, WB_PLAIN, WB_TRANSPOSED, false, true},
    {33, 65, 16, WB_PLAIN, WB_PLAIN, false, false},
    {33, 65, 16, WB_PLAIN, WB_PLAIN, true, false},
    {64, 32, 257, WB_TRANSPOSED, WB_PLAIN, true, false},
    {1, 1, 1, WB_TRANSPOSED, WB_PLAIN, true, false},
};
enum { CASES = sizeof(cases) / sizeof(cases[0]) };

static float at(const float *x, wb_transpose form, int64_t i, int64_t j, int64_t rows,
                int64_t columns) {
    return form == WB_PLAIN ? x[i * columns + j] : x[j * rows + i];
}

typedef struct matrices {
    float a[MOST], b[MOST], c[MOST], before[MOST], bias[300];
    uint16_t a16[MOST], b16[MOST], c16[MOST];
} matrices;

/* Inputs that are bf16 already, so that both precisions have the same right answer. */
static matrices *draw(void) {
    matrices *x = calloc(1, sizeof(*x));
    const wb_rng_key key = {.seed = test_seed(), .site = wb_rng_site(WB_RNG_TEST, 8)};
    for (int i = 0; i < MOST; i++) {
        x->a[i] = wb_rng_normal(key, (uint32_t)i);
        x->b[i] = wb_rng_normal(key, (uint32_t)(MOST + i));
        x->before[i] = wb_rng_normal(key, (uint32_t)(2 * MOST + i));
    }
    for (int i = 0; i < 300; i++) {
        x->bias[i] = wb_rng_normal(key, (uint32_t)(3 * MOST + i));
    }
    wb_narrow(x->a16, x->a, MOST);
    wb_narrow(x->b16, x->b, MOST);
    wb_widen(x->a, x->a16, MOST);
    wb_widen(x->b, x->b16, MOST);
    return x;
}

/* Runs one case; a result in bf16 is widened into c. */
static void multiply(matrices *x, const product_case *p, wb_precision factors,
                     wb_precision result) {
    const bool narrow = factors == WB_BF16;
    const wb_numbers a = narrow ? (wb_numbers){.bf16 = x->a16} : wb_fp32(x->a);
    const wb_numbers b = narrow ? (wb_numbers){.bf16 = x->b16} : wb_fp32(x->b);
    const wb_numbers c = result == WB_BF16 ? (wb_numbers){.bf16 = x->c16} : wb_fp32(x->c);
    memcpy(x->c, x->before, sizeof(x->c));
    wb_product(c, p->add, (wb_factor){a, p->a}, (wb_factor){b, p->b}, p->biased ? x->bias : NULL,
               p->m, p->n, p->k);
    if (result == WB_BF16) {
        wb_widen(x->c, x->c16, p->m * p->n);
    }
}

/* Of `every` so many elements. `plus` is a row, or where the product adds a matrix, or NULL.
 * Allowed are `terms` roundings of the sum's size, and then `rounding` of the result. */
static void check(const float *c, const product_case *p, const float *a, const float *b,
                  const float *plus, int64_t every, int64_t terms, double rounding) {
    for (int64_t i = 0; i < p->m * p->n; i += every) {
        double sum = plus ? (double)plus[p->add ? i : i % p->n] : 0.0, size = fabs(sum);
        for (int64_t l = 0; l < p->k; l++) {
            const double term = (double)at(a, p->a, i / p->n, l, p->m, p->k) *
                                (double)at(b, p->b, l, i % p->n, p->k, p->n);
            sum += term;
            size += fabs(term);
        }
        const double allowed = (double)terms * 0x1p-24 * (size + fabs(sum)) + rounding * fabs(sum);
        if (!(fabs((double)c[i] - sum) <= allowed)) {
            fail_msg("%lld x %lld x %lld, element %lld, %lld: got %.9g, wanted %.9g",
                     (long long)p->m, (long long)p->n, (long long)p->k, (long long)(i / p->n),
                     (long long)(i % p->n), (double)c[i], sum);
        }
    }
}

/* All of them: sums of k terms in fp32, in any order. */
static void check_all(const matrices *x, const product_case *p, double rounding) {
    check(x->c, p, x->a, x->b, p->biased ? x->bias : (p->add ? x->before : NULL), 1, p->k + 2,
          rounding);
}

/* x [count] owned by the caller */
static float *drawn(int64_t count, uint32_t stream) {
    float *const x = malloc(wb_float_bytes(count));
    const wb_rng_key key = {
        .seed = test_seed(), .site = wb_rng_site(WB_RNG_TEST, 11), .example = stream};
    for (int64_t i = 0; i < count; i++) {
        x[i] = wb_rng_normal(key, (uint32_t)i);
    }
    return x;
}

static void products_equal_sums_in_double(void **state) {
    (void)state;
    matrices *x = draw();
    for (int i = 0; i < CASES; i++) {
        multiply(x, &cases[i], WB_FP32, WB_FP32);
        check_all(x, &cases[i], 0.0);
    }
    free(x);
}

static void bf16_products_are_rounded_once(void **state) {
    (void)state;
    if (!wb_product_has_bf16()) {
        print_message("no bf16 here: %s\n", wb_product_library(WB_BF16));
        skip();
    }
    matrices *x = draw();
    for (int i = 0; i < CASES; i++) {
        multiply(x, &cases[i], WB_BF16, WB_FP32);
        check_all(x, &cases[i], 0.0);
        if (!cases[i].add) {
            multiply(x, &cases[i], WB_BF16, WB_BF16);
            check_all(x, &cases[i], 0x1.02p-8); /* half a place of bf16 */
        }
    }
    free(x);
}

static void any_number_of_threads_gives_the_same_bits(void **state) {
    (void)state;
#ifdef _OPENMP
    matrices *x = draw();
    float *one = malloc(sizeof(x->c));
    const int before = omp_get_max_threads();
    for (int i = 0; i < CASES; i++) {
        for (int narrow = 0; narrow <= (wb_product_has_bf16() ? 1 : 0); narrow++) {
            const wb_precision factors = narrow ? WB_BF16 : WB_FP32;
            omp_set_num_threads(1);
            multiply(x, &cases[i], factors, WB_FP32);
            memcpy(one, x->c, sizeof(x->c));
            for (int threads = 2; threads <= 4; threads++) {
                omp_set_num_threads(threads);
                multiply(x, &cases[i], factors, WB_FP32);
                assert_memory_equal(x->c, one, sizeof(x->c));
            }
        }
    }
    omp_set_num_threads(before);
    free(one);
    free(x);
#endif
}

/* Shapes that cut blocks, panels, parts and tiles in every way; and rows whose bits do not depend
 * on which rows stand beside them. */
static void large_products_do_not_depend_on_how_rows_are_cut(void **state) {
    (void)state;
    static const product_case large[] = {
        {131, 1601, 400, WB_PLAIN, WB_TRANSPOSED, false, true}, /* more than a block of columns */
        {131, 70, 1700, WB_PLAIN, WB_PLAIN, true, false},       /* more than a block of terms */
        {65, 70, 1024, WB_PLAIN, WB_TRANSPOSED, false, true},   /* rows a page apart */
        {131, 1601, 500, WB_TRANSPOSED, WB_PLAIN, true, false},
        {131, 33, 1700, WB_TRANSPOSED, WB_TRANSPOSED, false, false},
    };
    for (size_t i = 0; i < sizeof(large) / sizeof(large[0]); i++) {
        const product_case *const p = &large[i];
        const bool plain = p->a == WB_PLAIN;
        float *const a = drawn(p->m * p->k, 1), *const b = drawn(p->k * p->n, 2);
        float *const bias = drawn(p->n, 3), *const before = drawn(p->m * p->n, 4);
        float *const whole = drawn(p->m * p->n, 4), *const cut = drawn(p->m * p->n, 4);
        const wb_factor right = {wb_fp32(b), p->b};
        const float *const first = p->biased ? bias : NULL;
        wb_product(wb_fp32(whole), p->add, (wb_factor){wb_fp32(a), p->a}, right, first, p->m, p->n,
                   p->k);
        check(whole, p, a, b, p->biased ? bias : (p->add ? before : NULL), 7, 8, 0.0);
        for (int64_t row = 0, rows; plain && row < p->m; row += rows) {
            rows = 1 + row / 3 < p->m - row ? 1 + row / 3 : p->m - row;
            wb_product(wb_fp32(cut + row * p->n), p->add,
                       (wb_factor){wb_fp32(a + row * p->k), p->a}, right, first, rows, p->n, p->k);
        }
        if (plain) {
            assert_memory_equal(cut, whole, wb_float_bytes(p->m * p->n));
        }
        free(a), free(b), free(bias), free(before), free(whole), free(cut);
    }
}

static void nothing_times_nothing_is_nothing(void **state) {
    (void)state;
    float c[4] = {1.0f, 2.0f, 3.0f, 4.0f}, one = 1.0f;
    const wb_factor none = {wb_fp32(&one), WB_PLAIN};
    wb_product(wb_fp32(c), true, none, none, NULL, 2, 2, 0); /* a chunk without tokens */
    wb_product(wb_fp32(c), false, none, none, NULL, 0, 2, 1);
    assert_true(c[0] == 1.0f && c[3] == 4.0f);
}

static void products_report_their_rate(void **state) {
    (void)state;
    float *scratch = calloc(3 * 64 * 64, sizeof(*scratch));
    assert_true(wb_product_rate(WB_FP32, 64, 64, 64, 0.01, scratch) > 1e6);
    if (wb_product_has_bf16()) {
        assert_true(wb_product_rate(WB_BF16, 64, 64, 64, 0.01, scratch) > 1e6);
        assert_non_null(strstr(wb_product_library(WB_BF16), "oneDNN"));
    }
    free(scratch);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_equal_sums_in_double),
        cmocka_unit_test(bf16_products_are_rounded_once),
        cmocka_unit_test(any_number_of_threads_gives_the_same_bits),
        cmocka_unit_test(large_products_do_not_depend_on_how_rows_are_cut),
        cmocka_unit_test(nothing_times_nothing_is_nothing),
        cmocka_unit_test(products_report_their_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
