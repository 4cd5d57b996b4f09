/* One optimizer step. */
#ifndef WB_STEP_H
#define WB_STEP_H

#include "chunk_plan.h"
#include "trainer.h"

/* What a step did, the same on every rank but for `memory`. */
typedef struct wb_step_report {
    int64_t queries;         /* B: batch.size, or less at the tail of an epoch */
    double loss;             /* mean over the B queries, nats */
    int64_t filtered_rows;   /* queries without a candidate left, at the last of the widths */
    double temperature;      /* that the loss was taken at */
    double gradient_norm;    /* before clipping */
    double rate;             /* learning rate of the update */
    int64_t tokens;          /* real tokens encoded for the loss, over all ranks */
    int64_t kept_tokens;     /* those whose activations were kept */
    double flops;            /* of the encoder's products, over all ranks: three forward passes */
    double extra_flops;      /* of encoding again what was not kept */
    int64_t gradient_floats; /* of the arrays that were added up: rows of words that occur */
    wb_chunk_memory memory;  /* of this rank's activations */
} wb_step_report;

/* Collective. Runs step trainer->done + 1 and counts it. Parameters are unchanged on error.
 * Errors: WB_ERR_NUMERIC where loss or gradient is not finite; WB_ERR_INPUT, WB_ERR_MEMORY. */
wb_status wb_step_run(wb_trainer *trainer, wb_step_report *report);

/* Collective. What step trainer->done + 1 would do: its tokens, what of them is kept, memory.
 * Nothing is computed. Errors: WB_ERR_INPUT, WB_ERR_MEMORY. */
wb_status wb_step_plan(wb_trainer *trainer, wb_step_report *report);

#endif
