/* A run of the batch's rows on its way through a step.
 *
 * The batch is cut into slots (ordered_sum.h), runs of rows that depend on the batch alone; a rank
 * owns whole slots. Chunks, the loss's tiles of own rows and sums of gradients begin and end with
 * slots, so that every number of ranks computes the same values in the same order. */
#ifndef WB_SLOT_H
#define WB_SLOT_H

#include "batch.h"
#include "encoder.h"

typedef struct wb_slot {
    int64_t number; /* in the batch */
    wb_batch batch;
    wb_tape **tapes;   /* [chunks kept] */
    float *reps;       /* [n (1 + group), d], its queries, then their passages */
    float *dreps;      /* likewise: the cached gradients */
    float *guide_reps; /* likewise, of the guide's width; NULL without loss.filter_model */
    double dlog_scale; /* its rows' part of the derivative by log(1 / temperature) */
} wb_slot;

/* Local. First row of a slot of a batch of B rows in `slots`; number == slots gives B. */
static inline int64_t wb_slot_row(int64_t B, int64_t slots, int64_t number) {
    return (int64_t)((__int128)B * number / slots);
}

#endif
