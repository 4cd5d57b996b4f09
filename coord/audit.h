/* Steps in which ranks look over each other's work: damage by a processor or its memory that is
 * still a plausible number.
 *
 * Every run.audit_every-th step
 *
 *   - all ranks compare sums of the representations that passed by each of them, whole or in
 *     windows, and of the rows' losses: contrast.c;
 *   - the rank after its owner reads one slot of the batch from the data and computes it again:
 *     its representations, and from the owner's gradients of these the gradients of parameters.
 *
 * Like processors make the same bits; where the ranks' are not alike no step is audited. In ordered
 * mode any slot may be drawn, in fast mode the first of a rank, since later ones are added to it.
 * The loss's own arithmetic and the reduction are not computed again.
 */
#ifndef WB_AUDIT_H
#define WB_AUDIT_H

#include "slot.h"
#include "trainer.h"

typedef struct wb_audit {
    bool due;
    int64_t number;       /* of the slot, in the batch */
    int owner, again;     /* ranks: who it belongs to, and who computes it again */
    const wb_slot *own;   /* on its owner, once it has been computed */
    uint64_t reps, grads; /* likewise: sums of what it has made */
} wb_audit;

/* Collective. Decides whether steps are audited at all: trainer->audits. Error: WB_ERR_MPI. */
wb_status wb_audit_open(wb_trainer *trainer);

/* Local. Whether step trainer->done + 1 is audited: the same on all ranks. */
bool wb_audit_is_due(const wb_trainer *trainer);

/* Local. Draws the slot by seed and step. has_rows [slots of the batch]. */
void wb_audit_draw(wb_audit *audit, const wb_trainer *trainer, const bool *has_rows);

/* Local. Around the backward pass of a slot of this rank: before it, which may encode the slot
 * again, and when grads [count] hold its gradients. `slot` is borrowed until wb_audit_run. */
void wb_audit_note_reps(wb_audit *audit, const wb_slot *slot, const wb_trainer *trainer);
void wb_audit_note_grads(wb_audit *audit, const wb_slot *slot, const float *grads, int64_t count);

/* Collective. Where it is due: computes the slot again and compares. Overwrites trainer->grads in
 * ordered mode; the chunk arena is free. Errors: WB_ERR_DIVERGED on all ranks, naming the two that
 * do not agree; WB_ERR_INPUT, WB_ERR_MEMORY. */
wb_status wb_audit_run(const wb_audit *audit, wb_trainer *trainer, const wb_batch_rows *batch);

/* Local. Bytes of the step arena that it takes. */
size_t wb_audit_bytes(const wb_trainer *trainer, bool ordered);

#endif
