/* XXH3 sums of bytes: 64 bits to name and to compare, not against an adversary. */
#ifndef WB_HASH_H
#define WB_HASH_H

#include "status.h"

#include <stdint.h>

/* Local. The 64-bit XXH3 of `bytes` bytes. */
uint64_t wb_hash(const void *data, size_t bytes);

/* The same sum of bytes that come in pieces. */
typedef struct wb_hasher wb_hasher;

/* Local. Error: WB_ERR_MEMORY. wb_hasher_destroy takes NULL. */
wb_status wb_hasher_create(wb_hasher **hasher);
void wb_hasher_destroy(wb_hasher *hasher);

/* Local. Adds a piece; the sum of all pieces so far. */
void wb_hasher_add(wb_hasher *hasher, const void *data, size_t bytes);
uint64_t wb_hasher_sum(const wb_hasher *hasher);

#endif
