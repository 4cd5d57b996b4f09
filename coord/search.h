/* Exact search over a corpus that is sharded over ranks. */
#ifndef WB_SEARCH_H
#define WB_SEARCH_H

#include "comm.h"
#include "topk.h"

/* Collective. Joins the k best hits that each rank found in its shard.
 *   hits [n, k], counts [n]   this rank's heaps; on rank 0: the k best of all ranks, best first
 * Errors: WB_ERR_MPI, WB_ERR_MEMORY. */
wb_status wb_search_join(wb_hit *hits, int64_t *counts, int64_t n, int64_t k, wb_comm *comm);

#endif
