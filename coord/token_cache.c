/* A hash table of places, and the tokens one behind the other in blocks. */
#include "token_cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 1 << 20, FIRST_PLACES = 16 };

/* Once it has a place, it stays where and as it is. */
typedef struct entry {
    uint64_t key;
    int64_t length;
    int32_t ids[];
} entry;

typedef struct place {
    uint64_t name;
    const entry *of; /* NULL: nobody's */
} place;

typedef struct block {
    struct block *next;
    _Alignas(entry) char bytes[];
} block;

struct wb_token_cache {
    pthread_mutex_t lock;
    size_t limit, bytes; /* of entries and places */
    place *places;       /* [mask + 1], owned, at most half of them taken */
    uint64_t mask;
    int64_t texts;
    block *blocks;     /* owned, each, the newest first */
    size_t used, room; /* of the newest */
};

wb_status wb_token_cache_create(wb_token_cache **cache, size_t limit) {
    wb_status status = WB_OK;
    wb_token_cache *made = calloc(1, sizeof(*made));
    WB_CHECK(made, WB_ERR_MEMORY, "no memory for a cache of tokens");
    made->limit = limit;
    pthread_mutexattr_t briefly; /* held: who waits does not go to sleep at once */
    (void)pthread_mutexattr_init(&briefly);
#ifdef __GLIBC__
    (void)pthread_mutexattr_settype(&briefly, PTHREAD_MUTEX_ADAPTIVE_NP);
#endif
    (void)pthread_mutex_init(&made->lock, &briefly);
    (void)pthread_mutexattr_destroy(&briefly);
    *cache = made;
done:
    return status;
}

void wb_token_cache_destroy(wb_token_cache *cache) {
    if (cache) {
        while (cache->blocks) {
            block *next = cache->blocks->next;
            free(cache->blocks);
            cache->blocks = next;
        }
        free(cache->places);
        (void)pthread_mutex_destroy(&cache->lock);
        free(cache);
    }
}

/* The place of a name: its own, or the free one where it would stand. */
static place *place_of(place *places, uint64_t mask, uint64_t name) {
    uint64_t at = (name * 0x9e3779b97f4a7c15U) >> 32 & mask;
    while (places[at].of && places[at].name != name) {
        at = (at + 1) & mask;
    }
    return &places[at];
}

static const entry *find(const wb_token_cache *cache, uint64_t name) {
    return cache->places ? place_of(cache->places, cache->mask, name)->of : NULL;
}

bool wb_token_cache_get(wb_token_cache *cache, uint64_t name, int32_t *ids, int64_t *length,
                        uint64_t *key) {
    (void)pthread_mutex_lock(&cache->lock);
    const entry *found = find(cache, name);
    (void)pthread_mutex_unlock(&cache->lock);
    if (found) {
        memcpy(ids, found->ids, (size_t)found->length * sizeof(*ids));
        *length = found->length;
        *key = found->key;
    }
    return found != NULL;
}

/* Room for one more place. */
static bool grow(wb_token_cache *cache) {
    const size_t old = cache->places ? (size_t)cache->mask + 1 : 0;
    if (2 * (size_t)(cache->texts + 1) <= old) {
        return true;
    }
    const size_t count = old > 0 ? 2 * old : FIRST_PLACES;
    const size_t more = (count - old) * sizeof(place);
    place *grown = cache->bytes + more <= cache->limit ? calloc(count, sizeof(*grown)) : NULL;
    if (!grown) {
        return false;
    }
    for (size_t i = 0; i < old; i++) {
        if (cache->places[i].of) {
            *place_of(grown, count - 1, cache->places[i].name) = cache->places[i];
        }
    }
    free(cache->places);
    cache->places = grown;
    cache->mask = count - 1;
    cache->bytes += more;
    return true;
}

/* Memory for an entry, behind the last one or in a new block; NULL where there is none. */
static entry *take(wb_token_cache *cache, size_t bytes) {
    if (bytes > cache->limit || cache->bytes > cache->limit - bytes) {
        return NULL;
    }
    if (bytes > cache->room - cache->used) {
        const size_t room = bytes > BLOCK ? bytes : BLOCK;
        block *made = malloc(sizeof(*made) + room);
        if (!made) {
            return NULL;
        }
        made->next = cache->blocks;
        cache->blocks = made;
        cache->used = 0;
        cache->room = room;
    }
    entry *taken = (entry *)(void *)(cache->blocks->bytes + cache->used);
    cache->used += bytes;
    cache->bytes += bytes;
    return taken;
}

static size_t entry_bytes(int64_t length) {
    const size_t bytes = sizeof(entry) + (size_t)length * sizeof(int32_t), to = _Alignof(entry);
    return (bytes + to - 1) / to * to;
}

/* Fresh memory takes its time: it is not written under the lock. */
void wb_token_cache_put(wb_token_cache *cache, uint64_t name, const int32_t *ids, int64_t length,
                        uint64_t key) {
    (void)pthread_mutex_lock(&cache->lock);
    entry *e = find(cache, name) ? NULL : take(cache, entry_bytes(length));
    (void)pthread_mutex_unlock(&cache->lock);
    if (!e) {
        return;
    }
    *e = (entry){.key = key, .length = length};
    memcpy(e->ids, ids, (size_t)length * sizeof(*ids));
    (void)pthread_mutex_lock(&cache->lock);
    if (!find(cache, name) && grow(cache)) { /* else its memory stays unused */
        *place_of(cache->places, cache->mask, name) = (place){name, e};
        cache->texts++;
    }
    (void)pthread_mutex_unlock(&cache->lock);
}

int64_t wb_token_cache_texts(const wb_token_cache *cache) {
    return cache->texts;
}

size_t wb_token_cache_bytes(const wb_token_cache *cache) {
    return cache->bytes;
}
