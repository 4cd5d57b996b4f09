/* A run of a batch's rows: their texts as tokens, packed, and the keys of these texts. */
#ifndef WB_BATCH_H
#define WB_BATCH_H

#include "arena.h"
#include "data_set.h"
#include "model.h"
#include "packed.h"
#include "token_cache.h"

/* How texts become tokens. */
typedef struct wb_batch_shape {
    int64_t group;          /* passages per query */
    int64_t query_tokens;   /* longest query */
    int64_t passage_tokens; /* longest passage */
    int64_t positives;      /* most known positives of a query; 0: their keys are not read */
    wb_token_cache *cache;  /* borrowed; texts that were tokenized so before; or NULL */
} wb_batch_shape;

/* A run of rows of a batch: its n queries, then their n * group passages, query by query. */
typedef struct wb_batch {
    int64_t first, n;         /* queries [first, first + n) of the global batch */
    int64_t group;            /* passages per query */
    wb_packed packed;         /* n * (1 + group) sequences */
    const uint32_t *examples; /* number of each sequence in the global batch: queries 0 .. B - 1,
                                 then passages; names its dropout masks */
    const uint64_t *keys;     /* [n, 1 + group], of the texts: query, then its passages */
    const uint64_t *positive_keys; /* [n, shape.positives], of passages known to answer the query */
    const int64_t *positive_counts; /* [n], how many there are */
} wb_batch;

/* Local. Reads and tokenizes a run of rows into `arena`.
 *   rows [n]   rows of the data set for queries first .. first + n of a batch of B
 * Errors: WB_ERR_INPUT, WB_ERR_MEMORY. */
wb_status wb_batch_read(wb_batch *batch, const wb_data_set *data, const wb_model *model,
                        const wb_batch_shape *shape, const int64_t *rows, int64_t epoch, int64_t B,
                        int64_t first, int64_t n, wb_arena *arena);

/* Local. Arena bytes that wb_batch_read may take for n rows. */
size_t wb_batch_bytes(const wb_batch_shape *shape, int64_t n);

#endif
