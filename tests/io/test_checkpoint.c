/* Checkpoints: what was saved comes back, also where a save is killed or the disk is full, and what
 * is good is kept. */
#include "checkpoint_checks.h"

#include "rng.h"
#include "units.h"

#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static int unmount_run(void **state) {
    (void)state;
    (void)umount(run);
    return 0;
}

static void state_comes_back_bit_equal(void **state) {
    (void)state;
    bool found = true;
    sample saved;
    make_sample(&saved, 12, 2500);
    sample read;
    make_sample(&read, 0, 2500);
    saved.arrays[0][17] = -0.0f;
    saved.arrays[1][18] = 1e-42f;
    assert_ok(wb_checkpoint_read_newest(run, &read.state, &found, rejected, sizeof(rejected)));
    assert_false(found);
    assert_ok(wb_checkpoint_write(run, &saved.state));
    assert_ok(wb_checkpoint_read_newest(run, &read.state, &found, rejected, sizeof(rejected)));
    assert_true(found);
    assert_string_equal(rejected, "");
    assert_int_equal(read.state.step, 12);
    assert_int_equal(read.state.total_steps, 500);
    assert_int_equal(read.state.rows, 12 * 64);
    assert_true(read.state.seed == 0xfedcba9876543210u);
    assert_false(read.state.finished);
    for (int a = 0; a < 3; a++) {
        assert_memory_equal(read.arrays[a], saved.arrays[a],
                            (size_t)read.table.total * sizeof(float));
    }
    drop_sample(&saved);
    drop_sample(&read);
}

/* A row that is longer than a chunk is a chunk by itself. */
static void a_wide_tensor_comes_back(void **state) {
    (void)state;
    enum { ROWS = 2, WIDTH = (1 << 18) + 5 };
    bool found = false;
    wb_tensor_table table = {0};
    float *values = calloc((size_t)ROWS * WIDTH, sizeof(*values));
    float *read = calloc((size_t)ROWS * WIDTH, sizeof(*read));
    assert_non_null(values);
    assert_non_null(read);
    for (int i = 0; i < ROWS * WIDTH; i++) {
        values[i] = (float)i;
    }
    assert_ok(wb_tensor_add(&table, true, ROWS, WIDTH, "wide"));
    wb_checkpoint saved = {.step = 1, .total_steps = 2, .table = &table, .values = values};
    assert_ok(wb_checkpoint_write(run, &saved));
    saved.values = read;
    assert_ok(wb_checkpoint_read_newest(run, &saved, &found, rejected, sizeof(rejected)));
    assert_true(found);
    assert_memory_equal(read, values, (size_t)ROWS * WIDTH * sizeof(*read));
    wb_tensor_table_clear(&table);
    free(values);
    free(read);
}

static void newest_by_number_wins_and_latest_points_to_it(void **state) {
    (void)state;
    char link[WB_PATH];
    char target[64] = "";
    save(9);
    save(10);
    save(100);
    assert_int_equal(resume(), 100);
    in_run(link, "latest");
    assert_int_equal(readlink(link, target, sizeof(target) - 1), 8);
    assert_string_equal(target, "step-100");
    bool found = false;
    wb_checkpoint facts;
    assert_ok(wb_checkpoint_peek(run, &facts, &found));
    assert_true(found);
    assert_int_equal(facts.step, 100);
    assert_false(facts.finished);
    save(500);
    assert_ok(wb_checkpoint_peek(run, &facts, &found));
    assert_true(facts.finished);
}

static void same_step_is_replaced(void **state) {
    (void)state;
    char path[WB_PATH];
    save(3);
    in_run(path, "step-3/state.h5");
    put_text(path, "damaged");
    save(3);
    assert_int_equal(resume(), 3);
    assert_string_equal(rejected, "");
    assert_false(exists("step-3.tmp"));
}

