/* Joining the results of all shards on rank 0. */
#include "search.h"

#include "exchange.h"

#include <stdlib.h>

wb_status wb_search_join(wb_hit *hits, int64_t *counts, int64_t n, int64_t k, wb_comm *comm) {
    wb_status status = WB_OK;
    const int world = wb_comm_world(comm);
    void *all_hits = NULL, *all_counts = NULL;
    int64_t *sizes = calloc((size_t)world, sizeof(*sizes));
    WB_TRY_ALL(comm, sizes ? WB_OK : WB_ERROR(WB_ERR_MEMORY, "no memory for %d sizes", world));
    WB_TRY(wb_collect(comm, &all_hits, sizes, hits, n * k * (int64_t)sizeof(wb_hit)));
    WB_TRY(wb_collect(comm, &all_counts, sizes, counts, n * (int64_t)sizeof(int64_t)));
    if (wb_comm_rank(comm) == 0) {
        const wb_hit *other_hits = all_hits;
        const int64_t *other_counts = all_counts;
        for (int r = 1; r < world; r++) {
            for (int64_t i = 0; i < n; i++) {
                const wb_hit *list = other_hits + (r * n + i) * k;
                for (int64_t j = 0; j < other_counts[r * n + i]; j++) {
                    wb_topk_add(hits + i * k, &counts[i], k, list[j]);
                }
            }
        }
        for (int64_t i = 0; i < n; i++) {
            wb_topk_sort(hits + i * k, counts[i]);
        }
    }
done:
    free(all_hits);
    free(all_counts);
    free(sizes);
    return status;
}
