/* YAML files of options: what they may say, and that every refusal names its line. */
#include "config_file.h"
#include "files.h"
#include "testing.h"

#include <unistd.h>

static const char path[] = WB_TEST_SCRATCH "/test_config_file.yaml";

static void write_bytes(const char *text, size_t bytes) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    (void)fwrite(text, 1, bytes, file);
    (void)fclose(file);
}

/* Reads `text` as a configuration file over the defaults. */
static wb_status read_text(const char *text, wb_config *config) {
    wb_origins *origins;
    write_bytes(text, strlen(text));
    const wb_status status = wb_config_read(config, &origins, path, NULL, 0);
    wb_origins_destroy(origins);
    return status;
}

static void expect_refused(const char *text, const char *part) {
    wb_config config;
    expect_error(read_text(text, &config), WB_ERR_CONFIG, part);
}

static void nested_and_dotted_keys_say_the_same(void **state) {
    (void)state;
    static const char *const texts[] = {
        "loss:\n  temperature: 0.5\nbatch: {size: 8, steps: 3}\ndata:\n  train: \"a b\"\n",
        "loss.temperature: 0.5\nbatch.size: 8\nbatch.steps: 3\ndata.train: a b\n",
        "# of both kinds\nbatch.size: 8\nbatch:\n  steps: 3\nloss: {temperature: 0.5}\n"
        "data.train: 'a b'\n",
        "{\"loss\": {\"temperature\": 0.5}, \"batch\": {\"size\": 8, \"steps\": 3},"
        " \"data.train\": \"a b\"}"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        wb_config config;
        expect_ok(read_text(texts[i], &config));
        assert_true(config.loss_temperature == 0.5);
        assert_int_equal(config.batch_size, 8);
        assert_int_equal(config.batch_steps, 3);
        assert_string_equal(config.data_train, "a b");
    }
}

static void a_file_that_says_nothing_leaves_the_defaults(void **state) {
    (void)state;
    static const char *const texts[] = {"", "# nothing\n", "{}\n", "data:\n  train:\n"};
    wb_config config, wanted;
    wb_origins *origins;
    expect_ok(wb_options_defaults(&wanted, &origins));
    wb_origins_destroy(origins);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        expect_ok(read_text(texts[i], &config));
        assert_true(wb_options_fixed_hash(&config) == wb_options_fixed_hash(&wanted));
    }
    expect_refused("---\n", "a mapping of keys to values is needed");
}

static void every_refusal_names_its_line(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"batch:\n  size: 8\n  sise: 9\n", ".yaml:3: unknown key batch.sise; did you mean"},
        {"\n\nloss.temperature: 0\n", ".yaml:3: loss.temperature = 0; the allowed range"},
        {"batch:\n  size: [1, 2]\n", ".yaml:2: batch.size must be a single value"},
        {"batch:\n  size: {a: 1}\n", ".yaml:2: batch.size must be a single value"},
        {"batch:\n  size: 8\n  steps: 3\n  size: 9\n", ".yaml:4: batch.size is already set at "},
        {"batch:\n  size: 8\nbatch.size: 8\n", ".yaml:3: batch.size is already set at "},
        {"? [a, b]\n: 3\n", ".yaml:1: a key must be a single value"},
        {"loss: 3\n", ".yaml:1: unknown key loss"},
        {"- a\n- b\n", ".yaml:1: a mapping of keys to values is needed"},
        {"just words\n", ".yaml:1: a mapping of keys to values is needed"},
        {"a: b: c\n", ".yaml:1: not valid YAML: mapping values are not allowed"},
        {"run:\n\tdir: x\n", ".yaml:2: not valid YAML: "},
        {"run: {dir: x\n", "not valid YAML: "},
        {"run: \"x\n", "not valid YAML: "},
        {"data: {train: \"a\\0b\"}\n", ".yaml:1: data.train holds a NUL byte"},
        {"batch.size: 8\n---\nbatch.size: 9\n", ".yaml:2: a second document begins"},
        {"batch.size: 8\n...\n]\n", ".yaml:3: not valid YAML: "},
        {"a: [[[[[[[[1]]]]]]]]\n", ".yaml:1: nested too deep"},
        {"run: *missing\n", ".yaml:1: an alias stands here; write the value itself"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        expect_refused(cases[i][0], cases[i][1]);
    }
    char key[512];
    (void)snprintf(key, sizeof(key), "batch:\n  %0300d: 1\n", 1);
    expect_refused(key, ".yaml:2: a key of 306 characters");
}

static void bytes_that_are_no_text_are_refused(void **state) {
    (void)state;
    wb_config config;
    wb_origins *origins;
    static const struct {
        const char *bytes;
        size_t count;
    } cases[] = {{"run.dir: a\0b\n", 13}, {"run.dir: \xff\xfe\n", 12}, {"\x01: 3\n", 5}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        write_bytes(cases[i].bytes, cases[i].count);
        expect_error(wb_config_read(&config, &origins, path, NULL, 0), WB_ERR_CONFIG,
                     "not valid YAML: ");
        wb_origins_destroy(origins);
    }
}

/* A file of `bytes` bytes: `head`, then `unit` over and over. Must be refused, soon. */
static void expect_repeated_refused(const char *head, const char *unit, size_t bytes,
                                    const char *part) {
    wb_config config;
    wb_origins *origins;
    const size_t length = strlen(unit);
    char *text = malloc(bytes);
    const size_t start = strlen(head);
    memcpy(text, head, start);
    for (size_t i = start; i < bytes; i++) {
        text[i] = unit[(i - start) % length];
    }
    write_bytes(text, bytes);
    free(text);
    const clock_t began = clock();
    expect_error(wb_config_read(&config, &origins, path, NULL, 0), WB_ERR_CONFIG, part);
    const double seconds = (double)(clock() - began) / CLOCKS_PER_SEC;
    if (seconds > 5.0 * test_slowness()) { /* linear work: a tenth of it here */
        fail_msg("%s… took %.1f s", unit, seconds);
    }
    wb_origins_destroy(origins);
}

