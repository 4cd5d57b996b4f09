/* Writing model folders: what sentence-transformers of any version loads, and what people read.
 * Module types go out under their old names, which every version still maps to its own. */
#include "model_folder.h"

#include "json.h"
#include "model_weights.h"
#include "tokenizer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { CONFIG_MOST = 16 << 20 };

static wb_status no_memory(const char *path) {
    return WB_ERROR(WB_ERR_MEMORY, "%s: no memory to write it", path);
}

/* Writes FOLDER/NAME and drops `value`, which may be NULL where it could not be built. */
static wb_status write_json(json_t *value, const char *folder, const char *name) {
    wb_status status = WB_OK;
    char path[WB_PATH];
    WB_TRY(wb_path_join(path, folder, "%s", name));
    WB_TRY(value ? wb_json_write(value, path) : no_memory(path));
done:
    json_decref(value);
    return status;
}

/* BertModel's configuration: the source folder's members where there was one, sizes from the spec.
 * Members that name code or other weights than these are dropped. */
static wb_status write_bert_config(const wb_model_folder *folder, const char *out) {
    static const char *const dropped[] = {"auto_map", "_name_or_path", "dtype"};
    const wb_encoder_spec *spec = &folder->spec;
    wb_status status = WB_OK;
    json_t *config = NULL;
    if (folder->config[0] != '\0') {
        WB_TRY(wb_json_read(&config, folder->config, CONFIG_MOST));
    } else {
        config = json_pack("{s: f, s: i, s: b}", "initializer_range", 0.02, "pad_token_id", 0,
                           "use_cache", 0);
    }
    for (size_t i = 0; i < sizeof(dropped) / sizeof(dropped[0]); i++) {
        (void)json_object_del(config, dropped[i]);
    }
    json_t *ours = json_pack(
        "{s: [s], s: s, s: s, s: s, s: s, s: I, s: I, s: I, s: I, s: I, s: I, s: I, s: f, s: f, "
        "s: f}",
        "architectures", "BertModel", "model_type", "bert", "hidden_act", "gelu",
        "position_embedding_type", "absolute", "torch_dtype", "float32", "vocab_size",
        (json_int_t)spec->vocabulary, "hidden_size", (json_int_t)spec->hidden, "num_hidden_layers",
        (json_int_t)spec->layers, "num_attention_heads", (json_int_t)spec->heads,
        "intermediate_size", (json_int_t)spec->intermediate, "max_position_embeddings",
        (json_int_t)spec->positions, "type_vocab_size", (json_int_t)spec->token_types,
        "layer_norm_eps", spec->layer_norm_eps, "hidden_dropout_prob", spec->dropout_hidden,
        "attention_probs_dropout_prob", spec->dropout_attention);
    if (!ours || json_object_update(config, ours) != 0) {
        json_decref(config);
        config = NULL;
    }
    json_decref(ours);
    WB_TRY(write_json(config, out, "config.json"));
done:
    return status;
}

static wb_status add_module(json_t *list, const char *name, const char *path) {
    char index[24];
    char type[96];
    (void)snprintf(index, sizeof(index), "%zu", json_array_size(list));
    (void)snprintf(type, sizeof(type), "sentence_transformers.models.%s", name);
    json_t *module = json_pack("{s: I, s: s, s: s, s: s}", "idx", (json_int_t)json_array_size(list),
                               "name", index, "path", path, "type", type);
    return json_array_append_new(list, module) == 0 ? WB_OK : no_memory("modules.json");
}

static wb_status write_pooling(const wb_encoder_spec *spec, const char *out) {
    wb_status status = WB_OK;
    char path[WB_PATH];
    const bool cls = spec->pooling == WB_POOLING_CLS;
    WB_TRY(wb_path_join(path, out, "1_Pooling"));
    WB_TRY(wb_folder_make(path));
    WB_TRY(write_json(json_pack("{s: I, s: b, s: b, s: b, s: b}", "word_embedding_dimension",
                                (json_int_t)spec->hidden, "pooling_mode_cls_token", cls,
                                "pooling_mode_mean_tokens", !cls, "pooling_mode_max_tokens", 0,
                                "pooling_mode_mean_sqrt_len_tokens", 0),
                      path, "config.json"));
done:
    return status;
}

static wb_status write_modules(const wb_encoder_spec *spec, const char *out) {
    wb_status status = WB_OK;
    char path[WB_PATH];
    const bool is_static = spec->kind == WB_ENCODER_STATIC;
    json_t *list = json_array();
    WB_CHECK(list, WB_ERR_MEMORY, "%s: no memory for modules.json", out);
    WB_TRY(add_module(list, is_static ? "StaticEmbedding" : "Transformer", ""));
    if (!is_static) {
        WB_TRY(add_module(list, "Pooling", "1_Pooling"));
        WB_TRY(write_pooling(spec, out));
    }
    if (spec->normalize) {
        const char *name = is_static ? "1_Normalize" : "2_Normalize";
        WB_TRY(add_module(list, "Normalize", name));
        WB_TRY(wb_path_join(path, out, "%s", name));
        WB_TRY(wb_folder_make(path));
    }
    WB_TRY(write_json(json_incref(list), out, "modules.json"));
done:
    json_decref(list);
    return status;
}

