/* Checkpoints: what was saved comes back, what is damaged is never loaded, what is good is kept. */
#include "io_checks.h"
#include "testing.h"

#include "checkpoint.h"
#include "hdf5_setup.h"
#include "json.h"
#include "manifest_edits.h"
#include "rng.h"
#include "tensor.h"
#include "units.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char run[WB_PATH];
static char rejected[4096];

/* A state of three arrays. Two of its tensors are larger than a chunk. */
typedef struct sample {
    wb_tensor_table table;
    float *arrays[3];
    wb_checkpoint state;
} sample;

static void make_sample(sample *made, int64_t step, int64_t large) {
    *made = (sample){0};
    assert_ok(wb_tensor_add(&made->table, true, large, 300, "embeddings.word_embeddings.weight"));
    assert_ok(wb_tensor_add(&made->table, false, 300, 0, "embeddings.LayerNorm.bias"));
    assert_ok(wb_tensor_add(&made->table, true, 1, 7, "encoder.layer.0.output.dense.weight"));
    made->state = (wb_checkpoint){.step = step,
                                  .total_steps = 500,
                                  .rows = step * 64,
                                  .seed = 0xfedcba9876543210u,
                                  .config_hash = 77,
                                  .finished = step == 500,
                                  .table = &made->table,
                                  .slots = 2,
                                  .slot_names = {"adamw.m", "adamw.v"}};
    for (uint32_t a = 0; a < 3; a++) {
        made->arrays[a] = calloc((size_t)made->table.total, sizeof(float));
        assert_non_null(made->arrays[a]);
        for (int64_t i = 0; i < made->table.total; i++) {
            made->arrays[a][i] = (float)(i % 1013) + 1000.0f * (float)a + 0.5f * (float)step;
        }
    }
    made->state.values = made->arrays[0];
    made->state.slot_values[0] = made->arrays[1];
    made->state.slot_values[1] = made->arrays[2];
}

static void drop_sample(sample *s) {
    for (int a = 0; a < 3; a++) {
        free(s->arrays[a]);
    }
    wb_tensor_table_clear(&s->table);
}

static void save(int64_t step) {
    sample s;
    make_sample(&s, step, 5);
    assert_ok(wb_checkpoint_write(run, &s.state));
    drop_sample(&s);
}

/* The step that is resumed from, or -1 where there is none; the arrays must be that step's. */
static int64_t resume(void) {
    bool found = false;
    sample s;
    make_sample(&s, 0, 5);
    assert_ok(wb_checkpoint_read_newest(run, &s.state, &found, rejected, sizeof(rejected)));
    const int64_t step = found ? s.state.step : -1;
    sample expected;
    make_sample(&expected, found ? step : 0, 5);
    for (int a = 0; a < 3; a++) {
        assert_memory_equal(s.arrays[a], expected.arrays[a], (size_t)s.table.total * sizeof(float));
    }
    drop_sample(&s);
    drop_sample(&expected);
    return step;
}

static wb_status try_resume(void) {
    bool found = false;
    sample s;
    make_sample(&s, 0, 5);
    const wb_status status =
        wb_checkpoint_read_newest(run, &s.state, &found, rejected, sizeof(rejected));
    drop_sample(&s);
    return status;
}

static void in_run(char path[WB_PATH], const char *name) {
    assert_ok(wb_path_join(path, run, "checkpoints/%s", name));
}

static bool exists(const char *name) {
    char path[WB_PATH];
    in_run(path, name);
    return wb_path_is_folder(path);
}

static int fresh_run(void **state) {
    (void)state;
    assert_ok(wb_io_init());
    scratch_folder(run, "checkpoint", "run");
    return 0;
}

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

/* One flipped bit anywhere in either file: refused, except where it changes nothing that is read,
 * which is so only for blanks of the manifest. */
