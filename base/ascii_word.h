/* The word that a text begins with, if it is short and made of ASCII letters and digits: read
 * sixteen bytes at once, without a branch for each. A compiler extension finds its end. */
#ifndef WB_ASCII_WORD_H
#define WB_ASCII_WORD_H

#include <stdint.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a text's first byte is a key's lowest");

enum { WB_ASCII_WORD = 16 };

/* A word's bytes, zeros behind them. */
typedef struct wb_ascii_word {
    uint64_t bytes[2];
    int length; /* WB_ASCII_WORD: or longer */
} wb_ascii_word;

/* Bytes below `count` of eight. */
static inline uint64_t wb_ascii_first(int count) {
    return count <= 0 ? 0 : UINT64_MAX >> (count < 8 ? 64 - 8 * count : 0);
}

/* Local. Looks at WB_ASCII_WORD bytes of text. case_bit: 0x20 turns letters into small ones, 0
 * leaves them. */
static inline wb_ascii_word wb_ascii_word_of(const char *text, unsigned char case_bit) {
    unsigned char seen[WB_ASCII_WORD], is_word[WB_ASCII_WORD];
    wb_ascii_word word;
    uint64_t other[2];
    memcpy(seen, text, sizeof(seen));
#pragma omp simd
    for (int i = 0; i < WB_ASCII_WORD; i++) {
        const unsigned char is_letter = (unsigned char)((seen[i] | 0x20) - 'a') < 26 ? 0xFF : 0;
        const unsigned char is_digit = (unsigned char)(seen[i] - '0') < 10 ? 0xFF : 0;
        is_word[i] = is_letter | is_digit;
        seen[i] = (unsigned char)(seen[i] | (is_letter & case_bit));
    }
    memcpy(word.bytes, seen, sizeof(seen));
    memcpy(other, is_word, sizeof(is_word));
    word.length = ~other[0] != 0   ? __builtin_ctzll(~other[0]) / 8
                  : ~other[1] != 0 ? 8 + __builtin_ctzll(~other[1]) / 8
                                   : WB_ASCII_WORD;
    word.bytes[0] &= wb_ascii_first(word.length);
    word.bytes[1] &= wb_ascii_first(word.length - 8);
    return word;
}

#endif
