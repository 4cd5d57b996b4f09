/* Model folders: what the ecosystem writes is read, what we write is read back, the rest is refused
 * with a sentence that helps. */
#include "io_checks.h"

#include "json.h"
#include "model_folder.h"
#include "safetensors.h"
#include "tokenizer.h"

#include <math.h>

static char scratch[WB_PATH];

static int make_scratch(void **state) {
    (void)state;
    scratch_folder(scratch, "model_folder", "all");
    return 0;
}

/* The tensors an encoder of this size has, under their Hugging Face names. */
static void add_bert_tensors(wb_tensor_table *table, const wb_encoder_spec *spec) {
    static const char *const linears[][2] = {{"attention.self.query", "hh"},
                                             {"attention.self.key", "hh"},
                                             {"attention.self.value", "hh"},
                                             {"attention.output.dense", "hh"},
                                             {"attention.output.LayerNorm", ""},
                                             {"intermediate.dense", "ih"},
                                             {"output.dense", "hi"},
                                             {"output.LayerNorm", ""}};
    const int64_t hidden = spec->hidden;
    assert_ok(
        wb_tensor_add(table, true, spec->vocabulary, hidden, "embeddings.word_embeddings.weight"));
    assert_ok(wb_tensor_add(table, true, spec->positions, hidden,
                            "embeddings.position_embeddings.weight"));
    assert_ok(wb_tensor_add(table, true, spec->token_types, hidden,
                            "embeddings.token_type_embeddings.weight"));
    assert_ok(wb_tensor_add(table, false, hidden, 0, "embeddings.LayerNorm.weight"));
    assert_ok(wb_tensor_add(table, false, hidden, 0, "embeddings.LayerNorm.bias"));
    for (int layer = 0; layer < spec->layers; layer++) {
        for (size_t i = 0; i < sizeof(linears) / sizeof(linears[0]); i++) {
            const char *sizes = linears[i][1];
            const int64_t rows = sizes[0] == 'i' ? spec->intermediate : hidden;
            const int64_t columns = sizes[0] == '\0'  ? 0
                                    : sizes[1] == 'i' ? spec->intermediate
                                                      : hidden;
            assert_ok(wb_tensor_add(table, columns > 0, rows, columns, "encoder.layer.%d.%s.weight",
                                    layer, linears[i][0]));
            assert_ok(wb_tensor_add(table, false, rows, 0, "encoder.layer.%d.%s.bias", layer,
                                    linears[i][0]));
        }
    }
}

typedef struct model {
    wb_model_folder folder;
    wb_tensor_table table;
    float *values;
} model;

static void load_model(model *m, const char *path) {
    memset(m, 0, sizeof(*m));
    assert_ok(wb_model_folder_read(&m->folder, path));
    if (m->folder.spec.kind == WB_ENCODER_STATIC) {
        assert_ok(wb_tensor_add(&m->table, true, m->folder.spec.vocabulary, m->folder.spec.hidden,
                                "embedding.weight"));
    } else {
        add_bert_tensors(&m->table, &m->folder.spec);
    }
    m->values = calloc((size_t)m->table.total, sizeof(float));
    assert_non_null(m->values);
    assert_ok(wb_model_folder_load(&m->folder, &m->table, m->values));
}

static void drop_model(model *m) {
    wb_tensor_table_clear(&m->table);
    free(m->values);
}

static void assert_same_values(const model *a, const model *b, double tolerance) {
    assert_int_equal(a->table.total, b->table.total);
    for (int64_t i = 0; i < a->table.total; i++) {
        const double x = (double)a->values[i];
        const double y = (double)b->values[i];
        if (!(fabs(x - y) <= tolerance * (1e-3 + fabs(y)))) {
            fail_msg("value %lld: %.9g and %.9g", (long long)i, x, y);
        }
    }
}

#define ST_FOLDER WB_TEST_DATA "/models/sentence_transformers"

static void sentence_transformers_folder_is_read(void **state) {
    (void)state;
    model m;
    load_model(&m, ST_FOLDER);
    const wb_encoder_spec *spec = &m.folder.spec;
    assert_int_equal(spec->kind, WB_ENCODER_BERT);
    assert_int_equal(spec->vocabulary, 17);
    assert_int_equal(spec->hidden, 8);
    assert_int_equal(spec->layers, 2);
    assert_int_equal(spec->heads, 2);
    assert_int_equal(spec->intermediate, 12);
    assert_int_equal(spec->positions, 16);
    assert_int_equal(spec->token_types, 2);
    assert_true(spec->layer_norm_eps == 1e-12);
    assert_true(spec->dropout_hidden == 0.1);
    assert_true(spec->dropout_attention == 0.1);
    assert_int_equal(spec->pooling, WB_POOLING_CLS);
    assert_true(spec->normalize);
    assert_false(m.folder.defaults);
    assert_int_equal(m.folder.max_tokens, 12);
    assert_string_equal(m.folder.prefix, "");
    drop_model(&m);
}

