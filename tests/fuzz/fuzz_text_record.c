/* Any bytes as a line of texts: what is read without a tree is what jansson's tree says. */
#include "fuzz_input.h"
#include "text_record.h"

#include <string.h>

static bool is_same_kind(wb_plain_kind kind, const json_t *value) {
    return json_is_string(value)      ? kind == WB_PLAIN_STRING
           : json_is_array(value)     ? kind == WB_PLAIN_ARRAY
           : json_is_object(value)    ? kind == WB_PLAIN_OBJECT
           : json_is_null(value)      ? kind == WB_PLAIN_NULL
           : kind == WB_PLAIN_INTEGER ? json_is_integer(value)
                                      : kind == WB_PLAIN_OTHER;
}

static void require_members(const wb_plain_object *object, json_t *tree) {
    const char *key;
    json_t *value;
    wb_plain_value plain;
    const size_t kept = (size_t)object->count, members = json_object_size(tree);
    fuzz_require(object->others ? kept == WB_PLAIN_MEMBERS && members > kept : members == kept,
                 "as many members are there");
    json_object_foreach(tree, key, value) {
        fuzz_require(wb_plain_member(object, key, &plain), "a member is there");
        fuzz_require(is_same_kind(plain.kind, value), "it is of the same kind");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    const char *line = (const char *)data;
    wb_plain_object object;
    wb_text plain = {0}, tree = {0};
    json_t *value = NULL;
    bool fits;
    const bool is_right = wb_json_parse_line(&value, line, bytes, "line", 1) == WB_OK;
    if (memchr(line, '\n', bytes) == NULL && wb_plain_read(&object, line, bytes)) {
        fuzz_require(is_right && json_is_object(value), "what is read plainly is an object");
        require_members(&object, value);
    }
    fuzz_require(wb_text_record_line(&plain, line, bytes, &fits) == WB_OK, "there is memory");
    if (fits) {
        fuzz_require(is_right && wb_text_record(&tree, value, "line") == WB_OK,
                     "what fits is a record");
        fuzz_require(strcmp(plain.id, tree.id) == 0, "ids are the same");
        fuzz_require(plain.bytes == tree.bytes &&
                         memcmp(plain.text, tree.text, tree.bytes + 1) == 0,
                     "texts are the same");
    }
    json_decref(value);
    wb_text_clear(&plain);
    wb_text_clear(&tree);
    wb_error_clear();
    return 0;
}
