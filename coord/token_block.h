/* Many texts at once, read and tokenized by all threads, packed end to end. */
#ifndef WB_TOKEN_BLOCK_H
#define WB_TOKEN_BLOCK_H

#include "arena.h"
#include "model.h"
#include "packed.h"
#include "text_file.h"
#include "token_cache.h"

/* Where the texts come from: unit i (a row of a data set, a line of a file) gives 1 + group texts,
 * of which the first is sequence i and the others are sequences n + i * group + 0, 1, …
 * Functions are called from several threads. */
typedef struct wb_token_source {
    /* fills texts [1 + group] with unit i */
    wb_status (*read)(const void *context, int64_t i, wb_text *texts);
    /* fills names [1 + group] of these texts in the cache; used where `cache` is not NULL */
    wb_status (*name)(const void *context, int64_t i, uint64_t *names);
    /* whatever else unit i needs, remembered or not; or NULL */
    wb_status (*note)(const void *context, int64_t i);
    const void *context;
    const wb_model *model;
    wb_token_cache *cache; /* of this model and these most tokens; or NULL */
    uint64_t *keys;        /* [n, 1 + group], filled with wb_hash of the texts; or NULL */
    int64_t group;
    wb_role first;        /* what a unit's first text is; its others are passages */
    int64_t first_tokens; /* most tokens of a unit's first text, specials included */
    int64_t other_tokens; /* most tokens of its others */
} wb_token_source;

/* Local. Reads units 0 .. n - 1 into `arena`, where *packed then lives: n * (1 + group) sequences.
 * Errors: those of `read`; WB_ERR_MEMORY. */
wb_status wb_token_block_read(wb_packed *packed, const wb_token_source *source, int64_t n,
                              wb_arena *arena);

/* Local. Arena bytes that it takes. */
size_t wb_token_block_bytes(const wb_token_source *source, int64_t n);

#endif