static void shards_hold_the_same_model_as_one_file(void **state) {
    (void)state;
    model whole;
    model sharded;
    load_model(&whole, ST_FOLDER);
    load_model(&sharded, WB_TEST_DATA "/models/sharded");
    assert_true(sharded.folder.defaults);
    assert_int_equal(sharded.folder.spec.pooling, WB_POOLING_MEAN);
    assert_false(sharded.folder.spec.normalize);
    assert_int_equal(sharded.folder.max_tokens, 16);
    assert_same_values(&sharded, &whole, 0);
    drop_model(&whole);
    drop_model(&sharded);
}

static void prefixed_bfloat16_model_with_a_head_is_read(void **state) {
    (void)state;
    model whole;
    model masked;
    load_model(&whole, ST_FOLDER);
    load_model(&masked, WB_TEST_DATA "/models/masked_lm");
    assert_string_equal(masked.folder.prefix, "bert.");
    assert_same_values(&masked, &whole, 0x1p-8); /* bfloat16 keeps 8 bits */
    drop_model(&whole);
    drop_model(&masked);
}

static void static_folder_is_read(void **state) {
    (void)state;
    model m;
    load_model(&m, WB_TEST_DATA "/models/static");
    assert_int_equal(m.folder.spec.kind, WB_ENCODER_STATIC);
    assert_int_equal(m.folder.spec.vocabulary, 17);
    assert_int_equal(m.folder.spec.hidden, 6);
    assert_true(m.folder.spec.normalize);
    assert_int_equal(m.folder.max_tokens, 0);
    drop_model(&m);
}

static void put_in(const char *folder, const char *name, const char *text) {
    char path[WB_PATH];
    assert_ok(wb_path_join(path, folder, "%s", name));
    put_text(path, text);
}

/* A plain Hugging Face folder of a one-layer model whose values count up from 1. */
static void make_plain_folder(char folder[WB_PATH], const char *name, const char *prefix) {
    assert_ok(wb_path_join(folder, scratch, "%s", name));
    assert_ok(wb_folder_remove(folder));
    assert_ok(wb_folder_make(folder));
    put_in(folder, "config.json",
           "{\"model_type\": \"bert\", \"vocab_size\": 7, \"hidden_size\": 4, "
           "\"num_hidden_layers\": 1, \"num_attention_heads\": 2, \"intermediate_size\": 6, "
           "\"max_position_embeddings\": 10, \"hidden_act\": \"gelu\", \"mystery\": [1, 2]}");
    put_in(folder, "vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\n");
    const wb_encoder_spec spec = {.vocabulary = 7,
                                  .hidden = 4,
                                  .layers = 1,
                                  .heads = 2,
                                  .intermediate = 6,
                                  .positions = 10,
                                  .token_types = 2};
    wb_tensor_table table = {0};
    char path[WB_PATH];
    add_bert_tensors(&table, &spec);
    assert_ok(wb_tensor_add(&table, false, 4, 4, "pooler.dense.weight"));
    assert_ok(wb_tensor_add(&table, false, 4, 0, "pooler.dense.bias"));
    float *values = calloc((size_t)table.total, sizeof(float));
    assert_non_null(values);
    for (int64_t i = 0; i < table.total; i++) {
        values[i] = (float)(i + 1);
    }
    assert_ok(wb_path_join(path, folder, "model.safetensors"));
    assert_ok(wb_safetensors_write(path, &table, values, prefix));
    free(values);
    wb_tensor_table_clear(&table);
}

static wb_status read_folder(const char *path) {
    wb_model_folder folder;
    return wb_model_folder_read(&folder, path);
}

/* Reads the plain folder with one member of config.json set to a JSON value (NULL: removed). */
static wb_status read_with_member(const char *key, const char *value) {
    char folder[WB_PATH];
    char path[WB_PATH];
    json_t *config = NULL;
    make_plain_folder(folder, "config", NULL);
    assert_ok(wb_path_join(path, folder, "config.json"));
    assert_ok(wb_json_read(&config, path, 1 << 20));
    if (value) {
        json_t *member = json_loads(value, JSON_DECODE_ANY, NULL);
        assert_non_null(member);
        assert_int_equal(json_object_set_new(config, key, member), 0);
    } else {
        assert_int_equal(json_object_del(config, key), 0);
    }
    assert_ok(wb_json_write(config, path));
    json_decref(config);
    return read_folder(folder);
}

