/* The vocabulary as a double-array trie over bytes: the longest token that begins here, in one
 * dependent load a byte and without comparing strings.
 *
 *     child of unit u by byte b:  v = units[u].base + b,  and v is u's child if units[v].parent ==
 * u
 *
 * Tokens that continue a word ("##ing") hang below the unit that their prefix ("##") leads to, so
 * one trie serves both places in a word. */
#ifndef WB_WORDPIECE_H
#define WB_WORDPIECE_H

#include "status.h"

#include <stdint.h>

typedef struct wb_token {
    const char *text; /* borrowed; valid UTF-8, without NUL */
    uint32_t bytes;
    int32_t id;
} wb_token;

enum { WB_TRIE_ROOT = 0, WB_TRIE_NOWHERE = -1, WB_TRIE_FREE = -2, WB_TRIE_MOST = 1 << 23 };

typedef struct wb_trie_unit {
    int32_t base;
    int32_t parent; /* WB_TRIE_FREE where nobody is */
    int32_t id;     /* of the token that ends here, or -1 */
} wb_trie_unit;

typedef struct wb_trie {
    wb_trie_unit *units; /* [length]; base + 255 is always inside */
    int64_t length;
} wb_trie;

/* Local. Builds the trie of count tokens, which are sorted in place by their bytes. `where` names
 * the file in messages. Errors: WB_ERR_INPUT for two equal tokens, or for a vocabulary that needs
 * more than 2^23 units; WB_ERR_MEMORY. */
wb_status wb_trie_build(wb_trie *trie, wb_token *tokens, int64_t count, const char *where);
void wb_trie_clear(wb_trie *trie);

/* Local. The unit that a string leads to from the root, or WB_TRIE_NOWHERE. */
int32_t wb_trie_walk(const wb_trie *trie, const char *text, size_t bytes);

/* Local. The id of the longest token that continues `unit` with the first bytes of `text`, at least
 * one of them; -1 if there is none. *used is its length in bytes. */
static inline int32_t wb_trie_longest(const wb_trie *trie, int32_t unit, const char *text,
                                      size_t bytes, size_t *used) {
    int32_t longest = -1;
    for (size_t i = 0; i < bytes; i++) {
        const int32_t child = trie->units[unit].base + (unsigned char)text[i];
        if (trie->units[child].parent != unit) {
            break;
        }
        unit = child;
        if (trie->units[unit].id >= 0) {
            longest = trie->units[unit].id;
            *used = i + 1;
        }
    }
    return longest;
}

#endif