static void leftover_of_a_kill_is_ignored_and_removed(void **state) {
    (void)state;
    char path[WB_PATH];
    save(10);
    in_run(path, "step-20.tmp");
    assert_ok(wb_folder_make(path));
    in_run(path, "step-20.tmp/state.h5");
    put_text(path, "half");
    in_run(path, "step-x");
    assert_ok(wb_folder_make(path));
    assert_int_equal(resume(), 10);
    assert_string_equal(rejected, "");
    assert_ok(wb_checkpoint_prune(run, 2, -1));
    assert_false(exists("step-20.tmp"));
    assert_true(exists("step-10"));
    assert_true(exists("step-x"));
}

static void prune_keeps_the_newest_good_ones(void **state) {
    (void)state;
    char path[WB_PATH];
    assert_ok(wb_checkpoint_prune(run, 2, -1)); /* nothing yet */
    for (int64_t step = 1; step <= 10; step++) {
        save(step);
        assert_ok(wb_checkpoint_prune(run, 2, -1));
        for (int64_t other = 1; other <= step; other++) {
            char name[32];
            (void)snprintf(name, sizeof(name), "step-%d", (int)other);
            assert_int_equal(exists(name), other > step - 2);
        }
        assert_int_equal(resume(), step);
    }
    save(11);
    in_run(path, "step-11/state.h5");
    assert_int_equal(truncate(path, 100), 0);
    assert_ok(wb_checkpoint_prune(run, 2, -1));
    assert_true(exists("step-9"));
    assert_int_equal(resume(), 10);
    for (int64_t step = 9; step <= 10; step++) {
        in_run(path, step == 9 ? "step-9/state.h5" : "step-10/state.h5");
        assert_int_equal(truncate(path, 100), 0);
    }
    assert_refused(wb_checkpoint_prune(run, 2, -1), WB_ERR_CHECKPOINT, "its manifest says");
    assert_true(exists("step-9"));
    assert_refused(wb_checkpoint_prune(run, 1, -1), WB_ERR_CONFIG, "at least 2");
}

/* Newest first: no manifest, good, damaged, good, good. The last is one too many. */
static void prune_passes_over_damaged_ones(void **state) {
    (void)state;
    char path[WB_PATH];
    for (int64_t step = 1; step <= 5; step++) {
        save(step);
    }
    in_run(path, "step-5/manifest.json");
    assert_int_equal(unlink(path), 0);
    in_run(path, "step-3/state.h5");
    assert_int_equal(truncate(path, 100), 0);
    assert_ok(wb_checkpoint_prune(run, 2, -1));
    assert_string_equal(wb_error_message(), "");
    assert_false(exists("step-1"));
    for (int step = 2; step <= 5; step++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "step-%d", step);
        assert_true(exists(name));
    }
    assert_int_equal(resume(), 4);
    in_run(path, "step-2/state.h5"); /* and then only one is good: none goes */
    assert_int_equal(truncate(path, 100), 0);
    assert_ok(wb_checkpoint_prune(run, 2, -1));
    assert_string_equal(wb_error_message(), "");
    assert_true(exists("step-2"));
    assert_int_equal(resume(), 4);
}

/* What the caller has just read back counts as good: that its file has gone since is not seen. Of
 * all others the files are read. */
static void prune_reads_all_but_what_was_just_verified(void **state) {
    (void)state;
    char path[WB_PATH];
    for (int64_t step = 1; step <= 4; step++) {
        save(step);
    }
    in_run(path, "step-4/state.h5");
    assert_int_equal(unlink(path), 0);
    assert_ok(wb_checkpoint_prune(run, 2, -1));
    assert_true(exists("step-2"));
    assert_false(exists("step-1"));
    in_run(path, "step-3/state.h5");
    assert_int_equal(truncate(path, 100), 0);
    save(1);
    assert_ok(wb_checkpoint_prune(run, 2, 4));
    assert_true(exists("step-3"));
    assert_true(exists("step-2"));
    assert_false(exists("step-1"));
    assert_int_equal(resume(), 2);
}