static void plain_folder_gets_defaults(void **state) {
    (void)state;
    char folder[WB_PATH];
    wb_model_folder read;
    make_plain_folder(folder, "plain", NULL);
    assert_ok(wb_model_folder_read(&read, folder));
    assert_true(read.defaults);
    assert_int_equal(read.spec.pooling, WB_POOLING_MEAN);
    assert_false(read.spec.normalize);
    assert_int_equal(read.spec.token_types, 2);
    assert_true(read.spec.dropout_hidden == 0.1);
    assert_string_equal(read.tokenizer, folder);
}

static void hostile_sizes_are_rejected(void **state) {
    (void)state;
    static const struct {
        const char *key;
        const char *value;
        const char *message;
    } cases[] = {
        {"hidden_size", "0", "\"hidden_size\" = 0; the allowed range is 1 to 65536"},
        {"hidden_size", "-4", "\"hidden_size\" = -4"},
        {"hidden_size", "9223372036854775807", "\"hidden_size\" = 9223372036854775807"},
        {"hidden_size", "4.0", "\"hidden_size\" is a real number; it must be an integer"},
        {"hidden_size", "\"4\"", "\"hidden_size\" is a string"},
        {"hidden_size", NULL, "\"hidden_size\" is missing"},
        {"hidden_size", "5", "= 2 does not divide \"hidden_size\" = 5"},
        {"num_attention_heads", "3", "= 3 does not divide \"hidden_size\" = 4"},
        {"num_attention_heads", "0", "the allowed range is 1 to 4"},
        {"vocab_size", "4194305", "the allowed range is 1 to 4194304"},
        {"num_hidden_layers", "1025", "the allowed range is 1 to 1024"},
        {"intermediate_size", "1048577", "the allowed range is 1 to 1048576"},
        {"max_position_embeddings", "2", "the allowed range is 3 to 1048576"},
        {"type_vocab_size", "0", "\"type_vocab_size\" = 0"},
        {"layer_norm_eps", "0", "\"layer_norm_eps\" = 0"},
        {"layer_norm_eps", "1e3", "\"layer_norm_eps\" = 1000"},
        {"hidden_dropout_prob", "1", "\"hidden_dropout_prob\" = 1"},
        {"attention_probs_dropout_prob", "-0.1", "\"attention_probs_dropout_prob\" = -0.1"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_refused(read_with_member(cases[i].key, cases[i].value), WB_ERR_INPUT,
                       cases[i].message);
    }
}

static wb_status read_with_prompts(wb_model_folder *read, const char *config) {
    char folder[WB_PATH];
    make_plain_folder(folder, "prompts", NULL);
    put_in(folder, "config_sentence_transformers.json", config);
    return wb_model_folder_read(read, folder);
}

static void prompts_are_those_of_encode_query_and_encode_document(void **state) {
    (void)state;
    static const char *const cases[][3] = {
        {"{}", "", ""},
        {"{\"prompts\": null}", "", ""},
        {"{\"prompts\": {\"query\": \"q: \", \"document\": \"d: \"}}", "q: ", "d: "},
        {"{\"prompts\": {\"passage\": \"p: \", \"corpus\": \"c: \"}}", "", "p: "},
        {"{\"prompts\": {\"corpus\": \"c: \"}}", "", "c: "},
        {"{\"prompts\": {\"web\": \"w: \"}, \"default_prompt_name\": null}", "", ""},
        {"{\"prompts\": {\"web\": \"w: \", \"document\": \"\"}, \"default_prompt_name\": "
         "\"web\"}",
         "w: ", ""},
    };
    wb_model_folder read;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_ok(read_with_prompts(&read, cases[i][0]));
        assert_string_equal(read.query_prompt, cases[i][1]);
        assert_string_equal(read.passage_prompt, cases[i][2]);
    }
    assert_refused(read_with_prompts(&read, "{\"prompts\": [\"q: \"]}"), WB_ERR_INPUT,
                   "\"prompts\" must be an object");
    assert_refused(read_with_prompts(&read, "{\"prompts\": {\"query\": 1}}"), WB_ERR_INPUT,
                   "\"query\" is");
    char longest[WB_PROMPT + 64];
    (void)snprintf(longest, sizeof(longest), "{\"prompts\": {\"query\": \"%0*d\"}}", WB_PROMPT, 0);
    assert_refused(read_with_prompts(&read, longest), WB_ERR_INPUT,
                   "a prompt of 1024 bytes; at most 1023 are allowed");
}

