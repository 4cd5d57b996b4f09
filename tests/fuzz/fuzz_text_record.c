/* Any bytes as a line of texts: what is read without a tree is what jansson's tree says. */
#include "fuzz_input.h"
#include "text_record.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    const char *line = (const char *)data;
    wb_plain_object object;
    wb_text plain = {0}, tree = {0};
    json_t *value = NULL;
    bool fits;
    const bool is_right = wb_json_parse_line(&value, line, bytes, "line", 1) == WB_OK;
    if (memchr(line, '\n', bytes) == NULL && wb_plain_read(&object, line, bytes)) {
        fuzz_require(is_right && json_is_object(value), "what is read plainly is an object");
        fuzz_require((size_t)object.count == json_object_size(value), "all members are there");
        for (int i = 0; i < object.count; i++) {
            fuzz_require(json_object_getn(value, object.keys[i].text, object.keys[i].bytes),
                         "a member is there");
        }
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
