/* Token sequences laid end to end, without padding: the form in which text travels from the
 * tokenizer to the encoder. */
#ifndef WB_PACKED_H
#define WB_PACKED_H

#include <stdint.h>

typedef struct wb_packed {
    const int32_t *ids;     /* [offsets[n]], token ids of all sequences */
    const int64_t *offsets; /* [n + 1], sequence i is ids[offsets[i] .. offsets[i + 1]) */
    int64_t n;              /* sequences */
} wb_packed;

/* Local. Tokens of all sequences. offsets[0] need not be 0: a chunk is a view of a longer run. */
static inline int64_t wb_packed_tokens(const wb_packed *packed) {
    return packed->n > 0 ? packed->offsets[packed->n] - packed->offsets[0] : 0;
}

/* Local. Tokens of the longest sequence, 0 where there is none. */
static inline int64_t wb_packed_longest(const wb_packed *packed) {
    int64_t longest = 0;
    for (int64_t i = 0; i < packed->n; i++) {
        const int64_t length = packed->offsets[i + 1] - packed->offsets[i];
        longest = length > longest ? length : longest;
    }
    return longest;
}

/* Local. Sequences [first, first + n) of `packed`. Borrows its arrays. */
static inline wb_packed wb_packed_slice(const wb_packed *packed, int64_t first, int64_t n) {
    const wb_packed slice = {.ids = packed->ids, .offsets = packed->offsets + first, .n = n};
    return slice;
}

#endif
