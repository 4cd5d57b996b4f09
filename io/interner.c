/* Strings lie one behind the other in blocks that never move. */
#include "interner.h"

#include "hash.h"

#include <stdlib.h>
#include <string.h>

static const size_t block_bytes = (size_t)1 << 16;

static wb_status no_memory(const wb_interner *interner) {
    return WB_ERROR(WB_ERR_MEMORY, "no memory for more than %lld names",
                    (long long)interner->count);
}

/* Room for one more string's pointer and its place in the index. */
static wb_status grow(wb_interner *interner) {
    wb_status status = WB_OK;
    if (interner->count == interner->capacity) {
        const int64_t capacity = interner->capacity > 0 ? 2 * interner->capacity : 64;
        char **strings = realloc(interner->strings, (size_t)capacity * sizeof(*strings));
        if (!strings) {
            return no_memory(interner);
        }
        interner->strings = strings;
        interner->capacity = capacity;
    }
    WB_TRY(wb_id_index_reserve(&interner->index, interner->count + 1));
done:
    return status;
}

/* A long string gets a block of its own. */
static wb_status store(wb_interner *interner, const char *string, size_t bytes, char **copy) {
    if (bytes > interner->block_left) {
        const size_t size = bytes > block_bytes ? bytes : block_bytes;
        char **blocks =
            realloc(interner->blocks, (size_t)(interner->block_count + 1) * sizeof(*blocks));
        interner->blocks = blocks ? blocks : interner->blocks;
        char *block = blocks ? malloc(size) : NULL;
        if (!block) {
            return no_memory(interner);
        }
        interner->blocks[interner->block_count++] = interner->block = block;
        interner->block_left = size;
    }
    *copy = memcpy(interner->block, string, bytes);
    interner->block += bytes;
    interner->block_left -= bytes;
    return WB_OK;
}

static int64_t find(const wb_interner *interner, const char *string, uint64_t hash) {
    uint64_t step = 0;
    int64_t number;
    do {
        number = wb_id_index_next(&interner->index, hash, &step);
    } while (number >= 0 && strcmp(interner->strings[number], string) != 0);
    return number;
}

int64_t wb_interner_find(const wb_interner *interner, const char *string) {
    return find(interner, string, wb_hash(string, strlen(string)));
}

wb_status wb_interner_add(wb_interner *interner, const char *string, int64_t *number) {
    wb_status status = WB_OK;
    const size_t bytes = strlen(string) + 1;
    const uint64_t hash = wb_hash(string, bytes - 1);
    *number = find(interner, string, hash);
    if (*number >= 0) {
        return WB_OK;
    }
    WB_TRY(grow(interner));
    WB_TRY(store(interner, string, bytes, &interner->strings[interner->count]));
    wb_id_index_put(&interner->index, hash, interner->count);
    *number = interner->count++;
done:
    return status;
}

void wb_interner_clear(wb_interner *interner) {
    for (int64_t i = 0; i < interner->block_count; i++) {
        free(interner->blocks[i]);
    }
    free(interner->blocks);
    free(interner->strings);
    wb_id_index_clear(&interner->index);
    *interner = (wb_interner){0};
}