static void small_files_cannot_become_large_trees(void **state) {
    (void)state;
    expect_refused("a: &a [x, x, x, x]\nb: &b [*a, *a, *a, *a]\nc: &c [*b, *b, *b, *b]\n"
                   "d: [*c, *c, *c, *c]\n",
                   ".yaml:2: an alias stands here");
    expect_refused("run: &r {run: *r}\n", ".yaml:1: an alias stands here");
    const size_t most = (size_t)1 << 20;
    expect_repeated_refused("run.dir: ", "[", most, ".yaml:1: nested too deep");
    expect_repeated_refused("run.dir: ", "{a: ", most, ".yaml:1: nested too deep");
    expect_repeated_refused("run.dir: [", "a,", most, "not valid YAML: ");
    expect_repeated_refused("", "- ", most, ".yaml:1: nested too deep");
    expect_repeated_refused("", "? ", most, ".yaml:1: nested too deep");
    expect_repeated_refused("", "a: b\n", most / 5 * 5, ":1: unknown key a");
}

static void large_files_are_refused_unread(void **state) {
    (void)state;
    expect_repeated_refused("# ", "x", ((size_t)1 << 20) + 1, "1.0 MiB");
    wb_config config;
    wb_origins *origins;
    expect_error(wb_config_read(&config, &origins, WB_TEST_SCRATCH "/no such file.yaml", NULL, 0),
                 WB_ERR_CONFIG, "no such file.yaml");
    wb_origins_destroy(origins);
}

static void assignments_come_after_the_file(void **state) {
    (void)state;
    static const char text[] = "batch:\n  size: 8\n";
    static const char *const assignments[] = {"batch.size=9", "batch.size=10", "run.seed=3"};
    wb_config config;
    wb_origins *origins;
    write_bytes(text, strlen(text));
    expect_ok(wb_config_read(&config, &origins, path, assignments, 3));
    assert_int_equal(config.batch_size, 10);
    assert_int_equal(config.run_seed, 3);
    assert_string_equal(wb_origins_of(origins, "batch.size"), "--set");
    wb_origins_destroy(origins);
    expect_ok(wb_config_read(&config, &origins, path, NULL, 0));
    char origin[1024];
    (void)snprintf(origin, sizeof(origin), "%s:2", path);
    assert_string_equal(wb_origins_of(origins, "batch.size"), origin);
    wb_origins_destroy(origins);
    expect_ok(wb_config_read(&config, &origins, NULL, assignments, 1));
    assert_int_equal(config.batch_size, 9);
    wb_origins_destroy(origins);
    expect_error(wb_config_read(&config, &origins, NULL, (const char *const[]){"batch.size"}, 1),
                 WB_ERR_USAGE, "--set batch.size");
    wb_origins_destroy(origins);
}

static void a_file_may_be_called_default(void **state) {
    (void)state;
    char folder[1024];
    wb_config config;
    wb_origins *origins;
    assert_non_null(getcwd(folder, sizeof(folder)));
    assert_int_equal(chdir(WB_TEST_SCRATCH), 0);
    FILE *file = fopen("default", "w");
    (void)fputs("batch.size: 8\n", file);
    (void)fclose(file);
    expect_ok(wb_config_read(&config, &origins, "default", NULL, 0));
    assert_int_equal(config.batch_size, 8);
    wb_origins_destroy(origins);
    assert_int_equal(chdir(folder), 0);
}

static void what_is_written_reads_back_the_same(void **state) {
    (void)state;
    static const char unusual[] = "data.train=a \"b\\c\"\n#\t: d\x7f\xc3\xa9 \xc2\x85 \xe2\x80\xa8"
                                  " \xef\xbf\xbe \xf0\x9f\x98\x80";
    static const char *const assignments[] = {unusual, "optimizer.lr=0.0012345678",
                                              "memory.budget=3M", "model.normalize=auto",
                                              "run.dir=  "};
    wb_config config, again;
    wb_origins *origins;
    char *text = NULL;
    size_t bytes = 0;
    for (int with = 0; with < 2; with++) {
        expect_ok(wb_config_read(&config, &origins, NULL, assignments, 5));
        FILE *out = open_memstream(&text, &bytes);
        wb_options_write(&config, with ? origins : NULL, out);
        (void)fclose(out);
        wb_origins_destroy(origins);
        expect_ok(read_text(text, &again));
        free(text);
        assert_true(wb_options_fixed_hash(&config) == wb_options_fixed_hash(&again));
        assert_string_equal(config.data_train, again.data_train);
        assert_string_equal(config.run_dir, again.run_dir);
        assert_int_equal(config.memory_budget, again.memory_budget);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nested_and_dotted_keys_say_the_same),
        cmocka_unit_test(a_file_that_says_nothing_leaves_the_defaults),
        cmocka_unit_test(every_refusal_names_its_line),
        cmocka_unit_test(bytes_that_are_no_text_are_refused),
        cmocka_unit_test(small_files_cannot_become_large_trees),
        cmocka_unit_test(large_files_are_refused_unread),
        cmocka_unit_test(assignments_come_after_the_file),
        cmocka_unit_test(a_file_may_be_called_default),
        cmocka_unit_test(what_is_written_reads_back_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