static void flipped_bit_anywhere_is_detected(void **state) {
    (void)state;
    const uint64_t seed = 4242;
    static const char *const files[] = {"state.h5", "manifest.json"};
    save(5);
    for (uint32_t f = 0; f < 2; f++) {
        char folder[WB_PATH];
        char path[WB_PATH];
        size_t bytes = 0;
        in_run(folder, "step-5");
        assert_ok(wb_path_join(path, folder, "%s", files[f]));
        char *good = get_bytes(path, &bytes);
        char *bad = malloc(bytes);
        assert_non_null(bad);
        for (uint32_t i = 0; i < 300; i++) {
            const wb_rng_key key = {.seed = seed, .site = wb_rng_site(WB_RNG_TEST, f)};
            const uint64_t bit = wb_rng_below(8 * bytes, key, i);
            memcpy(bad, good, bytes);
            bad[bit / 8] = (char)(bad[bit / 8] ^ (1 << (bit % 8)));
            put_bytes(path, bad, bytes);
            const wb_status status = wb_checkpoint_verify(folder);
            const bool blank = strchr(" \n", good[bit / 8]) && strchr(" \n\r\t", bad[bit / 8]);
            if (status != WB_ERR_CHECKPOINT && !(f == 1 && blank)) {
                fail_msg("seed %llu, flip %u: bit %llu of %s: status %d, expected %d",
                         (unsigned long long)seed, i, (unsigned long long)bit, files[f],
                         (int)status, (int)WB_ERR_CHECKPOINT);
            }
            wb_error_clear();
        }
        put_bytes(path, good, bytes);
        assert_ok(wb_checkpoint_verify(folder));
        free(good);
        free(bad);
    }
}

static void truncated_and_zeroed_files_are_detected(void **state) {
    (void)state;
    char folder[WB_PATH];
    char path[WB_PATH];
    size_t bytes = 0;
    save(5);
    in_run(folder, "step-5");
    in_run(path, "step-5/state.h5");
    char *good = get_bytes(path, &bytes);
    for (size_t cut = 0; cut < bytes; cut += bytes / 23) {
        put_bytes(path, good, cut);
        assert_refused(wb_checkpoint_verify(folder), WB_ERR_CHECKPOINT, "its manifest says");
    }
    char *longer = calloc(1, bytes + 1);
    memcpy(longer, good, bytes);
    put_bytes(path, longer, bytes + 1);
    assert_refused(wb_checkpoint_verify(folder), WB_ERR_CHECKPOINT, "its manifest says");
    memset(longer + bytes / 2, 0, 512);
    put_bytes(path, longer, bytes);
    assert_refused(wb_checkpoint_verify(folder), WB_ERR_CHECKPOINT, "damaged");
    assert_int_equal(unlink(path), 0);
    assert_refused(wb_checkpoint_verify(folder), WB_ERR_CHECKPOINT, "cannot open");
    assert_ok(wb_folder_make(path));
    assert_refused(wb_checkpoint_verify(folder), WB_ERR_CHECKPOINT, "is not a regular file");
    free(longer);
    free(good);
}

typedef enum damage { FLIP, CUT, ZEROS, EDIT, GONE, SWAP, DAMAGES } damage;

/* Some digit of a manifest is another. */
static void edit_digit(char *text, size_t bytes, size_t at) {
    while (text[at] < '0' || text[at] > '9') {
        at = (at + 1) % bytes;
    }
    text[at] = text[at] == '7' ? '3' : '7';
}

/* Harms `path`, which holds `bytes` bytes `good`; `other` is the same file of another generation.
 * False where what it says is still the same. */
static bool harm(damage kind, const char *path, const char *good, size_t bytes, const char *other,
                 const uint64_t draws[2]) {
    const size_t at = draws[0] % bytes;
    size_t left = kind == CUT ? at : bytes;
    char *data = kind == SWAP ? get_bytes(other, &left) : malloc(bytes);
    assert_non_null(data);
    if (kind != SWAP) {
        memcpy(data, good, bytes);
    }
    if (kind == FLIP) {
        data[at] = (char)(data[at] ^ (1 << (draws[1] % 8)));
    } else if (kind == ZEROS) {
        memset(data + at, 0, bytes - at < 512 ? bytes - at : 512);
    } else if (kind == EDIT) {
        edit_digit(data, bytes, at);
    }
    const bool same = left == bytes && memcmp(good, data, bytes) == 0;
    put_bytes(path, data, left);
    free(data);
    if (kind == GONE) {
        assert_int_equal(unlink(path), 0);
    }
    return !same || kind == GONE;
}

