/* Sweeps of the command line. */
#include "sweep.h"
#include "testing.h"

#include <string.h>

static wb_sweep sweep;
static char assignments[WB_SWEEP_KEYS][WB_SWEEP_TEXT], name[WB_SWEEP_TEXT];

static int begin(void **state) {
    (void)state;
    memset(&sweep, 0, sizeof(sweep));
    return 0;
}

static void runs_are_all_combinations_and_the_last_key_changes_fastest(void **state) {
    (void)state;
    static const char *const names[] = {"a.b=1,c=x",   "a.b=1,c=y=z", "a.b=2,c=x",
                                        "a.b=2,c=y=z", "a.b=,c=x",    "a.b=,c=y=z"};
    expect_ok(wb_sweep_add(&sweep, "a.b=1,2,"));
    expect_ok(wb_sweep_add(&sweep, "c=x,y=z"));
    assert_int_equal(sweep.runs, 6);
    for (int64_t i = 0; i < 6; i++) {
        expect_ok(wb_sweep_run(&sweep, i, assignments, name));
        assert_string_equal(name, names[i]);
    }
    assert_string_equal(assignments[0], "a.b=");
    assert_string_equal(assignments[1], "c=y=z");
    expect_ok(wb_sweep_check(&sweep));
}

static void a_semicolon_separates_values_that_hold_commas(void **state) {
    (void)state;
    expect_ok(wb_sweep_add(&sweep, "loss.widths=8,4;8"));
    assert_int_equal(sweep.runs, 2);
    expect_ok(wb_sweep_run(&sweep, 0, assignments, name));
    assert_string_equal(assignments[0], "loss.widths=8,4");
}

static void folders_have_no_slash_and_are_not_shared(void **state) {
    (void)state;
    expect_ok(wb_sweep_add(&sweep, "model.path=a/b,a_b"));
    expect_ok(wb_sweep_run(&sweep, 0, assignments, name));
    assert_string_equal(name, "model.path=a_b");
    assert_string_equal(assignments[0], "model.path=a/b");
    expect_error(wb_sweep_check(&sweep), WB_ERR_USAGE,
                 "--sweep: two runs would share the folder model.path=a_b");
}

static void wrong_sweeps_are_refused(void **state) {
    (void)state;
    static const char *const wrong[] = {"x", "=1", "x="};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        expect_error(wb_sweep_add(&sweep, wrong[i]), WB_ERR_USAGE, "KEY=VALUE,VALUE… is needed");
    }
    expect_error(wb_sweep_add(&sweep, "run.dir=a,b"), WB_ERR_USAGE, "follow from its other keys");
    char many[WB_SWEEP_TEXT + 1] = "x=0";
    for (int i = 0; i < WB_SWEEP_VALUES; i++) {
        (void)strcat(many, ",0");
    }
    expect_error(wb_sweep_add(&sweep, many), WB_ERR_USAGE, "more than 64 values");
    memset(many, 'v', WB_SWEEP_TEXT);
    many[1] = '=';
    expect_error(wb_sweep_add(&sweep, many), WB_ERR_USAGE, "longer than 1023 bytes");
    many[300] = '\0';
    expect_ok(wb_sweep_add(&sweep, many));
    expect_error(wb_sweep_run(&sweep, 0, assignments, name), WB_ERR_USAGE, "longer than 255 bytes");
    for (int i = 1; i < WB_SWEEP_KEYS; i++) {
        expect_ok(wb_sweep_add(&sweep, "y=1,2,3,4,5,6,7,8,9,10"));
    }
    assert_int_equal(sweep.runs, 1000);
    expect_error(wb_sweep_add(&sweep, "z=1"), WB_ERR_USAGE, "more than 4 times");
    memset(&sweep, 0, sizeof(sweep));
    expect_ok(wb_sweep_add(&sweep, "a=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20"));
    expect_ok(wb_sweep_add(&sweep, "b=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20"));
    expect_error(wb_sweep_add(&sweep, "c=1,2,3"), WB_ERR_USAGE, "1200 runs; at most 1000");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(runs_are_all_combinations_and_the_last_key_changes_fastest, begin),
        cmocka_unit_test_setup(a_semicolon_separates_values_that_hold_commas, begin),
        cmocka_unit_test_setup(folders_have_no_slash_and_are_not_shared, begin),
        cmocka_unit_test_setup(wrong_sweeps_are_refused, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
