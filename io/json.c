/* Strict JSON; the only functions that call jansson's parser. */
#include "json.h"

#include "files.h"
#include "foreign_file.h"
#include "units.h"

#include <stdlib.h>
#include <string.h>
#include <threads.h>

/* jansson does not always say that it ran out of memory: a lexer without memory reads a wrong token
 * or ends the process by an assertion, a copy without memory lacks members. So its allocations are
 * watched: true where one has failed in this thread since it last began to parse. While it parses,
 * it then lives on a small reserve until the end of its input, which comes at once. */
static _Thread_local bool starved, parsing;
static _Thread_local _Alignas(16) char reserve[1 << 14];
static _Thread_local size_t reserve_used;

static void *take(size_t bytes) {
    void *block = malloc(bytes);
    const size_t rounded = (bytes + 15) / 16 * 16;
    starved = starved || !block;
    if (!block && parsing && rounded <= sizeof(reserve) - reserve_used) {
        block = reserve + reserve_used;
        reserve_used += rounded;
    }
    return block;
}

static void give_back(void *block) {
    const uintptr_t at = (uintptr_t)block, first = (uintptr_t)reserve;
    if (at < first || at >= first + sizeof(reserve)) {
        free(block);
    }
}

static void watch_memory(void) {
    json_set_alloc_funcs(take, give_back);
}

/* A text handed out in pieces, each of which ends before a quotation mark: jansson looks at a
 * string when it has met the mark that ends it, and must not where some of it is missing. */
typedef struct pieces {
    const char *text;
    size_t bytes, at;
} pieces;

static size_t next_piece(void *buffer, size_t most, void *context) {
    pieces *p = context;
    const size_t left = p->bytes - p->at, longest = left < most ? left : most;
    const char *from = p->text + p->at;
    if (starved || longest == 0) {
        return 0;
    }
    const char *mark = memchr(from + 1, '"', longest - 1);
    const size_t size = mark ? (size_t)(mark - from) : longest;
    memcpy(buffer, from, size);
    p->at += size;
    return size;
}

/* Refuses what has too many values, or lies too deep. A value takes a hundred bytes as a tree and
 * may be two in a text, so they are counted before there is one. */
static wb_status check_size(const char *text, size_t bytes, const char *where, int64_t first_line,
                            int64_t most) {
    int64_t values = 0, line = first_line, depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < bytes && values <= most && depth <= WB_JSON_DEPTH; i++) {
        const char c = text[i];
        if (c == '\\' && quoted) {
            i++;
        } else if (c == '"') {
            quoted = !quoted;
        } else if (!quoted) {
            const bool opens = c == '[' || c == '{';
            depth += opens ? 1 : c == ']' || c == '}' ? -1 : 0;
            values += opens || c == ',' ? 1 : 0;
        }
        line += c == '\n';
    }
    if (values > most) {
        return WB_ERROR(WB_ERR_INPUT, "%s:%lld: more than %lld values; so many are not allowed",
                        where, (long long)line, (long long)most);
    }
    if (depth > WB_JSON_DEPTH) {
        return WB_ERROR(WB_ERR_INPUT, "%s:%lld: more than %d arrays and objects in each other",
                        where, (long long)line, WB_JSON_DEPTH);
    }
    return WB_OK;
}

static int64_t lines_in(const char *text, size_t bytes) {
    int64_t lines = 0;
    for (size_t i = 0; i < bytes; i++) {
        lines += text[i] == '\n';
    }
    return lines;
}

static wb_status parse(json_t **value, const char *text, size_t bytes, size_t flags,
                       const char *where, int64_t first_line, int64_t most) {
    static once_flag watched = ONCE_FLAG_INIT;
    json_error_t error;
    *value = NULL;
    const wb_status size = check_size(text, bytes, where, first_line, most);
    if (size != WB_OK) {
        return size;
    }
    const char *nul = memchr(text, '\0', bytes); /* jansson does not see one behind a number */
    if (nul) {
        return WB_ERROR(WB_ERR_INPUT, "%s:%lld: not valid JSON: a NUL byte", where,
                        (long long)(first_line + lines_in(text, (size_t)(nul - text))));
    }
    call_once(&watched, watch_memory);
    pieces all = {.text = text, .bytes = bytes};
    starved = false;
    parsing = true;
    reserve_used = 0;
    *value = json_load_callback(next_piece, &all, JSON_REJECT_DUPLICATES | flags, &error);
    parsing = false;
    if (starved) {
        json_decref(*value);
        *value = NULL;
        return WB_ERROR(WB_ERR_MEMORY, "%s: no memory to read its %s", where,
                        wb_bytes_text(bytes).text);
    }
    if (!*value) {
        return WB_ERROR(WB_ERR_INPUT, "%s:%lld:%d: not valid JSON: %s", where,
                        (long long)(first_line + error.line - 1), error.column, error.text);
    }
    return WB_OK;
}