static void unsupported_models_are_refused_by_name(void **state) {
    (void)state;
    assert_refused(read_with_member("model_type", "\"roberta\""), WB_ERR_INPUT,
                   "\"model_type\" = \"roberta\"; allowed are \"bert\"");
    assert_refused(read_with_member("model_type", NULL), WB_ERR_INPUT, "\"model_type\" is missing");
    assert_refused(read_with_member("hidden_act", "\"gelu_new\""), WB_ERR_INPUT,
                   "\"hidden_act\" = \"gelu_new\"; only \"gelu\" is supported");
    assert_refused(read_with_member("position_embedding_type", "\"relative_key\""), WB_ERR_INPUT,
                   "only \"absolute\" is supported");
    assert_refused(read_with_member("is_decoder", "true"), WB_ERR_INPUT,
                   "\"is_decoder\" = true; only false is supported");
    assert_refused(read_folder("/nonexistent/model"), WB_ERR_INPUT, "no such folder");
}

static void pickled_weights_are_refused_with_a_way_out(void **state) {
    (void)state;
    char folder[WB_PATH];
    char path[WB_PATH];
    make_plain_folder(folder, "pickle", NULL);
    assert_ok(wb_path_join(path, folder, "model.safetensors"));
    assert_int_equal(unlink(path), 0);
    assert_refused(read_folder(folder), WB_ERR_INPUT, "no weights");
    put_in(folder, "pytorch_model.bin", "x");
    assert_refused(read_folder(folder), WB_ERR_INPUT, "no pickle");
    assert_refused(read_folder(folder), WB_ERR_INPUT, "safe_serialization=True");
}

/* The plain folder with a modules.json and a pooling configuration. */
static wb_status read_with_modules(wb_model_folder *read, const char *modules,
                                   const char *pooling) {
    char folder[WB_PATH];
    char path[WB_PATH];
    make_plain_folder(folder, "modules", NULL);
    put_in(folder, "modules.json", modules);
    assert_ok(wb_path_join(path, folder, "1_Pooling"));
    assert_ok(wb_folder_make(path));
    put_in(path, "config.json", pooling);
    return wb_model_folder_read(read, folder);
}

#define MODULE(kind, path) "{\"type\": \"sentence_transformers." kind "\", \"path\": \"" path "\"}"
#define TWO_MODULES                                                                                \
    "[" MODULE("models.Transformer", "") "," MODULE("models.Pooling", "1_Pooling") "]"

static void pooling_is_read_under_old_and_new_keys(void **state) {
    (void)state;
    wb_model_folder read;
    assert_ok(read_with_modules(&read, TWO_MODULES,
                                "{\"word_embedding_dimension\": 4, \"pooling_mode_mean_tokens\": "
                                "true, \"pooling_mode_cls_token\": false}"));
    assert_int_equal(read.spec.pooling, WB_POOLING_MEAN);
    assert_ok(read_with_modules(&read, TWO_MODULES, "{\"pooling_mode_cls_token\": true}"));
    assert_int_equal(read.spec.pooling, WB_POOLING_CLS);
    assert_ok(read_with_modules(&read, TWO_MODULES,
                                "{\"embedding_dimension\": 4, \"pooling_mode\": \"cls\"}"));
    assert_int_equal(read.spec.pooling, WB_POOLING_CLS);
    assert_ok(read_with_modules(&read, TWO_MODULES, "{\"pooling_mode\": [\"mean\"]}"));
    assert_int_equal(read.spec.pooling, WB_POOLING_MEAN);
    assert_false(read.defaults);
    assert_false(read.spec.normalize);
}

