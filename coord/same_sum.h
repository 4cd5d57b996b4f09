/* Whether all ranks hold the same, and who does not. */
#ifndef WB_SAME_SUM_H
#define WB_SAME_SUM_H

#include "comm.h"

/* Collective. Compares a sum that each rank has made of what all should have in common. `what`
 * begins the message, as "after step 3 parameters are not those of the other ranks".
 * Errors: WB_ERR_DIVERGED, naming the ranks that differ from most; of two, nobody knows which;
 * WB_ERR_MEMORY. */
wb_status wb_same_sum(wb_comm *comm, uint64_t mine, const char *what);

#endif
