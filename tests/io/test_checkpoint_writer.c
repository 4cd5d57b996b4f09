/* Generations that lean on each other: what is read back is what was written, whatever was pruned,
 * and damage to one file never takes all. */
#include "io_checks.h"

#include "checkpoint_writer.h"
#include "hdf5_setup.h"
#include "json.h"
#include "lying_disk.h"
#include "rng.h"
#include "units.h"

#include <dirent.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { TENSORS = 5, STEPS = 24, ARRAYS = 3 };

static char run[WB_PATH];
static char rejected[8192];
static wb_tensor_table table;
static float *now[ARRAYS];                /* what training holds */
static float *history[STEPS + 1][ARRAYS]; /* what it held after each step */

static wb_checkpoint state_of(int64_t step, float *const *arrays) {
    return (wb_checkpoint){.step = step,
                           .total_steps = STEPS,
                           .config_hash = 5,
                           .table = &table,
                           .values = arrays[0],
                           .slots = ARRAYS - 1,
                           .slot_names = {"adamw.m", "adamw.v"},
                           .slot_values = {arrays[1], arrays[2]}};
}

static size_t array_bytes(void) {
    return wb_float_bytes(table.total);
}

static int fresh_run(void **state) {
    (void)state;
    assert_ok(wb_io_init());
    scratch_folder(run, "checkpoint_writer", "run");
    for (int i = 0; i < TENSORS; i++) {
        assert_ok(wb_tensor_add(&table, true, 40 + i, 50, "tensor.%d", i));
    }
    for (int a = 0; a < ARRAYS; a++) {
        now[a] = calloc((size_t)table.total, sizeof(float));
        for (int step = 0; step <= STEPS; step++) {
            history[step][a] = calloc((size_t)table.total, sizeof(float));
        }
    }
    return 0;
}

static int drop_run(void **state) {
    (void)state;
    for (int a = 0; a < ARRAYS; a++) {
        free(now[a]);
        for (int step = 0; step <= STEPS; step++) {
            free(history[step][a]);
        }
    }
    wb_tensor_table_clear(&table);
    return 0;
}

static wb_checkpoint_writer *open_writer(int64_t full_every, wb_status (*may)(void *), void *what) {
    const wb_checkpoint_writing how = {.run_folder = run,
                                       .life = "7.0",
                                       .keep = 2,
                                       .full_every = full_every,
                                       .may_publish = may,
                                       .context = what};
    wb_checkpoint_writer *writer = NULL;
    assert_ok(wb_checkpoint_writer_create(&writer, &how));
    return writer;
}

/* Changes one tensor of one array, or all of them where `tensor` is negative. */
static void train(int64_t step, int array, int tensor) {
    for (int a = 0; a < ARRAYS; a++) {
        for (int i = 0; i < TENSORS; i++) {
            if (tensor < 0 || (a == array && i == tensor)) {
                now[a][table.tensors[i].offset + step % 40] += 1.0f + (float)step;
            }
        }
        memcpy(history[step][a], now[a], array_bytes());
    }
}

static wb_status write_step(wb_checkpoint_writer *writer, int64_t step) {
    const wb_checkpoint state = state_of(step, now);
    return wb_checkpoint_writer_write(writer, &state);
}

/* The step resumed from, whose values must be those of that step; -1 where none can be used. */
static int64_t resume(void) {
    float *arrays[ARRAYS];
    bool found = false;
    for (int a = 0; a < ARRAYS; a++) {
        arrays[a] = calloc((size_t)table.total, sizeof(float));
    }
    wb_checkpoint state = state_of(0, arrays);
    wb_error_clear();
    const wb_status status =
        wb_checkpoint_read_newest(run, &state, &found, rejected, sizeof(rejected));
    for (int a = 0; a < ARRAYS; a++) {
        if (status == WB_OK && found) {
            assert_memory_equal(arrays[a], history[state.step][a], array_bytes());
        }
        free(arrays[a]);
    }
    wb_error_clear();
    return status == WB_OK && found ? state.step : -1;
}

static void in_run(char path[WB_PATH], int64_t step, const char *name) {
    assert_ok(wb_path_join(path, run, "checkpoints/step-%" PRId64 "/%s", step, name));
}

static int64_t file_bytes(int64_t step) {
    char path[WB_PATH];
    struct stat info = {0};
    in_run(path, step, "state.h5");
    return stat(path, &info) == 0 ? info.st_size : -1;
}

