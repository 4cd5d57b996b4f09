/* Cut rows and their gradients against central differences in double. */
#include "matryoshka.h"
#include "rng.h"
#include "testing.h"

enum { N = 5, D = 7, WIDTH = 3 };

static float value(uint32_t array, uint32_t place) {
    const wb_rng_key key = {
        .seed = test_seed(), .example = array, .site = wb_rng_site(WB_RNG_TEST, 0)};
    return wb_rng_normal(key, place);
}

/* sum of c[k] y[k] for one row, y its first components, of unit length where asked. */
static double objective(const double *x, const float *c, bool unit) {
    double squares = 0.0, sum = 0.0;
    for (int k = 0; k < WIDTH; k++) {
        squares += x[k] * x[k];
        sum += (double)c[k] * x[k];
    }
    return unit ? sum / sqrt(squares) : sum;
}

static void check(bool unit, double weight) {
    float x[N * D], y[N * WIDTH], norms[N], c[N * WIDTH], dy[N * WIDTH], dx[N * D];
    for (uint32_t i = 0; i < N * D; i++) {
        x[i] = value(0, i);
        dx[i] = 3.0f;
    }
    for (uint32_t i = 0; i < N * WIDTH; i++) {
        c[i] = dy[i] = value(1, i);
    }
    wb_matryoshka_forward(y, unit ? norms : NULL, x, N, D, WIDTH);
    wb_matryoshka_backward(dx, dy, y, unit ? norms : NULL, N, D, WIDTH, weight);
    for (int i = 0; i < N; i++) {
        double row[D], got = 0.0;
        for (int k = 0; k < D; k++) {
            row[k] = (double)x[i * D + k];
        }
        for (int k = 0; k < WIDTH; k++) {
            got += (double)c[i * WIDTH + k] * (double)y[i * WIDTH + k];
        }
        assert_true(fabs(got - objective(row, c + i * WIDTH, unit)) < 1e-5); /* floats below 10 */
        for (int k = 0; k < D; k++) {
            const double at = row[k], h = 1e-5;
            row[k] = at + h;
            const double above = objective(row, c + i * WIDTH, unit);
            row[k] = at - h;
            const double below = objective(row, c + i * WIDTH, unit);
            row[k] = at;
            const float wanted = (float)(3.0 + weight * (above - below) / (2.0 * h));
            /* single precision of a gradient as large as 1 / (the shortest row) */
            expect_close(&dx[i * D + k], &wanted, 1, 1e-5 * (10.0 + fabs((double)wanted)), "dx");
        }
    }
}

static void gradients_equal_central_differences(void **state) {
    (void)state;
    check(true, 1.0);
    check(true, 0.5);
    check(false, 2.0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_equal_central_differences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
