/* Tokens of texts that were read before: a text is parsed and tokenized once, whatever the number
 * of epochs, as long as the cache has room. Each rank remembers what it read itself. */
#ifndef WB_TOKEN_CACHE_H
#define WB_TOKEN_CACHE_H

#include "status.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct wb_token_cache wb_token_cache;

/* Local. It may grow to `limit` bytes; what comes later is not remembered. Error: WB_ERR_MEMORY. */
wb_status wb_token_cache_create(wb_token_cache **cache, size_t limit);
void wb_token_cache_destroy(wb_token_cache *cache);

/* Local. Whether `name` is there; then ids [at most those put] and the text's key are filled.
 * Usable from several threads, as is wb_token_cache_put. */
bool wb_token_cache_get(wb_token_cache *cache, uint64_t name, int32_t *ids, int64_t *length,
                        uint64_t *key);

/* Local. Remembers a text by a name that it does not share with another, if there is room. */
void wb_token_cache_put(wb_token_cache *cache, uint64_t name, const int32_t *ids, int64_t length,
                        uint64_t key);

/* Local. Texts that it holds, and bytes. */
int64_t wb_token_cache_texts(const wb_token_cache *cache);
size_t wb_token_cache_bytes(const wb_token_cache *cache);

#endif