static void parts_that_have_not_changed_are_not_written_again(void **state) {
    (void)state;
    char path[WB_PATH];
    json_t *manifest = NULL;
    wb_checkpoint_writer *writer = open_writer(3, NULL, NULL);
    train(1, 0, -1);
    assert_ok(write_step(writer, 1));
    train(2, 1, 3);
    assert_ok(write_step(writer, 2));
    assert_int_equal(resume(), 2);
    assert_true(file_bytes(1) > 10 * file_bytes(2));
    in_run(path, 2, "manifest.json");
    assert_ok(wb_json_read(&manifest, path, 1 << 20));
    for (size_t i = 0; i < TENSORS; i++) {
        const json_t *parts =
            json_object_get(json_array_get(json_object_get(manifest, "tensors"), i), "parts");
        for (size_t a = 0; a < ARRAYS; a++) {
            assert_int_equal(json_integer_value(json_object_get(json_array_get(parts, a), "step")),
                             a == 1 && i == 3 ? 2 : 1);
        }
    }
    json_decref(manifest);
    train(3, 0, 0);
    assert_ok(write_step(writer, 3));
    train(4, 0, 0);
    assert_ok(write_step(writer, 4)); /* the third after a full one is full */
    assert_true(file_bytes(4) == file_bytes(1));
    assert_int_equal(resume(), 4);
    wb_checkpoint_writer_destroy(writer);
    writer = open_writer(3, NULL, NULL);
    train(5, 0, 0);
    assert_ok(write_step(writer, 5)); /* so is the first of another life */
    assert_true(file_bytes(5) == file_bytes(4));
    wb_checkpoint_writer_destroy(writer);
}

/* Flips a bit of state.h5 or the manifest of a generation, looks where a run would go on, and mends
 * it again. */
static void damage_one(int64_t step, const char *name, uint64_t draw, int64_t newest) {
    char path[WB_PATH];
    size_t bytes = 0;
    in_run(path, step, name);
    if (!wb_path_is_file(path)) {
        return;
    }
    char *data = get_bytes(path, &bytes);
    data[draw % bytes] = (char)(data[draw % bytes] ^ 0x10);
    put_bytes(path, data, bytes);
    const int64_t found = resume();
    if (found < 0) {
        fail_msg("with %s of step %d damaged nothing is left after step %d:\n%s", name, (int)step,
                 (int)newest, rejected);
    }
    data[draw % bytes] = (char)(data[draw % bytes] ^ 0x10);
    put_bytes(path, data, bytes);
    free(data);
}

static int64_t count_generations(void) {
    int64_t count = 0;
    for (int64_t step = 0; step <= STEPS; step++) {
        count += file_bytes(step) >= 0 ? 1 : 0;
    }
    return count;
}

static void no_single_damaged_file_takes_all_generations(void **state) {
    (void)state;
    const uint64_t seed = 2024;
    wb_checkpoint_writer *writer = open_writer(6, NULL, NULL);
    for (int64_t step = 1; step <= STEPS; step++) {
        const wb_rng_key key = {.seed = seed, .example = (uint32_t)step};
        train(step, (int)wb_rng_below(ARRAYS, key, 0), (int)wb_rng_below(TENSORS, key, 1));
        assert_ok(write_step(writer, step));
        assert_int_equal(resume(), step);
        assert_string_equal(rejected, "");
        assert_true(count_generations() <= 2 * 6 + 1); /* two, and what they lean on */
        for (int64_t damaged = 1; damaged <= step && step > 6; damaged++) {
            damage_one(damaged, "state.h5", wb_rng_below(1 << 30, key, 2), step);
            damage_one(damaged, "manifest.json", wb_rng_below(1 << 30, key, 3), step);
        }
    }
    wb_checkpoint_writer_destroy(writer);
}

static void a_file_that_is_gone_is_not_leaned_on(void **state) {
    (void)state;
    char path[WB_PATH];
    wb_checkpoint_writer *writer = open_writer(10, NULL, NULL);
    train(1, 0, -1);
    assert_ok(write_step(writer, 1));
    in_run(path, 1, "state.h5");
    assert_int_equal(unlink(path), 0);
    train(2, 0, 2);
    assert_ok(write_step(writer, 2));
    assert_int_equal(resume(), 2);
    wb_checkpoint_writer_destroy(writer);
}

