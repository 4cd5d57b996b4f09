/* Damaged checkpoints: whatever has happened to a file, it is never loaded, and the one before is.
 */
#include "checkpoint_checks.h"
#include "testing.h"

#include "json.h"
#include "manifest_edits.h"
#include "rng.h"

#include <fcntl.h>

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(flipped_bit_anywhere_is_detected, fresh_run),
        cmocka_unit_test_setup(truncated_and_zeroed_files_are_detected, fresh_run),
        cmocka_unit_test_setup(damage_is_never_loaded_and_the_one_before_is, fresh_run),
        cmocka_unit_test_setup(edited_manifest_is_detected, fresh_run),
        cmocka_unit_test_setup(each_tensor_is_checked_by_itself, fresh_run),
        cmocka_unit_test_setup(renamed_generation_is_rejected, fresh_run),
        cmocka_unit_test_setup(resume_walks_back_and_says_what_it_rejected, fresh_run),
    };
    return cmocka_run_group_tests_name("damaged checkpoints", tests, NULL, NULL);
}
