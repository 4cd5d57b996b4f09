/* Writing a tokenizer for others to load: files of the folder it came from as they are, generated
 * ones where these are missing. */
#include "json.h"
#include "tokenizer_spec.h"

#include <stdlib.h>
#include <string.h>

static const char *text_of(const wb_tokenizer_spec *spec, int32_t id) {
    return spec->tokens[id].text;
}

static int compare_ids(const void *a, const void *b) {
    const wb_token *left = a, *right = b;
    return (left->id > right->id) - (left->id < right->id);
}

/* "added_tokens", in the order of ids. */
static json_t *added_tokens(const wb_tokenizer_spec *spec) {
    json_t *rows = json_array();
    wb_token *added = malloc((size_t)(spec->added_count + 1) * sizeof(*added));
    if (added) {
        memcpy(added, spec->added, (size_t)spec->added_count * sizeof(*added));
        qsort(added, (size_t)spec->added_count, sizeof(*added), compare_ids);
    }
    for (int64_t i = 0; added && i < spec->added_count; i++) {
        json_array_append_new(rows,
                              json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", added[i].id,
                                        "content", added[i].text, "single_word", 0, "lstrip", 0,
                                        "rstrip", 0, "normalized", 0, "special", 1));
    }
    free(added);
    return rows;
}

static json_t *vocabulary(const wb_tokenizer_spec *spec) {
    json_t *vocabulary = json_object();
    for (int64_t id = 0; id < spec->pieces; id++) {
        json_object_setn_new_nocheck(vocabulary, spec->tokens[id].text, spec->tokens[id].bytes,
                                     json_integer(id));
    }
    return vocabulary;
}

static json_t *special_step(const wb_tokenizer_spec *spec, int32_t id, int type) {
    return json_pack("{s:{s:s, s:i}}", "SpecialToken", "id", text_of(spec, id), "type_id", type);
}

static json_t *sequence_step(const char *name, int type) {
    return json_pack("{s:{s:s, s:i}}", "Sequence", "id", name, "type_id", type);
}

static json_t *special_token(const wb_tokenizer_spec *spec, int32_t id) {
    return json_pack("{s:s, s:[i], s:[s]}", "id", text_of(spec, id), "ids", id, "tokens",
                     text_of(spec, id));
}

static json_t *post_processor(const wb_tokenizer_spec *spec) {
    const int32_t cls = spec->cls, sep = spec->sep;
    return json_pack("{s:s, s:[o,o,o], s:[o,o,o,o,o], s:{s:o, s:o}}", "type", "TemplateProcessing",
                     "single", special_step(spec, cls, 0), sequence_step("A", 0),
                     special_step(spec, sep, 0), "pair", special_step(spec, cls, 0),
                     sequence_step("A", 0), special_step(spec, sep, 0), sequence_step("B", 1),
                     special_step(spec, sep, 1), "special_tokens", text_of(spec, cls),
                     special_token(spec, cls), text_of(spec, sep), special_token(spec, sep));
}

static json_t *normalizer(const wb_tokenizer_spec *spec) {
    const wb_unicode_rules *rules = &spec->rules;
    return json_pack("{s:s, s:b, s:b, s:b, s:b}", "type", "BertNormalizer", "clean_text",
                     rules->clean, "handle_chinese_chars", rules->split_ideographs, "strip_accents",
                     rules->strip_accents, "lowercase", rules->lowercase);
}

