/* Comparing ranks. */
#include "same_sum.h"

#include "exchange.h"
#include "units.h"

#include <stdlib.h>

/* How many of `sums` are like number i. */
static int64_t count_like(const uint64_t *sums, int world, int i) {
    int64_t like = 0;
    for (int r = 0; r < world; r++) {
        like += sums[r] == sums[i] ? 1 : 0;
    }
    return like;
}

/* Those that differ from the largest group speak; where no group is largest, all do. */
static wb_status compare_with_most(const wb_comm *comm, const uint64_t *sums, const char *what) {
    const int world = wb_comm_world(comm), rank = wb_comm_rank(comm);
    const int64_t mine = count_like(sums, world, rank);
    bool most = true;
    for (int r = 0; r < world; r++) {
        most = most && (sums[r] == sums[rank] || count_like(sums, world, r) < mine);
    }
    if (most) {
        return WB_OK;
    }
    return WB_ERROR(WB_ERR_DIVERGED,
                    "host %s: %s; memory or network is to be doubted; the same command continues "
                    "from the last checkpoint, which all ranks agreed on",
                    wb_host().text, what);
}

wb_status wb_same_sum(wb_comm *comm, uint64_t mine, const char *what) {
    wb_status status = WB_OK;
    const int world = wb_comm_world(comm);
    int64_t *firsts = malloc(((size_t)world + 1) * sizeof(*firsts));
    uint64_t *sums = malloc((size_t)world * sizeof(*sums));
    WB_TRY_ALL(comm, firsts && sums ? WB_OK : WB_ERROR(WB_ERR_MEMORY, "no memory for sums"));
    for (int r = 0; r <= world; r++) {
        firsts[r] = r;
    }
    WB_TRY(wb_gather_rows(comm, sums, &mine, firsts, sizeof(mine)));
    WB_TRY_ALL(comm, compare_with_most(comm, sums, what));
done:
    free(firsts);
    free(sums);
    return status;
}
