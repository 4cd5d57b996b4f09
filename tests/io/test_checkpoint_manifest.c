/* Manifests that say what they must not, though their sum is right: a writer of another version, or
 * someone with an editor and a calculator. Each is refused with the member's name. */
#include "io_checks.h"

#include "checkpoint_manifest.h"
#include "hdf5_setup.h"
#include "manifest_edits.h"

static char folder[WB_PATH], path[WB_PATH];

static int write_good(void **state) {
    (void)state;
    wb_tensor_table table = {0};
    const wb_manifest_file files[] = {{.step = 7, .bytes = 900}, {.step = 5, .bytes = 1200}};
    const int64_t holders[] = {7, 5};
    const uint64_t sums[] = {1, 2};
    assert_ok(wb_io_init());
    scratch_folder(folder, "checkpoint_manifest", "step-7");
    assert_ok(wb_path_join(folder, folder, "step-7"));
    assert_ok(wb_folder_make(folder));
    assert_ok(wb_path_join(path, folder, "manifest.json"));
    assert_ok(wb_tensor_add(&table, true, 3, 4, "words.weight"));
    const wb_checkpoint made = {.step = 7,
                                .total_steps = 9,
                                .rows = 70,
                                .table = &table,
                                .slots = 1,
                                .slot_names = {"adamw.m"}};
    assert_ok(wb_manifest_write(folder, &made, holders, sums, files, 2));
    wb_tensor_table_clear(&table);
    return 0;
}

static void read_back(wb_status wanted, const char *part) {
    wb_manifest read;
    wb_error_clear();
    const wb_status status = wb_manifest_read(&read, folder);
    wb_manifest_clear(&read);
    if (status != wanted || !strstr(wb_error_message(), part)) {
        fail_msg("status %d, wanted %d: \"%s\", wanted \"%s\"", (int)status, (int)wanted,
                 wb_error_message(), part);
    }
    wb_error_clear();
}

static void what_was_written_is_read(void **state) {
    (void)state;
    wb_manifest read;
    assert_ok(wb_manifest_read(&read, folder));
    assert_int_equal(read.facts.step, 7);
    assert_int_equal(read.arrays, 2);
    assert_int_equal(read.tensors, 1);
    assert_int_equal(read.holders[0], 7);
    assert_int_equal(read.holders[1], 5);
    assert_int_equal(read.sums[1], 2);
    assert_int_equal(read.files[1].bytes, 1200);
    wb_manifest_clear(&read);
}

static void wrong_members_are_named(void **state) {
    (void)state;
    static const struct {
        const char *place, *value, *message;
    } edits[] = {
        {"format", "3", "\"format\" = 3"},
        {"format", NULL, "\"format\" is missing"},
        {"step", "-1", "\"step\" = -1"},
        {"step", "\"7\"", "\"step\""},
        {"step", "8", "the first of \"files\" must be its own"},
        {"total_steps", NULL, "\"total_steps\" is missing"},
        {"finished", "1", "\"finished\""},
        {"rows", "1.5", "\"rows\""},
        {"seed", "\"0x\"", "\"seed\" must be 16 hexadecimal digits"},
        {"seed", "7", "\"seed\""},
        {"config_hash", "\"000000000000000G\"", "\"config_hash\" must be 16 hexadecimal digits"},
        {"parameters", NULL, "\"parameters\" is missing"},
        {"files", NULL, "\"files\" must list 1 to"},
        {"files", "[]", "\"files\" must list 1 to"},
        {"files/0", "[]", "\"step\" is missing"},
        {"files/0/step", "8", "\"step\" = 8"},
        {"files/0/name", NULL, "\"name\" is missing"},
        {"files/0/name", "\"../state.h5\"", "file ../state.h5 is not known"},
        {"files/0/bytes", "0", "\"bytes\" = 0"},
        {"files/0/xxh3", "\"12\"", "\"xxh3\" must be 16 hexadecimal digits"},
        {"files/1", NULL, "stands in a file of step 5, which is not listed"},
        {"arrays", "[]", "\"arrays\" must list 1 to 3"},
        {"arrays", "[\"a\", \"b\", \"c\", \"d\"]", "\"arrays\" must list 1 to 3"},
        {"arrays/0", "7", "\"arrays\" must list texts"},
        {"tensors/0/name", NULL, "\"name\" is missing"},
        {"tensors/0/parts", NULL, "\"step\" is missing"},
        {"tensors/0/parts/1", NULL, "\"step\" is missing"},
        {"tensors/0/parts/0/step", "6", "stands in a file of step 6, which is not listed"},
        {"tensors/0/parts/0/xxh3", NULL, "\"xxh3\" is missing"},
    };
    char *const good = get_bytes(path, NULL);
    for (size_t i = 0; i < sizeof(edits) / sizeof(edits[0]); i++) {
        put_text(path, good);
        edit_manifest_file(path, edits[i].place, edits[i].value);
        read_back(WB_ERR_INPUT, edits[i].message);
    }
    json_t *const root = json_loads(good, 0, NULL);
    edit_manifest(root, "rows", "71"); /* and the sum is left as it was */
    char *const text = json_dumps(root, 0);
    put_text(path, text);
    read_back(WB_ERR_INPUT, "its sum does not fit");
    free(text);
    json_decref(root);
    put_text(path, good);
    read_back(WB_OK, "");
    free(good);
}

static void only_whole_numbers_name_generations(void **state) {
    (void)state;
    assert_int_equal(wb_manifest_step_of("step-12"), 12);
    static const char *const others[] = {"step-",   "step-012", "step--1", "step-1.tmp",
                                         "step-1 ", "latest",   "",        "step-+1",
                                         "Step-1",  "xstep-1",  "step-0x1"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        assert_int_equal(wb_manifest_step_of(others[i]), -1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(what_was_written_is_read, write_good),
        cmocka_unit_test_setup(wrong_members_are_named, write_good),
        cmocka_unit_test(only_whole_numbers_name_generations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
