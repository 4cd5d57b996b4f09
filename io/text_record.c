/* Ids and texts from JSON objects, copied into storage that the caller keeps. */
#include "text_record.h"

#include "lines.h"

#include <stdlib.h>
#include <string.h>

/* Members that may hold them, the first that is there and not null does. */
static const char *const id_keys[] = {"_id", "docid", "query_id", "id"};
static const char *const text_keys[] = {"text", "query", "query_text"};
enum {
    ID_KEYS = sizeof(id_keys) / sizeof(id_keys[0]),
    TEXT_KEYS = sizeof(text_keys) / sizeof(text_keys[0])
};
static const char blanks[] = " \t\n\v\f\r";

static wb_status reserve(char **storage, size_t *capacity, size_t bytes) {
    if (bytes <= *capacity) {
        return WB_OK;
    }
    const size_t grown = bytes > 2 * *capacity ? bytes : 2 * *capacity;
    char *moved = realloc(*storage, grown);
    if (!moved) {
        return WB_ERROR(WB_ERR_MEMORY, "no memory for a text of %zu bytes", bytes);
    }
    *storage = moved;
    *capacity = grown;
    return WB_OK;
}

void wb_text_clear(wb_text *text) {
    free(text->id);
    free(text->text);
    free(text->line);
    *text = (wb_text){0};
}

/* The first member that is there and not null, and its key. */
static const json_t *first_of(const json_t *object, const char *const keys[], size_t count,
                              const char **key) {
    for (size_t i = 0; i < count; i++) {
        const json_t *member = json_object_get(object, keys[i]);
        if (member && !json_is_null(member)) {
            *key = keys[i];
            return member;
        }
    }
    return NULL;
}

wb_status wb_text_record_id(const json_t *value, const char *key, const char *where,
                            char number[24], const char **id) {
    if (json_is_integer(value)) {
        (void)snprintf(number, 24, "%lld", (long long)json_integer_value(value));
        *id = number;
        return WB_OK;
    }
    if (!json_is_string(value)) {
        return WB_ERROR(WB_ERR_INPUT, "%s: \"%s\" must be a string or an integer", where, key);
    }
    *id = json_string_value(value);
    if (**id == '\0' || strpbrk(*id, blanks)) {
        return WB_ERROR(WB_ERR_INPUT, "%s: the id \"%.100s\" %s; ids are columns of TREC files",
                        where, *id, **id == '\0' ? "is empty" : "has blanks");
    }
    return WB_OK;
}

static wb_status set_id(wb_text *text, const json_t *object, const char *where) {
    wb_status status = WB_OK;
    const char *key = NULL, *id = NULL;
    char number[24];
    const json_t *value = first_of(object, id_keys, ID_KEYS, &key);
    WB_CHECK(value, WB_ERR_INPUT,
             "%s: no id; it may be called \"_id\", \"docid\", \"query_id\" or \"id\"", where);
    WB_TRY(wb_text_record_id(value, key, where, number, &id));
    const size_t bytes = strlen(id) + 1;
    WB_TRY(reserve(&text->id, &text->id_capacity, bytes));
    memcpy(text->id, id, bytes);
done:
    return status;
}

static wb_status set_text(wb_text *text, const json_t *object, const char *where) {
    wb_status status = WB_OK;
    const char *key = NULL;
    const json_t *body = first_of(object, text_keys, TEXT_KEYS, &key);
    const json_t *title = json_object_get(object, "title");
    WB_CHECK(body, WB_ERR_INPUT,
             "%s: no text; it may be called \"text\", \"query\" or \"query_text\"", where);
    WB_CHECK(json_is_string(body), WB_ERR_INPUT, "%s: \"%s\" must be a string", where, key);
    WB_CHECK(!title || json_is_null(title) || json_is_string(title), WB_ERR_INPUT,
             "%s: \"title\" must be a string or null", where);
    const size_t body_bytes = json_string_length(body);
    const size_t title_bytes = title ? json_string_length(title) : 0;
    const size_t head = title_bytes > 0 ? title_bytes + 1 : 0;
    WB_TRY(reserve(&text->text, &text->text_capacity, head + body_bytes + 1));
    if (head > 0) {
        memcpy(text->text, json_string_value(title), title_bytes);
        text->text[title_bytes] = ' ';
    }
    memcpy(text->text + head, json_string_value(body), body_bytes + 1);
    text->bytes = head + body_bytes;
done:
    return status;
}

