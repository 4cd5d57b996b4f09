/* XXH3 sums of bytes: 64 bits to name and to compare, not against an adversary. */
#ifndef WB_HASH_H
#define WB_HASH_H

#include <stddef.h>
#include <stdint.h>

/* Local. The 64-bit XXH3 of `bytes` bytes. */
uint64_t wb_hash(const void *data, size_t bytes);

#endif