/* One that is there, and damaged, is found when a generation that leans on it is verified. */
static void a_damaged_file_is_not_leaned_on(void **state) {
    (void)state;
    char path[WB_PATH];
    size_t bytes = 0;
    wb_checkpoint_writer *writer = open_writer(10, NULL, NULL);
    train(1, 0, -1);
    assert_ok(write_step(writer, 1));
    in_run(path, 1, "state.h5");
    char *data = get_bytes(path, &bytes);
    data[bytes / 2] = (char)(data[bytes / 2] ^ 0x10);
    put_bytes(path, data, bytes);
    free(data);
    train(2, 0, 2);
    assert_refused(write_step(writer, 2), WB_ERR_CHECKPOINT, "step-1/state.h5: damaged");
    assert_int_equal(file_bytes(2), -1);
    wb_checkpoint_writer_destroy(writer);
}

/* Nor is one that has another length, the one that is to be replaced, or a newer one. */
static void only_whole_older_files_are_leaned_on(void **state) {
    (void)state;
    char path[WB_PATH];
    wb_checkpoint_writer *writer = open_writer(10, NULL, NULL);
    train(1, 0, -1);
    assert_ok(write_step(writer, 1));
    const int64_t full = file_bytes(1);
    in_run(path, 1, "state.h5");
    assert_int_equal(truncate(path, full - 1), 0);
    train(2, 0, 2);
    assert_ok(write_step(writer, 2));
    assert_int_equal(file_bytes(2), full);
    assert_int_equal(resume(), 2);
    train(2, 0, 3);
    assert_ok(write_step(writer, 2)); /* again */
    assert_int_equal(file_bytes(2), full);
    assert_int_equal(resume(), 2);
    train(1, 0, 3);
    assert_ok(write_step(writer, 1)); /* again, after a newer one */
    assert_int_equal(file_bytes(1), full);
    assert_int_equal(resume(), 2);
    wb_checkpoint_writer_destroy(writer);
}

static void a_state_of_other_arrays_is_refused(void **state) {
    (void)state;
    wb_checkpoint_writer *writer = open_writer(10, NULL, NULL);
    train(1, 0, -1);
    assert_ok(write_step(writer, 1));
    wb_checkpoint other = state_of(2, now);
    other.slots = 1;
    assert_refused(wb_checkpoint_writer_write(writer, &other), WB_ERR_INTERNAL,
                   "a writer of 15 parts gets 10");
    assert_int_equal(file_bytes(2), -1);
    assert_int_equal(resume(), 1);
    wb_checkpoint_writer_destroy(writer);
    wb_checkpoint_writer_destroy(NULL);
}

static wb_status refuse(void *context) {
    return *(const bool *)context ? WB_ERROR(WB_ERR_IN_USE, "a higher life is on record") : WB_OK;
}

static void a_life_that_was_replaced_publishes_nothing(void **state) {
    (void)state;
    bool replaced = false;
    char path[WB_PATH];
    wb_checkpoint_writer *writer = open_writer(4, refuse, &replaced);
    train(1, 0, -1);
    assert_ok(write_step(writer, 1));
    replaced = true;
    train(2, 0, -1);
    assert_refused(write_step(writer, 2), WB_ERR_IN_USE, "a higher life is on record");
    assert_int_equal(file_bytes(2), -1);
    assert_int_equal(resume(), 1);
    assert_ok(wb_path_join(path, run, "checkpoints/step-2.7.0.tmp"));
    assert_false(wb_path_is_folder(path));
    wb_checkpoint_writer_destroy(writer);
}

/* ---- Disks that lie
 * --------------------------------------------------------------------------------------- */

static void state_being_written(char path[WB_PATH]) {
    assert_ok(wb_path_join(path, run, "checkpoints/step-2.7.0.tmp/state.h5"));
}

/* Write 1 is state.h5, write 2 the manifest, after state.h5 was read back. */

static bool flips_a_bit(long n, int file, unsigned char *data, size_t bytes) {
    (void)file;
    data[bytes / 2] = (unsigned char)(data[bytes / 2] ^ (n == 1 ? 0x20 : 0));
    return true;
}

static bool loses_the_state(long n, int file, unsigned char *data, size_t bytes) {
    (void)file;
    (void)data;
    (void)bytes;
    return n != 1;
}

static bool cuts_the_state_later(long n, int file, unsigned char *data, size_t bytes) {
    char path[WB_PATH];
    (void)file;
    (void)data;
    (void)bytes;
    state_being_written(path);
    assert_true(n != 2 || truncate(path, 1000) == 0);
    return true;
}