static void other_pooling_is_refused(void **state) {
    (void)state;
    wb_model_folder read;
    static const char *const cases[][2] = {
        {"{\"pooling_mode\": \"max\"}", "\"pooling_mode\" is max"},
        {"{\"pooling_mode\": [\"mean\", \"cls\"]}", "exactly one of \"mean\" and \"cls\""},
        {"{\"pooling_mode_max_tokens\": true}", "\"pooling_mode_max_tokens\" = true"},
        {"{\"pooling_mode_mean_tokens\": true, \"pooling_mode_cls_token\": true}", "both on"},
        {"{\"pooling_mode_mean_tokens\": true, \"pooling_mode_lasttoken\": true}",
         "\"pooling_mode_lasttoken\" = true"},
        {"{}", "no pooling mode is on"},
        {"{\"pooling_mode\": \"mean\", \"include_prompt\": false}", "\"include_prompt\" = false"},
        {"{\"pooling_mode\": \"mean\", \"embedding_dimension\": 5}", "allowed range is 4 to 4"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_refused(read_with_modules(&read, TWO_MODULES, cases[i][0]), WB_ERR_INPUT,
                       cases[i][1]);
    }
}

static void other_modules_are_refused_by_name(void **state) {
    (void)state;
    wb_model_folder read;
    const char *mean = "{\"pooling_mode\": \"mean\"}";
    assert_refused(read_with_modules(
                       &read,
                       "[" MODULE("models.Transformer", "") "," MODULE(
                           "models.Pooling", "1_Pooling") "," MODULE("models.Dense", "2_Dense") "]",
                       mean),
                   WB_ERR_INPUT, "module 2 is sentence_transformers.models.Dense");
    assert_refused(read_with_modules(&read, "[" MODULE("models.Transformer", "") "]", mean),
                   WB_ERR_INPUT, "no Pooling module");
    assert_refused(read_with_modules(
                       &read,
                       "[" MODULE("models.Transformer", "") "," MODULE("models.Normalize", "") "]",
                       mean),
                   WB_ERR_INPUT, "module 1 is sentence_transformers.models.Normalize");
    assert_refused(
        read_with_modules(&read, "[{\"type\": \"evil.Transformer\", \"path\": \"\"}]", mean),
        WB_ERR_INPUT, "module 0 is evil.Transformer");
    assert_refused(
        read_with_modules(&read, "[" MODULE("models.Transformer", "../elsewhere") "]", mean),
        WB_ERR_INPUT, "a folder beside modules.json");
    assert_refused(read_with_modules(&read, "[]", mean), WB_ERR_INPUT, "1 to 16 modules");
    assert_refused(read_with_modules(&read, "{\"0\": 1}", mean), WB_ERR_INPUT, "1 to 16 modules");
    assert_refused(read_with_modules(&read, "[1]", mean), WB_ERR_INPUT, "must be an object");
}

static void transformer_may_live_in_a_subfolder(void **state) {
    (void)state;
    char folder[WB_PATH];
    char inner[WB_PATH];
    char pooling[WB_PATH];
    wb_model_folder read;
    make_plain_folder(folder, "outer", NULL);
    make_plain_folder(inner, "outer/0_Transformer", NULL);
    put_in(folder, "config.json", "{}");
    put_in(inner, "sentence_bert_config.json", "{\"max_seq_length\": 9, \"do_lower_case\": false}");
    put_in(folder, "modules.json",
           "[" MODULE("models.Transformer", "0_Transformer") "," MODULE(
               "models.Pooling", "1_Pooling") "," MODULE("models.Normalize", "2_Normalize") "]");
    assert_ok(wb_path_join(pooling, folder, "1_Pooling"));
    assert_ok(wb_folder_make(pooling));
    put_in(pooling, "config.json", "{\"pooling_mode_mean_tokens\": true}");
    assert_ok(wb_model_folder_read(&read, folder));
    assert_string_equal(read.tokenizer, inner);
    assert_int_equal(read.max_tokens, 9);
    assert_true(read.spec.normalize);
    put_in(inner, "sentence_bert_config.json", "{\"max_seq_length\": 11}");
    assert_refused(wb_model_folder_read(&read, folder), WB_ERR_INPUT,
                   "\"max_seq_length\" = 11; the allowed range is 3 to 10");
}

static void length_comes_from_the_tokenizer_where_nothing_else_says_it(void **state) {
    (void)state;
    char folder[WB_PATH];
    wb_model_folder read;
    make_plain_folder(folder, "length", NULL);
    put_in(folder, "tokenizer_config.json", "{\"model_max_length\": 8}");
    assert_ok(wb_model_folder_read(&read, folder));
    assert_int_equal(read.max_tokens, 8);
    put_in(folder, "tokenizer_config.json",
           "{\"model_max_length\": 1000000000000000019884624838656}");
    assert_ok(wb_model_folder_read(&read, folder));
    assert_int_equal(read.max_tokens, 10);
    put_in(folder, "sentence_bert_config.json", "{\"max_seq_length\": null}");
    assert_ok(wb_model_folder_read(&read, folder));
    assert_int_equal(read.max_tokens, 10);
}

static void any_one_prefix_is_found_and_two_models_are_refused(void **state) {
    (void)state;
    static const char *const prefixes[] = {"bert.", "model.", "0.auto_model."};
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        char folder[WB_PATH];
        model m;
        make_plain_folder(folder, "prefix", prefixes[i]);
        load_model(&m, folder);
        assert_string_equal(m.folder.prefix, prefixes[i]);
        assert_true(m.values[0] == 1.0f);
        assert_true(m.values[m.table.total - 1] == (float)m.table.total);
        drop_model(&m);
    }
    char folder[WB_PATH];
    char path[WB_PATH];
    wb_tensor_table table = {0};
    const float values[2] = {1, 2};
    make_plain_folder(folder, "prefix", NULL);
    assert_ok(wb_tensor_add(&table, true, 1, 1, "q.embeddings.word_embeddings.weight"));
    assert_ok(wb_tensor_add(&table, true, 1, 1, "p.embeddings.word_embeddings.weight"));
    assert_ok(wb_path_join(path, folder, "model.safetensors"));
    assert_ok(wb_safetensors_write(path, &table, values, NULL));
    assert_refused(read_folder(folder), WB_ERR_INPUT, "holds several models");
    wb_tensor_table_clear(&table);
    assert_ok(wb_tensor_add(&table, true, 1, 1, "xembeddings.word_embeddings.weight"));
    assert_ok(wb_safetensors_write(path, &table, values, NULL));
    assert_refused(read_folder(folder), WB_ERR_INPUT, "is this BERT?");
    wb_tensor_table_clear(&table);
}

