/* From a 64-bit hash to the numbers filed under it: a flat table with open addressing and 8-byte
 * slots. It holds no strings; who asks compares the candidate with what it stands for.
 *
 *     slot = 32 bits of the hash << 32 | number + 1; 0 is empty
 *
 * Which 32 bits is a secret of the process: who writes a file of ids cannot know which of them
 * would crowd together and make a search of each step. */
#ifndef WB_ID_INDEX_H
#define WB_ID_INDEX_H

#include "status.h"

#include <stdint.h>

typedef struct wb_id_index {
    uint64_t *slots; /* [mask + 1], owned; all zero is an empty index */
    uint64_t mask;
    int64_t room; /* numbers it may hold: three quarters of the slots */
} wb_id_index;

/* Local. Makes room for `count` numbers in all; what was filed stays.
 * Errors: WB_ERR_INPUT for more than 2^31, WB_ERR_MEMORY. */
wb_status wb_id_index_reserve(wb_id_index *index, int64_t count);
void wb_id_index_clear(wb_id_index *index);

/* Local. Files `number` in [0, 2^31) under `hash`. There must be room. */
void wb_id_index_put(wb_id_index *index, uint64_t hash, int64_t number);

/* Local. The next number that may be filed under `hash`, -1 when there is none left. Set *step to
 * 0 before the first call. */
int64_t wb_id_index_next(const wb_id_index *index, uint64_t hash, uint64_t *step);

#endif