static bool removes_the_state_later(long n, int file, unsigned char *data, size_t bytes) {
    char path[WB_PATH];
    (void)file;
    (void)data;
    (void)bytes;
    state_being_written(path);
    assert_true(n != 2 || unlink(path) == 0);
    return true;
}

static bool flips_the_manifest(long n, int file, unsigned char *data, size_t bytes) {
    return flips_a_bit(n - 1, file, data, bytes);
}

static const struct {
    wb_disk disk;
    wb_status code;
    const char *message;
} lies[] = {
    {flips_a_bit, WB_ERR_CHECKPOINT, "read back it is"},
    {loses_the_state, WB_ERR_DISK, "the file ends before"},
    {cuts_the_state_later, WB_ERR_CHECKPOINT, "1000 bytes; its manifest says"},
    {removes_the_state_later, WB_ERR_CHECKPOINT, "state.h5: cannot open"},
    {flips_the_manifest, WB_ERR_CHECKPOINT, "manifest.json"},
};

static void what_is_not_on_disk_gets_no_name(void **state) {
    (void)state;
    char path[WB_PATH];
    wb_checkpoint_writer *writer = open_writer(1, NULL, NULL);
    train(1, 0, -1);
    assert_ok(write_step(writer, 1));
    train(2, 0, -1);
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        wb_disk_set(lies[i].disk);
        assert_refused(write_step(writer, 2), lies[i].code, lies[i].message);
        wb_disk_set(NULL);
        assert_int_equal(file_bytes(2), -1);
        assert_ok(wb_path_join(path, run, "checkpoints/step-2.7.0.tmp"));
        assert_false(wb_path_is_folder(path));
        assert_int_equal(resume(), 1);
        assert_string_equal(rejected, "");
    }
    assert_ok(write_step(writer, 2));
    assert_int_equal(resume(), 2);
    wb_checkpoint_writer_destroy(writer);
}

/* h5py finds every tensor of a generation that leans on another. */
static void a_generation_is_readable_with_h5py(void **state) {
    (void)state;
    static const char *const names[ARRAYS] = {"parameters", "adamw.m", "adamw.v"};
    char command[3 * WB_PATH], line[128], expected[128];
    wb_checkpoint_writer *writer = open_writer(4, NULL, NULL);
    train(1, 0, -1);
    assert_ok(write_step(writer, 1));
    train(2, 1, 3);
    assert_ok(write_step(writer, 2));
    wb_checkpoint_writer_destroy(writer);
    (void)snprintf(
        command, sizeof(command),
        "for python in python3 /usr/bin/python3; do $python -c 'import h5py' 2>/dev/null "
        "&& exec $python %s/../python/read_checkpoint.py %s/checkpoints/latest; done; "
        "exit 77",
        WB_TEST_DATA, run);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    for (int a = 0; a < ARRAYS && fgets(line, sizeof(line), pipe); a++) {
        double sum = 0.0;
        for (int64_t i = 0; i < table.total; i++) {
            sum += (double)now[a][i];
        }
        (void)snprintf(expected, sizeof(expected), "%s %d %.6f\n", names[a], TENSORS, sum);
        assert_string_equal(line, expected);
    }
    const int result = pclose(pipe);
    if (WEXITSTATUS(result) == 77) {
        skip(); /* no h5py */
    }
    assert_int_equal(result, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(parts_that_have_not_changed_are_not_written_again,
                                        fresh_run, drop_run),
        cmocka_unit_test_setup_teardown(no_single_damaged_file_takes_all_generations, fresh_run,
                                        drop_run),
        cmocka_unit_test_setup_teardown(a_file_that_is_gone_is_not_leaned_on, fresh_run, drop_run),
        cmocka_unit_test_setup_teardown(a_damaged_file_is_not_leaned_on, fresh_run, drop_run),
        cmocka_unit_test_setup_teardown(only_whole_older_files_are_leaned_on, fresh_run, drop_run),
        cmocka_unit_test_setup_teardown(a_state_of_other_arrays_is_refused, fresh_run, drop_run),
        cmocka_unit_test_setup_teardown(a_generation_is_readable_with_h5py, fresh_run, drop_run),
        cmocka_unit_test_setup_teardown(a_life_that_was_replaced_publishes_nothing, fresh_run,
                                        drop_run),
        cmocka_unit_test_setup_teardown(what_is_not_on_disk_gets_no_name, fresh_run, drop_run),
    };
    return cmocka_run_group_tests_name("checkpoint writer", tests, NULL, NULL);
}