static void other_configuration_or_model_is_refused(void **state) {
    (void)state;
    bool found = false;
    save(10);
    sample s;
    make_sample(&s, 0, 5);
    s.state.config_hash = 78;
    assert_refused(wb_checkpoint_read_newest(run, &s.state, &found, rejected, sizeof(rejected)),
                   WB_ERR_CHECKPOINT,
                   "another configuration (000000000000004d, now 000000000000004e)");
    s.state.config_hash = 77;
    assert_ok(wb_tensor_add(&s.table, true, 1, 1, "more"));
    assert_refused(wb_checkpoint_read_newest(run, &s.state, &found, rejected, sizeof(rejected)),
                   WB_ERR_CHECKPOINT, "holds 3 tensors of 1807 values; the model has 4 of 1808");
    drop_sample(&s);
    make_sample(&s, 0, 5);
    (void)snprintf(s.table.tensors[1].name, WB_TENSOR_NAME, "embeddings.other");
    assert_refused(wb_checkpoint_read_newest(run, &s.state, &found, rejected, sizeof(rejected)),
                   WB_ERR_CHECKPOINT, "lacks tensor embeddings.other");
    drop_sample(&s);
    make_sample(&s, 0, 5);
    s.table.tensors[0].shape[0] = 300;
    s.table.tensors[0].shape[1] = 5;
    assert_refused(wb_checkpoint_read_newest(run, &s.state, &found, rejected, sizeof(rejected)),
                   WB_ERR_CHECKPOINT, "is 5 x 300; the model expects 300 x 5");
    drop_sample(&s);
    make_sample(&s, 0, 5);
    s.table.tensors[0].shape[1] = 299;
    assert_refused(wb_checkpoint_read_newest(run, &s.state, &found, rejected, sizeof(rejected)),
                   WB_ERR_CHECKPOINT, "is 5 x 300; the model expects 5 x 299");
    drop_sample(&s);
    make_sample(&s, 0, 6);
    assert_refused(wb_checkpoint_read_newest(run, &s.state, &found, rejected, sizeof(rejected)),
                   WB_ERR_CHECKPOINT, "holds 3 tensors of 1807 values; the model has 3 of 2107");
    drop_sample(&s);
    make_sample(&s, 0, 5);
    s.state.slot_names[1] = "lion.m";
    assert_refused(wb_checkpoint_read_newest(run, &s.state, &found, rejected, sizeof(rejected)),
                   WB_ERR_CHECKPOINT, "holds no lion.m; was it written with another optimizer?");
    drop_sample(&s);
}

/* Runs a save in a child, under a limit set by `prepare`; returns its exit status. */
static int save_in_child(const struct rlimit *file_size, int64_t step, int64_t large) {
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        sample s;
        make_sample(&s, step, large);
        wb_status status = WB_ERR_INTERNAL;
        if (!file_size || setrlimit(RLIMIT_FSIZE, file_size) == 0) {
            status = wb_checkpoint_write(run, &s.state);
        }
        drop_sample(&s);
        _exit(wb_status_exit_code(status));
    }
    int result = 0;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result));
    return WEXITSTATUS(result);
}

static void failed_write_leaves_the_old_generation(void **state) {
    (void)state;
    save(10);
    for (rlim_t bytes = 0; bytes <= 24000; bytes += 3000) {
        const struct rlimit limit = {.rlim_cur = bytes, .rlim_max = bytes};
        assert_int_equal(save_in_child(&limit, 20, 5), wb_status_exit_code(WB_ERR_DISK));
        assert_false(exists("step-20"));
        assert_false(exists("step-20.tmp"));
    }
    assert_int_equal(resume(), 10);
    assert_string_equal(rejected, "");
}

/* Saves and prunes from `step` on for ever, and writes a byte for each save that has returned. */
_Noreturn static void save_for_ever(int64_t step, int done) {
    for (;; step++) {
        save(step);
        (void)!write(done, "", 1);
        (void)wb_checkpoint_prune(run, 2, -1);
    }
}