/* One file of the newest generation is harmed, then mended: 0 where the harm said nothing. */
static int harm_and_resume(damage kind, uint64_t seed, uint32_t i) {
    const wb_rng_key key = {
        .seed = seed, .example = i, .site = wb_rng_site(WB_RNG_TEST, (uint32_t)kind)};
    const uint64_t draws[] = {wb_rng_below(UINT32_MAX, key, 0), wb_rng_below(UINT32_MAX, key, 1)};
    const char *const name =
        kind == EDIT || wb_rng_below(2, key, 2) > 0 ? "manifest.json" : "state.h5";
    char path[WB_PATH], folder[WB_PATH], other[WB_PATH];
    size_t bytes = 0;
    in_run(folder, "step-30");
    assert_ok(wb_path_join(path, folder, "%s", name));
    in_run(folder, wb_rng_below(2, key, 3) > 0 ? "step-10" : "step-20");
    assert_ok(wb_path_join(other, folder, "%s", name));
    char *good = get_bytes(path, &bytes);
    const bool harmed = harm(kind, path, good, bytes, other, draws);
    const int64_t found = resume();
    if (found != (harmed ? 20 : 30)) {
        fail_msg("seed %llu, damage %d, %u: %s, byte %llu of %zu: resumed at %lld",
                 (unsigned long long)seed, (int)kind, i, path,
                 (unsigned long long)(draws[0] % bytes), bytes, (long long)found);
    }
    put_bytes(path, good, bytes);
    free(good);
    return harmed ? 1 : 0;
}

/* Whatever happens to a file of the newest generation, the one before is found, bit by bit. */
static void damage_is_never_loaded_and_the_one_before_is(void **state) {
    (void)state;
    static const char *const names[DAMAGES] = {"flipped bits",  "cuts",          "zeroed blocks",
                                               "edited digits", "missing files", "swapped files"};
    static const uint32_t few[DAMAGES] = {60, 20, 10, 20, 4, 8};
    static const uint32_t many[DAMAGES] = {2000, 500, 100, 200, 8, 40};
    const char *const longer = getenv("WB_TEST_LONG");
    const uint32_t *const counts = longer && *longer == '1' ? many : few;
    const uint64_t seed = test_seed();
    save(10);
    save(20);
    save(30);
    for (int kind = 0; kind < DAMAGES; kind++) {
        int harmed = 0;
        for (uint32_t i = 0; i < counts[kind]; i++) {
            harmed += harm_and_resume((damage)kind, seed, i);
        }
        (void)printf("# %u %s, %d of them harmful: all found\n", counts[kind], names[kind], harmed);
        assert_true(harmed >= (int)counts[kind] * 3 / 4);
    }
    assert_int_equal(resume(), 30);
}

static void edited_manifest_is_detected(void **state) {
    (void)state;
    char folder[WB_PATH];
    char path[WB_PATH];
    json_t *manifest = NULL;
    save(5);
    in_run(folder, "step-5");
    in_run(path, "step-5/manifest.json");
    assert_ok(wb_json_read(&manifest, path, 1 << 20));
    json_object_set_new(manifest, "rows", json_integer(1));
    assert_ok(wb_json_write(manifest, path));
    assert_refused(wb_checkpoint_verify(folder), WB_ERR_CHECKPOINT, "damaged or edited");
    json_object_del(manifest, "sum");
    assert_ok(wb_json_write(manifest, path));
    assert_refused(wb_checkpoint_verify(folder), WB_ERR_CHECKPOINT, "\"sum\" is missing");
    json_decref(manifest);
}

