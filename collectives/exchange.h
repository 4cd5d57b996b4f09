/* What ranks exchange in a step and around it. All sizes are 64-bit; pieces are cut to what MPI's
 * int counts can say. */
#ifndef WB_EXCHANGE_H
#define WB_EXCHANGE_H

#include "comm.h"

/* Collective. Every rank gets the rows of all ranks, in order of rank; a row is row_bytes bytes.
 *   all [firsts[K]]                     filled
 *   mine [firsts[r + 1] - firsts[r]]    rank r's rows; may be empty; NULL where they already stand
 *                                       in their place in `all`
 *   firsts [K + 1]                      first row of each rank, the same on every rank
 * Error: WB_ERR_MPI. */
wb_status wb_gather_rows(wb_comm *comm, void *all, const void *mine, const int64_t *firsts,
                         size_t row_bytes);

/* Collective. The same for rows begin .. end of all only, which may be those of any ranks.
 *   window [end - begin]                this rank's rows among them stand in their place; filled
 * Error: WB_ERR_MPI. */
wb_status wb_gather_window(wb_comm *comm, void *window, const int64_t *firsts, int64_t begin,
                           int64_t end, size_t row_bytes);

/* Collective. values [count] becomes the sum over ranks, the same bits on every rank.
 * Error: WB_ERR_MPI. */
wb_status wb_reduce_floats(wb_comm *comm, float *values, int64_t count);

/* Collective. Least, mean and most over ranks of each of values [count]: filled.
 * Error: WB_ERR_MPI. */
wb_status wb_reduce_spread(wb_comm *comm, double *least, double *mean, double *most,
                           const double *values, int count);

/* Collective. values [count] becomes the sum over ranks; whole numbers stay exact below 2^53.
 * Error: WB_ERR_MPI. */
wb_status wb_reduce_sums(wb_comm *comm, double *values, int count);

/* Collective. marks [count], each 0 or 1, become 1 where they are on any rank. Error: WB_ERR_MPI.
 */
wb_status wb_reduce_marks(wb_comm *comm, uint8_t *marks, int64_t count);

/* Collective. Rank 0's bytes reach every rank. Error: WB_ERR_MPI. */
wb_status wb_broadcast(wb_comm *comm, void *data, int64_t bytes);

/* Collective. The bytes of rank `from` reach rank `to`. Error: WB_ERR_MPI. */
wb_status wb_hand_over(wb_comm *comm, int from, int to, void *data, int64_t bytes);

/* Collective. Rank 0 gets the bytes of all ranks, in order of rank, in memory that it owns (free);
 * on other ranks *all is NULL. sizes [K] is filled on rank 0. A rank that brings 0 bytes may pass
 * NULL. Errors: WB_ERR_MPI, WB_ERR_MEMORY. */
wb_status wb_collect(wb_comm *comm, void **all, int64_t *sizes, const void *mine, int64_t bytes);

#endif
