/* Any bytes as a Tevatron file: rows that were checked can be drawn from. */
#include "data_set.h"
#include "fuzz_input.h"

enum { DRAWS = 3 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    fuzz_file input = fuzz_file_open(data, bytes);
    wb_data_set *set;
    wb_text texts[3] = {0};
    uint64_t keys[3];
    if (wb_data_set_open(&set, input.path, NULL) == WB_OK) {
        const int64_t negatives = wb_data_set_negatives(set) > 0 ? 1 : 0;
        for (int64_t row = 0; row < wb_data_set_rows(set); row++) {
            for (int64_t draw = 0; draw < DRAWS; draw++) {
                fuzz_require(wb_data_set_read(set, row, draw, negatives, texts, keys) == WB_OK,
                             "a checked row is read");
            }
        }
        wb_data_set_close(set);
    }
    for (int i = 0; i < 3; i++) {
        wb_text_clear(&texts[i]);
    }
    fuzz_file_close(&input);
    return 0;
}
