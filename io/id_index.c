/* Linear probing; never more than three quarters full, so runs stay short. A slot tells its place
 * in a larger table, so that growing asks nobody for hashes. */
#include "id_index.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>

static const int64_t most = (int64_t)1 << 31;

static _Atomic uint64_t secret; /* odd once it is drawn */

static void draw_secret(void) {
    uint64_t drawn = 0, none = 0;
    if (atomic_load(&secret) == 0) {
        (void)!getrandom(&drawn, sizeof(drawn), GRND_NONBLOCK);
        (void)atomic_compare_exchange_strong(&secret, &none, drawn | 1);
    }
}

/* Both halves of a product in one: each bit of it depends on all of the hash. */
static uint32_t secret_bits(uint64_t hash) {
    const uint64_t factor = atomic_load_explicit(&secret, memory_order_relaxed);
    const unsigned __int128 product = (unsigned __int128)(hash ^ factor) * factor;
    return (uint32_t)((uint64_t)(product >> 64) ^ (uint64_t)product);
}

static void put(uint64_t *slots, uint64_t mask, uint64_t filed) {
    uint64_t slot = (filed >> 32) & mask;
    while (slots[slot] != 0) {
        slot = (slot + 1) & mask;
    }
    slots[slot] = filed;
}

wb_status wb_id_index_reserve(wb_id_index *index, int64_t count) {
    wb_status status = WB_OK;
    uint64_t slots = 64, *grown = NULL;
    if (count <= index->room) {
        goto done;
    }
    WB_CHECK(count <= most, WB_ERR_INPUT, "%lld ids; at most %lld are allowed", (long long)count,
             (long long)most);
    draw_secret();
    while (slots / 4 * 3 < (uint64_t)count) {
        slots *= 2;
    }
    grown = calloc(slots, sizeof(*grown));
    WB_CHECK(grown, WB_ERR_MEMORY, "no memory to index %lld ids", (long long)count);
    for (uint64_t i = 0; index->slots && i <= index->mask; i++) {
        if (index->slots[i] != 0) {
            put(grown, slots - 1, index->slots[i]);
        }
    }
    free(index->slots);
    *index = (wb_id_index){.slots = grown, .mask = slots - 1, .room = (int64_t)(slots / 4 * 3)};
done:
    return status;
}

void wb_id_index_clear(wb_id_index *index) {
    free(index->slots);
    *index = (wb_id_index){0};
}

void wb_id_index_put(wb_id_index *index, uint64_t hash, int64_t number) {
    put(index->slots, index->mask, (uint64_t)secret_bits(hash) << 32 | ((uint64_t)number + 1));
}

int64_t wb_id_index_next(const wb_id_index *index, uint64_t hash, uint64_t *step) {
    const uint32_t bits = secret_bits(hash);
    while (index->slots) {
        const uint64_t slot = index->slots[(bits + (*step)++) & index->mask];
        if (slot == 0) {
            break;
        }
        if (slot >> 32 == bits) {
            return (int64_t)(slot & UINT32_MAX) - 1;
        }
    }
    return -1;
}