static void gamma_and_beta_are_layer_norm_names(void **state) {
    (void)state;
    char folder[WB_PATH];
    char path[WB_PATH];
    make_plain_folder(folder, "gamma", "bert.");
    assert_ok(wb_path_join(path, folder, "model.safetensors"));
    size_t bytes = 0;
    char *file = get_bytes(path, &bytes);
    static const char *const names[][2] = {{"LayerNorm.weight\"", "LayerNorm.gamma\" "},
                                           {"LayerNorm.bias\"", "LayerNorm.beta\""}};
    for (size_t n = 0; n < 2; n++) {
        const size_t length = strlen(names[n][0]);
        for (size_t i = 8; i + length < bytes; i++) {
            if (memcmp(file + i, names[n][0], length) == 0) {
                memcpy(file + i, names[n][1], length);
            }
        }
    }
    put_bytes(path, file, bytes);
    free(file);
    model m;
    load_model(&m, folder);
    for (int64_t i = 0; i < m.table.total; i++) {
        assert_true(m.values[i] == (float)(i + 1));
    }
    drop_model(&m);
}

static void wrong_shapes_and_missing_tensors_are_named(void **state) {
    (void)state;
    char folder[WB_PATH];
    wb_model_folder read;
    wb_tensor_table table = {0};
    float values[64];
    make_plain_folder(folder, "shapes", NULL);
    assert_ok(wb_model_folder_read(&read, folder));
    assert_ok(wb_tensor_add(&table, true, 4, 7, "embeddings.word_embeddings.weight"));
    assert_refused(wb_model_folder_load(&read, &table, values), WB_ERR_INPUT,
                   "tensor embeddings.word_embeddings.weight has shape [7, 4]; the model expects "
                   "[4, 7]");
    wb_tensor_table_clear(&table);
    assert_ok(wb_tensor_add(&table, true, 1, 4, "embeddings.LayerNorm.bias"));
    assert_refused(wb_model_folder_load(&read, &table, values), WB_ERR_INPUT,
                   "has shape [4]; the model expects [1, 4]");
    wb_tensor_table_clear(&table);
    for (int i = 0; i < 5; i++) {
        assert_ok(wb_tensor_add(&table, true, 1, 1, "encoder.layer.%d.output.dense.weight", i + 7));
    }
    assert_refused(wb_model_folder_load(&read, &table, values), WB_ERR_INPUT,
                   "lacks 5 of the model's 5 tensors: encoder.layer.7.output.dense.weight, ");
    wb_tensor_table_clear(&table);
}

