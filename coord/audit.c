/* Computing a neighbour's slot again. */
#include "audit.h"

#include "exchange.h"
#include "hash.h"
#include "log.h"
#include "machine.h"
#include "rng.h"
#include "units.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { SUM_BLOCK = 256 };

/* What the owner has made of the slot. */
typedef struct claim {
    uint64_t reps, grads; /* sums */
    double dlog_scale;
} claim;

static int64_t blocks_of(int64_t count) {
    return (count + SUM_BLOCK - 1) / SUM_BLOCK;
}

/* ---- Which steps, which slot
 * ------------------------------------------------------------------------- */

wb_status wb_audit_open(wb_trainer *t) {
    wb_status status = WB_OK;
    const int kind = (int)(wb_machine_kind() & 0x3fffffff);
    int most = kind, least = -kind;
    t->audits = false;
    if (t->config->run_audit_every == 0 || wb_comm_world(t->comm) == 1) {
        goto done;
    }
    WB_TRY(wb_agree_most(t->comm, WB_OK, &most));
    WB_TRY(wb_agree_most(t->comm, WB_OK, &least));
    t->audits = most == -least;
    if (!t->audits) {
        wb_log(WB_LOG_RUN,
               "NOTE: ranks have unlike processors, which may make unlike bits: no steps "
               "are audited (run.audit_every)");
    }
done:
    return status;
}

static bool is_due(const wb_trainer *t) {
    return t->audits && (t->done + 1) % t->config->run_audit_every == 0;
}

/* The rank that owns a slot. */
static int owner_of(const wb_trainer *t, int64_t number) {
    const int world = wb_comm_world(t->comm);
    int rank = 0;
    while (wb_slot_share(t->slot_total, rank + 1, world) <= number) {
        rank++;
    }
    return rank;
}

/* The n-th slot that has rows, from `first` on. */
static int64_t with_rows(const bool *has_rows, int64_t first, int64_t n) {
    int64_t number = first;
    while (!has_rows[number] || n-- > 0) {
        number++;
    }
    return number;
}

void wb_audit_draw(wb_audit *a, const wb_trainer *t, const bool *has_rows) {
    const int world = wb_comm_world(t->comm);
    int64_t count = 0;
    *a = (wb_audit){.due = is_due(t), .number = -1};
    if (!a->due) {
        return;
    }
    for (int64_t i = 0; i < t->slot_total; i++) {
        count += has_rows[i] ? 1 : 0;
    }
    const wb_rng_key key = {.seed = (uint64_t)t->config->run_seed,
                            .step = (uint32_t)t->done,
                            .site = wb_rng_site(WB_RNG_AUDIT, 0)};
    const int64_t drawn = (int64_t)wb_rng_below((uint64_t)count, key, 0);
    a->number = with_rows(has_rows, 0, drawn);
    a->owner = owner_of(t, a->number);
    a->again = (a->owner + 1) % world;
    if (!t->ordered) {
        a->number = with_rows(has_rows, wb_slot_share(t->slot_total, a->owner, world), 0);
    }
}

static size_t bytes_of_reps(const wb_slot *slot, const wb_trainer *t) {
    return wb_float_bytes(slot->batch.packed.n * t->model.folder.spec.hidden);
}

void wb_audit_note_reps(wb_audit *a, const wb_slot *slot, const wb_trainer *t) {
    if (a->due && slot->number == a->number) {
        a->own = slot;
        a->reps = wb_hash(slot->reps, bytes_of_reps(slot, t));
    }
}

void wb_audit_note_grads(wb_audit *a, const wb_slot *slot, const float *grads, int64_t count) {
    if (slot == a->own) {
        a->grads = wb_hash(grads, wb_float_bytes(count));
    }
}

/* ---- Before the loss: the slot's twin, room for sums
 * -------------------------------------------------------------------- */

static int64_t guide_width(const wb_trainer *t) {
    return wb_loss_of(t).guide_width;
}

size_t wb_audit_prepared_bytes(const wb_trainer *t) {
    const int64_t sequences = wb_slot_most_sequences(t);
    const size_t slack = 4096; /* rounding */
    return wb_float_bytes(sequences * (2 * t->model.folder.spec.hidden + guide_width(t))) +
           2 * (size_t)blocks_of(t->model.table.total) * sizeof(double) + sizeof(wb_slot) + slack;
}

static wb_status take_twin(wb_audit *a, const wb_trainer *t, int64_t B) {
    wb_status status = WB_OK;
    const int64_t first = wb_slot_row(B, t->slot_total, a->number);
    const int64_t n = wb_slot_row(B, t->slot_total, a->number + 1) - first;
    const int64_t sequences = n * (1 + t->shape.group), d = t->model.folder.spec.hidden;
    void *taken = NULL;
    WB_TRY(wb_arena_take(t->step_arena, sizeof(wb_slot), &taken));
    wb_slot *twin = taken;
    *twin = (wb_slot){
        .number = a->number,
        .batch = {.first = first, .n = n, .group = t->shape.group, .packed = {.n = sequences}}};
    WB_TRY(wb_arena_floats(t->step_arena, sequences * d, &twin->reps));
    WB_TRY(wb_arena_floats(t->step_arena, sequences * d, &twin->dreps));
    if (guide_width(t) > 0) {
        WB_TRY(wb_arena_floats(t->step_arena, sequences * guide_width(t), &twin->guide_reps));
    }
    a->twin = twin;
done:
    return status;
}