static wb_status write_configs(const wb_model_folder *folder, const char *out,
                               const wb_model_card *card) {
    wb_status status = WB_OK;
    if (folder->spec.kind == WB_ENCODER_BERT) {
        WB_TRY(write_bert_config(folder, out));
        WB_TRY(write_json(json_pack("{s: I, s: b}", "max_seq_length",
                                    (json_int_t)folder->max_tokens, "do_lower_case", 0),
                          out, "sentence_bert_config.json"));
    }
    WB_TRY(write_modules(&folder->spec, out));
    WB_TRY(write_json(json_pack("{s: s, s: {s: s}, s: {s: s, s: s}, s: n, s: s}", "model_type",
                                "SentenceTransformer", "__version__", "widebatch", WB_VERSION,
                                "prompts", "query", card->query_prompt ? card->query_prompt : "",
                                "document", card->passage_prompt ? card->passage_prompt : "",
                                "default_prompt_name", "similarity_fn_name", card->similarity),
                      out, "config_sentence_transformers.json"));
done:
    return status;
}

static void print_lengths(FILE *card_file, const wb_model_folder *folder,
                          const wb_model_card *card) {
    const int64_t lengths[] = {card->query_tokens, card->passage_tokens};
    static const char *const roles[] = {"query", "passage"};
    for (int i = 0; i < 2; i++) {
        const int64_t tokens = lengths[i] > 0 ? lengths[i] : folder->max_tokens;
        if (tokens > 0) {
            (void)fprintf(card_file, "| longest %s | %lld tokens |\n", roles[i], (long long)tokens);
        } else {
            (void)fprintf(card_file, "| longest %s | no limit |\n", roles[i]);
        }
    }
}

static void print_prompt(FILE *card_file, const char *role, const char *prompt) {
    if (prompt && prompt[0] != '\0') {
        (void)fprintf(card_file, "| before each %s | `%s` |\n", role, prompt);
    }
}

static void print_contract(FILE *card_file, const wb_model_folder *folder,
                           const wb_model_card *card) {
    const wb_encoder_spec *spec = &folder->spec;
    const bool is_static = spec->kind == WB_ENCODER_STATIC;
    (void)fputs("## How text becomes a vector\n\n| | |\n|---|---|\n", card_file);
    (void)fprintf(card_file, "| tokenizer | WordPiece, %lld tokens (`tokenizer.json`) |\n",
                  (long long)spec->vocabulary);
    (void)fprintf(card_file, "| special tokens | %s |\n",
                  is_static ? "none" : "`[CLS]` before, `[SEP]` behind; both count as tokens");
    print_lengths(card_file, folder, card);
    print_prompt(card_file, "query", card->query_prompt);
    print_prompt(card_file, "passage", card->passage_prompt);
    (void)fprintf(card_file, "| encoder | %s |\n",
                  is_static ? "static token embeddings" : "BERT (`config.json`)");
    (void)fprintf(card_file, "| pooling | %s |\n",
                  spec->pooling == WB_POOLING_CLS ? "the vector of `[CLS]`"
                  : is_static                     ? "mean over the tokens"
                              : "mean over the tokens, special tokens included");
    (void)fprintf(card_file, "| normalised | %s |\n", spec->normalize ? "yes, to length 1" : "no");
    (void)fprintf(card_file, "| width | %lld |\n", (long long)spec->hidden);
    (void)fprintf(card_file, "| similarity | %s |\n", card->similarity);
}

static wb_status write_readme(const wb_model_folder *folder, const char *out,
                              const wb_model_card *card) {
    wb_status status = WB_OK;
    char path[WB_PATH];
    char *text = NULL;
    size_t bytes = 0;
    WB_TRY(wb_path_join(path, out, "README.md"));
    FILE *card_file = open_memstream(&text, &bytes);
    WB_CHECK(card_file, WB_ERR_MEMORY, "%s: no memory for the model card", out);
    (void)fprintf(card_file,
                  "---\nlibrary_name: sentence-transformers\npipeline_tag: sentence-similarity\n"
                  "tags:\n- sentence-transformers\n- feature-extraction\n- widebatch\n---\n\n"
                  "# %s\n\nA dense retriever trained with widebatch %s.\n\n"
                  "```python\nfrom sentence_transformers import SentenceTransformer\n\n"
                  "model = SentenceTransformer(\"path/to/this/folder\")\n"
                  "queries = model.encode_query([\"a question\"])\n"
                  "passages = model.encode_document([\"a text\"])\n```\n\n",
                  card->name, WB_VERSION);
    print_contract(card_file, folder, card);
    if (card->training) {
        (void)fprintf(card_file, "\n## Training\n\n%s\n", card->training);
    }
    WB_TRY(wb_memstream_close(card_file, WB_OK, path));
    WB_TRY(wb_file_write(path, text, bytes));
done:
    free(text);
    return status;
}

