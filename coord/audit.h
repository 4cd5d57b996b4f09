/* Steps in which ranks look over each other's work: damage by a processor or its memory that is
 * still a plausible number.
 *
 * Every run.audit_every-th step
 *
 *   - all ranks compare sums of the representations that passed by each of them, whole or in
 *     windows, and of the rows' losses: contrast.c;
 *   - the rank after its owner computes one slot of the batch again: from its representations its
 *     rows' losses and the gradients of its representations, in the walks that its own slots make
 *     (contrast.c); from the data, which it reads, the representations, and from these with their
 *     gradients those of parameters.
 *
 *   - each rank checks the reduction: of every SUM_BLOCK gradients the sum in double must be that
 * of what the ranks have put in, but for what single precision rounds. That finds a wrong sign or
 *     exponent and the upper half of a mantissa, of what is not small beside its neighbours.
 *
 * Like processors make the same bits; where the ranks' are not alike no step is audited. In ordered
 * mode any slot may be drawn, in fast mode the first of a rank, since later ones are added to it.
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
    wb_slot *twin;        /* on who computes it again: the slot in the loss; elsewhere NULL */
    double *sums;         /* [2 blocks], of what this rank puts into the reduction: values, then
                             magnitudes; NULL where the step is not audited */
} wb_audit;

/* Collective. Decides whether steps are audited at all: trainer->audits. Error: WB_ERR_MPI. */
wb_status wb_audit_open(wb_trainer *trainer);

/* Local. Whether step trainer->done + 1 is audited, the same on all ranks; draws the slot by seed
 * and step. has_rows [slots of the batch]. */
void wb_audit_draw(wb_audit *audit, const wb_trainer *trainer, const bool *has_rows);

/* Collective. Where it is due: makes the twin, which has the owner's representations, of one of
 * `slots` [count], this rank's, and sums of `gradients` numbers, which are zeros; in the step
 * arena. Errors: WB_ERR_MPI, WB_ERR_MEMORY. */
wb_status wb_audit_prepare(wb_audit *audit, const wb_trainer *trainer, const wb_slot *slots,
                           int64_t count, int64_t B, int64_t gradients);

/* Local. What to say where the two ranks have found different things. Returns WB_ERR_DIVERGED. */
wb_status wb_audit_disagree(const wb_audit *audit, const wb_trainer *trainer, const char *what);

/* Local. Around the backward pass of a slot of this rank: before it, which may encode the slot
 * again, and when grads [count] hold its gradients. `slot` is borrowed until wb_audit_run. */
void wb_audit_note_reps(wb_audit *audit, const wb_slot *slot, const wb_trainer *trainer);
void wb_audit_note_grads(wb_audit *audit, const wb_slot *slot, const float *grads, int64_t count);

/* Local. Where it is due: adds gradients [count] that this rank puts into the reduction. */
void wb_audit_add_to_sums(wb_audit *audit, const float *grads, int64_t count);

/* Collective. Where it is due: compares trainer->grads [count], which have been reduced, with the
 * sums of all ranks. Errors: WB_ERR_DIVERGED on all ranks, naming one that found a difference. */
wb_status wb_audit_check_sums(const wb_audit *audit, const wb_trainer *trainer, int64_t count);

/* Collective. Where it is due: computes the slot again and compares. Overwrites trainer->grads in
 * ordered mode; the chunk arena is free. Errors: WB_ERR_DIVERGED on all ranks, naming the two that
 * do not agree; WB_ERR_INPUT, WB_ERR_MEMORY. */
wb_status wb_audit_run(const wb_audit *audit, wb_trainer *trainer, const wb_batch_rows *batch);

/* Local. Bytes of the step arena that wb_audit_prepare takes, and wb_audit_run beside them, which
 * in fast mode holds gradients of the slot: gradient_floats of them, 0 in ordered mode. */
size_t wb_audit_prepared_bytes(const wb_trainer *trainer);
size_t wb_audit_bytes(const wb_trainer *trainer, int64_t gradient_floats);

#endif