wb_status wb_text_record(wb_text *text, const json_t *object, const char *where) {
    wb_status status = WB_OK;
    WB_CHECK(json_is_object(object), WB_ERR_INPUT, "%s: is no JSON object", where);
    WB_TRY(set_id(text, object, where));
    WB_TRY(set_text(text, object, where));
done:
    return status;
}

/* ---- The same without a tree
 * --------------------------------------------------------------------------- */

static bool first_plain(const wb_plain_object *object, const char *const keys[], int count,
                        wb_plain_value *value) {
    for (int i = 0; i < count; i++) {
        if (wb_plain_member(object, keys[i], value) && value->kind != WB_PLAIN_NULL) {
            return true;
        }
    }
    return false;
}

/* *fits is false where the tree's reader has a message to give. */
static wb_status set_plain_id(wb_text *text, const wb_plain_object *object, bool *fits) {
    wb_status status = WB_OK;
    wb_plain_value id;
    *fits = first_plain(object, id_keys, ID_KEYS, &id) &&
            (id.kind == WB_PLAIN_STRING || id.kind == WB_PLAIN_INTEGER);
    if (*fits) {
        WB_TRY(reserve(&text->id, &text->id_capacity, id.bytes + 1));
        text->id[wb_plain_copy(text->id, &id)] = '\0';
        *fits = text->id[0] != '\0' && !strpbrk(text->id, blanks);
    }
done:
    return status;
}

static wb_status set_plain_text(wb_text *text, const wb_plain_object *object, bool *fits) {
    wb_status status = WB_OK;
    wb_plain_value body, title;
    if (!wb_plain_member(object, "title", &title)) {
        title = (wb_plain_value){.kind = WB_PLAIN_NULL};
    }
    *fits = first_plain(object, text_keys, TEXT_KEYS, &body) && body.kind == WB_PLAIN_STRING &&
            (title.kind == WB_PLAIN_STRING || title.kind == WB_PLAIN_NULL);
    if (*fits) {
        size_t head = 0;
        WB_TRY(reserve(&text->text, &text->text_capacity, title.bytes + body.bytes + 2));
        if (title.kind == WB_PLAIN_STRING && title.bytes > 0) {
            head = wb_plain_copy(text->text, &title);
            text->text[head++] = ' ';
        }
        text->bytes = head + wb_plain_copy(text->text + head, &body);
        text->text[text->bytes] = '\0';
    }
done:
    return status;
}

wb_status wb_text_record_plain(wb_text *text, const wb_plain_object *object, bool *fits) {
    wb_status status = WB_OK;
    WB_TRY(set_plain_id(text, object, fits));
    if (*fits) {
        WB_TRY(set_plain_text(text, object, fits));
    }
done:
    return status;
}

/* ---- Lines of files
 * ------------------------------------------------------------------------------------ */

wb_status wb_text_record_line(wb_text *text, const char *line, size_t bytes, bool *fits) {
    wb_plain_object object;
    *fits = wb_plain_read(&object, line, bytes);
    return *fits ? wb_text_record_plain(text, &object, fits) : WB_OK;
}

static size_t longest(int64_t begin, int64_t end) {
    const size_t whole = (size_t)(end - begin), most = WB_LINE_CAP + 1;
    return whole > most ? most : whole;
}

size_t wb_text_record_bytes(const char *line, int64_t begin, int64_t end) {
    const size_t bytes = longest(begin, end);
    const char *line_end = memchr(line, '\n', bytes);
    return line_end ? (size_t)(line_end - line) : bytes;
}

wb_status wb_text_record_fetch(wb_text *text, int file, const char *path, int64_t begin,
                               int64_t end, size_t *bytes) {
    wb_status status = WB_OK;
    *bytes = longest(begin, end);
    WB_TRY(reserve(&text->line, &text->line_capacity, *bytes));
    WB_TRY(wb_file_read_at(file, path, begin, text->line, *bytes));
    *bytes = wb_text_record_bytes(text->line, begin, end);
done:
    return status;
}

wb_status wb_text_record_parse(json_t **object, const char *line, size_t bytes, const char *path,
                               int64_t begin, char where[WB_WHERE]) {
    (void)snprintf(where, WB_WHERE, "%s at byte %lld", path, (long long)begin);
    return wb_json_parse_line(object, line, bytes, where, 1);
}