static void hostile_shard_index_is_refused(void **state) {
    (void)state;
    char folder[WB_PATH];
    char path[WB_PATH];
    make_plain_folder(folder, "index", NULL);
    assert_ok(wb_path_join(path, folder, "model.safetensors"));
    assert_int_equal(unlink(path), 0);
    static const char *const cases[][2] = {
        {"{\"weight_map\": {\"a\": \"../../secret\"}}", "no plain file name"},
        {"{\"weight_map\": {\"a\": \"/etc/passwd\"}}", "no plain file name"},
        {"{\"weight_map\": {\"a\": \"..\"}}", "no plain file name"},
        {"{\"weight_map\": {\"a\": 1}}", "no plain file name"},
        {"{\"weight_map\": {\"a\": \"\"}}", "no plain file name"},
        {"{\"weight_map\": {\"a\": \"missing.safetensors\"}}", "cannot open"},
        {"{\"weight_map\": []}", "\"weight_map\" must be an object"},
        {"{\"weight_map\": {}}", "is this BERT?"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        put_in(folder, "model.safetensors.index.json", cases[i][0]);
        assert_refused(read_folder(folder), WB_ERR_INPUT, cases[i][1]);
    }
}

static void model2vec_folder_is_read(void **state) {
    (void)state;
    char folder[WB_PATH];
    char path[WB_PATH];
    wb_tensor_table table = {0};
    const float values[6] = {1, 2, 3, 4, 5, 6};
    assert_ok(wb_path_join(folder, scratch, "model2vec"));
    assert_ok(wb_folder_make(folder));
    assert_ok(wb_path_join(path, folder, "model.safetensors"));
    put_in(folder, "config.json", "{\"model_type\": \"model2vec\", \"normalize\": true}");
    assert_ok(wb_tensor_add(&table, true, 3, 2, "embeddings"));
    assert_ok(wb_safetensors_write(path, &table, values, NULL));
    model m;
    load_model(&m, folder);
    assert_true(m.folder.spec.normalize);
    assert_memory_equal(m.values, values, sizeof(values));
    drop_model(&m);
    put_in(folder, "modules.json", "[" MODULE("models.StaticEmbedding", ".") "]");
    load_model(&m, folder);
    assert_false(m.folder.spec.normalize); /* modules.json decides where there is one */
    drop_model(&m);
    assert_ok(wb_tensor_add(&table, true, 3, 0, "weights"));
    const float more[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    assert_ok(wb_safetensors_write(path, &table, more, NULL));
    assert_refused(read_folder(folder), WB_ERR_INPUT, "tensor weights: a model2vec table");
    wb_tensor_table_clear(&table);
}

static const wb_model_card card = {.name = "tiny",
                                   .similarity = "cosine",
                                   .query_tokens = 8,
                                   .query_prompt = "query: ",
                                   .training = "Two steps."};

static wb_status export_model(const model *m, const char *out) {
    wb_tokenizer *tokenizer = NULL;
    assert_ok(wb_tokenizer_open(&tokenizer, m->folder.tokenizer));
    const wb_status status =
        wb_model_folder_export(&m->folder, out, &m->table, m->values, tokenizer, &card);
    wb_tokenizer_close(tokenizer);
    return status;
}

static json_t *json_of(const char *folder, const char *name) {
    char path[WB_PATH];
    json_t *value = NULL;
    assert_ok(wb_path_join(path, folder, "%s", name));
    assert_ok(wb_json_read(&value, path, 1 << 20));
    return value;
}

static void exported_bert_reads_back_bit_equal(void **state) {
    (void)state;
    char out[WB_PATH];
    model source;
    model copy;
    assert_ok(wb_path_join(out, scratch, "export/bert/"));
    load_model(&source, ST_FOLDER);
    assert_ok(export_model(&source, out));
    assert_ok(export_model(&source, out)); /* an export may replace an export */
    load_model(&copy, out);
    assert_same_values(&copy, &source, 0);
    assert_memory_equal(&copy.folder.spec, &source.folder.spec, sizeof(wb_encoder_spec));
    assert_int_equal(copy.folder.max_tokens, 12);
    assert_false(copy.folder.defaults);
    assert_string_equal(copy.folder.query_prompt, "query: ");
    assert_string_equal(copy.folder.passage_prompt, "");

    json_t *modules = json_of(out, "modules.json");
    assert_int_equal(json_array_size(modules), 3);
    assert_string_equal(json_string_value(json_object_get(json_array_get(modules, 1), "type")),
                        "sentence_transformers.models.Pooling");
    json_decref(modules);
    json_t *config = json_of(out, "config_sentence_transformers.json");
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(config, "prompts"), "query")), "query: ");
    assert_string_equal(json_string_value(json_object_get(config, "similarity_fn_name")), "cosine");
    json_decref(config);
    char path[WB_PATH];
    assert_ok(wb_path_join(path, out, "README.md"));
    char *readme = get_bytes(path, NULL);
    assert_non_null(strstr(readme, "| longest query | 8 tokens |"));
    assert_non_null(strstr(readme, "| longest passage | 12 tokens |"));
    assert_non_null(strstr(readme, "| pooling | the vector of `[CLS]` |"));
    assert_non_null(strstr(readme, "Two steps."));
    free(readme);
    drop_model(&source);
    drop_model(&copy);
}

static void export_keeps_the_pooler_and_unknown_members(void **state) {
    (void)state;
    char folder[WB_PATH];
    char out[WB_PATH];
    char path[WB_PATH];
    model source;
    make_plain_folder(folder, "pooler", "bert.");
    assert_ok(wb_path_join(out, scratch, "pooler_export"));
    load_model(&source, folder);
    assert_ok(export_model(&source, out));
    json_t *config = json_of(out, "config.json");
    assert_int_equal(json_array_size(json_object_get(config, "mystery")), 2);
    assert_string_equal(
        json_string_value(json_array_get(json_object_get(config, "architectures"), 0)),
        "BertModel");
    json_decref(config);
    wb_safetensors *file = NULL;
    float values[16];
    assert_ok(wb_path_join(path, out, "model.safetensors"));
    assert_ok(wb_safetensors_open(&file, path));
    assert_int_equal(wb_safetensors_count(file), source.table.length + 2);
    const wb_safetensors_entry *entry = wb_safetensors_find(file, "pooler.dense.weight");
    assert_non_null(entry);
    assert_ok(wb_safetensors_read(file, entry, values));
    assert_true(values[0] == (float)(source.table.total + 1));
    assert_true(values[15] == (float)(source.table.total + 16));
    wb_safetensors_close(file);
    drop_model(&source);
}

