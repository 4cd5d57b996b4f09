/* Reading tokenizer.json and vocab.txt. What is not understood is refused, never passed over: ids
 * that differ a little from the reference's train a model that is a little wrong. Truncation and
 * padding are the exceptions: whoever encodes decides about these. */
#include "tokenizer_spec.h"

#include "json.h"

#include <stdlib.h>
#include <string.h>

/* Twice what the largest known vocabulary needs, LaBSE's of 501,153 tokens. */
static const size_t file_cap = (size_t)32 << 20, lines_cap = (size_t)16 << 20;
enum { TOKEN_BYTES_MOST = 1024, VOCABULARY_MOST = 1 << 20 };

void wb_tokenizer_spec_clear(wb_tokenizer_spec *spec) {
    free(spec->storage);
    free(spec->tokens);
    free(spec->added);
    *spec = (wb_tokenizer_spec){0};
}

/* ---- Tokens, whichever file they come from ---- */

static wb_status check_token(const char *text, size_t bytes, const char *where, int64_t number) {
    const long long n = (long long)number;
    if (bytes == 0) {
        return WB_ERROR(WB_ERR_INPUT, "%s: token %lld is empty", where, n);
    }
    if (bytes > TOKEN_BYTES_MOST) {
        return WB_ERROR(WB_ERR_INPUT, "%s: token %lld has %zu bytes; at most %d are allowed", where,
                        n, bytes, TOKEN_BYTES_MOST);
    }
    const size_t bad = wb_utf8_valid(text, bytes);
    if (bad < bytes || memchr(text, '\n', bytes) || memchr(text, '\r', bytes)) {
        return WB_ERROR(WB_ERR_INPUT, "%s: token %lld holds %s", where, n,
                        bad == bytes        ? "a line end; vocab.txt cannot"
                        : text[bad] == '\0' ? "a NUL byte"
                                            : "invalid UTF-8");
    }
    return WB_OK;
}

static int32_t find(const wb_tokenizer_spec *spec, const char *text) {
    const size_t bytes = strlen(text);
    for (int64_t i = 0; i < spec->vocabulary; i++) {
        if (spec->tokens[i].bytes == bytes && memcmp(spec->tokens[i].text, text, bytes) == 0) {
            return (int32_t)i;
        }
    }
    return -1;
}

static wb_status find_special(const wb_tokenizer_spec *spec, const char *text, const char *where,
                              int32_t *id) {
    *id = find(spec, text);
    return *id >= 0 ? WB_OK
                    : WB_ERROR(WB_ERR_INPUT,
                               "%s: the token %.100s is missing; a BERT vocabulary has [UNK], "
                               "[CLS], [SEP] and [PAD]",
                               where, text);
}

static wb_status find_specials(wb_tokenizer_spec *spec, const char *unknown, const char *where) {
    wb_status status = WB_OK;
    WB_TRY(find_special(spec, unknown, where, &spec->unknown));
    WB_TRY(find_special(spec, "[CLS]", where, &spec->cls));
    WB_TRY(find_special(spec, "[SEP]", where, &spec->sep));
    WB_TRY(find_special(spec, "[PAD]", where, &spec->pad));
    spec->mask = find(spec, "[MASK]");
done:
    return status;
}

static wb_status allocate_tokens(wb_tokenizer_spec *spec, int64_t count, const char *where) {
    if (count >= VOCABULARY_MOST) {
        return WB_ERROR(WB_ERR_INPUT, "%s: %lld tokens; there must be fewer than %d", where,
                        (long long)count, VOCABULARY_MOST);
    }
    spec->tokens = calloc((size_t)(count > 0 ? count : 1), sizeof(*spec->tokens));
    return spec->tokens
               ? WB_OK
               : WB_ERROR(WB_ERR_MEMORY, "%s: no memory for %lld tokens", where, (long long)count);
}

/* ---- vocab.txt ---- */

static int64_t count_lines(const char *text, size_t bytes) {
    int64_t lines = bytes > 0 && text[bytes - 1] != '\n';
    for (const char *at = text; (at = memchr(at, '\n', bytes - (size_t)(at - text))); at++) {
        lines++;
    }
    return lines;
}