static wb_status write_tokenizer_json(const wb_tokenizer_spec *spec, const char *path) {
    wb_status status = WB_OK;
    json_t *model = json_pack("{s:s, s:s, s:s, s:I, s:o}", "type", "WordPiece", "unk_token",
                              text_of(spec, spec->unknown), "continuing_subword_prefix",
                              spec->prefix, "max_input_chars_per_word",
                              (json_int_t)spec->word_chars, "vocab", vocabulary(spec));
    json_t *root = json_pack(
        "{s:s, s:n, s:n, s:o, s:o, s:{s:s}, s:o, s:{s:s, s:s, s:b}, s:o}", "version", "1.0",
        "truncation", "padding", "added_tokens", added_tokens(spec), "normalizer", normalizer(spec),
        "pre_tokenizer", "type", "BertPreTokenizer", "post_processor", post_processor(spec),
        "decoder", "type", "WordPiece", "prefix", spec->prefix, "cleanup", 1, "model", model);
    WB_CHECK(root, WB_ERR_MEMORY, "%s: no memory to write it", path);
    WB_TRY(wb_json_write(root, path));
done:
    json_decref(root);
    return status;
}

static wb_status write_vocabulary(const wb_tokenizer_spec *spec, const char *path) {
    wb_status status = WB_OK;
    size_t bytes = 0, at = 0;
    for (int64_t id = 0; id < spec->vocabulary; id++) {
        bytes += spec->tokens[id].bytes + 1;
    }
    char *text = malloc(bytes);
    WB_CHECK(text, WB_ERR_MEMORY, "%s: no memory to write it", path);
    for (int64_t id = 0; id < spec->vocabulary; id++) {
        memcpy(text + at, spec->tokens[id].text, spec->tokens[id].bytes);
        at += spec->tokens[id].bytes;
        text[at++] = '\n';
    }
    WB_TRY(wb_file_write(path, text, bytes));
done:
    free(text);
    return status;
}

/* The names of the special tokens: all of special_tokens_map.json. */
static json_t *special_tokens_map(const wb_tokenizer_spec *spec) {
    return json_pack("{s:s, s:s, s:s, s:s, s:s*}", "unk_token", text_of(spec, spec->unknown),
                     "sep_token", text_of(spec, spec->sep), "pad_token", text_of(spec, spec->pad),
                     "cls_token", text_of(spec, spec->cls), "mask_token",
                     spec->mask >= 0 ? text_of(spec, spec->mask) : NULL);
}

static wb_status write_special_tokens_map(const wb_tokenizer_spec *spec, const char *path) {
    wb_status status = WB_OK;
    json_t *map = special_tokens_map(spec);
    WB_CHECK(map, WB_ERR_MEMORY, "%s: no memory to write it", path);
    WB_TRY(wb_json_write(map, path));
done:
    json_decref(map);
    return status;
}

static wb_status write_config(const wb_tokenizer_spec *spec, const char *path) {
    wb_status status = WB_OK;
    json_t *config = json_pack("{s:s, s:b, s:b, s:b, s:b}", "tokenizer_class", "BertTokenizer",
                               "do_lower_case", spec->rules.lowercase, "strip_accents",
                               spec->rules.strip_accents, "tokenize_chinese_chars",
                               spec->rules.split_ideographs, "clean_up_tokenization_spaces", 1);
    WB_CHECK(config && json_object_update_new(config, special_tokens_map(spec)) == 0, WB_ERR_MEMORY,
             "%s: no memory to write it", path);
    WB_TRY(wb_json_write(config, path));
done:
    json_decref(config);
    return status;
}

wb_status wb_tokenizer_spec_write(const wb_tokenizer_spec *spec, const char *folder) {
    static const struct {
        const char *name;
        wb_status (*write)(const wb_tokenizer_spec *spec, const char *path);
    } files[] = {
        {"tokenizer.json", write_tokenizer_json},
        {"vocab.txt", write_vocabulary},
        {"tokenizer_config.json", write_config},
        {"special_tokens_map.json", write_special_tokens_map},
    };
    wb_status status = WB_OK;
    char from[WB_PATH], to[WB_PATH];
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        WB_TRY(wb_path_join(from, spec->source, "%s", files[i].name));
        WB_TRY(wb_path_join(to, folder, "%s", files[i].name));
        if (spec->is_folder && wb_path_is_file(from)) {
            WB_TRY(wb_file_copy(from, to));
        } else {
            WB_TRY(files[i].write(spec, to));
        }
    }
done:
    return status;
}
