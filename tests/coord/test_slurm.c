/* Calls of Slurm's commands, which are scripts of the test here. */
#include "files.h"
#include "slurm.h"
#include "testing.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char folder[] = WB_TEST_SCRATCH "/slurm-commands";

static void write_command(const char *name, const char *body) {
    char path[WB_PATH], text[512];
    expect_ok(wb_path_join(path, folder, "%s", name));
    (void)snprintf(text, sizeof(text), "#!/bin/sh\n%s\n", body);
    expect_ok(wb_file_write(path, text, strlen(text)));
    assert_int_equal(chmod(path, 0700), 0);
}

static int find_commands(void **state) {
    char path[2 * WB_PATH];
    (void)state;
    (void)snprintf(path, sizeof(path), "%s:/usr/bin:/bin", folder);
    return wb_folder_make(folder) == WB_OK ? setenv("PATH", path, 1) : -1;
}

static void a_call_gives_output_and_exit_code(void **state) {
    (void)state;
    static const char *const words[] = {"answer", "a  b", "*", NULL};
    static const char *const missing[] = {"no-such-command", NULL};
    char output[16];
    int code = -1;
    write_command("answer", "echo \"$1,$2\"; echo error >&2; exit 3");
    expect_ok(wb_slurm_call(words, true, output, sizeof(output), &code));
    assert_string_equal(output, "a  b,*\nerror\n");
    assert_int_equal(code, 3);
    expect_ok(wb_slurm_call(words, false, output, 5, &code));
    assert_string_equal(output, "a  b"); /* cut, and read to its end */
    write_command("answer", "kill -KILL $$");
    expect_ok(wb_slurm_call(words, false, output, sizeof(output), &code));
    assert_int_equal(code, 128 + 9);
    expect_error(wb_slurm_call(missing, false, output, sizeof(output), &code), WB_ERR_USAGE,
                 "no-such-command: No such file or directory; Slurm's commands are needed here");
}

/* What the process has set since its start is not passed on. */
static void a_call_has_the_first_environment(void **state) {
    (void)state;
    static const char *const words[] = {"answer", NULL};
    char output[64];
    int code = -1;
    assert_int_equal(setenv("PMIX_RANK", "7", 1), 0);
    write_command("answer", "echo \"rank $PMIX_RANK\"");
    expect_ok(wb_slurm_call(words, false, output, sizeof(output), &code));
    assert_string_equal(output, "rank \n");
}

static void a_job_is_gone_only_if_slurm_says_so(void **state) {
    (void)state;
    write_command("squeue", "[ \"$*\" = '-h -j 12 -o %T' ] && echo RUNNING");
    assert_false(wb_slurm_job_is_gone("12"));
    assert_false(wb_slurm_job_is_gone("13")); /* it failed, for what reason ever */
    write_command("squeue", "exit 0");
    assert_true(wb_slurm_job_is_gone("12"));
    write_command("squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1");
    assert_true(wb_slurm_job_is_gone("12"));
    assert_false(wb_slurm_job_is_gone("12; reboot"));
    assert_false(wb_slurm_job_is_gone(""));
    write_command("squeue", "echo 'Unable to contact slurm controller' >&2; exit 1");
    assert_false(wb_slurm_job_is_gone("12"));
    assert_int_equal(setenv("PATH", "/nowhere", 1), 0);
    assert_false(wb_slurm_job_is_gone("12"));
    assert_string_equal(wb_error_message(), "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_call_gives_output_and_exit_code, find_commands),
        cmocka_unit_test_setup(a_call_has_the_first_environment, find_commands),
        cmocka_unit_test_setup(a_job_is_gone_only_if_slurm_says_so, find_commands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
