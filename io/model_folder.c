/* Reading model folders. Writing them is in model_export.c. */
#include "model_folder.h"

#include "json.h"
#include "model_weights.h"

#include <stdlib.h>
#include <string.h>

/* Bounds on sizes: far above any model of this kind, and no product of them leaves int64_t. */
enum {
    CONFIG_MOST = 16 << 20, /* bytes of a JSON file */
    VOCABULARY_MOST = 1 << 22,
    HIDDEN_MOST = 1 << 16,
    LAYERS_MOST = 1 << 10,
    INTERMEDIATE_MOST = 1 << 20,
    POSITIONS_MOST = 1 << 20,
    TOKEN_TYPES_MOST = 1 << 10,
    TOKENS_LEAST = 3, /* [CLS], a token, [SEP] */
    MODULES_MOST = 16,
};

static const double DROPOUT_MOST = 0.9999; /* 1 would keep nothing */

/* What modules.json says about the folder; paths are relative to it, "" is the folder itself. */
typedef struct modules {
    bool is_static;
    bool has_pooling;
    bool normalize;
    const char *encoder_path; /* of the Transformer or StaticEmbedding; borrowed from the JSON */
    const char *pooling_path;
    const char *normalize_path;
} modules;

static wb_status read_module(modules *found, const json_t *module, size_t index,
                             const char *where) {
    wb_status status = WB_OK;
    const char *type = NULL;
    const char *path = NULL;
    WB_CHECK(json_is_object(module), WB_ERR_INPUT, "%s: module %zu must be an object", where,
             index);
    WB_TRY(wb_json_string(module, "type", true, where, &type));
    WB_TRY(wb_json_string(module, "path", true, where, &path));
    if (strcmp(path, ".") == 0) {
        path = "";
    }
    WB_CHECK(path[0] != '.' && !strchr(path, '/'), WB_ERR_INPUT,
             "%s: module %zu has path \"%.100s\"; it must be \"\" or a folder beside modules.json",
             where, index, path);
    const char *dot = strrchr(type, '.');
    const char *kind = dot && strncmp(type, "sentence_transformers.", 22) == 0 ? dot + 1 : "";
    if (index == 0 && (strcmp(kind, "Transformer") == 0 || strcmp(kind, "StaticEmbedding") == 0)) {
        found->is_static = kind[0] == 'S';
        found->encoder_path = path;
    } else if (index == 1 && strcmp(kind, "Pooling") == 0 && !found->is_static) {
        found->has_pooling = true;
        found->pooling_path = path;
    } else {
        const bool in_place = index >= (found->is_static ? 1u : 2u) && !found->normalize;
        WB_CHECK(in_place && strcmp(kind, "Normalize") == 0, WB_ERR_INPUT,
                 "%s: module %zu is %.100s; allowed are a sentence_transformers Transformer and "
                 "Pooling, or StaticEmbedding, then at most one Normalize, in this order",
                 where, index, type);
        found->normalize = true;
        found->normalize_path = path;
    }
done:
    return status;
}

static wb_status read_modules(modules *found, const json_t *list, const char *where) {
    wb_status status = WB_OK;
    WB_CHECK(json_is_array(list) && json_array_size(list) > 0 &&
                 json_array_size(list) <= MODULES_MOST,
             WB_ERR_INPUT, "%s: must be an array of 1 to %d modules", where, MODULES_MOST);
    for (size_t i = 0; i < json_array_size(list); i++) {
        WB_TRY(read_module(found, json_array_get(list, i), i, where));
    }
    WB_CHECK(found->is_static || found->has_pooling, WB_ERR_INPUT,
             "%s: no Pooling module; one of mean or cls pooling is needed", where);
done:
    return status;
}

/* A text member that, where it is there, must have one value. */
static wb_status check_text(const json_t *object, const char *key, const char *allowed,
                            const char *where) {
    const char *text = allowed;
    const wb_status status = wb_json_string(object, key, false, where, &text);
    if (status == WB_OK && strcmp(text, allowed) != 0) {
        return WB_ERROR(WB_ERR_INPUT, "%s: \"%s\" = \"%.100s\"; only \"%s\" is supported", where,
                        key, text, allowed);
    }
    return status;
}

