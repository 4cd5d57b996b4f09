/* Ids and texts from JSON objects, copied into storage that the caller keeps. */
#include "text_record.h"

#include "lines.h"

#include <stdlib.h>
#include <string.h>

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
    if (**id == '\0' || strpbrk(*id, " \t\n\v\f\r")) {
        return WB_ERROR(WB_ERR_INPUT, "%s: the id \"%.100s\" %s; ids are columns of TREC files",
                        where, *id, **id == '\0' ? "is empty" : "has blanks");
    }
    return WB_OK;
}

static wb_status set_id(wb_text *text, const json_t *object, const char *where) {
    static const char *const keys[] = {"_id", "docid", "query_id", "id"};
    wb_status status = WB_OK;
    const char *key = NULL, *id = NULL;
    char number[24];
    const json_t *value = first_of(object, keys, sizeof(keys) / sizeof(keys[0]), &key);
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
    static const char *const keys[] = {"text", "query", "query_text"};
    wb_status status = WB_OK;
    const char *key = NULL;
    const json_t *body = first_of(object, keys, sizeof(keys) / sizeof(keys[0]), &key);
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

wb_status wb_text_record_parse(wb_text *text, int file, const char *path, int64_t begin,
                               int64_t end, char where[WB_WHERE], json_t **object) {
    wb_status status = WB_OK;
    size_t bytes = (size_t)(end - begin);
    bytes = bytes > WB_LINE_CAP + 1 ? WB_LINE_CAP + 1 : bytes;
    WB_TRY(reserve(&text->line, &text->line_capacity, bytes));
    WB_TRY(wb_file_read_at(file, path, begin, text->line, bytes));
    const char *line_end = memchr(text->line, '\n', bytes);
    (void)snprintf(where, WB_WHERE, "%s at byte %lld", path, (long long)begin);
    WB_TRY(wb_json_parse_line(object, text->line,
                              line_end ? (size_t)(line_end - text->line) : bytes, where, 1));
done:
    return status;
}
