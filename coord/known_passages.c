/* Looks keys up in a sorted order of the batch's passages. */
#include "known_passages.h"

#include "exchange.h"

#include <stdlib.h>

/* Passages of the batch by ascending key, equal keys in the order of the batch. */
typedef struct key_order {
    const uint64_t *keys;
    int64_t *passages; /* [count] */
    int64_t count;
} key_order;

static int compare(const void *a, const void *b, void *keys_of) {
    const int64_t i = *(const int64_t *)a, j = *(const int64_t *)b;
    const uint64_t *keys = keys_of;
    if (keys[i] != keys[j]) {
        return keys[i] < keys[j] ? -1 : 1;
    }
    return i < j ? -1 : i > j;
}

static wb_status sort_keys(key_order *order, const uint64_t *keys, int64_t count, wb_arena *arena) {
    wb_status status = WB_OK;
    *order = (key_order){.keys = keys, .count = count};
    WB_TRY(wb_arena_int64s(arena, count, &order->passages));
    for (int64_t i = 0; i < count; i++) {
        order->passages[i] = i;
    }
    qsort_r(order->passages, (size_t)count, sizeof(*order->passages), compare, (void *)keys);
done:
    return status;
}

/* The first passage of this key, -1 if there is none. */
static int64_t first_of_key(const key_order *order, uint64_t key) {
    int64_t low = 0, high = order->count;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (order->keys[order->passages[middle]] < key) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < order->count && order->keys[order->passages[low]] == key ? order->passages[low]
                                                                          : -1;
}

/* Puts a passage in its place among `count` ascending ones, unless it is there. */
static int64_t insert(int64_t *passages, int64_t count, int64_t passage) {
    int64_t at = count;
    while (at > 0 && passages[at - 1] > passage) {
        at--;
    }
    if (at > 0 && passages[at - 1] == passage) {
        return count;
    }
    for (int64_t i = count; i > at; i--) {
        passages[i] = passages[i - 1];
    }
    passages[at] = passage;
    return count + 1;
}

/* known [..] of one query: filled; how many there are. */
static int64_t look_up(int64_t *known, const wb_batch *batch, int64_t i, int64_t most,
                       const key_order *order) {
    const uint64_t own = batch->keys[i * (1 + batch->group) + 1];
    int64_t count = 0;
    for (int64_t k = 0; k < batch->positive_counts[i]; k++) {
        const uint64_t key = batch->positive_keys[i * most + k];
        const int64_t passage = key == own ? -1 : first_of_key(order, key);
        if (passage >= 0) {
            count = insert(known, count, passage);
        }
    }
    return count;
}

/* firsts [i + 1] of own queries hold their counts at first; *mine is what they know, in a row. */
static wb_status look_up_own(int64_t *firsts, int64_t **mine, const wb_batch *const *own,
                             int64_t count, const key_order *order, int64_t most, wb_arena *arena) {
    wb_status status = WB_OK;
    int64_t n = 0, found = 0;
    for (int64_t b = 0; b < count; b++) {
        n += own[b]->n;
    }
    WB_TRY(wb_arena_int64s(arena, n * most, mine));
    for (int64_t b = 0; b < count; b++) {
        for (int64_t i = 0; i < own[b]->n; i++) {
            const int64_t here = look_up(*mine + found, own[b], i, most, order);
            firsts[own[b]->first + i + 1] = here;
            found += here;
        }
    }
done:
    return status;
}

wb_status wb_known_passages_find(wb_known_passages *found, wb_comm *comm,
                                 const wb_batch *const *own, int64_t count,
                                 const uint64_t *passage_keys, const int64_t *query_firsts,
                                 int64_t most, wb_arena *arena) {
    wb_status status = WB_OK;
    const int world = wb_comm_world(comm);
    const int64_t B = query_firsts[world], group = own[0]->group;
    int64_t *firsts = NULL, *known = NULL, *mine = NULL, *known_firsts = NULL;
    key_order order;
    WB_TRY_ALL(comm, wb_arena_int64s(arena, B + 1, &firsts));
    WB_TRY_ALL(comm, wb_arena_int64s(arena, world + 1, &known_firsts));
    WB_TRY_ALL(comm, sort_keys(&order, passage_keys, B * group, arena));
    WB_TRY_ALL(comm, look_up_own(firsts, &mine, own, count, &order, most, arena));
    firsts[0] = 0;
    WB_TRY(wb_gather_rows(comm, firsts + 1, NULL, query_firsts, sizeof(*firsts)));
    for (int64_t i = 0; i < B; i++) {
        firsts[i + 1] += firsts[i];
    }
    for (int r = 0; r <= world; r++) {
        known_firsts[r] = firsts[query_firsts[r]];
    }
    WB_TRY_ALL(comm, wb_arena_int64s(arena, firsts[B], &known));
    WB_TRY(wb_gather_rows(comm, known, mine, known_firsts, sizeof(*known)));
    *found = (wb_known_passages){.firsts = firsts, .known = known};
done:
    return status;
}

size_t wb_known_passages_bytes(int64_t B, int64_t n, int64_t group, int64_t most) {
    const size_t one = sizeof(int64_t);
    return wb_arena_rounded((size_t)(B + 1) * one) + wb_arena_rounded((size_t)(B * group) * one) +
           wb_arena_rounded((size_t)(n * most) * one) + wb_arena_rounded((size_t)(B * most) * one) +
           wb_arena_rounded((size_t)(B + 1) * one);
}