static wb_status check_flag(const json_t *object, const char *key, bool allowed,
                            const char *where) {
    bool value = allowed;
    const wb_status status = wb_json_bool(object, key, false, where, &value);
    if (status == WB_OK && value != allowed) {
        return WB_ERROR(WB_ERR_INPUT, "%s: \"%s\" = %s; only %s is supported", where, key,
                        value ? "true" : "false", allowed ? "true" : "false");
    }
    return status;
}

/* FOLDER/MODULE/NAME, with FOLDER itself for the module path "". */
static wb_status module_file(char path[WB_PATH], const char *folder, const char *module,
                             const char *name) {
    return module[0] != '\0' ? wb_path_join(path, folder, "%s/%s", module, name)
                             : wb_path_join(path, folder, "%s", name);
}

/* The keys of sentence-transformers up to 5: one truth value a mode. */
static wb_status read_pooling_flags(wb_pooling *pooling, const json_t *config, const char *where) {
    static const char *const others[] = {
        "pooling_mode_max_tokens", "pooling_mode_mean_sqrt_len_tokens",
        "pooling_mode_weightedmean_tokens", "pooling_mode_lasttoken"};
    wb_status status = WB_OK;
    bool cls = false;
    bool mean = false;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        WB_TRY(check_flag(config, others[i], false, where));
    }
    WB_TRY(wb_json_bool(config, "pooling_mode_cls_token", false, where, &cls));
    WB_TRY(wb_json_bool(config, "pooling_mode_mean_tokens", false, where, &mean));
    WB_CHECK(cls != mean, WB_ERR_INPUT,
             "%s: %s; exactly one of pooling_mode_mean_tokens and pooling_mode_cls_token must be "
             "true",
             where, cls ? "mean and cls pooling are both on" : "no pooling mode is on");
    *pooling = cls ? WB_POOLING_CLS : WB_POOLING_MEAN;
done:
    return status;
}

/* The keys since: a name, or a list of names. */
static wb_status read_pooling_mode(wb_pooling *pooling, const json_t *mode, const char *where) {
    if (json_is_array(mode) && json_array_size(mode) == 1) {
        mode = json_array_get(mode, 0);
    }
    const char *name = json_string_value(mode);
    if (name && strcmp(name, "mean") == 0) {
        *pooling = WB_POOLING_MEAN;
    } else if (name && strcmp(name, "cls") == 0) {
        *pooling = WB_POOLING_CLS;
    } else {
        return WB_ERROR(WB_ERR_INPUT,
                        "%s: \"pooling_mode\" is %.40s; exactly one of \"mean\" and \"cls\" is "
                        "supported",
                        where, name ? name : "several names or no text");
    }
    return WB_OK;
}

static wb_status read_pooling(wb_encoder_spec *spec, const char *folder, const char *module) {
    wb_status status = WB_OK;
    char path[WB_PATH];
    json_t *config = NULL;
    int64_t width = spec->hidden;
    WB_TRY(module_file(path, folder, module, "config.json"));
    WB_TRY(wb_json_read(&config, path, CONFIG_MOST));
    const json_t *mode = json_object_get(config, "pooling_mode");
    if (mode) {
        WB_TRY(read_pooling_mode(&spec->pooling, mode, path));
    } else {
        WB_TRY(read_pooling_flags(&spec->pooling, config, path));
    }
    WB_TRY(check_flag(config, "include_prompt", true, path));
    WB_TRY(wb_json_integer(config, mode ? "embedding_dimension" : "word_embedding_dimension", false,
                           spec->hidden, spec->hidden, path, &width));
done:
    json_decref(config);
    return status;
}

/* Since version 6 a Normalize module can work on something else than the representation. */
static wb_status check_normalize(const char *folder, const char *module) {
    wb_status status = WB_OK;
    char path[WB_PATH];
    json_t *config = NULL;
    if (module[0] == '\0') {
        return WB_OK;
    }
    WB_TRY(module_file(path, folder, module, "config.json"));
    if (wb_path_is_file(path)) {
        WB_TRY(wb_json_read(&config, path, CONFIG_MOST));
        WB_TRY(check_text(config, "module_input_name", "sentence_embedding", path));
        WB_TRY(check_text(config, "module_output_name", "sentence_embedding", path));
    }
done:
    json_decref(config);
    return status;
}

/* The longest sequence: max_seq_length where sentence_bert_config.json has it, else the tokenizer's
 * model_max_length where that is less than the positions, as sentence-transformers does. */
