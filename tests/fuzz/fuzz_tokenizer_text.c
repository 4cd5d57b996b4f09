/* Any bytes as text: encoded, cut short without a change to what comes first, and the same when
 * each bad byte is replaced by U+FFFD. */
#include "fuzz_input.h"
#include "tokenizer.h"
#include "unicode_text.h"

#include <string.h>

enum { MOST = 4096, FEW = 5 };

static wb_tokenizer *tokenizer;

static int64_t encode(const char *text, size_t bytes, int64_t most, int32_t *ids) {
    int64_t count = 0;
    fuzz_require(wb_tokenizer_encode(tokenizer, text, bytes, false, most, ids, &count) == WB_OK,
                 "any text is encoded");
    return count;
}

static size_t repair(const char *text, size_t bytes, char *repaired) {
    size_t length = 0;
    for (size_t at = 0; at < bytes;) {
        uint32_t code;
        at += wb_utf8_decode(text + at, bytes - at, &code);
        length += wb_utf8_encode(code, repaired + length);
    }
    return length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    static int32_t ids[MOST], other[MOST];
    if (!tokenizer) {
        fuzz_require(wb_tokenizer_open(&tokenizer,
                                       WB_TEST_DATA "/../../configs/vocab/"
                                                    "bert-base-uncased-vocab.txt") == WB_OK,
                     "the vocabulary is read");
    }
    char *repaired = malloc(4 * bytes + 1);
    fuzz_require(repaired != NULL, "there is memory");
    const int64_t count = encode((const char *)data, bytes, MOST, ids);
    const int64_t few = encode((const char *)data, bytes, FEW, other);
    fuzz_require(few == (count < FEW ? count : FEW) &&
                     memcmp(ids, other, (size_t)few * sizeof(*ids)) == 0,
                 "fewer tokens are the first tokens");
    fuzz_require(encode(repaired, repair((const char *)data, bytes, repaired), MOST, other) ==
                         count &&
                     memcmp(ids, other, (size_t)count * sizeof(*ids)) == 0,
                 "bad bytes count as U+FFFD");
    free(repaired);
    return 0;
}
