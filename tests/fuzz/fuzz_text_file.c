/* Any bytes as a JSONL text file: what opens can be read and found again, row by row. */
#include "fuzz_input.h"
#include "text_file.h"
#include "unicode_text.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    fuzz_file input = fuzz_file_open(data, bytes);
    wb_text_file *file;
    wb_text text = {0};
    if (wb_text_file_open(&file, input.path) == WB_OK) {
        for (int64_t row = 0; row < wb_text_file_rows(file); row++) {
            int64_t found = -1;
            fuzz_require(wb_text_file_read(file, row, &text) == WB_OK, "a checked row is read");
            fuzz_require(wb_utf8_valid(text.text, text.bytes) == text.bytes, "texts are UTF-8");
            fuzz_require(wb_text_file_find(file, text.id, &found) == WB_OK && found == row,
                         "an id leads to its row");
        }
        wb_text_file_close(file);
    }
    wb_text_clear(&text);
    fuzz_file_close(&input);
    return 0;
}
