/* The script of a job: its places, and words that sh and sbatch would read otherwise. */
#include "job_script.h"
#include "testing.h"

#include <stdlib.h>
#include <string.h>

static wb_sweep none, two;
static const char *arguments[] = {"a config.yaml", "--set", "run.seed=$(reboot)"};
static const char *const options[] = {"--comment", "it's", "-p", "main"};

static const wb_job plain = {.folder = "/home/me/my work",
                             .run_dir = "runs/it's 5%",
                             .program = "apptainer exec x.sif widebatch",
                             .least_nodes = 2,
                             .most_nodes = 4,
                             .tasks = 3,
                             .warn_seconds = 71,
                             .launcher = "auto",
                             .arguments = arguments,
                             .argument_count = 3,
                             .sweep = &none};

/* The script, to be freed. */
static char *script_of(const wb_job *job) {
    static char *text;
    static size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    expect_ok(wb_job_script_write(job, out));
    (void)fclose(out);
    return text;
}

static void expect_line(const char *script, const char *line) {
    char whole[512];
    (void)snprintf(whole, sizeof(whole), "\n%s\n", line);
    if (!strstr(script, whole)) {
        fail_msg("no line \"%s\"", line);
    }
}

static void every_place_is_filled_and_quoted(void **state) {
    (void)state;
    char *script = script_of(&plain);
    assert_int_equal(strncmp(script, "#!/bin/bash\n", 12), 0);
    expect_line(script, "#SBATCH --nodes=2-4");
    expect_line(script, "ranks_a_node=3");
    expect_line(script, "#SBATCH --exclusive --mem=0");
    expect_line(script, "#SBATCH --chdir='/home/me/my work'");
    expect_line(script, "#SBATCH --output='runs/it'\\''s 5%%/slurm-%j.out'");
    expect_line(script, "#SBATCH --signal=B:USR1@71");
    expect_line(script, "#SBATCH --dependency=singleton");
    expect_line(script, "program=(apptainer exec x.sif widebatch)");
    expect_line(script, "arguments=('a config.yaml' --set 'run.seed=$(reboot)')");
    expect_line(script, "run='runs/it'\\''s 5%'");
    expect_line(script, "launcher=auto");
    free(script);
}

/* A line whose place has no value is left out; no place is left over. */
static void lines_without_a_value_are_left_out(void **state) {
    (void)state;
    static const char *const names[] = {"NAME", "CPUS", "ARRAY", "OPTIONS", "SWEEP", "TASKS"};
    char *script = script_of(&plain);
    assert_null(strstr(script, "--cpus-per-task=\n"));
    assert_null(strstr(script, "#SBATCH --cpus-per-task"));
    assert_null(strstr(script, "#SBATCH --array"));
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char place[32];
        (void)snprintf(place, sizeof(place), "@%s@", names[i]);
        assert_null(strstr(script, place));
    }
    free(script);
}

static void further_options_stand_last_and_win(void **state) {
    (void)state;
    wb_job job = plain;
    job.cpus = 8;
    job.options = options;
    job.option_count = 4;
    char *script = script_of(&job);
    expect_line(script, "#SBATCH --cpus-per-task=8");
    expect_line(script, "#SBATCH --comment 'it'\\''s' -p main\nset -u");
    assert_null(strstr(script, "--exclusive"));
    free(script);
}

static void each_run_of_a_sweep_has_its_folder_and_values(void **state) {
    (void)state;
    wb_job job = plain;
    job.sweep = &two;
    char *script = script_of(&job);
    expect_line(script, "#SBATCH --array=0-1");
    expect_line(script, "#SBATCH --output='runs/it'\\''s 5%%/slurm-%A_%a.out'");
    expect_line(script, "1) run+=/model.path=a_b arguments+=(--set model.path=a/b) ;;");
    expect_line(script, "arguments+=(--set \"run.dir=$run\")");
    free(script);
}

/* One name for one folder, however it is written. */
static void a_name_belongs_to_a_folder(void **state) {
    (void)state;
    static const char *const same[] = {"runs/x", "runs/x/", "/tmp/runs/x", "/tmp/../tmp/runs/x"};
    char first[128] = "";
    wb_job job = plain;
    job.folder = "/tmp";
    for (size_t i = 0; i < 5; i++) {
        job.run_dir = i < 4 ? same[i] : "runs/y/x";
        char *script = script_of(&job);
        char *name = strstr(script, "--job-name=");
        assert_non_null(name);
        name[strcspn(name, "\n")] = '\0';
        if (i == 0) {
            (void)snprintf(first, sizeof(first), "%s", name);
        }
        assert_int_equal(strncmp(name, "--job-name=x-", 13), 0);
        assert_int_equal(strcmp(name, first) == 0, i < 4);
        free(script);
    }
}

static void what_cannot_stand_in_a_script_is_refused(void **state) {
    (void)state;
    static const char *const option[] = {"--comment=two\nlines"};
    char text[16];
    FILE *out = fmemopen(text, sizeof(text), "w");
    wb_job job = plain;
    job.run_dir = "back\\slash";
    expect_error(wb_job_script_write(&job, out), WB_ERR_USAGE,
                 "run.dir: back\\slash: a job script");
    job = plain;
    job.options = option;
    job.option_count = 1;
    expect_error(wb_job_script_write(&job, out), WB_ERR_USAGE, "no line break here");
    (void)fclose(out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_place_is_filled_and_quoted),
        cmocka_unit_test(lines_without_a_value_are_left_out),
        cmocka_unit_test(further_options_stand_last_and_win),
        cmocka_unit_test(each_run_of_a_sweep_has_its_folder_and_values),
        cmocka_unit_test(a_name_belongs_to_a_folder),
        cmocka_unit_test(what_cannot_stand_in_a_script_is_refused),
    };
    if (wb_sweep_add(&two, "model.path=a,a/b") != WB_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