static wb_status read_max_tokens(wb_model_folder *folder, const char *encoder_folder) {
    wb_status status = WB_OK;
    char path[WB_PATH];
    json_t *config = NULL;
    json_t *tokenizer = NULL;
    folder->max_tokens = 0;
    WB_TRY(wb_path_join(path, encoder_folder, "sentence_bert_config.json"));
    if (wb_path_is_file(path)) {
        WB_TRY(wb_json_read(&config, path, CONFIG_MOST));
        WB_TRY(wb_json_integer(config, "max_seq_length", false, TOKENS_LEAST,
                               folder->spec.positions, path, &folder->max_tokens));
        WB_TRY(check_flag(config, "do_lower_case", false, path));
        WB_TRY(check_text(config, "transformer_task", "feature-extraction", path));
        WB_TRY(check_text(config, "module_output_name", "token_embeddings", path));
    }
    WB_TRY(wb_path_join(path, encoder_folder, "tokenizer_config.json"));
    if (folder->max_tokens == 0 && wb_path_is_file(path)) {
        double most = (double)folder->spec.positions;
        WB_TRY(wb_json_read_reals(&tokenizer, path, CONFIG_MOST));
        WB_TRY(
            wb_json_number(tokenizer, "model_max_length", false, TOKENS_LEAST, 1e300, path, &most));
        if (most < (double)folder->spec.positions) {
            folder->max_tokens = (int64_t)most;
        }
    }
    if (folder->max_tokens == 0) {
        folder->max_tokens = folder->spec.positions;
    }
done:
    json_decref(config);
    json_decref(tokenizer);
    return status;
}

static wb_status read_sizes(wb_encoder_spec *spec, const json_t *config, const char *where) {
    wb_status status = WB_OK;
    spec->token_types = 2;
    WB_TRY(
        wb_json_integer(config, "vocab_size", true, 1, VOCABULARY_MOST, where, &spec->vocabulary));
    WB_TRY(wb_json_integer(config, "hidden_size", true, 1, HIDDEN_MOST, where, &spec->hidden));
    WB_TRY(
        wb_json_integer(config, "num_hidden_layers", true, 1, LAYERS_MOST, where, &spec->layers));
    WB_TRY(
        wb_json_integer(config, "num_attention_heads", true, 1, spec->hidden, where, &spec->heads));
    WB_CHECK(spec->hidden % spec->heads == 0, WB_ERR_INPUT,
             "%s: \"num_attention_heads\" = %lld does not divide \"hidden_size\" = %lld", where,
             (long long)spec->heads, (long long)spec->hidden);
    WB_TRY(wb_json_integer(config, "intermediate_size", true, 1, INTERMEDIATE_MOST, where,
                           &spec->intermediate));
    WB_TRY(wb_json_integer(config, "max_position_embeddings", true, TOKENS_LEAST, POSITIONS_MOST,
                           where, &spec->positions));
    WB_TRY(wb_json_integer(config, "type_vocab_size", false, 1, TOKEN_TYPES_MOST, where,
                           &spec->token_types));
done:
    return status;
}

static wb_status read_bert_config(wb_encoder_spec *spec, const json_t *config, const char *where) {
    wb_status status = WB_OK;
    const char *type = NULL;
    spec->kind = WB_ENCODER_BERT;
    spec->layer_norm_eps = 1e-12;
    spec->dropout_hidden = 0.1;
    spec->dropout_attention = 0.1;
    WB_TRY(wb_json_string(config, "model_type", true, where, &type));
    WB_CHECK(strcmp(type, "bert") == 0, WB_ERR_INPUT,
             "%s: \"model_type\" = \"%.60s\"; allowed are \"bert\", and static embeddings "
             "(sentence-transformers StaticEmbedding or \"model2vec\")",
             where, type);
    WB_TRY(read_sizes(spec, config, where));
    WB_TRY(check_text(config, "hidden_act", "gelu", where));
    WB_TRY(check_text(config, "position_embedding_type", "absolute", where));
    WB_TRY(check_flag(config, "is_decoder", false, where));
    WB_TRY(check_flag(config, "add_cross_attention", false, where));
    WB_TRY(
        wb_json_number(config, "layer_norm_eps", false, 1e-15, 1e-2, where, &spec->layer_norm_eps));
    WB_TRY(wb_json_number(config, "hidden_dropout_prob", false, 0, DROPOUT_MOST, where,
                          &spec->dropout_hidden));
    WB_TRY(wb_json_number(config, "attention_probs_dropout_prob", false, 0, DROPOUT_MOST, where,
                          &spec->dropout_attention));
done:
    return status;
}

