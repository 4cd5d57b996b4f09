/* What `inspect` says of checkpoints and models. */
#include "checkpoint_checks.h"

#include "manifest_edits.h"

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
        {generation, "seed           18364758544493064720\n"},
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(description_names_facts_and_tensors, fresh_run),
        cmocka_unit_test_setup(what_is_only_described_may_be_anything, fresh_run),
    };
    return cmocka_run_group_tests_name("described checkpoints", tests, NULL, NULL);
}
