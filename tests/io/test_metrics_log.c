/* The metrics log: whole lines, taken back to a step, the same bytes as if never broken. */
#include "io_checks.h"

#include "json.h"
#include "metrics_log.h"

#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static char path[WB_PATH];

static int fresh_log(void **state) {
    (void)state;
    char folder[WB_PATH];
    scratch_folder(folder, "metrics_log", "log");
    assert_ok(wb_path_join(path, folder, "metrics.jsonl"));
    return 0;
}

static void append_text(const char *text) {
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void first_line_names_the_schema(void **state) {
    (void)state;
    assert_ok(log_steps(path, 0, 1, 2));
    char *text = get_bytes(path, NULL);
    assert_string_equal(text, "{\"schema\": 1, \"writer\": \"widebatch " WB_VERSION "\"}\n"
                              "{\"step\": 1, \"loss_nats\": 1.0, \"tokens\": 1000}\n"
                              "{\"step\": 2, \"loss_nats\": 0.5, \"tokens\": 2000}\n");
    free(text);
}

static void a_life_that_was_cut_off_writes_to_no_file_that_is_read(void **state) {
    (void)state;
    wb_metrics_log *old = NULL;
    const wb_metric metric = wb_metric_integer("tokens", 7);
    assert_ok(log_steps(path, 0, 1, 20));
    assert_ok(wb_metrics_log_open(&old, path, 20));
    assert_ok(log_steps(path, 10, 11, 30));
    size_t bytes = 0, later = 0;
    char *before = get_bytes(path, &bytes);
    assert_ok(wb_metrics_log_step(old, 21, &metric, 1));
    assert_ok(wb_metrics_log_close(old));
    char *after = get_bytes(path, &later);
    assert_int_equal(bytes, later);
    assert_memory_equal(before, after, bytes);
    free(before);
    free(after);
}

static void resumed_log_equals_an_unbroken_one(void **state) {
    (void)state;
    size_t bytes = 0;
    size_t resumed_bytes = 0;
    assert_ok(log_steps(path, 0, 1, 50));
    char *unbroken = get_bytes(path, &bytes);
    for (int64_t cut = 0; cut <= 50; cut += 7) {
        assert_int_equal(unlink(path), 0);
        assert_ok(log_steps(path, 0, 1, cut + (50 - cut) / 2));
        append_text("{\"step\": 51, \"loss_na"); /* a line a kill has cut */
        assert_ok(log_steps(path, cut, cut + 1, 50));
        char *resumed = get_bytes(path, &resumed_bytes);
        assert_int_equal(resumed_bytes, bytes);
        assert_memory_equal(resumed, unbroken, bytes);
        free(resumed);
    }
    free(unbroken);
}

/* A kill between the closing brace and the end of the line. */
static void line_without_its_end_is_not_a_line(void **state) {
    (void)state;
    assert_ok(log_steps(path, 0, 1, 3));
    append_text("{\"step\": 4, \"loss_nats\": 0.25, \"tokens\": 4000}");
    assert_ok(log_steps(path, 4, 5, 5));
    char *text = get_bytes(path, NULL);
    assert_null(strstr(text, "\"step\": 4"));
    assert_non_null(strstr(text, "3000}\n{\"step\": 5"));
    free(text);
}

static void torn_first_line_is_written_again(void **state) {
    (void)state;
    put_text(path, "{\"schema\": 1, \"wri");
    assert_ok(log_steps(path, 10, 1, 1));
    char *text = get_bytes(path, NULL);
    assert_non_null(strstr(text, "\"}\n{\"step\": 1,"));
    free(text);
}

static void garbage_after_a_power_cut_is_cut_off(void **state) {
    (void)state;
    assert_ok(log_steps(path, 0, 1, 3));
    append_text("\x01\x01\x01\n{\"step\": 4, \"loss_nats\": 1.0}\n");
    assert_ok(log_steps(path, 10, 4, 4));
    char *text = get_bytes(path, NULL);
    assert_null(strchr(text, 1));
    assert_non_null(strstr(text, "{\"step\": 4, \"loss_nats\": 0.25, \"tokens\": 4000}\n"));
    free(text);
}

static void other_files_are_not_touched(void **state) {
    (void)state;
    static const char *const texts[] = {"my notes\n", "{\"step\": 1}\n", "{\"schema\": 2}\n", "x"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        put_text(path, texts[i]);
        assert_refused(log_steps(path, 10, 1, 1), WB_ERR_INPUT, "metrics.jsonl");
        char *text = get_bytes(path, NULL);
        assert_string_equal(text, texts[i]);
        free(text);
    }
}

static void values_that_are_not_finite_are_null(void **state) {
    (void)state;
    wb_metrics_log *log = NULL;
    const wb_metric metrics[] = {wb_metric_number("loss_nats", NAN),
                                 wb_metric_number("norm", -INFINITY)};
    assert_ok(wb_metrics_log_open(&log, path, 0));
    assert_ok(wb_metrics_log_step(log, 1, metrics, 2));
    char *text = get_bytes(path, NULL); /* there before the log is closed */
    assert_non_null(strstr(text, "{\"step\": 1, \"loss_nats\": null, \"norm\": null}\n"));
    free(text);
    assert_ok(wb_metrics_log_close(log));
}

static void full_disk_is_an_error(void **state) {
    (void)state;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const struct rlimit limit = {.rlim_cur = 3000, .rlim_max = 3000};
        (void)signal(SIGXFSZ, SIG_IGN);
        _exit(setrlimit(RLIMIT_FSIZE, &limit) == 0 ? wb_status_exit_code(log_steps(path, 0, 1, 200))
                                                   : 1);
    }
    int result = 0;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result));
    assert_int_equal(WEXITSTATUS(result), wb_status_exit_code(WB_ERR_DISK));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(first_line_names_the_schema, fresh_log),
        cmocka_unit_test_setup(a_life_that_was_cut_off_writes_to_no_file_that_is_read, fresh_log),
        cmocka_unit_test_setup(resumed_log_equals_an_unbroken_one, fresh_log),
        cmocka_unit_test_setup(line_without_its_end_is_not_a_line, fresh_log),
        cmocka_unit_test_setup(torn_first_line_is_written_again, fresh_log),
        cmocka_unit_test_setup(garbage_after_a_power_cut_is_cut_off, fresh_log),
        cmocka_unit_test_setup(other_files_are_not_touched, fresh_log),
        cmocka_unit_test_setup(values_that_are_not_finite_are_null, fresh_log),
        cmocka_unit_test_setup(full_disk_is_an_error, fresh_log),
    };
    return cmocka_run_group_tests_name("metrics_log", tests, NULL, NULL);
}