static const char WORD_EMBEDDINGS[] = "embeddings.word_embeddings.weight";

static wb_status find_prefix(wb_model_folder *folder, const wb_model_weights *weights) {
    bool found = false;
    const wb_status status = wb_model_weights_prefix(weights, WORD_EMBEDDINGS, folder->prefix,
                                                     sizeof(folder->prefix), &found);
    if (status == WB_OK && !found) {
        return WB_ERROR(WB_ERR_INPUT, "%s: no tensor %s, with or without a prefix; is this BERT?",
                        folder->weights, WORD_EMBEDDINGS);
    }
    return status;
}

/* The file's name for a tensor of the table: behind the prefix, with the LayerNorm names of old
 * files, or model2vec's name for the table of a static model. */
static const wb_safetensors_entry *find_tensor(const wb_model_folder *folder,
                                               const wb_model_weights *weights, const char *name,
                                               const wb_safetensors **file) {
    static const char *const old_names[][2] = {{"LayerNorm.weight", "LayerNorm.gamma"},
                                               {"LayerNorm.bias", "LayerNorm.beta"},
                                               {"embedding.weight", "embeddings"}};
    char full[sizeof(folder->prefix) + WB_TENSOR_NAME];
    (void)snprintf(full, sizeof(full), "%s%s", folder->prefix, name);
    const wb_safetensors_entry *entry = wb_model_weights_find(weights, full, file);
    for (size_t i = 0; !entry && i < sizeof(old_names) / sizeof(old_names[0]); i++) {
        const size_t length = strlen(full);
        const size_t tail = strlen(old_names[i][0]);
        if (length >= tail && strcmp(full + length - tail, old_names[i][0]) == 0) {
            (void)snprintf(full + length - tail, tail + 1, "%s", old_names[i][1]);
            entry = wb_model_weights_find(weights, full, file);
        }
    }
    return entry;
}

/* A static model's sizes are those of its one tensor. */
static wb_status read_static_sizes(wb_model_folder *folder, const wb_model_weights *weights) {
    static const char *const refused[] = {"mapping", "weights"};
    wb_encoder_spec *spec = &folder->spec;
    const wb_safetensors *file = NULL;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        if (wb_model_weights_find(weights, refused[i], &file)) {
            return WB_ERROR(WB_ERR_INPUT,
                            "%s: tensor %s: a model2vec table with token weights or shared rows; "
                            "only the plain table is supported: load it as a StaticEmbedding in "
                            "sentence-transformers and save that",
                            folder->weights, refused[i]);
        }
    }
    const wb_safetensors_entry *entry = find_tensor(folder, weights, "embedding.weight", &file);
    if (!entry) {
        return WB_ERROR(WB_ERR_INPUT, "%s: no tensor embedding.weight or embeddings",
                        folder->weights);
    }
    if (entry->rank != 2 || entry->shape[0] < 1 || entry->shape[0] > VOCABULARY_MOST ||
        entry->shape[1] < 1 || entry->shape[1] > HIDDEN_MOST) {
        return WB_ERROR(WB_ERR_INPUT,
                        "%s: tensor %s must be a table of 1 to %d tokens by 1 to %d values",
                        folder->weights, entry->name, VOCABULARY_MOST, HIDDEN_MOST);
    }
    spec->vocabulary = entry->shape[0];
    spec->hidden = entry->shape[1];
    return WB_OK;
}

/* A prompt under the first of its names that is there, else the one for all texts. */
static wb_status read_prompt(char *prompt, const json_t *prompts, const char *const *names,
                             const char *usual, const char *where) {
    wb_status status = WB_OK;
    const char *text = NULL;
    for (int i = 0; names[i] && !text; i++) {
        WB_TRY(wb_json_string(prompts, names[i], false, where, &text));
    }
    if (!text && usual) {
        WB_TRY(wb_json_string(prompts, usual, false, where, &text));
    }
    WB_CHECK(!text || strlen(text) < WB_PROMPT, WB_ERR_INPUT,
             "%s: a prompt of %zu bytes; at most %d are allowed", where, strlen(text),
             WB_PROMPT - 1);
    (void)snprintf(prompt, WB_PROMPT, "%s", text ? text : "");
done:
    return status;
}

