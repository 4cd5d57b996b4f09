/* Which rows of the data make up a step.
 *
 * The global batch of a step is a function of (seed, step, batch.size, data) and of nothing else.
 * Rows are shuffled anew each epoch and cut into batches; what fills no batch waits for the next
 * shuffle, or makes a smaller batch where tails are kept.
 *
 * Without duplicates no text stands twice among the queries and positives of a batch. Rows are
 * taken in the shuffled order, and each goes to the first batch that is not full and comes after
 * all batches that have one of its texts: one look at each text, and batches only ever fill up. So
 * a text that many rows share is spread over as many batches; rows that come too late for the last
 * full batch wait, and the steps of an epoch may be fewer. */
#ifndef WB_BATCH_PLAN_H
#define WB_BATCH_PLAN_H

#include "row_texts.h"

/* What a plan is made from. */
typedef struct wb_batch_rule {
    uint64_t seed;
    int64_t rows; /* training rows in the data */
    int64_t size; /* B */
    bool keeps_tails;
    const wb_row_texts *texts; /* borrowed; NULL: duplicates may meet */
} wb_batch_rule;

typedef struct wb_batch_plan {
    wb_batch_rule rule;
    int64_t epoch;   /* whose order is held, -1 before the first */
    int64_t *order;  /* [rows], batches one after the other, then the rows that wait */
    int64_t *firsts; /* [steps + 1], of its batches in `order` */
    int64_t steps;   /* batches of that epoch */
    int64_t *ends;   /* [known], steps of all epochs up to and with each */
    int64_t known, capacity;
    int64_t *places; /* scratch of arranging, NULL without texts */
} wb_batch_plan;

/* The batch of one step. */
typedef struct wb_batch_rows {
    const int64_t *rows; /* [B], in the order of the batch; borrowed until the next call */
    int64_t B, epoch;
} wb_batch_rows;

/* Local. Errors: WB_ERR_CONFIG where the data has fewer rows than a batch, or no batch without
 * duplicates; WB_ERR_MEMORY. */
wb_status wb_batch_plan_create(wb_batch_plan *plan, const wb_batch_rule *rule);
void wb_batch_plan_destroy(wb_batch_plan *plan);

/* Local. The batch of a step, counted over all epochs. Errors: as of wb_batch_plan_create. */
wb_status wb_batch_plan_step(wb_batch_rows *batch, wb_batch_plan *plan, int64_t step);

/* Local. Steps of the first `epochs` epochs. Errors: as of wb_batch_plan_create. */
wb_status wb_batch_plan_steps(int64_t *steps, wb_batch_plan *plan, int64_t epochs);

/* Local. Rows of the epoch held that wait for the next shuffle. */
int64_t wb_batch_plan_waiting(const wb_batch_plan *plan);

#endif