/* Whole files, and yet a tensor that is not the one that the manifest tells of. */
static void each_tensor_is_checked_by_itself(void **state) {
    (void)state;
    char path[WB_PATH];
    static const char *const sums[][2] = {
        {"tensors/1/parts/2/xxh3", "tensor embeddings.LayerNorm.bias of adamw.v is not what was"},
        {"tensors/0/parts/0/xxh3", "word_embeddings.weight of parameters is not what was written"}};
    for (size_t i = 0; i < 2; i++) {
        save(5);
        in_run(path, "step-5/manifest.json");
        edit_manifest_file(path, sums[i][0], "\"0123456789abcdef\"");
        in_run(path, "step-5");
        assert_ok(wb_checkpoint_verify(path));
        assert_refused(try_resume(), WB_ERR_CHECKPOINT, sums[i][1]);
    }
}

static void renamed_generation_is_rejected(void **state) {
    (void)state;
    char from[WB_PATH];
    char to[WB_PATH];
    save(5);
    in_run(from, "step-5");
    in_run(to, "step-50");
    assert_int_equal(rename(from, to), 0);
    assert_refused(try_resume(), WB_ERR_CHECKPOINT, "is of step 5, its folder is named step-50");
    const int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(here >= 0);
    in_run(to, "");
    assert_int_equal(chdir(to), 0);
    assert_refused(wb_checkpoint_verify("step-50"), WB_ERR_CHECKPOINT, "named step-50");
    assert_int_equal(rename("step-50", "step-5"), 0);
    assert_ok(wb_checkpoint_verify("step-5"));
    assert_int_equal(fchdir(here), 0);
    (void)close(here);
}