/* As encode_query and encode_document of sentence-transformers find them. */
static wb_status read_prompts(wb_model_folder *folder) {
    static const char *const query[] = {"query", NULL};
    static const char *const passage[] = {"document", "passage", "corpus", NULL};
    wb_status status = WB_OK;
    char path[WB_PATH];
    json_t *config = NULL;
    const char *usual = NULL;
    WB_TRY(wb_path_join(path, folder->path, "config_sentence_transformers.json"));
    if (!wb_path_is_file(path)) {
        return WB_OK;
    }
    WB_TRY(wb_json_read(&config, path, CONFIG_MOST));
    const json_t *const prompts = json_object_get(config, "prompts");
    const json_t *const name = json_object_get(config, "default_prompt_name");
    WB_CHECK(!prompts || json_is_null(prompts) || json_is_object(prompts), WB_ERR_INPUT,
             "%s: \"prompts\" must be an object of texts by name", path);
    if (json_is_object(prompts)) {
        usual = json_string_value(name);
        WB_TRY(read_prompt(folder->query_prompt, prompts, query, usual, path));
        WB_TRY(read_prompt(folder->passage_prompt, prompts, passage, usual, path));
    }
done:
    json_decref(config);
    return status;
}

/* What a folder without config.json may be, for the message. */
static wb_status no_model(const char *folder) {
    char checkpoints[WB_PATH], manifest[WB_PATH];
    if (wb_path_join(checkpoints, folder, "checkpoints") == WB_OK &&
        wb_path_is_folder(checkpoints)) {
        return WB_ERROR(WB_ERR_INPUT,
                        "%s: is a run's folder; its model is in %s/export when it is done, and "
                        "widebatch export --run %s --output DIR writes that of its newest "
                        "checkpoint",
                        folder, folder, folder);
    }
    if (wb_path_join(manifest, folder, "manifest.json") == WB_OK && wb_path_is_file(manifest)) {
        return WB_ERROR(WB_ERR_INPUT,
                        "%s: is a checkpoint; widebatch export --run RUN_DIR --output DIR makes a "
                        "model of a run's newest",
                        folder);
    }
    return WB_ERROR(WB_ERR_INPUT,
                    "%s: is no model folder: neither config.json nor modules.json "
                    "is there",
                    folder);
}

/* Decides between BERT and static where there is no modules.json, and reads config.json. */
static wb_status read_config(wb_model_folder *folder, bool is_static, bool plain) {
    wb_status status = WB_OK;
    json_t *config = NULL;
    WB_TRY(wb_path_join(folder->config, folder->tokenizer, "config.json"));
    if (is_static && !wb_path_is_file(folder->config)) {
        folder->config[0] = '\0';
        folder->spec.kind = WB_ENCODER_STATIC;
        return WB_OK;
    }
    if (plain && !wb_path_is_file(folder->config)) {
        WB_TRY(no_model(folder->path));
    }
    WB_TRY(wb_json_read(&config, folder->config, CONFIG_MOST));
    WB_CHECK(json_is_object(config), WB_ERR_INPUT, "%s: must be an object", folder->config);
    const char *type = json_string_value(json_object_get(config, "model_type"));
    if (is_static || (plain && type && strcmp(type, "model2vec") == 0)) {
        folder->spec.kind = WB_ENCODER_STATIC;
        if (plain) {
            WB_TRY(
                wb_json_bool(config, "normalize", false, folder->config, &folder->spec.normalize));
        }
    } else {
        WB_TRY(read_bert_config(&folder->spec, config, folder->config));
        WB_TRY(read_max_tokens(folder, folder->tokenizer));
    }
done:
    json_decref(config);
    return status;
}

static wb_status read_weights_header(wb_model_folder *folder) {
    wb_status status = WB_OK;
    wb_model_weights *weights = NULL;
    WB_TRY(wb_model_weights_locate(folder->weights, folder->tokenizer));
    WB_TRY(wb_model_weights_open(&weights, folder->weights));
    WB_TRY(folder->spec.kind == WB_ENCODER_STATIC ? read_static_sizes(folder, weights)
                                                  : find_prefix(folder, weights));
done:
    wb_model_weights_close(weights);
    return status;
}

