/* Bags of table rows on the CPU: both ways a sum of rows that a list names, which stays in
 * registers while they pass by. On the way back the lists are turned first: from the rows that a
 * sequence names to the sequences that name a row, in the order of the batch. */
#include "lanes.h"
#include "ops.h"
#include "threads.h"

#include <string.h>

enum { BLOCK = 8 * WB_LANES, MOST_PARTS = 16 };

static int64_t length_of(const wb_packed *packed, int64_t sequence) {
    return packed->offsets[sequence + 1] - packed->offsets[sequence];
}

static int64_t start_of(const wb_packed *packed, int64_t sequence) {
    return packed->offsets[sequence] - packed->offsets[0];
}

/* Columns first .. first + BLOCK of: to += sum of factor row over the items. */
static void add_block(float *to, const wb_bag_item *items, int64_t n, const float *table,
                      int64_t H) {
    wb_lanes sums[BLOCK / WB_LANES];
    for (int v = 0; v < BLOCK / WB_LANES; v++) {
        sums[v] = wb_lanes_load(to + v * WB_LANES);
    }
    for (int64_t k = 0; k < n; k++) {
        const float *row = table + items[k].row * H;
        for (int v = 0; v < BLOCK / WB_LANES; v++) {
            sums[v] = wb_lanes_fma(items[k].factor, wb_lanes_load(row + v * WB_LANES), sums[v]);
        }
    }
    for (int v = 0; v < BLOCK / WB_LANES; v++) {
        wb_lanes_store(to + v * WB_LANES, sums[v]);
    }
}

/* to [H] += sum of factor row over the items, in their order. */
static void add_rows(float *to, const wb_bag_item *items, int64_t n, const float *table,
                     int64_t H) {
    int64_t i = 0;
    for (; i + BLOCK <= H; i += BLOCK) {
        add_block(to + i, items, n, table + i, H);
    }
    for (int64_t k = 0; k < n && i < H; k++) {
        const float *row = table + items[k].row * H;
        for (int64_t j = i; j < H; j++) {
            to[j] = wb_lane_fma(items[k].factor, row[j], to[j]);
        }
    }
}

/* Lists the tokens of a sequence, most of them once: texts repeat themselves, and a row need not be
 * fetched for every time it is named. No branches: nothing foretells whether a token is new. Of two
 * tokens with one place the later takes it, and the former, where it comes again, is listed again.
 * Returns the items. */
static int64_t list_tokens(wb_bag_item *items, const int32_t *ids, int64_t length) {
    enum { PLACE_BITS = 11 };
    int32_t places[1 << PLACE_BITS] = {0};
    int64_t n = 0;
    for (int64_t t = 0; t < length; t++) {
        int32_t *const place = &places[((uint32_t)ids[t] * 2654435769U) >> (32 - PLACE_BITS)];
        const bool again = *place < n && items[*place].row == ids[t];
        const int64_t k = again ? *place : n;
        *place = (int32_t)k;
        items[k] = (wb_bag_item){ids[t], again ? items[k].factor + 1.0f : 1.0f};
        n += !again;
    }
    if (n < length) {
        items[n].row = WB_BAG_END;
    }
    return n;
}

void wb_embedding_bag_forward(float *y, wb_bag_item *items, const float *words,
                              const wb_packed *packed, int64_t H) {
#pragma omp parallel for schedule(dynamic, 8)
    for (int64_t s = 0; s < packed->n; s++) {
        const int64_t length = length_of(packed, s);
        wb_bag_item *own = items + start_of(packed, s);
        float *row = y + s * H;
        memset(row, 0, (size_t)H * sizeof(float));
        const int64_t n = list_tokens(own, packed->ids + packed->offsets[s], length);
        add_rows(row, own, n, words, H);
        const float share = length > 0 ? 1.0f / (float)length : 0.0f;
#pragma omp simd
        for (int64_t i = 0; i < H; i++) {
            row[i] *= share;
        }
    }
}

/* ---- Backward
 * ------------------------------------------------------------------------------------------- */

/* Parts of the sequences, with about as many tokens each, that are listed side by side. */
static int parts_of(void) {
    return wb_threads() < MOST_PARTS ? wb_threads() : MOST_PARTS;
}

int64_t wb_embedding_bag_ends(int64_t rows) {
    return rows * parts_of();
}

static int64_t first_of_part(const wb_packed *packed, int part, int parts) {
    const int64_t tokens = wb_packed_tokens(packed) * part / parts;
    int64_t low = 0, high = part < parts ? packed->n : 0;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        low = start_of(packed, middle) < tokens ? middle + 1 : low;
        high = start_of(packed, middle) < tokens ? high : middle;
    }
    return part < parts ? low : packed->n;
}

typedef struct lists {
    wb_bag_item *items;   /* by row, then by sequence: row is the sequence */
    int64_t *ends;        /* [parts, R]: of a row's items of a part; before they are listed, their
                             beginning, and before that their number */
    const int32_t *place; /* [V], or NULL: as in wb_table_rows */
    int64_t R;
} lists;

static int64_t row_of(const lists *l, int32_t token) {
    return l->place ? l->place[token] : token;
}

/* Walks over the items of a part: counts them, or puts them where they belong. */
static void list_part(const lists *l, const wb_bag_item *items, const wb_packed *packed,
                      int64_t *ends, int64_t first, int64_t end, bool puts) {
    for (int64_t s = first; s < end; s++) {
        const int64_t length = length_of(packed, s);
        const wb_bag_item *own = items + start_of(packed, s);
        for (int64_t k = 0; k < length && own[k].row != WB_BAG_END; k++) {
            const int64_t at = ends[row_of(l, own[k].row)]++;
            if (puts) {
                l->items[at] = (wb_bag_item){(int32_t)s, own[k].factor / (float)length};
            }
        }
    }
}

static void turn_numbers_into_beginnings(const lists *l, int parts) {
    int64_t at = 0;
    for (int64_t row = 0; row < l->R; row++) {
        for (int part = 0; part < parts; part++) {
            int64_t *const number = &l->ends[part * l->R + row];
            const int64_t items = *number;
            *number = at;
            at += items;
        }
    }
}

static void list_sequences(const lists *l, const wb_bag_item *items, const wb_packed *packed) {
    const int parts = parts_of();
    for (int puts = 0; puts < 2; puts++) {
#pragma omp parallel for schedule(static)
        for (int part = 0; part < parts; part++) {
            int64_t *const ends = l->ends + part * l->R;
            if (!puts) {
                memset(ends, 0, (size_t)l->R * sizeof(*ends));
            }
            list_part(l, items, packed, ends, first_of_part(packed, part, parts),
                      first_of_part(packed, part + 1, parts), puts);
        }
        if (!puts) {
            turn_numbers_into_beginnings(l, parts);
        }
    }
}

void wb_embedding_bag_backward(float *dwords, const wb_table_rows *rows, const float *dy,
                               const wb_bag_item *items, const wb_packed *packed, int64_t V,
                               int64_t H, wb_bag_item *room, int64_t *ends) {
    const lists l = {room, ends, rows ? rows->place : NULL, rows ? rows->count : V};
    list_sequences(&l, items, packed);
    const int64_t *const last = ends + (parts_of() - 1) * l.R;
#pragma omp parallel for schedule(dynamic, 64)
    for (int64_t row = 0; row < l.R; row++) {
        const int64_t begin = row > 0 ? last[row - 1] : 0;
        if (last[row] > begin) {
            add_rows(dwords + row * H, room + begin, last[row] - begin, dy, H);
        }
    }
}
