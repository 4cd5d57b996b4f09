/* Building the trie: level by level over the sorted tokens, so that a unit's children are known
 * together and get places that fit all of them. */
#include "wordpiece.h"

#include <stdlib.h>
#include <string.h>

enum { BYTES = 256, PLACES_TRIED = 256 };

/* A unit whose children are still to be placed: those of sorted tokens [first, end), which share
 * their first `depth` bytes. */
typedef struct pending {
    int32_t unit;
    int32_t first, end;
    int32_t depth;
} pending;

typedef struct queue {
    pending *items; /* [count] */
    int64_t count, capacity;
} queue;

typedef struct builder {
    wb_trie *trie;
    const wb_token *tokens;
    const char *where;
    int64_t used_end;   /* units from here on are free */
    int64_t lowest;     /* units below are in use, or too low for a base */
    queue level, below; /* what is placed, and what is then to be */
} builder;

static int compare_tokens(const void *a, const void *b) {
    const wb_token *left = a, *right = b;
    const size_t shorter = left->bytes < right->bytes ? left->bytes : right->bytes;
    const int order = memcmp(left->text, right->text, shorter);
    return order != 0 ? order : (left->bytes > right->bytes) - (left->bytes < right->bytes);
}

/* Units [0, end) exist afterwards, and BYTES more. */
static wb_status grow(builder *b, int64_t end) {
    const int64_t needed = end + BYTES;
    if (end > WB_TRIE_MOST) {
        return WB_ERROR(WB_ERR_INPUT,
                        "%s: the vocabulary needs more than %d trie units; use one with fewer or "
                        "shorter tokens",
                        b->where, WB_TRIE_MOST);
    }
    if (needed <= b->trie->length) {
        return WB_OK;
    }
    const int64_t twice = 2 * b->trie->length, most = WB_TRIE_MOST + BYTES;
    const int64_t length = needed > twice ? needed : twice < most ? twice : most;
    wb_trie_unit *units = realloc(b->trie->units, (size_t)length * sizeof(*units));
    if (!units) {
        return WB_ERROR(WB_ERR_MEMORY, "%s: no memory for a vocabulary of %lld units", b->where,
                        (long long)length);
    }
    for (int64_t i = b->trie->length; i < length; i++) {
        units[i] = (wb_trie_unit){.base = 0, .parent = WB_TRIE_FREE, .id = -1};
    }
    b->trie->units = units;
    b->trie->length = length;
    return WB_OK;
}

static wb_status enqueue(builder *b, pending children) {
    queue *q = &b->below;
    if (q->count == q->capacity) {
        const int64_t capacity = q->capacity > 0 ? 2 * q->capacity : 1024;
        pending *items = realloc(q->items, (size_t)capacity * sizeof(*items));
        if (!items) {
            return WB_ERROR(WB_ERR_MEMORY, "%s: no memory to build the vocabulary", b->where);
        }
        q->items = items;
        q->capacity = capacity;
    }
    q->items[q->count++] = children;
    return WB_OK;
}

static bool fits(const builder *b, int64_t base, const unsigned char *bytes, int count) {
    for (int i = 0; i < count; i++) {
        if (b->trie->units[base + bytes[i]].parent != WB_TRIE_FREE) {
            return false;
        }
    }
    return true;
}

/* A base at which all children find free units: among the first free places, or at the end. A
 * bounded number of places is tried, so building takes time linear in the tokens' bytes. */
static int64_t find_base(builder *b, const unsigned char *bytes, int count) {
    const wb_trie_unit *units = b->trie->units;
    while (b->lowest < b->used_end && units[b->lowest].parent != WB_TRIE_FREE) {
        b->lowest++;
    }
    int64_t place = b->lowest;
    for (int tried = 0; tried < PLACES_TRIED && place < b->used_end; tried++, place++) {
        const int64_t base = place - bytes[0];
        if (units[place].parent == WB_TRIE_FREE && fits(b, base, bytes, count)) {
            return base;
        }
    }
    return b->used_end > bytes[0] ? b->used_end - bytes[0] : 0;
}

