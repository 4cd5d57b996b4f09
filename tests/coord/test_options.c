/* The table of options: parsing, ranges, origins, printing, what a run is continued with. */
#include "hash.h"
#include "options.h"
#include "other_names.h"
#include "testing.h"

static wb_config config;
static wb_origins *origins;

static int defaults(void **state) {
    (void)state;
    return wb_options_defaults(&config, &origins) == WB_OK ? 0 : -1;
}

static int destroy(void **state) {
    (void)state;
    wb_origins_destroy(origins);
    return 0;
}

/* What wb_options_write prints; owned by the caller. */
static char *written(const wb_origins *with) {
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    wb_options_write(&config, with, out);
    (void)fclose(out);
    return text;
}

static void the_reference_configuration_is_what_the_table_says(void **state) {
    (void)state;
    static const char path[] = WB_TEST_DATA "/../../configs/reference.yaml";
    static const char right[] = WB_TEST_SCRATCH "/reference.yaml";
    char *wanted = written(NULL), found[65536] = "";
    FILE *file = fopen(path, "r");
    if (file) {
        (void)fread(found, 1, sizeof(found) - 1, file);
        (void)fclose(file);
    }
    if (strcmp(found, wanted) != 0) {
        file = fopen(right, "w");
        (void)fputs(wanted, file);
        (void)fclose(file);
        fail_msg("configs/reference.yaml is not of this table: copy %s there", right);
    }
    free(wanted);
}

static void every_key_has_its_help_default_and_range_in_the_reference(void **state) {
    (void)state;
    char *text = written(NULL);
    assert_non_null(strstr(text, "run:\n"));
    assert_non_null(strstr(text, "\n  # at least 0\n  seed: 42\n"));
    assert_non_null(strstr(text, "\n  # 1e-06 to 10\n  temperature: 0.05\n"));
    assert_non_null(strstr(text, "\n  # 2 to 2147483647\n  size: 128\n"));
    assert_non_null(strstr(text, "\n  # one of adamw|sgd\n  name: adamw\n"));
    assert_non_null(strstr(text, "\n  budget: 0\n"));
    free(text);
}

static void values_of_every_kind_are_set_with_their_origin(void **state) {
    (void)state;
    assert_string_equal(wb_origins_of(origins, "loss.temperature"), "default");
    expect_ok(wb_options_set(&config, origins, "loss.temperature", "0.25", "a.yaml:3"));
    assert_true(config.loss_temperature == 0.25);
    assert_string_equal(wb_origins_of(origins, "loss.temperature"), "a.yaml:3");
    expect_ok(wb_options_set(&config, origins, "run.seed", "9223372036854775807", "x"));
    assert_int_equal(config.run_seed, INT64_MAX);
    expect_ok(wb_options_set(&config, origins, "memory.budget", "1.5 GiB", "x"));
    assert_int_equal(config.memory_budget, (size_t)3 << 29);
    expect_ok(wb_options_set(&config, origins, "run.max_time", "1h30m", "x"));
    assert_true(config.run_max_time == 5400.0);
    expect_ok(wb_options_set(&config, origins, "data.train", "", "x"));
    expect_ok(wb_options_set(&config, origins, "model.pooling", "cls", "x"));
    assert_string_equal(config.model_pooling, "cls");
    expect_ok(wb_options_assign(&config, origins, "data.train=a=b c"));
    assert_string_equal(config.data_train, "a=b c");
    assert_string_equal(wb_origins_of(origins, "data.train"), "--set");
    assert_null(wb_origins_of(origins, "data"));
}