/* Cuts the storage into lines; a token's id is its line's number, from 0. */
static wb_status cut_lines(wb_tokenizer_spec *spec, size_t bytes, const char *path) {
    wb_status status = WB_OK;
    size_t at = 0;
    for (int64_t id = 0; id < spec->vocabulary; id++) {
        char *line = spec->storage + at;
        char *end = memchr(line, '\n', bytes - at);
        size_t length = end ? (size_t)(end - line) : bytes - at;
        at += length + 1;
        length -= length > 0 && line[length - 1] == '\r';
        WB_TRY(check_token(line, length, path, id));
        line[length] = '\0';
        spec->tokens[id] = (wb_token){line, (uint32_t)length, (int32_t)id};
    }
done:
    return status;
}

static wb_status read_vocabulary(wb_tokenizer_spec *spec, const char *path) {
    wb_status status = WB_OK;
    size_t bytes = 0;
    WB_TRY(wb_file_read(path, lines_cap, &spec->storage, &bytes));
    const int64_t count = count_lines(spec->storage, bytes);
    WB_TRY(allocate_tokens(spec, count, path));
    spec->vocabulary = spec->pieces = count;
    WB_TRY(cut_lines(spec, bytes, path));
    WB_TRY(find_specials(spec, "[UNK]", path));
    spec->added = calloc(5, sizeof(*spec->added));
    WB_CHECK(spec->added, WB_ERR_MEMORY, "%s: no memory for special tokens", path);
    const int32_t specials[] = {spec->unknown, spec->cls, spec->sep, spec->pad, spec->mask};
    for (int i = 0; i < 5 && specials[i] >= 0; i++) {
        spec->added[spec->added_count++] = spec->tokens[specials[i]];
    }
done:
    return status;
}

static wb_status read_config(wb_tokenizer_spec *spec, const char *path) {
    wb_status status = WB_OK;
    json_t *config = NULL;
    WB_TRY(wb_json_read(&config, path, file_cap));
    WB_CHECK(json_typeof(config) == JSON_OBJECT, WB_ERR_INPUT, "%s: is no JSON object", path);
    wb_unicode_rules *rules = &spec->rules;
    WB_TRY(wb_json_bool(config, "do_lower_case", false, path, &rules->lowercase));
    rules->strip_accents = rules->lowercase;
    WB_TRY(wb_json_bool(config, "strip_accents", false, path, &rules->strip_accents));
    WB_TRY(wb_json_bool(config, "tokenize_chinese_chars", false, path, &rules->split_ideographs));
done:
    json_decref(config);
    return status;
}

/* ---- tokenizer.json ---- */

/* The member `key` of `parent`, which must be an object of type `type`. */
static wb_status get_part(const json_t *parent, const char *key, const char *type,
                          const char *where, const json_t **part) {
    *part = json_object_get(parent, key);
    if (!json_is_object(*part)) {
        return WB_ERROR(WB_ERR_INPUT, "%s: \"%s\" is missing or no object; it must be a %s", where,
                        key, type);
    }
    const char *found = json_string_value(json_object_get(*part, "type"));
    if (!found || strcmp(found, type) != 0) {
        return WB_ERROR(WB_ERR_INPUT, "%s: \"%s\" is of type %.100s; only %s is supported", where,
                        key, found ? found : "(none)", type);
    }
    return WB_OK;
}

static wb_status read_normalizer(wb_tokenizer_spec *spec, const json_t *root, const char *where) {
    wb_status status = WB_OK;
    const json_t *part;
    wb_unicode_rules *rules = &spec->rules;
    WB_TRY(get_part(root, "normalizer", "BertNormalizer", where, &part));
    WB_TRY(wb_json_bool(part, "clean_text", false, where, &rules->clean));
    WB_TRY(wb_json_bool(part, "handle_chinese_chars", false, where, &rules->split_ideographs));
    WB_TRY(wb_json_bool(part, "lowercase", false, where, &rules->lowercase));
    rules->strip_accents = rules->lowercase;
    WB_TRY(wb_json_bool(part, "strip_accents", false, where, &rules->strip_accents));
    WB_TRY(get_part(root, "pre_tokenizer", "BertPreTokenizer", where, &part));
done:
    return status;
}

/* Members of an "added_tokens" row. */
typedef struct added_row {
    const char *text;
    size_t bytes;
    int64_t id;
} added_row;