wb_status wb_model_folder_read(wb_model_folder *folder, const char *path) {
    wb_status status = WB_OK;
    json_t *list = NULL;
    char modules_path[WB_PATH];
    modules found = {.encoder_path = "", .pooling_path = "", .normalize_path = ""};
    memset(folder, 0, sizeof(*folder));
    WB_CHECK(wb_path_is_folder(path), WB_ERR_INPUT,
             "%s: no such folder; a model is a local Hugging Face or sentence-transformers folder, "
             "nothing is downloaded",
             path);
    WB_TRY(wb_path_join(modules_path, path, "modules.json"));
    (void)snprintf(folder->path, sizeof(folder->path), "%s", path);
    folder->defaults = !wb_path_is_file(modules_path);
    if (!folder->defaults) {
        WB_TRY(wb_json_read(&list, modules_path, CONFIG_MOST));
        WB_TRY(read_modules(&found, list, modules_path));
    }
    folder->spec.normalize = found.normalize;
    WB_TRY(module_file(folder->tokenizer, path, found.encoder_path, ""));
    folder->tokenizer[strlen(folder->tokenizer) - 1] = '\0';
    WB_TRY(read_config(folder, found.is_static, folder->defaults));
    if (found.has_pooling) {
        WB_TRY(read_pooling(&folder->spec, path, found.pooling_path));
    }
    if (found.normalize) {
        WB_TRY(check_normalize(path, found.normalize_path));
    }
    WB_TRY(read_prompts(folder));
    WB_TRY(read_weights_header(folder));
done:
    json_decref(list);
    return status;
}

static wb_status check_shape(const wb_tensor *tensor, const wb_safetensors_entry *entry,
                             const char *path) {
    bool same = entry->rank == tensor->rank;
    char found[32 * WB_SAFETENSORS_RANK] = "";
    for (int i = 0; i < entry->rank; i++) {
        const size_t used = strlen(found);
        same = same && entry->shape[i] == tensor->shape[i];
        (void)snprintf(found + used, sizeof(found) - used, "%s%lld", i > 0 ? ", " : "",
                       (long long)entry->shape[i]);
    }
    if (same) {
        return WB_OK;
    }
    char columns[32] = "";
    if (tensor->rank == 2) {
        (void)snprintf(columns, sizeof(columns), ", %lld", (long long)tensor->shape[1]);
    }
    return WB_ERROR(WB_ERR_INPUT, "%s: tensor %.120s has shape [%s]; the model expects [%lld%s]",
                    path, entry->name, found, (long long)tensor->shape[0], columns);
}

static wb_status check_complete(const wb_model_folder *folder, const wb_model_weights *weights,
                                const wb_tensor_table *table) {
    const wb_safetensors *file = NULL;
    char names[4 * WB_TENSOR_NAME] = "";
    int64_t missing = 0;
    for (int64_t i = 0; i < table->length; i++) {
        const char *name = table->tensors[i].name;
        if (find_tensor(folder, weights, name, &file)) {
            continue;
        }
        if (missing++ < 3) {
            const size_t used = strlen(names);
            (void)snprintf(names + used, sizeof(names) - used, "%s%s", used > 0 ? ", " : "", name);
        }
    }
    if (missing > 0) {
        return WB_ERROR(WB_ERR_INPUT, "%s: lacks %lld of the model's %lld tensors: %s%s",
                        folder->weights, (long long)missing, (long long)table->length, names,
                        missing > 3 ? ", …" : "");
    }
    return WB_OK;
}

wb_status wb_model_folder_load(const wb_model_folder *folder, const wb_tensor_table *table,
                               float *values) {
    wb_status status = WB_OK;
    wb_model_weights *weights = NULL;
    WB_TRY(wb_model_weights_open(&weights, folder->weights));
    WB_TRY(check_complete(folder, weights, table));
    for (int64_t i = 0; i < table->length; i++) {
        const wb_tensor *tensor = &table->tensors[i];
        const wb_safetensors *file = NULL;
        const wb_safetensors_entry *entry = find_tensor(folder, weights, tensor->name, &file);
        WB_TRY(check_shape(tensor, entry, folder->weights));
        WB_TRY(wb_safetensors_read(file, entry, values + tensor->offset));
    }
done:
    wb_model_weights_close(weights);
    return status;
}
