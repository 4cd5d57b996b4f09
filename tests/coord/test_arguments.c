/* Command lines against a table of flags. */
#include "arguments.h"
#include "testing.h"

enum { DRY, COUNT, PLACE, SET };
static const wb_flag flags[] = {
    [DRY] = {"dry-run", WB_FLAG_SWITCH, NULL, NULL, "do nothing"},
    [COUNT] = {"k", WB_FLAG_OPTIONAL, "N", "10", "how many"},
    [PLACE] = {"place", WB_FLAG_REQUIRED, "DIR", NULL, "where"},
    [SET] = {"set", WB_FLAG_REPEATED, "KEY=VALUE", NULL, "what"},
};
enum { FLAGS = sizeof(flags) / sizeof(flags[0]) };

static wb_arguments a;

static wb_status parse(const char *const *words, int count, const char *positional) {
    char *argv[600];
    for (int i = 0; i < count; i++) {
        argv[i] = (char *)(uintptr_t)words[i];
    }
    return wb_arguments_parse(&a, flags, FLAGS, positional, count, argv);
}
#define PARSE(positional, ...)                                                                     \
    parse((const char *const[]){__VA_ARGS__},                                                      \
          (int)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)), positional)

static void values_follow_their_flag_or_its_equals_sign(void **state) {
    (void)state;
    expect_ok(PARSE("FILE", "--place", "a", "x.yaml", "--set", "p=1", "--set=q=2", "--dry-run"));
    assert_string_equal(a.values[PLACE], "a");
    assert_string_equal(a.values[COUNT], "10"); /* its default */
    assert_string_equal(a.values[DRY], "");
    assert_string_equal(a.positional, "x.yaml");
    assert_int_equal(a.repeats, 2);
    assert_string_equal(a.repeated[0], "p=1");
    assert_string_equal(a.repeated[1], "q=2");
    expect_ok(PARSE("FILE", "--place=b", "--k", "--dry-run"));
    assert_string_equal(a.values[PLACE], "b");
    assert_string_equal(a.values[COUNT], "--dry-run"); /* the next word, whatever it is */
    assert_null(a.values[DRY]);
    assert_null(a.positional);
    expect_ok(PARSE(NULL, "--place=", "--k=3", "--k=4"));
    assert_string_equal(a.values[PLACE], "");
    assert_string_equal(a.values[COUNT], "4");
}

static void what_follows_two_dashes_is_passed_on(void **state) {
    (void)state;
    static const wb_flag with_rest[] = {
        {"set", WB_FLAG_REPEATED, "KEY=VALUE", NULL, "what"},
        {"sweep", WB_FLAG_REPEATED, "KEY=V1,V2", NULL, "which"},
        {"", WB_FLAG_REST, "OPTION", NULL, "for sbatch"},
    };
    char words[][8] = {"--set", "a=1", "--sweep", "b=2", "--", "--set", "-p", "--"};
    char *argv[8];
    for (int i = 0; i < 8; i++) {
        argv[i] = words[i];
    }
    expect_ok(wb_arguments_parse(&a, with_rest, 3, NULL, 8, argv));
    assert_int_equal(a.repeats, 2);
    assert_int_equal(a.repeated_flag[0], 0);
    assert_int_equal(a.repeated_flag[1], 1);
    assert_int_equal(a.rest_count, 3);
    assert_string_equal(a.rest[0], "--set");
    assert_string_equal(a.rest[2], "--");
    expect_ok(wb_arguments_parse(&a, with_rest, 3, NULL, 5, argv));
    assert_int_equal(a.rest_count, 0);
}

static void wrong_command_lines_say_what_is_wrong(void **state) {
    (void)state;
    expect_error(PARSE("FILE", "--dry-run"), WB_ERR_USAGE, "--place DIR is needed");
    expect_error(PARSE("FILE", "--place"), WB_ERR_USAGE, "--place needs a value (DIR)");
    expect_error(PARSE("FILE", "--place=a", "--dry-run=yes"), WB_ERR_USAGE,
                 "--dry-run takes no value");
    expect_error(PARSE("FILE", "--plac=a"), WB_ERR_USAGE,
                 "unknown flag --plac=a; --help lists the flags");
    expect_error(PARSE("FILE", "--places=a"), WB_ERR_USAGE, "unknown flag --places=a");
    expect_error(PARSE("FILE", "--"), WB_ERR_USAGE, "unknown flag --");
    expect_error(PARSE("FILE", "--place=a", "x", "y"), WB_ERR_USAGE, "unexpected argument: y");
    expect_error(PARSE(NULL, "--place=a", "x"), WB_ERR_USAGE, "unexpected argument: x");
    const char *many[WB_MAX_REPEATS + 1];
    for (int i = 0; i <= WB_MAX_REPEATS; i++) {
        many[i] = "--set=a=1";
    }
    expect_error(parse(many, WB_MAX_REPEATS + 1, NULL), WB_ERR_USAGE,
                 "--set is given more than 256 times");
    expect_error(parse(many, WB_MAX_REPEATS, NULL), WB_ERR_USAGE, "--place DIR is needed");
}

static void help_shows_every_flag_with_what_it_needs(void **state) {
    (void)state;
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    wb_arguments_help(flags, FLAGS, out);
    (void)fclose(out);
    assert_non_null(strstr(text, "--dry-run                do nothing\n"));
    assert_non_null(strstr(text, "--k N                    how many (default 10)\n"));
    assert_non_null(strstr(text, "--place DIR              where (required)\n"));
    assert_non_null(strstr(text, "--set KEY=VALUE          what\n"));
    free(text);
}

static void a_count_is_an_integer_within_its_range(void **state) {
    (void)state;
    int64_t number = 0;
    expect_ok(wb_argument_count("k", "1", 1, 5, &number));
    expect_ok(wb_argument_count("k", "5", 1, 5, &number));
    assert_int_equal(number, 5);
    static const char *const wrong[] = {"0", "6", "", "x", "3x", "2.5", "99999999999999999999"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        expect_error(wb_argument_count("k", wrong[i], 1, 5, &number), WB_ERR_USAGE,
                     "an integer from 1 to 5 is needed");
        assert_int_equal(number, 5);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_follow_their_flag_or_its_equals_sign),
        cmocka_unit_test(what_follows_two_dashes_is_passed_on),
        cmocka_unit_test(wrong_command_lines_say_what_is_wrong),
        cmocka_unit_test(help_shows_every_flag_with_what_it_needs),
        cmocka_unit_test(a_count_is_an_integer_within_its_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