static void exported_static_model_reads_back_bit_equal(void **state) {
    (void)state;
    char out[WB_PATH];
    model source;
    model copy;
    assert_ok(wb_path_join(out, scratch, "static_export"));
    load_model(&source, WB_TEST_DATA "/models/static");
    assert_ok(export_model(&source, out));
    load_model(&copy, out);
    assert_same_values(&copy, &source, 0);
    assert_memory_equal(&copy.folder.spec, &source.folder.spec, sizeof(wb_encoder_spec));
    drop_model(&source);
    drop_model(&copy);
}

static void model_without_a_source_folder_is_exported(void **state) {
    (void)state;
    char out[WB_PATH];
    model source;
    model copy;
    assert_ok(wb_path_join(out, scratch, "made_export"));
    load_model(&source, ST_FOLDER);
    source.folder.config[0] = '\0';
    source.folder.weights[0] = '\0';
    source.folder.path[0] = '\0';
    assert_ok(export_model(&source, out));
    load_model(&copy, out);
    assert_same_values(&copy, &source, 0);
    assert_memory_equal(&copy.folder.spec, &source.folder.spec, sizeof(wb_encoder_spec));
    drop_model(&source);
    drop_model(&copy);
}

static void export_replaces_no_folder_of_others(void **state) {
    (void)state;
    char out[WB_PATH];
    char path[WB_PATH];
    model source;
    assert_ok(wb_path_join(out, scratch, "precious"));
    assert_ok(wb_folder_make(out));
    put_in(out, "thesis.tex", "years of work");
    load_model(&source, ST_FOLDER);
    assert_refused(export_model(&source, out), WB_ERR_USAGE, "is not an export of widebatch");
    assert_ok(wb_path_join(path, out, "thesis.tex"));
    assert_true(wb_path_is_file(path));
    put_in(out, "config_sentence_transformers.json",
           "{\"__version__\": {\"sentence_transformers\": \"2.0.0\"}}");
    assert_refused(export_model(&source, out), WB_ERR_USAGE, "is not an export of widebatch");
    assert_ok(wb_path_join(path, scratch, "precious.tmp"));
    assert_false(wb_path_is_folder(path));
    drop_model(&source);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sentence_transformers_folder_is_read),
        cmocka_unit_test(shards_hold_the_same_model_as_one_file),
        cmocka_unit_test(prefixed_bfloat16_model_with_a_head_is_read),
        cmocka_unit_test(static_folder_is_read),
        cmocka_unit_test(plain_folder_gets_defaults),
        cmocka_unit_test(hostile_sizes_are_rejected),
        cmocka_unit_test(prompts_are_those_of_encode_query_and_encode_document),
        cmocka_unit_test(unsupported_models_are_refused_by_name),
        cmocka_unit_test(pickled_weights_are_refused_with_a_way_out),
        cmocka_unit_test(pooling_is_read_under_old_and_new_keys),
        cmocka_unit_test(other_pooling_is_refused),
        cmocka_unit_test(other_modules_are_refused_by_name),
        cmocka_unit_test(transformer_may_live_in_a_subfolder),
        cmocka_unit_test(length_comes_from_the_tokenizer_where_nothing_else_says_it),
        cmocka_unit_test(any_one_prefix_is_found_and_two_models_are_refused),
        cmocka_unit_test(gamma_and_beta_are_layer_norm_names),
        cmocka_unit_test(wrong_shapes_and_missing_tensors_are_named),
        cmocka_unit_test(hostile_shard_index_is_refused),
        cmocka_unit_test(model2vec_folder_is_read),
        cmocka_unit_test(exported_bert_reads_back_bit_equal),
        cmocka_unit_test(export_keeps_the_pooler_and_unknown_members),
        cmocka_unit_test(exported_static_model_reads_back_bit_equal),
        cmocka_unit_test(model_without_a_source_folder_is_exported),
        cmocka_unit_test(export_replaces_no_folder_of_others),
    };
    return cmocka_run_group_tests_name("model_folder", tests, make_scratch, NULL);
}
