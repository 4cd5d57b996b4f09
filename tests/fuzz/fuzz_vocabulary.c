/* Any bytes as vocab.txt: what opens encodes within its vocabulary. */
#include "fuzz_input.h"
#include "tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    fuzz_file input = fuzz_file_open(data, bytes);
    wb_tokenizer *tokenizer;
    int32_t ids[64];
    int64_t count = 0;
    if (wb_tokenizer_open(&tokenizer, input.path) == WB_OK) {
        fuzz_require(wb_tokenizer_encode(tokenizer, (const char *)data, bytes, true, 64, ids,
                                         &count) == WB_OK,
                     "any text is encoded");
        for (int64_t i = 0; i < count; i++) {
            fuzz_require(ids[i] >= 0 && ids[i] < wb_tokenizer_vocabulary(tokenizer),
                         "ids are in the vocabulary");
        }
        wb_tokenizer_close(tokenizer);
    }
    fuzz_file_close(&input);
    return 0;
}