static void wrong_values_name_place_key_value_and_what_is_allowed(void **state) {
    (void)state;
    static const struct {
        const char *key, *value, *message;
    } cases[] = {
        {"batch.size", "many", "c.yaml:7: batch.size = many; an integer is needed"},
        {"batch.size", "", "batch.size = ; an integer is needed"},
        {"batch.size", "12x", "an integer is needed"},
        {"batch.size", "1.5", "an integer is needed"},
        {"batch.size", "1e3", "an integer is needed"},
        {"batch.size", "99999999999999999999", "an integer is needed"},
        {"batch.size", "1", "batch.size = 1; the allowed range is 2 to 2147483647"},
        {"batch.size", "2147483648", "the allowed range is 2 to"},
        {"run.seed", "-1", "run.seed = -1; at least 0 is allowed"},
        {"loss.temperature", "0", "loss.temperature = 0; the allowed range is 1e-06 to 10"},
        {"loss.temperature", "-1", "the allowed range is"},
        {"loss.temperature", "nan", "the allowed range is"},
        {"loss.temperature", "inf", "the allowed range is"},
        {"loss.temperature", "1e999", "the allowed range is"},
        {"loss.temperature", "0,5", "loss.temperature = 0,5; a number is needed"},
        {"loss.temperature", "", "a number is needed"},
        {"model.pooling", "max", "model.pooling = max; allowed are auto|mean|cls"},
        {"model.pooling", "", "allowed are"},
        {"model.pooling", "mea", "allowed are"},
        {"model.pooling", "mean|cls", "allowed are"},
        {"model.pooling", "means", "allowed are"},
        {"memory.budget", "much", "memory.budget = much; a size such as 512M or 4GiB is needed"},
        {"memory.budget", "-1", "a size such as"},
        {"run.max_time", "noon",
         "run.max_time = noon; a time such as 90 (seconds), 45m, 1h30m or 12:00:00"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const wb_config before = config;
        expect_error(wb_options_set(&config, origins, cases[i].key, cases[i].value, "c.yaml:7"),
                     WB_ERR_CONFIG, cases[i].message);
        assert_memory_equal(&before, &config, sizeof(config));
        assert_string_equal(wb_origins_of(origins, cases[i].key), "default");
    }
    expect_error(wb_options_set(&config, origins, "data.train", "a\xffz", "c.yaml:7"),
                 WB_ERR_CONFIG, "c.yaml:7: data.train is no valid UTF-8");
    char text[WB_OPTION_TEXT + 1];
    memset(text, 'x', sizeof(text));
    text[WB_OPTION_TEXT] = '\0';
    expect_error(wb_options_set(&config, origins, "data.train", text, "c.yaml:7"), WB_ERR_CONFIG,
                 "c.yaml:7: data.train has 1024 characters; at most 1023 are allowed");
    text[WB_OPTION_TEXT - 1] = '\0';
    expect_ok(wb_options_set(&config, origins, "data.train", text, "c.yaml:7"));
    assert_string_equal(config.data_train, text);
}

static void choices_may_stand_in_capitals(void **state) {
    (void)state;
    expect_ok(wb_options_set(&config, origins, "model.normalize", "True", "--set"));
    assert_string_equal(config.model_normalize, "true");
    expect_ok(wb_options_set(&config, origins, "model.precision", "BF16", "--set"));
    assert_string_equal(config.model_precision, "bf16");
}

static void an_unknown_key_names_the_nearest(void **state) {
    (void)state;
    static const char *const cases[][2] = {{"loss.temprature", "loss.temperature"},
                                           {"temperature", "loss.temperature"},
                                           {"batch.sise", "batch.size"},
                                           {"Batch.Steps", "batch.steps"},
                                           {"seed", "run.seed"},
                                           {"lr", "optimizer.lr"},
                                           {"weight_decay", "optimizer.weight_decay"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char message[128];
        (void)snprintf(message, sizeof(message), "--set: unknown key %s; did you mean %s?",
                       cases[i][0], cases[i][1]);
        expect_error(wb_options_set(&config, origins, cases[i][0], "1", "--set"), WB_ERR_CONFIG,
                     message);
    }
    expect_error(wb_options_set(&config, origins, "frobnication", "1", "x"), WB_ERR_CONFIG,
                 "x: unknown key frobnication; widebatch train --help lists all keys");
    char longest[600];
    memset(longest, 'k', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    expect_error(wb_options_set(&config, origins, longest, "1", "x"), WB_ERR_CONFIG, "unknown key");
    expect_error(wb_options_set(&config, origins, "", "1", "x"), WB_ERR_CONFIG, "unknown key");
}

static void names_of_other_trainers_lead_to_the_key_and_its_meaning(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"per_device_train_batch_size",
         "x: unknown key per_device_train_batch_size; here it is batch.size: it counts the queries "
         "of a step over all ranks"},
        {"optimizer.learning_rate",
         "x: unknown key optimizer.learning_rate; here it is optimizer.lr"},
        {"loss.Scale", "here it is loss.temperature: its reciprocal"},
        {"per-device-train-batch-size", "here it is batch.size: "},
        {"fp16", "here it is model.precision: "},
        {"grad_cache", "x: unknown key grad_cache; none is needed: every step caches"},
        {"scales", "x: unknown key scales; "},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        expect_error(wb_options_set(&config, origins, cases[i][0], "1", "x"), WB_ERR_CONFIG,
                     cases[i][1]);
    }
}

static void the_table_of_other_names_leads_to_keys_that_exist(void **state) {
    (void)state;
    int rows = 0;
    for (const wb_other_name *row; (row = wb_other_name_row(rows)); rows++) {
        assert_ptr_equal(wb_other_name_find(row->name), row); /* no name stands twice */
        assert_null(wb_origins_of(origins, row->name));
        assert_true(row->key || row->note);
        if (row->key && !wb_origins_of(origins, row->key)) {
            fail_msg("%s leads to %s, which is no key", row->name, row->key);
        }
    }
    assert_true(rows > 0);
}

static void what_only_a_shell_replaces_is_no_path(void **state) {
    (void)state;
    static const char *const wrong[] = {"~/runs", "$SCRATCH/runs", "${HOME}"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char message[64];
        (void)snprintf(message, sizeof(message), "c.yaml:7: run.dir = %s; what only a shell",
                       wrong[i]);
        expect_error(wb_options_set(&config, origins, "run.dir", wrong[i], "c.yaml:7"),
                     WB_ERR_CONFIG, message);
    }
    expect_ok(wb_options_set(&config, origins, "run.dir", "a~/b$c", "c.yaml:7"));
}

static void an_assignment_needs_its_form(void **state) {
    (void)state;
    static const char *const wrong[] = {"", "=", "=3", "batch.size", "batch.size 3"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        expect_error(wb_options_assign(&config, origins, wrong[i]), WB_ERR_USAGE,
                     "the form is --set key=value");
    }
    char longest[600];
    memset(longest, 'k', sizeof(longest));
    longest[590] = '=';
    longest[599] = '\0';
    expect_error(wb_options_assign(&config, origins, longest), WB_ERR_USAGE, "the form is");
    expect_error(wb_options_assign(&config, origins, "batch.size="), WB_ERR_CONFIG,
                 "--set: batch.size = ; an integer is needed");
}

/* Keys that may change between start and resume. */
static const char *const free_values[][2] = {
    {"run.dir", "elsewhere"},     {"run.max_time", "1h"},     {"run.max_nonfinite", "5"},
    {"run.audit_every", "7"},     {"run.check_every", "7"},   {"run.watchdog", "5m"},
    {"data.eval", "e"},           {"data.eval_split", "dev"}, {"data.eval_every", "5"},
    {"batch.steps", "7"},         {"batch.epochs", "3"},      {"memory.budget", "1G"},
    {"memory.chunk_tokens", "9"}, {"checkpoint.every", "11"}, {"reduce.overlap", "false"},
    {"memory.tokens", "0"},       {"memory.gather", "1M"},    {"checkpoint.full_every", "3"},
    {"checkpoint.keep", "5"}};
static const char *const fixed_values[][2] = {{"run.seed", "7"},
                                              {"model.path", "m"},
                                              {"model.encoder", "static"},
                                              {"model.pooling", "cls"},
                                              {"model.normalize", "false"},

                                              {"model.precision", "auto"},
                                              {"model.query_prompt", "query: "},
                                              {"model.passage_prompt", "passage: "},
                                              {"model.width", "9"},
                                              {"data.train", "t"},
                                              {"data.split", "dev"},
                                              {"data.max_query_tokens", "9"},
                                              {"data.max_passage_tokens", "9"},
                                              {"data.hard_negatives", "2"},
                                              {"batch.size", "9"},
                                              {"loss.learn_temperature", "true"},
                                              {"loss.symmetric", "true"},
                                              {"loss.query_query", "true"},
                                              {"loss.passage_passage", "true"},
                                              {"loss.duplicates", "keep"},
                                              {"loss.positives", "all"},

                                              {"loss.filter_model", "guide"},
                                              {"data.draw", "fixed"},
                                              {"batch.drop_last", "false"},
                                              {"batch.no_duplicates", "true"},
                                              {"loss.widths", "64,32"},
                                              {"loss.width_weights", "1,2"},
                                              {"optimizer.name", "sgd"}};
/* Keys that may change where --allow-change names them. */
static const char *const asked_values[][2] = {
    {"model.dropout", "0.3"},         {"loss.temperature", "0.06"},  {"loss.margin", "0.1"},
    {"loss.filter", "absolute"},      {"loss.filter_margin", "0.1"}, {"optimizer.lr", "1"},
    {"optimizer.weight_decay", "1"},  {"optimizer.clip", "2"},       {"optimizer.warmup", "2"},
    {"optimizer.schedule", "cosine"}, {"reduce.mode", "fast"},       {"reduce.slots", "4"}};
enum {
    FREE_KEYS = sizeof(free_values) / sizeof(free_values[0]),
    FIXED_KEYS = sizeof(fixed_values) / sizeof(fixed_values[0]),
    ASKED_KEYS = sizeof(asked_values) / sizeof(asked_values[0])
};

static void a_run_goes_on_with_other_free_values_and_with_no_other_fixed_one(void **state) {
    (void)state;
    const wb_config before = config;
    const uint64_t hash = wb_options_fixed_hash(&config);
    for (int i = 0; i < FREE_KEYS; i++) {
        expect_ok(wb_options_set(&config, origins, free_values[i][0], free_values[i][1], "x"));
    }
    assert_true(wb_options_fixed_hash(&config) == hash);
    expect_ok(wb_options_check_continues(&before, &config, "run/config.yaml", NULL));
    for (int i = 0; i < FIXED_KEYS; i++) {
        config = before;
        expect_ok(wb_options_set(&config, origins, fixed_values[i][0], fixed_values[i][1], "x"));
        if (wb_options_fixed_hash(&config) == hash) {
            fail_msg("%s is not in the hash", fixed_values[i][0]);
        }
        char message[128];
        (void)snprintf(message, sizeof(message),
                       "run/config.yaml: the run began with %s = ", fixed_values[i][0]);
        expect_error(wb_options_check_continues(&before, &config, "run/config.yaml", NULL),
                     WB_ERR_CONFIG, message);
    }
}

static void a_run_goes_on_with_other_asked_values_where_they_are_allowed(void **state) {
    (void)state;
    const wb_config before = config;
    const uint64_t hash = wb_options_fixed_hash(&config);
    static const char where[] = "run/config.yaml";
    for (int i = 0; i < ASKED_KEYS; i++) {
        const char *const key = asked_values[i][0];
        char message[128], list[128];
        config = before;
        expect_ok(wb_options_set(&config, origins, key, asked_values[i][1], "x"));
        assert_true(wb_options_fixed_hash(&config) == hash);
        (void)snprintf(message, sizeof(message), "or say --allow-change %s", key);
        expect_error(wb_options_check_continues(&before, &config, where, NULL), WB_ERR_CONFIG,
                     message);
        (void)snprintf(list, sizeof(list), "run.dir,%s", key);
        expect_ok(wb_options_check_continues(&before, &config, where, list));
        (void)snprintf(list, sizeof(list), "%s,memory.budget", key);
        expect_ok(wb_options_check_continues(&before, &config, where, list));
        expect_error(wb_options_check_continues(&before, &config, where, "run.dir"), WB_ERR_CONFIG,
                     message);
    }
    expect_error(wb_options_check_continues(&before, &before, where, "run.dir,batch.size"),
                 WB_ERR_CONFIG, "--allow-change: batch.size cannot change within a run");
    expect_error(wb_options_check_continues(&before, &before, where, "optimizer.rate"),
                 WB_ERR_CONFIG, "--allow-change: unknown key optimizer.rate; did you mean");
}

static void these_tests_know_every_key(void **state) {
    (void)state;
    char *text = written(origins);
    int keys = 0;
    for (const char *at = text; (at = strstr(at, "  # default\n")); at++) {
        keys++;
    }
    assert_int_equal(keys, FREE_KEYS + FIXED_KEYS + ASKED_KEYS);
    free(text);
}

/* Else a program with one key more could not continue a run of one without it. */
static void what_is_as_by_default_is_not_in_the_hash(void **state) {
    (void)state;
    assert_true(wb_options_fixed_hash(&config) == wb_hash("", 0));
    for (int i = 0; i < FIXED_KEYS; i++) {
        expect_ok(wb_options_set(&config, origins, fixed_values[i][0], fixed_values[i][1], "x"));
    }
    assert_true(wb_options_fixed_hash(&config) != wb_hash("", 0));
}

static void texts_move_between_fields_of_the_hash_with_a_change(void **state) {
    (void)state;
    expect_ok(wb_options_assign(&config, origins, "model.path=a"));
    const uint64_t hash = wb_options_fixed_hash(&config);
    expect_ok(wb_options_assign(&config, origins, "model.path="));
    expect_ok(wb_options_assign(&config, origins, "data.train=a"));
    assert_true(wb_options_fixed_hash(&config) != hash);
}

static void effective_values_are_written_with_their_origins(void **state) {
    (void)state;
    expect_ok(wb_options_set(&config, origins, "run.seed", "5", "c.yaml:2"));
    expect_ok(wb_options_assign(&config, origins, "data.train=say \"a\\b\"\n\x7f"));
    char *text = written(origins);
    assert_non_null(strstr(text, "\n  seed: 5  # c.yaml:2\n"));
    assert_non_null(strstr(text, "\n  train: \"say \\\"a\\\\b\\\"\\x0a\\x7f\"  # --set\n"));
    assert_non_null(strstr(text, "\n  size: 128  # default\n"));
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define WITH_DEFAULTS(test) cmocka_unit_test_setup_teardown(test, defaults, destroy)
        WITH_DEFAULTS(the_reference_configuration_is_what_the_table_says),
        WITH_DEFAULTS(every_key_has_its_help_default_and_range_in_the_reference),
        WITH_DEFAULTS(values_of_every_kind_are_set_with_their_origin),
        WITH_DEFAULTS(wrong_values_name_place_key_value_and_what_is_allowed),
        WITH_DEFAULTS(choices_may_stand_in_capitals),
        WITH_DEFAULTS(an_unknown_key_names_the_nearest),
        WITH_DEFAULTS(names_of_other_trainers_lead_to_the_key_and_its_meaning),
        WITH_DEFAULTS(the_table_of_other_names_leads_to_keys_that_exist),
        WITH_DEFAULTS(what_only_a_shell_replaces_is_no_path),
        WITH_DEFAULTS(an_assignment_needs_its_form),
        WITH_DEFAULTS(a_run_goes_on_with_other_free_values_and_with_no_other_fixed_one),
        WITH_DEFAULTS(a_run_goes_on_with_other_asked_values_where_they_are_allowed),
        WITH_DEFAULTS(these_tests_know_every_key),
        WITH_DEFAULTS(what_is_as_by_default_is_not_in_the_hash),
        WITH_DEFAULTS(texts_move_between_fields_of_the_hash_with_a_change),
        WITH_DEFAULTS(effective_values_are_written_with_their_origins),
#undef WITH_DEFAULTS
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