static wb_status read_added_row(const json_t *json, int64_t number, const char *where,
                                added_row *row) {
    static const char *const unsupported[] = {"single_word", "lstrip", "rstrip", "normalized"};
    wb_status status = WB_OK;
    WB_CHECK(json_typeof(json) == JSON_OBJECT, WB_ERR_INPUT, "%s: added token %lld is no object",
             where, (long long)number);
    WB_TRY(wb_json_string(json, "content", true, where, &row->text));
    row->bytes = strlen(row->text);
    WB_TRY(check_token(row->text, row->bytes, where, number));
    WB_TRY(wb_json_integer(json, "id", true, 0, VOCABULARY_MOST - 1, where, &row->id));
    for (size_t i = 0; i < sizeof(unsupported) / sizeof(unsupported[0]); i++) {
        bool set = false;
        WB_TRY(wb_json_bool(json, unsupported[i], false, where, &set));
        WB_CHECK(!set, WB_ERR_INPUT,
                 "%s: the added token %.100s has \"%s\": true; only false is supported", where,
                 row->text, unsupported[i]);
    }
done:
    return status;
}

/* Bytes that the tokens of a file take up in storage, each with its NUL. */
static size_t storage_bytes(json_t *vocabulary, const json_t *added) {
    size_t bytes = 1;
    for (void *at = json_object_iter(vocabulary); at; at = json_object_iter_next(vocabulary, at)) {
        bytes += json_object_iter_key_len(at) + 1;
    }
    for (size_t i = 0; i < json_array_size(added); i++) {
        bytes += json_string_length(json_object_get(json_array_get(added, i), "content")) + 1;
    }
    return bytes;
}

/* Copies a token to the end of the storage, which has room, and files it under its id. */
static wb_status store(wb_tokenizer_spec *spec, char **end, const char *text, size_t bytes,
                       int64_t id, const char *where) {
    if (spec->tokens[id].text) {
        return WB_ERROR(WB_ERR_INPUT, "%s: tokens \"%.100s\" and \"%.100s\" have the same id %lld",
                        where, spec->tokens[id].text, text, (long long)id);
    }
    memcpy(*end, text, bytes);
    (*end)[bytes] = '\0';
    spec->tokens[id] = (wb_token){*end, (uint32_t)bytes, (int32_t)id};
    *end += bytes + 1;
    return WB_OK;
}

static wb_status store_pieces(wb_tokenizer_spec *spec, json_t *vocabulary, char **end,
                              const char *where) {
    wb_status status = WB_OK;
    for (void *at = json_object_iter(vocabulary); at; at = json_object_iter_next(vocabulary, at)) {
        const char *text = json_object_iter_key(at);
        const size_t bytes = json_object_iter_key_len(at);
        const json_t *value = json_object_iter_value(at);
        const json_int_t id = json_typeof(value) == JSON_INTEGER ? json_integer_value(value) : -1;
        WB_TRY(check_token(text, bytes, where, id));
        WB_CHECK(id >= 0 && id < spec->pieces, WB_ERR_INPUT,
                 "%s: token \"%.100s\" has the id %lld; %lld tokens must have the ids 0 to %lld",
                 where, text, (long long)id, (long long)spec->pieces,
                 (long long)(spec->pieces - 1));
        WB_TRY(store(spec, end, text, bytes, id, where));
    }
done:
    return status;
}

/* Added tokens either are pieces too, or follow them with the next ids. */
static wb_status store_added(wb_tokenizer_spec *spec, const json_t *added, int64_t places,
                             char **end, const char *where) {
    wb_status status = WB_OK;
    for (size_t i = 0; i < json_array_size(added); i++) {
        added_row row = {0};
        WB_TRY(read_added_row(json_array_get(added, i), (int64_t)i, where, &row));
        WB_CHECK(row.id < places, WB_ERR_INPUT,
                 "%s: the added token %.100s has the id %lld; ids must have no gaps", where,
                 row.text, (long long)row.id);
        if (row.id >= spec->pieces) {
            WB_TRY(store(spec, end, row.text, row.bytes, row.id, where));
            spec->vocabulary++;
        }
        const wb_token *token = &spec->tokens[row.id];
        WB_CHECK(token->bytes == row.bytes && memcmp(token->text, row.text, row.bytes) == 0,
                 WB_ERR_INPUT, "%s: id %lld is the token %.100s, but %.100s among added tokens",
                 where, (long long)row.id, token->text, row.text);
        spec->added[spec->added_count++] = *token;
    }
    for (int64_t id = spec->pieces; id < spec->vocabulary; id++) {
        WB_CHECK(spec->tokens[id].text, WB_ERR_INPUT, "%s: no token has the id %lld", where,
                 (long long)id);
    }
done:
    return status;
}

