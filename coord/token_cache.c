/* A hash table of blocks, one for each text. */
#include "token_cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

typedef struct entry {
    uint64_t name, key;
    int64_t length;
    UT_hash_handle hh;
    int32_t ids[];
} entry;

struct wb_token_cache {
    pthread_mutex_t lock;
    size_t limit, bytes;
    entry *entries; /* owned, each */
};

wb_status wb_token_cache_create(wb_token_cache **cache, size_t limit) {
    wb_status status = WB_OK;
    wb_token_cache *made = calloc(1, sizeof(*made));
    WB_CHECK(made, WB_ERR_MEMORY, "no memory for a cache of tokens");
    made->limit = limit;
    (void)pthread_mutex_init(&made->lock, NULL);
    *cache = made;
done:
    return status;
}

void wb_token_cache_destroy(wb_token_cache *cache) {
    entry *e, *next;
    if (cache) {
        HASH_ITER(hh, cache->entries, e, next) {
            HASH_DEL(cache->entries, e);
            free(e);
        }
        (void)pthread_mutex_destroy(&cache->lock);
        free(cache);
    }
}

static entry *find(const wb_token_cache *cache, uint64_t name) {
    entry *found;
    HASH_FIND(hh, cache->entries, &name, sizeof(name), found);
    return found;
}

bool wb_token_cache_get(wb_token_cache *cache, uint64_t name, int32_t *ids, int64_t *length,
                        uint64_t *key) {
    (void)pthread_mutex_lock(&cache->lock);
    const entry *found = find(cache, name);
    (void)pthread_mutex_unlock(&cache->lock);
    if (found) { /* it stays where it is, and as it is */
        memcpy(ids, found->ids, (size_t)found->length * sizeof(*ids));
        *length = found->length;
        *key = found->key;
    }
    return found != NULL;
}

static entry *make(uint64_t name, const int32_t *ids, int64_t length, uint64_t key) {
    entry *e = malloc(sizeof(*e) + (size_t)length * sizeof(*ids));
    if (e) {
        *e = (entry){.name = name, .key = key, .length = length};
        memcpy(e->ids, ids, (size_t)length * sizeof(*ids));
    }
    return e;
}

/* Whether the table has it now. */
static bool add(wb_token_cache *cache, entry *e) {
    HASH_ADD(hh, cache->entries, name, sizeof(e->name), e);
    return e->hh.tbl != NULL;
}

void wb_token_cache_put(wb_token_cache *cache, uint64_t name, const int32_t *ids, int64_t length,
                        uint64_t key) {
    const size_t bytes = sizeof(entry) + (size_t)length * sizeof(*ids);
    entry *e = make(name, ids, length, key); /* fresh memory takes its time: not under the lock */
    (void)pthread_mutex_lock(&cache->lock);
    if (e && cache->bytes + bytes <= cache->limit && !find(cache, name) && add(cache, e)) {
        cache->bytes += bytes;
        e = NULL;
    }
    (void)pthread_mutex_unlock(&cache->lock);
    free(e);
}

int64_t wb_token_cache_texts(const wb_token_cache *cache) {
    return (int64_t)HASH_COUNT(cache->entries);
}

size_t wb_token_cache_bytes(const wb_token_cache *cache) {
    return cache->bytes;
}
