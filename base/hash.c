/* The only user of xxhash. */
#include "hash.h"

#define XXH_INLINE_ALL
#include <stdlib.h>
#include <xxhash.h>

uint64_t wb_hash(const void *data, size_t bytes) {
    return XXH3_64bits(data, bytes);
}

struct wb_hasher {
    XXH3_state_t state;
};

wb_status wb_hasher_create(wb_hasher **hasher) {
    *hasher = aligned_alloc(_Alignof(wb_hasher), sizeof(wb_hasher));
    if (!*hasher) {
        return WB_ERROR(WB_ERR_MEMORY, "no memory for a hash");
    }
    (void)XXH3_64bits_reset(&(*hasher)->state);
    return WB_OK;
}

void wb_hasher_destroy(wb_hasher *hasher) {
    free(hasher);
}

void wb_hasher_add(wb_hasher *hasher, const void *data, size_t bytes) {
    (void)XXH3_64bits_update(&hasher->state, data, bytes);
}

uint64_t wb_hasher_sum(const wb_hasher *hasher) {
    return XXH3_64bits_digest(&hasher->state);
}
