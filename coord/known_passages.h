/* Which passages of a batch are known to answer a query without being its positive.
 *
 * The data names positives by their texts' keys (data_set.h); the batch holds some of them, as
 * other rows' positives or as negatives. Ranks look up their own queries' and exchange what they
 * find: a few numbers a query.
 */
#ifndef WB_KNOWN_PASSAGES_H
#define WB_KNOWN_PASSAGES_H

#include "batch.h"
#include "comm.h"

typedef struct wb_known_passages {
    const int64_t *firsts; /* [B + 1] */
    const int64_t *known;  /* query i knows known[firsts[i]] .. known[firsts[i + 1] - 1], ascending;
                              of passages with one text only the first of the batch is there */
} wb_known_passages;

/* Collective. Fills *found, which lives in `arena`.
 *   own [count]                 this rank's runs of rows, in the order of the batch
 *   passage_keys [B * group]    of all ranks' passages
 *   query_firsts [K + 1]        first query of each rank
 *   most                        known positives of a query, at most
 * Errors: WB_ERR_MPI, WB_ERR_MEMORY. */
wb_status wb_known_passages_find(wb_known_passages *found, wb_comm *comm,
                                 const wb_batch *const *own, int64_t count,
                                 const uint64_t *passage_keys, const int64_t *query_firsts,
                                 int64_t most, wb_arena *arena);

/* Local. Arena bytes that it takes on a rank with at most n queries of B. */
size_t wb_known_passages_bytes(int64_t B, int64_t n, int64_t group, int64_t most);

#endif
