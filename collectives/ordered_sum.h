/* A sum over the batch whose order does not depend on who computes it.
 *
 * The batch is cut into S slots, a power of two; slot sums meet in a binary tree:
 *
 *     slots   0   1   2   3   4   5   6   7          S = 8
 *              \ /     \ /     \ /     \ /
 *              0-1     2-3     4-5     6-7
 *                \     /         \     /
 *                 0 - 3           4 - 7
 *                     \           /
 *                        0  -  7
 *
 * Rank r of K owns slots [S r / K, S (r + 1) / K) and adds up the subtrees that lie within them,
 * with at most log2 S + 1 arrays at a time. Then ranks exchange subtree sums: the array is cut into
 * buckets and each bucket into K pieces, rank c receives piece c of everybody's sums, finishes the
 * tree for it and hands the result to all (the traffic of an ordinary reduce-scatter and all-gather
 * when K is a power of two). So the bits of the result are those of the tree for every K up to S. A
 * slot without rows takes no part.
 *
 * Buckets begin at the array's end, because backward passes do, but for elements that are known to
 * be final early: a bucket travels as soon as this rank's last slot has settled it, while the
 * layers below are still being computed. MPI moves nothing by itself, so who computes calls
 * wb_ordered_sum_settle now and then.
 */
#ifndef WB_ORDERED_SUM_H
#define WB_ORDERED_SUM_H

#include "arena.h"
#include "comm.h"

enum { WB_MAX_SLOTS = 1 << 16 };

typedef struct wb_ordered_sum wb_ordered_sum;

/* Local. First slot of rank r; r == K gives S. */
static inline int64_t wb_slot_share(int64_t slots, int rank, int world) {
    return slots * rank / world;
}

/* Collective. For arrays of at most `count` floats; memory comes from `arena`, whose limit
 * wb_ordered_sum_bytes gives. slots is a power of two, at least the number of ranks. Borrows comm.
 * Error: WB_ERR_MEMORY. */
wb_status wb_ordered_sum_create(wb_ordered_sum **sum, wb_comm *comm, int64_t slots, int64_t count,
                                wb_arena *arena);
size_t wb_ordered_sum_bytes(const wb_comm *comm, int64_t slots, int64_t count);
void wb_ordered_sum_destroy(wb_ordered_sum *sum);

/* Local. Forgets all slots: a new sum begins, of arrays of `count` floats, of which the last slot
 * adds nothing to the first `early` ones on any rank.
 *   result [count]     filled when wb_ordered_sum_finish returns; borrowed until then
 *   has_rows [slots]   which slots take part, the same on every rank; borrowed likewise */
void wb_ordered_sum_start(wb_ordered_sum *sum, int64_t count, int64_t early, float *result,
                          const bool *has_rows);

/* Local. An array of zeros for the next slot of this rank that has rows; slots come in ascending
 * order. Borrowed until the next call of this function, or until finished. */
float *wb_ordered_sum_slot(wb_ordered_sum *sum, int64_t slot);

/* Local. The newest slot is this rank's last one with rows, and its elements from `from` on are
 * final: they may travel, as may the early ones. What travels is moved on, so that a call with the
 * same `from` as before is of use too. Error: WB_ERR_MPI. */
wb_status wb_ordered_sum_settle(wb_ordered_sum *sum, int64_t from);

/* Collective. The result is there, with the same bits on every rank. All ranks call it after
 * wb_ordered_sum_settle was called on any, also where a rank failed in between and brings a wrong
 * sum: what travels must arrive. Error: WB_ERR_MPI. */
wb_status wb_ordered_sum_finish(wb_ordered_sum *sum);

#endif