static wb_status read_tokens(wb_tokenizer_spec *spec, json_t *vocabulary, const json_t *added,
                             const char *where) {
    wb_status status = WB_OK;
    WB_CHECK(json_is_object(vocabulary), WB_ERR_INPUT,
             "%s: the model's \"vocab\" must be an object from token to id", where);
    WB_CHECK(!added || json_is_array(added), WB_ERR_INPUT, "%s: \"added_tokens\" must be an array",
             where);
    spec->pieces = spec->vocabulary = (int64_t)json_object_size(vocabulary);
    const int64_t places = spec->pieces + (int64_t)json_array_size(added);
    WB_TRY(allocate_tokens(spec, places, where));
    spec->storage = malloc(storage_bytes(vocabulary, added));
    spec->added = calloc(json_array_size(added) + 1, sizeof(*spec->added));
    WB_CHECK(spec->storage && spec->added, WB_ERR_MEMORY, "%s: no memory for %lld tokens", where,
             (long long)places);
    char *end = spec->storage;
    WB_TRY(store_pieces(spec, vocabulary, &end, where));
    WB_TRY(store_added(spec, added, places, &end, where));
done:
    return status;
}

static wb_status read_model(wb_tokenizer_spec *spec, const json_t *root, const char *where) {
    wb_status status = WB_OK;
    const json_t *model;
    const char *unknown = "[UNK]", *prefix = "##";
    WB_TRY(get_part(root, "model", "WordPiece", where, &model));
    WB_TRY(wb_json_string(model, "unk_token", false, where, &unknown));
    WB_TRY(wb_json_string(model, "continuing_subword_prefix", false, where, &prefix));
    WB_CHECK(strlen(prefix) < sizeof(spec->prefix), WB_ERR_INPUT,
             "%s: \"continuing_subword_prefix\" has %zu bytes; at most %zu are allowed", where,
             strlen(prefix), sizeof(spec->prefix) - 1);
    (void)strcpy(spec->prefix, prefix);
    WB_TRY(wb_json_integer(model, "max_input_chars_per_word", false, 1, WB_WORD_CHARS_MOST, where,
                           &spec->word_chars));
    WB_TRY(read_tokens(spec, json_object_get(model, "vocab"), json_object_get(root, "added_tokens"),
                       where));
    WB_TRY(find_specials(spec, unknown, where));
done:
    return status;
}

/* A special token at one end of a text: ["[SEP]", 102] of BertProcessing. */
static wb_status read_pair(const wb_tokenizer_spec *spec, const json_t *part, const char *key,
                           const char *where, int32_t *id) {
    const json_t *pair = json_object_get(part, key);
    const char *text = json_string_value(json_array_get(pair, 0));
    if (json_array_size(pair) != 2 || !text) {
        return WB_ERROR(WB_ERR_INPUT, "%s: \"%s\" of the post-processor must be [token, id]", where,
                        key);
    }
    const json_t *number = json_array_get(pair, 1);
    if (find_special(spec, text, where, id) != WB_OK) {
        return WB_ERR_INPUT;
    }
    return json_typeof(number) == JSON_INTEGER && json_integer_value(number) == *id
               ? WB_OK
               : WB_ERROR(WB_ERR_INPUT, "%s: the post-processor's id of %.100s must be %d", where,
                          text, *id);
}

