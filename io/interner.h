/* Distinct strings, numbered in order of first appearance: names that a file repeats on many lines
 * are kept once. */
#ifndef WB_INTERNER_H
#define WB_INTERNER_H

#include "id_index.h"
#include "status.h"

#include <stdint.h>

typedef struct wb_interner {
    char **strings; /* [count], owned */
    int64_t count, capacity;
    wb_id_index index;
    char **blocks; /* storage of the strings */
    int64_t block_count;
    char *block; /* where the next string goes, if it needs no more than block_left bytes */
    size_t block_left;
} wb_interner;

/* Local. *number is the string's place in `strings`; it is copied if it is new.
 * Errors: WB_ERR_INPUT for more than 2^31, WB_ERR_MEMORY. */
wb_status wb_interner_add(wb_interner *interner, const char *string, int64_t *number);

/* Local. The string's place in `strings`, -1 where it is not there. */
int64_t wb_interner_find(const wb_interner *interner, const char *string);

void wb_interner_clear(wb_interner *interner);

#endif
