/* From a 64-bit hash to the numbers filed under it: a flat table with open addressing and 8-byte
 * slots. It holds no strings; who asks compares the candidate with what it stands for.
 *
 *     slot = 24 high bits of the hash << 40 | number + 1; 0 is empty
 */
#ifndef WB_ID_INDEX_H
#define WB_ID_INDEX_H

#include "status.h"

#include <stdint.h>

typedef struct wb_id_index {
    uint64_t *slots; /* [mask + 1], owned */
    uint64_t mask;
    int64_t room; /* numbers it may hold: half of the slots */
} wb_id_index;

/* Local. An empty index with room for at least `count` numbers; replaces what was there.
 * Error: WB_ERR_MEMORY. */
wb_status wb_id_index_create(wb_id_index *index, int64_t count);
void wb_id_index_clear(wb_id_index *index);

/* Local. Files `number` in [0, 2^40 - 1) under `hash`. There must be room. */
void wb_id_index_put(wb_id_index *index, uint64_t hash, int64_t number);

/* Local. The next number that may be filed under `hash`, -1 when there is none left. Set *step to
 * 0 before the first call. */
int64_t wb_id_index_next(const wb_id_index *index, uint64_t hash, uint64_t *step);

#endif