/* Where a run of tokens with the same byte at `depth` ends. */
static int32_t end_of_run(const builder *b, int32_t first, int32_t end, int32_t depth) {
    const char byte = b->tokens[first].text[depth];
    while (first < end && b->tokens[first].text[depth] == byte) {
        first++;
    }
    return first;
}

static wb_status place_children(builder *b, pending parent) {
    unsigned char bytes[BYTES];
    int count = 0;
    const int32_t depth = parent.depth;
    int32_t first = parent.first;
    if (b->tokens[first].bytes == (size_t)depth) {
        b->trie->units[parent.unit].id = b->tokens[first].id;
        first++;
    }
    for (int32_t i = first; i < parent.end; i = end_of_run(b, i, parent.end, depth)) {
        bytes[count++] = (unsigned char)b->tokens[i].text[depth];
    }
    if (count == 0) {
        return WB_OK;
    }
    wb_status status = WB_OK;
    const int64_t base = find_base(b, bytes, count);
    WB_TRY(grow(b, base + BYTES));
    b->trie->units[parent.unit].base = (int32_t)base;
    for (int i = 0; i < count; i++) {
        const int64_t unit = base + bytes[i];
        const int32_t end = end_of_run(b, first, parent.end, depth);
        b->trie->units[unit].parent = parent.unit;
        b->used_end = unit >= b->used_end ? unit + 1 : b->used_end;
        WB_TRY(enqueue(b, (pending){(int32_t)unit, first, end, depth + 1}));
        first = end;
    }
done:
    return status;
}

static wb_status place_level(builder *b) {
    wb_status status = WB_OK;
    const queue placed = b->level;
    b->level = b->below;
    b->below = placed;
    b->below.count = 0;
    for (int64_t i = 0; i < b->level.count; i++) {
        WB_TRY(place_children(b, b->level.items[i]));
    }
done:
    return status;
}

wb_status wb_trie_build(wb_trie *trie, wb_token *tokens, int64_t count, const char *where) {
    wb_status status = WB_OK;
    builder b = {.trie = trie, .tokens = tokens, .where = where, .used_end = 1, .lowest = BYTES};
    *trie = (wb_trie){0};
    qsort(tokens, (size_t)count, sizeof(*tokens), compare_tokens);
    for (int64_t i = 1; i < count; i++) {
        WB_CHECK(compare_tokens(&tokens[i - 1], &tokens[i]) != 0, WB_ERR_INPUT,
                 "%s: the token \"%.100s\" is there twice, with ids %d and %d", where,
                 tokens[i].text, tokens[i - 1].id, tokens[i].id);
    }
    WB_TRY(grow(&b, BYTES));
    trie->units[WB_TRIE_ROOT].parent = WB_TRIE_NOWHERE;
    if (count > 0) {
        WB_TRY(enqueue(&b, (pending){WB_TRIE_ROOT, 0, (int32_t)count, 0}));
    }
    while (b.below.count > 0) {
        WB_TRY(place_level(&b));
    }
done:
    free(b.level.items);
    free(b.below.items);
    if (status != WB_OK) {
        wb_trie_clear(trie);
    }
    return status;
}

void wb_trie_clear(wb_trie *trie) {
    free(trie->units);
    *trie = (wb_trie){0};
}

int32_t wb_trie_walk(const wb_trie *trie, const char *text, size_t bytes) {
    int32_t unit = WB_TRIE_ROOT;
    for (size_t i = 0; i < bytes; i++) {
        const int32_t child = trie->units[unit].base + (unsigned char)text[i];
        if (trie->units[child].parent != unit) {
            return WB_TRIE_NOWHERE;
        }
        unit = child;
    }
    return unit;
}
