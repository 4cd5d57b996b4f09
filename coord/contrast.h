/* From representations to their gradients: what ranks exchange for the loss, and the loss.
 *
 * The batch's vectors pass by every rank as one block where memory.gather holds them, else as
 * windows, one after the other and twice: with the same bits either way (infonce.h). */
#ifndef WB_CONTRAST_H
#define WB_CONTRAST_H

#include "audit.h"
#include "slot.h"
#include "trainer.h"

typedef struct wb_contrast_report {
    double loss;           /* mean over the B queries, nats; at several widths their weighted sum */
    int64_t filtered_rows; /* queries without a candidate left, at the last of the widths */
} wb_contrast_report;

/* Collective. Fills dreps and dlog_scale of this rank's slots, and of the audit's twin, from
 * everybody's reps. Where the audit is due, compares what the ranks have seen, and the twin's
 * losses. slots [count]   borrowed; B rows in the batch Errors: WB_ERR_NUMERIC, naming the query
 * whose loss is not finite; WB_ERR_DIVERGED; WB_ERR_MPI, WB_ERR_MEMORY. */
wb_status wb_contrast(wb_contrast_report *report, wb_trainer *trainer, wb_slot *slots,
                      int64_t count, int64_t B, const wb_audit *audit);

/* Local. Bytes of the step arena that it takes on a rank with at most n rows in `slots` slots. */
size_t wb_contrast_bytes(const wb_trainer *trainer, int64_t n, int64_t slots);

#endif
