/* Words of a vocabulary that are one token, found in one look: those of at most twelve ASCII
 * letters and digits, which most words of most texts are. So four places fill a cache line, and
 * BERT's words half a megabyte. */
#ifndef WB_KNOWN_WORDS_H
#define WB_KNOWN_WORDS_H

#include "ascii_word.h"
#include "wordpiece.h"

enum { WB_KNOWN_WORD = 12 }; /* bytes at most */

typedef struct wb_known_word {
    uint64_t bytes; /* the first eight */
    uint32_t more;
    int32_t id; /* -1: nobody's place */
} wb_known_word;

typedef struct wb_known_words {
    wb_known_word *places; /* [2^bits], owned; some are free; NULL: none are known */
    int bits;
} wb_known_words;

/* Local. Takes what it can of `tokens` [count]. Error: WB_ERR_MEMORY. */
wb_status wb_known_words_build(wb_known_words *words, const wb_token *tokens, int64_t count);
void wb_known_words_clear(wb_known_words *words);

/* Local. Where a word is looked for first. */
static inline uint64_t wb_known_words_place(const wb_known_words *words,
                                            const wb_ascii_word *word) {
    const uint64_t mixed = word->bytes[0] ^ word->bytes[1] * 0x9e3779b97f4a7c15U;
    return mixed * 0xd6e8feb86659fd93U >> (64 - words->bits);
}

/* Local. The token of a word of at most WB_KNOWN_WORD bytes, -1 where it is not known. There are
 * places. */
static inline int32_t wb_known_words_find(const wb_known_words *words, const wb_ascii_word *word) {
    const uint64_t mask = ((uint64_t)1 << words->bits) - 1;
    uint64_t at = wb_known_words_place(words, word);
    const wb_known_word *place = &words->places[at];
    while (place->id >= 0 && (place->bytes != word->bytes[0] || place->more != word->bytes[1])) {
        at = (at + 1) & mask;
        place = &words->places[at];
    }
    return place->id;
}

#endif
