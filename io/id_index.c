/* Linear probing; never more than half full, so runs stay short. */
#include "id_index.h"

#include <stdlib.h>

enum { NUMBER_BITS = 40 };
static const uint64_t number_mask = ((uint64_t)1 << NUMBER_BITS) - 1;

wb_status wb_id_index_create(wb_id_index *index, int64_t count) {
    uint64_t slots = 64;
    while (slots < 2 * (uint64_t)count) {
        slots *= 2;
    }
    wb_id_index_clear(index);
    index->slots = calloc(slots, sizeof(*index->slots));
    if (!index->slots) {
        return WB_ERROR(WB_ERR_MEMORY, "no memory to index %lld ids", (long long)count);
    }
    index->mask = slots - 1;
    index->room = (int64_t)(slots / 2);
    return WB_OK;
}

void wb_id_index_clear(wb_id_index *index) {
    free(index->slots);
    *index = (wb_id_index){0};
}

void wb_id_index_put(wb_id_index *index, uint64_t hash, int64_t number) {
    uint64_t slot = hash & index->mask;
    while (index->slots[slot] != 0) {
        slot = (slot + 1) & index->mask;
    }
    index->slots[slot] = (hash & ~number_mask) | ((uint64_t)number + 1);
}

int64_t wb_id_index_next(const wb_id_index *index, uint64_t hash, uint64_t *step) {
    while (index->slots) {
        const uint64_t slot = index->slots[(hash + (*step)++) & index->mask];
        if (slot == 0) {
            break;
        }
        if (((slot ^ hash) & ~number_mask) == 0) {
            return (int64_t)(slot & number_mask) - 1;
        }
    }
    return -1;
}
