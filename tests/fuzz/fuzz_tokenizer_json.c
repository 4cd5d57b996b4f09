/* Any bytes as tokenizer.json: what opens encodes within its vocabulary. */
#include "files.h"
#include "fuzz_input.h"
#include "tokenizer.h"

#include <fcntl.h>

/* A folder of this process with the input as its tokenizer.json. */
static const char *folder_with(const uint8_t *data, size_t bytes) {
    static char folder[WB_PATH], path[WB_PATH];
    if (folder[0] == '\0') {
        fuzz_require(wb_path_join(folder, WB_TEST_SCRATCH, "fuzz-%d", (int)getpid()) == WB_OK &&
                         wb_path_join(path, folder, "tokenizer.json") == WB_OK &&
                         wb_folder_make(folder) == WB_OK,
                     "the scratch folder is made");
    }
    const int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    fuzz_require(file >= 0 && write(file, data, bytes) == (ssize_t)bytes, "the input is written");
    (void)close(file);
    return folder;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    static const char text[] =
        "Hello, w\xC3\xB6rld! [SEP] ab\xCC\x81 \xE4\xB8\xAD\xE6\x96\x87 aaabbb";
    wb_tokenizer *tokenizer;
    int32_t ids[64];
    int64_t count = 0;
    if (wb_tokenizer_open(&tokenizer, folder_with(data, bytes)) == WB_OK) {
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
