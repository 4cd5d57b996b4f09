/* A run of the batch's rows on its way through a step.
 *
 * The batch is cut into slots (ordered_sum.h), runs of rows that depend on the batch alone; a rank
 * owns whole slots. Chunks, the loss's tiles of own rows and sums of gradients begin and end with
 * slots, so that every number of ranks computes the same values in the same order. */
#ifndef WB_SLOT_H
#define WB_SLOT_H

#include "chunk_plan.h"
#include "trainer.h"

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

/* Local. What a slot has at most: rows, and sequences of these. */
static inline int64_t wb_slot_most_rows(const wb_trainer *t) {
    return t->config->batch_size / t->slot_total + 1;
}

static inline int64_t wb_slot_most_sequences(const wb_trainer *t) {
    return wb_slot_most_rows(t) * (1 + t->shape.group);
}

/* Local. Tokens that a chunk of a slot holds at most. */
static inline int64_t wb_slot_chunk_tokens(const wb_trainer *t) {
    return wb_encoder_chunk_tokens(t->model.encoder, t->config->memory_chunk_tokens);
}

/* Local. Rows and tokens of slot `slot->number` of step trainer->done + 1, and room for its
 * representations and their gradients, in the step arena. Errors: WB_ERR_INPUT, WB_ERR_MEMORY. */
wb_status wb_slot_read(wb_slot *slot, const wb_trainer *trainer, const wb_batch_shape *shape,
                       const wb_batch_rows *batch);

/* Local. Fills the reps of one chunk; `tape` as of wb_encoder_forward. Error: WB_ERR_MEMORY. */
wb_status wb_slot_encode(const wb_slot *slot, const wb_chunk_plan *chunks, int64_t chunk,
                         wb_tape **tape, const wb_trainer *trainer);

/* Local. Adds the gradients of a slot's parameters, from its dreps, to `grads`, which is compact
 * (trainer->rows). Kept chunks straight away; the others are encoded again. `listener`, or NULL,
 * hears the last chunk. Error: WB_ERR_MEMORY. */
wb_status wb_slot_backward(const wb_slot *slot, const wb_chunk_plan *chunks, float *grads,
                           wb_trainer *trainer, const wb_backward_listener *listener);

#endif