/* The same as a step {"SpecialToken": {"id": "[SEP]", "type_id": 0}} of TemplateProcessing. */
static wb_status read_step(const wb_tokenizer_spec *spec, const json_t *part, size_t step,
                           const char *where, int32_t *id) {
    wb_status status = WB_OK;
    const json_t *single = json_object_get(part, "single");
    const json_t *special = json_object_get(json_array_get(single, step), "SpecialToken");
    const char *text = json_string_value(json_object_get(special, "id"));
    WB_CHECK(
        text && json_integer_value(json_object_get(special, "type_id")) == 0, WB_ERR_INPUT,
        "%s: the post-processor's \"single\" must be a special token, sequence A and a special "
        "token, all of type 0",
        where);
    WB_TRY(find_special(spec, text, where, id));
    const json_t *named = json_object_get(json_object_get(part, "special_tokens"), text);
    const json_t *ids = json_object_get(named, "ids");
    WB_CHECK(json_array_size(ids) == 1 && json_integer_value(json_array_get(ids, 0)) == *id,
             WB_ERR_INPUT, "%s: the post-processor's ids of %.100s must be [%d]", where, text, *id);
done:
    return status;
}

static wb_status read_post_processor(wb_tokenizer_spec *spec, const json_t *root,
                                     const char *where) {
    wb_status status = WB_OK;
    const json_t *part = json_object_get(root, "post_processor");
    const char *type = json_string_value(json_object_get(part, "type"));
    if (type && strcmp(type, "BertProcessing") == 0) {
        WB_TRY(read_pair(spec, part, "cls", where, &spec->cls));
        WB_TRY(read_pair(spec, part, "sep", where, &spec->sep));
        return WB_OK;
    }
    WB_TRY(get_part(root, "post_processor", "TemplateProcessing", where, &part));
    const json_t *single = json_object_get(part, "single");
    const json_t *sequence = json_object_get(json_array_get(single, 1), "Sequence");
    const char *name = json_string_value(json_object_get(sequence, "id"));
    WB_CHECK(
        json_array_size(single) == 3 && name && strcmp(name, "A") == 0 &&
            json_integer_value(json_object_get(sequence, "type_id")) == 0,
        WB_ERR_INPUT,
        "%s: the post-processor's \"single\" must be a special token, sequence A and a special "
        "token, all of type 0",
        where);
    WB_TRY(read_step(spec, part, 0, where, &spec->cls));
    WB_TRY(read_step(spec, part, 2, where, &spec->sep));
done:
    return status;
}

static wb_status read_tokenizer_json(wb_tokenizer_spec *spec, const char *path) {
    wb_status status = WB_OK;
    json_t *root = NULL;
    WB_TRY(wb_json_read(&root, path, file_cap));
    WB_CHECK(json_typeof(root) == JSON_OBJECT, WB_ERR_INPUT, "%s: is no JSON object", path);
    WB_TRY(read_normalizer(spec, root, path));
    WB_TRY(read_model(spec, root, path));
    WB_TRY(read_post_processor(spec, root, path));
done:
    json_decref(root);
    return status;
}

static wb_status read_folder(wb_tokenizer_spec *spec, const char *folder) {
    wb_status status = WB_OK;
    char path[WB_PATH];
    WB_TRY(wb_path_join(path, folder, "tokenizer.json"));
    if (wb_path_is_file(path)) {
        WB_TRY(read_tokenizer_json(spec, path));
        return WB_OK;
    }
    WB_TRY(wb_path_join(path, folder, "vocab.txt"));
    WB_CHECK(wb_path_is_file(path), WB_ERR_INPUT,
             "%s: neither tokenizer.json nor vocab.txt is there", folder);
    WB_TRY(read_vocabulary(spec, path));
    WB_TRY(wb_path_join(path, folder, "tokenizer_config.json"));
    if (wb_path_is_file(path)) {
        WB_TRY(read_config(spec, path));
    }
done:
    return status;
}

wb_status wb_tokenizer_spec_read(wb_tokenizer_spec *spec, const char *path) {
    wb_status status = WB_OK;
    *spec = (wb_tokenizer_spec){
        .is_folder = wb_path_is_folder(path),
        .rules = {true, true, true, true},
        .prefix = "##",
        .word_chars = 100,
    };
    WB_CHECK(strlen(path) < sizeof(spec->source), WB_ERR_USAGE, "path too long: %.200s…", path);
    (void)strcpy(spec->source, path);
    WB_TRY(spec->is_folder ? read_folder(spec, path) : read_vocabulary(spec, path));
done:
    if (status != WB_OK) {
        wb_tokenizer_spec_clear(spec);
    }
    return status;
}