/* The pooler takes no part in a representation; BertModel expects it all the same, so one that came
 * with the model goes out with it. */
static wb_status find_pooler(const wb_model_folder *folder, const wb_model_weights *weights,
                             wb_tensor_table *table) {
    static const char *const names[] = {"pooler.dense.weight", "pooler.dense.bias"};
    wb_status status = WB_OK;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char full[sizeof(folder->prefix) + WB_TENSOR_NAME];
        const wb_safetensors *file = NULL;
        (void)snprintf(full, sizeof(full), "%s%s", folder->prefix, names[i]);
        const wb_safetensors_entry *entry = wb_model_weights_find(weights, full, &file);
        const int rank = i == 0 ? 2 : 1;
        if (entry && entry->rank == rank && entry->count > 0) {
            WB_TRY(wb_tensor_add(table, false, entry->shape[0], rank == 2 ? entry->shape[1] : 0,
                                 "%s", names[i]));
        }
    }
done:
    return status;
}

static wb_status read_pooler(const wb_model_folder *folder, const wb_model_weights *weights,
                             const wb_tensor_table *table, float *values) {
    wb_status status = WB_OK;
    for (int64_t i = 0; i < table->length; i++) {
        char full[sizeof(folder->prefix) + WB_TENSOR_NAME];
        const wb_safetensors *file = NULL;
        (void)snprintf(full, sizeof(full), "%s%s", folder->prefix, table->tensors[i].name);
        const wb_safetensors_entry *entry = wb_model_weights_find(weights, full, &file);
        WB_TRY(wb_safetensors_read(file, entry, values + table->tensors[i].offset));
    }
done:
    return status;
}

static wb_status write_weights(const wb_model_folder *folder, const char *out,
                               const wb_tensor_table *table, const float *values) {
    wb_status status = WB_OK;
    char path[WB_PATH];
    wb_model_weights *weights = NULL;
    wb_tensor_table pooler = {0};
    float *pooler_values = NULL;
    if (folder->spec.kind == WB_ENCODER_BERT && folder->weights[0] != '\0') {
        WB_TRY(wb_model_weights_open(&weights, folder->weights));
        WB_TRY(find_pooler(folder, weights, &pooler));
        pooler_values = calloc((size_t)pooler.total + 1, sizeof(float));
        WB_CHECK(pooler_values, WB_ERR_MEMORY, "%s: no memory for the pooler", folder->weights);
        WB_TRY(read_pooler(folder, weights, &pooler, pooler_values));
    }
    WB_TRY(wb_path_join(path, out, "model.safetensors"));
    const wb_safetensors_part parts[] = {{table, values}, {&pooler, pooler_values}};
    WB_TRY(wb_safetensors_write_parts(path, parts, pooler.length > 0 ? 2 : 1, NULL));
done:
    free(pooler_values);
    wb_tensor_table_clear(&pooler);
    wb_model_weights_close(weights);
    return status;
}

/* Only what an earlier export wrote may be replaced: never a folder that someone else filled. */
wb_status wb_model_folder_check_place(const char *out) {
    wb_status status = WB_OK;
    char path[WB_PATH];
    json_t *config = NULL;
    bool empty = false;
    WB_TRY(wb_folder_is_empty(&empty, out));
    if (empty) {
        return WB_OK;
    }
    WB_TRY(wb_path_join(path, out, "config_sentence_transformers.json"));
    if (wb_path_is_file(path)) {
        WB_TRY(wb_json_read(&config, path, CONFIG_MOST));
    }
    WB_CHECK(json_object_get(json_object_get(config, "__version__"), "widebatch"), WB_ERR_USAGE,
             "%s: exists and is not an export of widebatch; name another folder or remove it", out);
done:
    json_decref(config);
    return status;
}

wb_status wb_model_folder_export(const wb_model_folder *folder, const char *out,
                                 const wb_tensor_table *table, const float *values,
                                 const struct wb_tokenizer *tokenizer, const wb_model_card *card) {
    wb_status status = WB_OK;
    char place[WB_PATH];
    char temporary[WB_PATH];
    bool begun = false;
    const int length = snprintf(place, sizeof(place), "%s", out);
    WB_CHECK(length > 0 && length < WB_PATH - 5, WB_ERR_USAGE,
             "folder name is empty or too long: %.200s", out);
    for (int i = length - 1; i > 0 && place[i] == '/'; i--) {
        place[i] = '\0';
    }
    (void)snprintf(temporary, sizeof(temporary), "%.*s.tmp", WB_PATH - 5, place);
    WB_TRY(wb_model_folder_check_place(place));
    WB_TRY(wb_folder_remove(temporary));
    WB_TRY(wb_folder_make(temporary));
    begun = true;
    WB_TRY(wb_tokenizer_export(tokenizer, temporary));
    WB_TRY(write_configs(folder, temporary, card));
    WB_TRY(write_readme(folder, temporary, card));
    WB_TRY(write_weights(folder, temporary, table, values));
    WB_TRY(wb_folder_publish(temporary, place));
done:
    if (status != WB_OK && begun) {
        (void)wb_folder_remove(temporary);
    }
    return status;
}