/* Kills a child that saves, at most `microseconds` after `saves` of its saves have returned. */
static void kill_a_saver(int64_t step, int saves, uint64_t microseconds) {
    int done[2];
    assert_int_equal(pipe(done), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        save_for_ever(step, done[1]);
    }
    for (int i = 0; i < saves; i++) {
        char byte;
        assert_int_equal(read(done[0], &byte, 1), 1);
    }
    (void)usleep((useconds_t)microseconds);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    (void)close(done[0]);
    (void)close(done[1]);
}

/* A save that has returned is never lost, and what is found is always whole. A kill takes nothing
 * from the page cache, so the run may stand in memory, where saves are fast and kills hit all of
 * one, wherever the disk is slow. */
static void kill_at_any_moment_loses_no_save_that_returned(void **state) {
    (void)state;
    const uint64_t seed = 99;
    int64_t step = 0;
    char memory[] = "/dev/shm/test_checkpoint_XXXXXX";
    if (mkdtemp(memory)) {
        (void)snprintf(run, sizeof(run), "%s", memory);
    }
    save(step);
    const double began = wb_now();
    save(step);
    assert_ok(wb_checkpoint_prune(run, 2, -1));
    const uint64_t once = (uint64_t)(1e6 * (wb_now() - began)) + 1;
    for (uint32_t i = 0; i < 60; i++) {
        const wb_rng_key key = {.seed = seed, .site = wb_rng_site(WB_RNG_TEST, 0)};
        const int saves = (int)(i % 3);
        kill_a_saver(step + 1, saves, wb_rng_below(2 * once, key, i));
        const int64_t found = resume();
        if (found < step + saves || rejected[0] != '\0') {
            fail_msg("seed %llu, kill %u: resumed at %lld, expected at least %lld; rejected \"%s\"",
                     (unsigned long long)seed, i, (long long)found, (long long)(step + saves),
                     rejected);
        }
        step = found;
    }
    assert_ok(wb_folder_remove(run));
}

static void full_disk_is_seen_before_writing_and_while_writing(void **state) {
    (void)state;
    if (mount("none", run, "tmpfs", 0, "size=4m") != 0) {
        skip(); /* needs root */
    }
    save(10);
    assert_int_equal(save_in_child(NULL, 20, 2000), wb_status_exit_code(WB_ERR_DISK));
    sample s;
    make_sample(&s, 20, 2000);
    assert_refused(wb_checkpoint_write(run, &s.state), WB_ERR_DISK, "a checkpoint takes");
    drop_sample(&s);
    assert_int_equal(resume(), 10);
    assert_false(exists("step-20"));
}

static void files_are_private(void **state) {
    (void)state;
    char path[WB_PATH];
    struct stat info;
    save(1);
    in_run(path, "step-1");
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    in_run(path, "step-1/state.h5");
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(state_comes_back_bit_equal, fresh_run),
        cmocka_unit_test_setup(a_wide_tensor_comes_back, fresh_run),
        cmocka_unit_test_setup(newest_by_number_wins_and_latest_points_to_it, fresh_run),
        cmocka_unit_test_setup(same_step_is_replaced, fresh_run),
        cmocka_unit_test_setup(leftover_of_a_kill_is_ignored_and_removed, fresh_run),
        cmocka_unit_test_setup(prune_keeps_the_newest_good_ones, fresh_run),
        cmocka_unit_test_setup(prune_passes_over_damaged_ones, fresh_run),
        cmocka_unit_test_setup(prune_reads_all_but_what_was_just_verified, fresh_run),
        cmocka_unit_test_setup(other_configuration_or_model_is_refused, fresh_run),
        cmocka_unit_test_setup(failed_write_leaves_the_old_generation, fresh_run),
        cmocka_unit_test_setup(kill_at_any_moment_loses_no_save_that_returned, fresh_run),
        cmocka_unit_test_setup_teardown(full_disk_is_seen_before_writing_and_while_writing,
                                        fresh_run, unmount_run),
        cmocka_unit_test_setup(files_are_private, fresh_run),
    };
    return cmocka_run_group_tests_name("checkpoint", tests, NULL, NULL);
}
