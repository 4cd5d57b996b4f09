/* Any bytes as tokenizer.json: what opens encodes within its vocabulary. */
#include "fuzz_input.h"
#include "tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    static const char text[] =
        "Hello, w\xC3\xB6rld! [SEP] ab\xCC\x81 \xE4\xB8\xAD\xE6\x96\x87 aaabbb";
    const fuzz_folder *folder = fuzz_folder_with("tokenizer.json", data, bytes);
    wb_tokenizer *tokenizer;
    int32_t ids[64];
    int64_t count = 0;
    if (wb_tokenizer_open(&tokenizer, folder->path) == WB_OK) {
        fuzz_require(
            wb_tokenizer_encode(tokenizer, text, sizeof(text) - 1, true, 64, ids, &count) == WB_OK,
            "any text is encoded");
        for (int64_t i = 0; i < count; i++) {
            fuzz_require(ids[i] >= 0 && ids[i] < wb_tokenizer_vocabulary(tokenizer),
                         "ids are in the vocabulary");
        }
        wb_tokenizer_close(tokenizer);
    }
    wb_error_clear();
    return 0;
}
