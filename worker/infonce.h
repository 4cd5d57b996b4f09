/* The contrastive loss over tiles: no matrix of all scores, no gradient exchanged.
 *
 * The batch has B queries and N = B * group passages; query i's positive is passage i * group, the
 * other passages of its group are its hard negatives, and every passage of the batch is scored:
 *
 *     loss = 1/B sum_i [ log sum_j exp(q_i p_j / tau) - q_i p_pos(i) / tau ]
 *
 * A rank holds its own rows and everybody's representations. Two walks over tiles follow:
 *   1. its queries against all passages: log-sum-exp and dq in the same walk (running maximum);
 *   2. after ranks exchanged log-sum-exp and loss of each query: all queries against its passages:
 * dp. Each rank does its share of the work and no more. The sums run over tiles of the global batch
 * in order, so that they do not depend on who computes them. Source: van den Oord et al. 2018, eq.
 * 4; running maximum as in Milakov & Gimelshein 2018.
 */
#ifndef WB_INFONCE_H
#define WB_INFONCE_H

#include "arena.h"

typedef struct wb_infonce {
    int64_t batch;      /* B, over all ranks */
    int64_t group;      /* passages per query: 1 positive, then its hard negatives */
    int64_t width;      /* d */
    double temperature; /* tau > 0, no unit */
} wb_infonce;

/* Local. First walk, for queries first .. first + n of the batch.
 *   losses [n], lse [n], dq [n, d]   filled; the batch's loss is the sum of losses / B, in nats
 *   q [n, d]                         this rank's queries
 *   p [N, d]                         all passages of the batch
 * Errors: WB_ERR_NUMERIC if a loss is not finite (naming the first such query); WB_ERR_MEMORY. */
wb_status wb_infonce_queries(float *losses, float *lse, float *dq, const float *q, const float *p,
                             int64_t first, int64_t n, const wb_infonce *loss, wb_arena *arena);

/* Local. Second walk, for passages first .. first + n of the batch.
 *   dp [n, d]           filled
 *   p [n, d]            this rank's passages
 *   q [B, d]                    all queries of the batch
 *   lse [B], losses [B]         of all queries, from the first walk
 * Error: WB_ERR_MEMORY. */
wb_status wb_infonce_passages(float *dp, const float *p, const float *q, const float *lse,
                              const float *losses, int64_t first, int64_t n, const wb_infonce *loss,
                              wb_arena *arena);

#endif