static wb_status take_sums(wb_audit *a, const wb_trainer *t, int64_t gradients) {
    wb_status status = WB_OK;
    const size_t bytes = 2 * (size_t)blocks_of(gradients) * sizeof(double);
    void *taken = NULL;
    WB_TRY(wb_arena_take(t->step_arena, bytes, &taken));
    memset(taken, 0, bytes);
    a->sums = taken;
done:
    return status;
}

wb_status wb_audit_prepare(wb_audit *a, const wb_trainer *t, const wb_slot *slots, int64_t count,
                           int64_t B, int64_t gradients) {
    wb_status status = WB_OK;
    const bool computes = a->due && wb_comm_rank(t->comm) == a->again;
    wb_slot none = {0};
    const wb_slot *from = &none;
    if (!a->due) {
        return WB_OK;
    }
    WB_TRY_ALL(t->comm, take_sums(a, t, gradients));
    WB_TRY_ALL(t->comm, computes ? take_twin(a, t, B) : WB_OK);
    for (int64_t i = 0; i < count; i++) {
        from = slots[i].number == a->number ? &slots[i] : from;
    }
    from = computes ? a->twin : from;
    WB_TRY(wb_hand_over(t->comm, a->owner, a->again, from->reps, (int64_t)bytes_of_reps(from, t)));
    if (guide_width(t) > 0) {
        WB_TRY(wb_hand_over(t->comm, a->owner, a->again, from->guide_reps,
                            (int64_t)wb_float_bytes(from->batch.packed.n * guide_width(t))));
    }
done:
    return status;
}

/* ---- Once more
 * --------------------------------------------------------------------------------------- */

size_t wb_audit_bytes(const wb_trainer *t, int64_t gradient_floats) {
    const int64_t sequences = wb_slot_most_sequences(t);
    const size_t slack = 4096; /* rounding */
    return wb_batch_bytes(&t->shape, wb_slot_most_rows(t)) +
           2 * wb_float_bytes(sequences * t->model.folder.spec.hidden) +
           (size_t)(sequences + 1) * sizeof(int64_t) + slack + wb_float_bytes(gradient_floats);
}

/* From the texts themselves, not from tokens that were kept. */
static wb_status read_again(wb_slot *slot, wb_chunk_plan *chunks, wb_trainer *t,
                            const wb_batch_rows *batch) {
    wb_status status = WB_OK;
    wb_batch_shape shape = t->shape;
    shape.cache = NULL;
    shape.positives = 0;
    WB_TRY(wb_slot_read(slot, t, &shape, batch));
    WB_TRY(wb_chunk_plan_cut(chunks, &slot->batch.packed, wb_slot_chunk_tokens(t), t->step_arena));
done:
    return status;
}

wb_status wb_audit_disagree(const wb_audit *a, const wb_trainer *t, const char *what) {
    return WB_ERROR(WB_ERR_DIVERGED,
                    "step %lld: rank %d has other %s of slot %lld of the batch than rank %d, which "
                    "computed them again on host %s; a processor or memory of one of the two is to "
                    "be doubted: test their nodes, or run on others; the same command continues "
                    "from the last checkpoint (run.audit_every=0: without this look)",
                    (long long)t->done + 1, a->owner, what, (long long)a->number, a->again,
                    wb_host().text);
}

/* The slot keeps nothing: its backward pass encodes it first. */
static wb_status compute_again(const wb_audit *a, wb_slot *slot, const wb_chunk_plan *chunks,
                               const claim *theirs, wb_trainer *t) {
    wb_status status = WB_OK;
    const int64_t total = wb_table_rows_elements(&t->rows, t->model.table.total);
    float *grads = t->grads;
    if (!t->ordered) {
        WB_TRY(wb_arena_floats(t->step_arena, total, &grads));
    }
    if (memcmp(a->twin->dreps, slot->dreps, bytes_of_reps(slot, t)) != 0 ||
        a->twin->dlog_scale != theirs->dlog_scale) {
        status = wb_audit_disagree(a, t, "gradients of representations");
        goto done;
    }
    memset(grads, 0, wb_float_bytes(total));
    slot->dlog_scale = theirs->dlog_scale;
    WB_TRY(wb_slot_backward(slot, chunks, grads, t, NULL));
    wb_timetable_enter(&t->time, WB_PHASE_COMPARE);
    if (wb_hash(slot->reps, bytes_of_reps(slot, t)) != theirs->reps) {
        status = wb_audit_disagree(a, t, "representations");
    } else if (wb_hash(grads, wb_float_bytes(total)) != theirs->grads) {
        status = wb_audit_disagree(a, t, "gradients");
    }
done:
    return status;
}

