/* What BERT's normaliser and pre-tokeniser make of each character, exactly as Hugging Face's
 * `tokenizers` does: cleaning, spaces around ideographs, accents stripped after canonical
 * decomposition, lower case, and what stands for itself as punctuation.
 *
 * The properties are utf8proc's (Unicode 15) but for short tables of where the reference sees
 * another Unicode: its categories are those of Unicode 8, its combining classes and decompositions
 * of Unicode 9, its lower case of Unicode 17. tests/reference/make_unicode_text.py prints them. */
#ifndef WB_UNICODE_TEXT_H
#define WB_UNICODE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct wb_unicode_rules {
    bool clean;            /* drop control characters, turn white space into blanks */
    bool split_ideographs; /* blanks around CJK ideographs */
    bool strip_accents;    /* decompose, drop non-spacing marks */
    bool lowercase;
} wb_unicode_rules;

typedef enum wb_char_kind {
    WB_CHAR_WORD,        /* part of a word */
    WB_CHAR_SPACE,       /* ends a word */
    WB_CHAR_PUNCTUATION, /* ends a word and is one itself */
    WB_CHAR_STRIPPED,    /* leaves nothing, but has its place in the order of marks */
} wb_char_kind;

typedef struct wb_folded {
    uint32_t code;
    wb_char_kind kind;
    int combining_class; /* 0 where nothing is decomposed: then marks keep their order */
} wb_folded;

enum { WB_FOLDED_MOST = 8, WB_REPLACEMENT = 0xFFFD };

/* Local. Fills `folded` with what `code` turns into; returns how many there are, 0 for a dropped
 * character. `code` is a scalar value: at most 0x10FFFF and no surrogate. */
int wb_unicode_fold(uint32_t code, wb_unicode_rules rules, wb_folded folded[WB_FOLDED_MOST]);

/* Local. The combining class as the reference sees it. */
int wb_unicode_combining_class(uint32_t code);

/* Local. Decodes the character at text[0 .. bytes), bytes > 0, and returns its length. A byte that
 * does not begin a valid sequence is a WB_REPLACEMENT of length 1. */
size_t wb_utf8_decode(const char *text, size_t bytes, uint32_t *code);

/* Local. Fills out[4] with a scalar value; returns its length. */
size_t wb_utf8_encode(uint32_t code, char out[4]);

/* Local. Offset of the first byte that is NUL or no valid UTF-8; `bytes` if there is none. */
size_t wb_utf8_valid(const char *text, size_t bytes);

#endif
