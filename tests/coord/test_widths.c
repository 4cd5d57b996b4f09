/* Lists of widths and weights. */
#include "testing.h"
#include "widths.h"

static void widths_come_with_their_weights(void **state) {
    (void)state;
    wb_widths w;
    expect_ok(wb_widths_read(&w, "256, 128 ,64", "1,0.5,0", 256));
    assert_int_equal(w.count, 3);
    assert_int_equal(w.widths[0], 256);
    assert_int_equal(w.widths[1], 128);
    assert_int_equal(w.widths[2], 64);
    assert_true(w.weights[0] == 1.0 && w.weights[1] == 0.5 && w.weights[2] == 0.0);
    expect_ok(wb_widths_read(&w, "8,1", "", 8));
    assert_true(w.count == 2 && w.weights[0] == 1.0 && w.weights[1] == 1.0);
    expect_ok(wb_widths_read(&w, "", "", 8));
    assert_int_equal(w.count, 0);
}

static void wrong_lists_are_refused_with_what_is_allowed(void **state) {
    (void)state;
    static const struct {
        const char *widths, *weights, *message;
    } cases[] = {
        {"a", "", "loss.widths = a; up to 32 numbers with commas between them are needed"},
        {"8,", "", "up to 32 numbers"},
        {"8,,4", "", "up to 32 numbers"},
        {"8 4", "", "up to 32 numbers"},
        {"1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1", "", "up to 32"},
        {"0", "", "loss.widths = 0; whole numbers from 1 to 8 are allowed"},
        {"9", "", "whole numbers from 1 to 8"},
        {"-1", "", "whole numbers"},
        {"2.5", "", "whole numbers"},
        {"nan", "", "whole numbers"},
        {"8", "x", "loss.width_weights = x; up to 32 numbers"},
        {"8", "1,2", "loss.width_weights names 2 weights for 1 loss.widths"},
        {"", "1", "names 1 weights for 0 loss.widths"},
        {"8", "-1", "loss.width_weights = -1; numbers from 0 on are allowed"},
        {"8", "nan", "numbers from 0 on"},
        {"8", "inf", "numbers from 0 on"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        wb_widths w;
        expect_error(wb_widths_read(&w, cases[i].widths, cases[i].weights, 8), WB_ERR_CONFIG,
                     cases[i].message);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(widths_come_with_their_weights),
        cmocka_unit_test(wrong_lists_are_refused_with_what_is_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