wb_status wb_json_parse_line(json_t **value, const char *text, size_t bytes, const char *where,
                             int64_t line) {
    return parse(value, text, bytes, 0, where, line, WB_JSON_LINE_VALUES);
}

wb_status wb_json_parse(json_t **value, const char *text, size_t bytes, const char *where,
                        int64_t first_line) {
    return parse(value, text, bytes, 0, where, first_line, WB_JSON_VALUES);
}

static wb_status read_file(json_t **value, const char *path, size_t cap, size_t flags) {
    wb_status status = WB_OK;
    char *text = NULL;
    size_t bytes = 0;
    WB_TRY(wb_file_read(path, cap, &text, &bytes));
    WB_TRY(wb_foreign_file_check(path, text, bytes));
    WB_TRY(parse(value, text, bytes, flags, path, 1, WB_JSON_VALUES));
done:
    free(text);
    return status;
}

wb_status wb_json_read(json_t **value, const char *path, size_t cap) {
    return read_file(value, path, cap, 0);
}

wb_status wb_json_read_reals(json_t **value, const char *path, size_t cap) {
    return read_file(value, path, cap, JSON_DECODE_INT_AS_REAL);
}

static const char *type_name(const json_t *value) {
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a real number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a truth value";
    default:
        return "null";
    }
}

/* *member is NULL where it is missing and may be. */
static wb_status get(const json_t *object, const char *key, bool required, const char *where,
                     const json_t **member) {
    *member = json_object_get(object, key);
    if (json_is_null(*member)) {
        *member = NULL;
    }
    if (!*member && required) {
        return WB_ERROR(WB_ERR_INPUT, "%s: \"%s\" is missing", where, key);
    }
    return WB_OK;
}

static wb_status wrong_type(const json_t *member, const char *key, const char *where,
                            const char *allowed) {
    return WB_ERROR(WB_ERR_INPUT, "%s: \"%s\" is %s; it must be %s", where, key, type_name(member),
                    allowed);
}

wb_status wb_json_integer(const json_t *object, const char *key, bool required, int64_t least,
                          int64_t most, const char *where, int64_t *out) {
    const json_t *member;
    const wb_status status = get(object, key, required, where, &member);
    if (status != WB_OK || !member) {
        return status;
    }
    if (!json_is_integer(member)) {
        return wrong_type(member, key, where, "an integer");
    }
    const json_int_t value = json_integer_value(member);
    if (value < least || value > most) {
        return WB_ERROR(WB_ERR_INPUT, "%s: \"%s\" = %lld; the allowed range is %lld to %lld", where,
                        key, (long long)value, (long long)least, (long long)most);
    }
    *out = value;
    return WB_OK;
}

wb_status wb_json_number(const json_t *object, const char *key, bool required, double least,
                         double most, const char *where, double *out) {
    const json_t *member;
    const wb_status status = get(object, key, required, where, &member);
    if (status != WB_OK || !member) {
        return status;
    }
    if (!json_is_number(member)) {
        return wrong_type(member, key, where, "a number");
    }
    const double value = json_number_value(member);
    if (!(value >= least && value <= most)) {
        return WB_ERROR(WB_ERR_INPUT, "%s: \"%s\" = %g; the allowed range is %g to %g", where, key,
                        value, least, most);
    }
    *out = value;
    return WB_OK;
}

wb_status wb_json_bool(const json_t *object, const char *key, bool required, const char *where,
                       bool *out) {
    const json_t *member;
    const wb_status status = get(object, key, required, where, &member);
    if (status != WB_OK || !member) {
        return status;
    }
    if (!json_is_boolean(member)) {
        return wrong_type(member, key, where, "true or false");
    }
    *out = json_is_true(member);
    return WB_OK;
}

wb_status wb_json_string(const json_t *object, const char *key, bool required, const char *where,
                         const char **out) {
    const json_t *member;
    const wb_status status = get(object, key, required, where, &member);
    if (status != WB_OK || !member) {
        return status;
    }
    if (!json_is_string(member)) {
        return wrong_type(member, key, where, "a string");
    }
    *out = json_string_value(member);
    return WB_OK;
}

wb_status wb_json_text(char **text, const json_t *value, size_t flags, const char *where) {
    *text = value && !starved ? json_dumps(value, flags) : NULL;
    if (!*text || starved) {
        return WB_ERROR(WB_ERR_MEMORY, "%s: no memory to write it", where);
    }
    return WB_OK;
}

wb_status wb_json_write(const json_t *value, const char *path) {
    wb_status status = WB_OK;
    /* 15 digits give back any decimal fraction a person wrote as it was written */
    char *text = NULL;
    WB_TRY(wb_json_text(&text, value, JSON_INDENT(2) | JSON_REAL_PRECISION(15), path));
    WB_TRY(wb_file_write(path, text, strlen(text)));
done:
    free(text);
    return status;
}