static void resume_walks_back_and_says_what_it_rejected(void **state) {
    (void)state;
    char path[WB_PATH];
    save(10);
    save(20);
    save(30);
    in_run(path, "step-30/manifest.json");
    assert_int_equal(unlink(path), 0);
    in_run(path, "step-20/state.h5");
    assert_int_equal(truncate(path, 100), 0);
    assert_int_equal(resume(), 10);
    assert_non_null(strstr(rejected, "step-30/manifest.json: cannot open"));
    assert_non_null(strstr(rejected, "step-20/state.h5: 100 bytes; its manifest says"));
    in_run(path, "step-10/state.h5");
    assert_int_equal(truncate(path, 0), 0);
    assert_refused(try_resume(), WB_ERR_CHECKPOINT, "none of 3 checkpoints can be used");
    bool found = true;
    sample s;
    make_sample(&s, 0, 5);
    memset(rejected, '#', sizeof(rejected)); /* of which only a few bytes are given */
    assert_refused(wb_checkpoint_read_newest(run, &s.state, &found, rejected, 16),
                   WB_ERR_CHECKPOINT, "none of 3 checkpoints can be used");
    assert_false(found);
    assert_int_equal(strlen(rejected), 15);
    assert_int_equal(rejected[16], '#');
    drop_sample(&s);
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

/* The description of `path` has this in it; where it cannot be given, nothing of it is. */
static void describe(const char *path, const char *expected) {
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    assert_non_null(out);
    wb_error_clear();
    const wb_status status = wb_checkpoint_describe(path, out);
    assert_int_equal(fclose(out), 0);
    if (!strstr(status == WB_OK ? text : wb_error_message(), expected) ||
        (status != WB_OK && bytes > 0)) {
        fail_msg("%s: found \"%s\", \"%s\", expected \"%s\"", path, text, wb_error_message(),
                 expected);
    }
    wb_error_clear();
    free(text);
}

static void description_names_facts_and_tensors(void **state) {
    (void)state;
    char generation[WB_PATH], broken[WB_PATH];
    save(1200);
    in_run(generation, "step-1200");
    in_run(broken, "step-1200/state.h5"); /* a file that is no safetensors */
    const char *const cases[][2] = {
        {run, "step           1,200"},
        {generation, "files          step-1200/state.h5, "},
        {generation, "finished       no\n"},
        {generation, "config_hash    000000000000004d\n"},
        {WB_TEST_DATA "/models/sentence_transformers", "pooling        cls"},
        {WB_TEST_DATA "/models/sentence_transformers", "normalised     yes"},
        {WB_TEST_DATA "/models/sharded", "pooling        mean\n  normalised     no"},
        {WB_TEST_DATA "/models/sharded", "shards: inspect them one by one"},
        {WB_TEST_DATA "/models/static", "encoder        static"},
        {WB_TEST_DATA "/models/static/model.safetensors", "embedding.weight"},
        {broken, "is an HDF5 file"},
        {"/nonexistent", "no such folder"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        describe(cases[i][0], cases[i][1]);
    }
    save(500);
    in_run(generation, "step-500");
    describe(generation, "finished       yes\n");
    assert_int_equal(truncate(broken, 5), 0);
    describe(run, "state.h5: 5 bytes; its manifest says");
    in_run(generation, "step-1200");
    describe(generation, "state.h5: 5 bytes; its manifest says");
    assert_ok(wb_folder_remove(run));
    in_run(generation, "");
    assert_ok(wb_folder_make(generation));
    describe(run, "holds no checkpoint");
}

/* What only people read may say anything in a manifest whose sum is right. */
static void what_is_only_described_may_be_anything(void **state) {
    (void)state;
    static const struct {
        const char *place, *value, *expected;
    } edits[] = {
        {"writer", "7", "writer         7\n"},
        {"writer", "[]", "verified\n  step           5\n"},
        {"writer", NULL, "verified\n  step           5\n"},
        {"tensors/0/shape", "[5, 4]", " 5 x 4                        20\n"},
        {"tensors/0/shape", "[4611686018427387904, 3]", " 4611686018427387904 x 3 "},
        {"tensors/0/shape", "[-9223372036854775807, 9]", " x 9              0\n"},
        {"tensors/0/shape", "{}", "F32   0 "},
        {"tensors/0/shape", "[\"a\", []]", "F32   0 x 0 "},
        {"tensors/0/shape", NULL, "F32   0 "},
    };
    char path[WB_PATH];
    save(5);
    in_run(path, "step-5/manifest.json");
    for (size_t i = 0; i < sizeof(edits) / sizeof(edits[0]); i++) {
        edit_manifest_file(path, edits[i].place, edits[i].value);
        describe(run, edits[i].expected);
    }
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
        cmocka_unit_test_setup(flipped_bit_anywhere_is_detected, fresh_run),
        cmocka_unit_test_setup(truncated_and_zeroed_files_are_detected, fresh_run),
        cmocka_unit_test_setup(damage_is_never_loaded_and_the_one_before_is, fresh_run),
        cmocka_unit_test_setup(edited_manifest_is_detected, fresh_run),
        cmocka_unit_test_setup(each_tensor_is_checked_by_itself, fresh_run),
        cmocka_unit_test_setup(renamed_generation_is_rejected, fresh_run),
        cmocka_unit_test_setup(resume_walks_back_and_says_what_it_rejected, fresh_run),
        cmocka_unit_test_setup(leftover_of_a_kill_is_ignored_and_removed, fresh_run),
        cmocka_unit_test_setup(prune_keeps_the_newest_good_ones, fresh_run),
        cmocka_unit_test_setup(prune_passes_over_damaged_ones, fresh_run),
        cmocka_unit_test_setup(prune_reads_all_but_what_was_just_verified, fresh_run),
        cmocka_unit_test_setup(other_configuration_or_model_is_refused, fresh_run),
        cmocka_unit_test_setup(failed_write_leaves_the_old_generation, fresh_run),
        cmocka_unit_test_setup(kill_at_any_moment_loses_no_save_that_returned, fresh_run),
        cmocka_unit_test_setup_teardown(full_disk_is_seen_before_writing_and_while_writing,
                                        fresh_run, unmount_run),
        cmocka_unit_test_setup(description_names_facts_and_tensors, fresh_run),
        cmocka_unit_test_setup(what_is_only_described_may_be_anything, fresh_run),
        cmocka_unit_test_setup(files_are_private, fresh_run),
    };
    return cmocka_run_group_tests_name("checkpoint", tests, NULL, NULL);
}
