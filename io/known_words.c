/* Filling the table. */
#include "known_words.h"

#include <stdlib.h>

/* False where a token is too long, or not of letters and digits alone. */
static bool read(wb_ascii_word *word, const wb_token *token) {
    char text[WB_ASCII_WORD] = {0};
    if (token->bytes == 0 || token->bytes > WB_KNOWN_WORD) {
        return false;
    }
    memcpy(text, token->text, token->bytes);
    *word = wb_ascii_word_of(text, 0);
    return word->length == (int)token->bytes;
}

wb_status wb_known_words_build(wb_known_words *words, const wb_token *tokens, int64_t count) {
    wb_status status = WB_OK;
    wb_known_words made = {.bits = 1};
    wb_ascii_word word;
    int64_t known = 0;
    for (int64_t i = 0; i < count; i++) {
        known += read(&word, &tokens[i]) ? 1 : 0;
    }
    while (((int64_t)1 << made.bits) * 3 / 4 < known) {
        made.bits++;
    }
    const uint64_t size = (uint64_t)1 << made.bits;
    made.places = malloc((size_t)size * sizeof(*made.places));
    WB_CHECK(made.places, WB_ERR_MEMORY, "no memory for the words of a vocabulary");
    for (uint64_t i = 0; i < size; i++) {
        made.places[i].id = -1;
    }
    for (int64_t i = 0; i < count; i++) {
        if (read(&word, &tokens[i])) {
            uint64_t at = wb_known_words_place(&made, &word);
            while (made.places[at].id >= 0) {
                at = (at + 1) & (size - 1);
            }
            made.places[at] = (wb_known_word){word.bytes[0], (uint32_t)word.bytes[1], tokens[i].id};
        }
    }
    *words = made;
done:
    return status;
}

void wb_known_words_clear(wb_known_words *words) {
    free(words->places);
    *words = (wb_known_words){0};
}