wb_status wb_audit_run(const wb_audit *a, wb_trainer *t, const wb_batch_rows *batch) {
    wb_status status = WB_OK;
    const size_t mark = wb_arena_mark(t->step_arena);
    const bool computes = wb_comm_rank(t->comm) == a->again;
    wb_slot slot = {.number = a->number};
    wb_chunk_plan chunks = {0};
    claim theirs = {0};
    if (!a->due) {
        return WB_OK;
    }
    wb_timetable_enter(&t->time, WB_PHASE_COMPARE);
    if (a->own) {
        slot = *a->own;
        theirs = (claim){.reps = a->reps, .grads = a->grads, .dlog_scale = slot.dlog_scale};
    }
    WB_TRY_ALL(t->comm, computes ? read_again(&slot, &chunks, t, batch) : WB_OK);
    WB_TRY(wb_hand_over(t->comm, a->owner, a->again, &theirs, sizeof(theirs)));
    WB_TRY(wb_hand_over(t->comm, a->owner, a->again, slot.dreps, (int64_t)bytes_of_reps(&slot, t)));
    WB_TRY_ALL(t->comm, computes ? compute_again(a, &slot, &chunks, &theirs, t) : WB_OK);
done:
    wb_arena_release(t->step_arena, mark);
    return status;
}

/* ---- The reduction
 * ----------------------------------------------------------------------------------- */

/* Of one block. */
static void sum_block(double *sum, double *magnitude, const float *grads, int64_t block,
                      int64_t count) {
    const int64_t begin = block * SUM_BLOCK, left = count - begin;
    const int64_t end = begin + (left < SUM_BLOCK ? left : SUM_BLOCK);
    double values = 0.0, magnitudes = 0.0;
#pragma omp simd reduction(+ : values, magnitudes)
    for (int64_t i = begin; i < end; i++) {
        values += (double)grads[i];
        magnitudes += fabs((double)grads[i]);
    }
    *sum = values;
    *magnitude = magnitudes;
}

void wb_audit_add_to_sums(wb_audit *a, const float *grads, int64_t count) {
    const int64_t blocks = a->sums ? blocks_of(count) : 0;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < blocks; i++) {
        double sum, magnitude;
        sum_block(&sum, &magnitude, grads, i, count);
        a->sums[i] += sum;
        a->sums[blocks + i] += magnitude;
    }
}

/* That a summand goes through. */
static double most_additions(const wb_trainer *t) {
    return t->ordered ? log2((double)t->slot_total) : (double)(wb_comm_world(t->comm) - 1);
}

/* The first block whose sum is not what it should be; -1 where all are. What is not finite is
 * found by the norm. Each addition rounds by half a unit in the last place at most. */
static int64_t find_wrong_block(const wb_audit *a, const wb_trainer *t, int64_t count) {
    const int64_t blocks = blocks_of(count);
    const double additions = most_additions(t) + 1.0;
    int64_t wrong = blocks;
#pragma omp parallel for schedule(static) reduction(min : wrong)
    for (int64_t i = 0; i < blocks; i++) {
        double sum, magnitude;
        sum_block(&sum, &magnitude, t->grads, i, count);
        const double off = fabs(sum - a->sums[i]);
        const double rounding = additions * (double)FLT_EPSILON * 0.5 * a->sums[blocks + i];
        if (isfinite(off) && off > rounding + (double)FLT_MIN * additions * SUM_BLOCK) {
            wrong = i < wrong ? i : wrong;
        }
    }
    return wrong < blocks ? wrong : -1;
}

static wb_status check_blocks(const wb_audit *a, const wb_trainer *t, int64_t count) {
    const int64_t wrong = find_wrong_block(a, t, count);
    return wrong < 0
               ? WB_OK
               : WB_ERROR(WB_ERR_DIVERGED,
                          "step %lld: rank %d on host %s has gradients, from number %lld on, that "
                          "are not the sum of what the ranks have put in; a processor, memory or "
                          "network is to be doubted: test the nodes, or run on others; the same "
                          "command continues from the last checkpoint (run.audit_every=0: without "
                          "this look)",
                          (long long)t->done + 1, wb_comm_rank(t->comm), wb_host().text,
                          (long long)(wrong * SUM_BLOCK));
}

wb_status wb_audit_check_sums(const wb_audit *a, const wb_trainer *t, int64_t count) {
    wb_status status = WB_OK;
    if (a->sums) {
        WB_TRY(wb_reduce_sums(t->comm, a->sums, wb_int(2 * blocks_of(count))));
        WB_TRY_ALL(t->comm, check_blocks(a, t, count));
    }
done:
    return status;
}
