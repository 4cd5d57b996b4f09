/* The step: gradient cache over ranks and chunks (Gao et al. 2021, arXiv 2101.06983).
 *
 * A step is five calls, each a paragraph below: read, encode, contrast, backward, update; between
 * the last two some are audited. What they hand on stands in `step`; all of it lives in the step
 * arena, tapes in the chunk arena.
 *
 * The batch is cut into slots (ordered_sum.h), runs of rows that depend on the batch alone; a rank
 * owns whole slots. Chunks, tiles of the loss and sums of gradients begin and end with slots, so
 * that every number of ranks computes the same values in the same order.
 */
#include "step.h"

#include "audit.h"
#include "chunk_plan.h"
#include "contrast.h"
#include "exchange.h"
#include "guide.h"
#include "units.h"

#include <math.h>
#include <string.h>

typedef struct step {
    wb_trainer *t;
    int64_t d;
    wb_batch_rows batch;
    wb_slot *slots; /* [slot_count], this rank's */
    int64_t slot_count;
    wb_chunk_plan *chunks; /* [slot_count] */
    wb_chunk_memory memory;
    bool *has_rows;          /* [slots of the batch] */
    int64_t gradient_floats; /* of a compact gradient */
    int64_t added;           /* slots of this rank that have added, or have failed to */
    wb_status travel;        /* of gradients that left before all were there */
    wb_audit audit;
} step;

/* First row of a slot of the batch. */
static int64_t slot_row(const step *s, int64_t number) {
    return wb_slot_row(s->batch.B, s->t->slot_total, number);
}

/* ---- Read: rows of this step, tokens of this rank's slots
 * -------------------------------------------- */

static wb_status take_tables(step *s) {
    wb_status status = WB_OK;
    wb_trainer *t = s->t;
    const int world = wb_comm_world(t->comm), rank = wb_comm_rank(t->comm);
    void *taken = NULL;
    s->slot_count =
        wb_slot_share(t->slot_total, rank + 1, world) - wb_slot_share(t->slot_total, rank, world);
    WB_TRY(wb_arena_take(t->step_arena, (size_t)s->slot_count * sizeof(wb_slot), &taken));
    s->slots = taken;
    memset(s->slots, 0, (size_t)s->slot_count * sizeof(wb_slot));
    WB_TRY(wb_arena_take(t->step_arena, (size_t)s->slot_count * sizeof(wb_chunk_plan), &taken));
    s->chunks = taken;
    WB_TRY(wb_arena_take(t->step_arena, (size_t)t->slot_total * sizeof(bool), &taken));
    s->has_rows = taken;
    for (int64_t i = 0; i < t->slot_total; i++) {
        s->has_rows[i] = slot_row(s, i + 1) > slot_row(s, i);
    }
done:
    return status;
}

static wb_status read_slots(step *s) {
    wb_status status = WB_OK;
    const wb_trainer *t = s->t;
    const int64_t first_slot =
        wb_slot_share(t->slot_total, wb_comm_rank(t->comm), wb_comm_world(t->comm));
    for (int64_t i = 0; i < s->slot_count; i++) {
        s->slots[i].number = first_slot + i;
        WB_TRY(wb_slot_read(&s->slots[i], t, &t->shape, &s->batch));
    }
done:
    return status;
}

static wb_status plan_chunks(step *s) {
    wb_status status = WB_OK;
    wb_trainer *t = s->t;
    void *taken = NULL;
    WB_TRY(wb_arena_take(t->step_arena, (size_t)s->slot_count * sizeof(wb_packed *), &taken));
    const wb_packed **packed = taken;
    for (int64_t i = 0; i < s->slot_count; i++) {
        packed[i] = &s->slots[i].batch.packed;
        WB_TRY(wb_chunk_plan_cut(&s->chunks[i], packed[i], wb_slot_chunk_tokens(t), t->step_arena));
    }
    WB_TRY(wb_chunk_plan_keep(s->chunks, packed, s->slot_count, t->model.encoder,
                              wb_arena_left(t->chunk_arena), &s->memory));
    for (int64_t i = 0; i < s->slot_count; i++) {
        WB_TRY(wb_arena_take(t->step_arena, (size_t)s->chunks[i].kept * sizeof(wb_tape *), &taken));
        s->slots[i].tapes = taken;
    }
done:
    return status;
}

static wb_status read_batch(step *s) {
    wb_status status = WB_OK;
    WB_TRY(wb_batch_plan_step(&s->batch, &s->t->plan, s->t->done));
    WB_TRY(take_tables(s));
    WB_TRY(read_slots(s));
    WB_TRY(plan_chunks(s));
    wb_audit_draw(&s->audit, s->t, s->has_rows);
done:
    return status;
}

static bool gradients_travel_early(const step *s) {
    return s->t->ordered && strcmp(s->t->config->reduce_overlap, "true") == 0;
}

static bool slot_has_rows(const step *s, int64_t i) {
    return s->has_rows[s->slots[i].number];
}

/* The slot whose backward pass comes last on this rank; -1 where none has rows. */
static int64_t last_slot(const step *s) {
    int64_t i = s->slot_count - 1;
    while (i >= 0 && !slot_has_rows(s, i)) {
        i--;
    }
    return i;
}

/* The sequences whose backward pass comes last: none where no slot has rows. */
static wb_packed last_chunk(const step *s) {
    static const int64_t nothing[] = {0};
    const int64_t i = last_slot(s);
    if (i < 0) {
        return (wb_packed){.offsets = nothing};
    }
    const wb_packed *packed = &s->slots[i].batch.packed;
    const int64_t first = s->chunks[i].firsts[s->chunks[i].chunks - 1];
    return wb_packed_slice(packed, first, packed->n - first);
}

/* Rows of the word table that any rank's tokens touch: they have gradients. */
static wb_status find_touched_rows(step *s) {
    wb_status status = WB_OK;
    wb_trainer *t = s->t;
    const int64_t V = t->model.folder.spec.vocabulary;
    void *marks = NULL;
    WB_TRY_ALL(t->comm, wb_arena_take(t->step_arena, (size_t)V, &marks));
    memset(marks, WB_ROW_UNTOUCHED, (size_t)V);
    for (int64_t i = 0; i < s->slot_count; i++) {
        wb_table_rows_mark(marks, &s->slots[i].batch.packed, WB_ROW_EARLY);
    }
    if (gradients_travel_early(s)) {
        const wb_packed last = last_chunk(s);
        wb_table_rows_mark(marks, &last, WB_ROW_LATE);
    }
    WB_TRY(wb_reduce_marks(t->comm, marks, V));
    wb_table_rows_number(&t->rows, t->places, marks, V, s->d);
    s->gradient_floats = wb_table_rows_elements(&t->rows, t->model.table.total);
done:
    return status;
}

/* ---- Encode: every chunk once, tapes of the first ones kept
 * ------------------------------------------- */

static wb_status encode(step *s) {
    wb_status status = WB_OK;
    for (int64_t i = 0; i < s->slot_count; i++) {
        const wb_slot *own = &s->slots[i];
        for (int64_t chunk = 0; chunk < s->chunks[i].chunks; chunk++) {
            wb_timetable_enter(&s->t->time, WB_PHASE_ENCODE);
            WB_TRY(wb_slot_encode(own, &s->chunks[i], chunk,
                                  chunk < s->chunks[i].kept ? &own->tapes[chunk] : NULL, s->t));
        }
    }
done:
    return status;
}

/* The guide reads the same texts; it learns nothing. */
static wb_status ask_guide(step *s) {
    wb_status status = WB_OK;
    for (int64_t i = 0; i < s->slot_count; i++) {
        WB_TRY(wb_guide_encode(&s->slots[i], s->t, &s->batch, wb_draw_of(s->t, s->batch.epoch)));
    }
done:
    return status;
}

/* ---- Backward: kept chunks straight away, the others encode again
 * ------------------------------------------ */

/* What the last slot has settled may leave. */
static void send_settled(void *context, int64_t from) {
    step *s = context;
    if (s->travel == WB_OK) {
        s->travel = wb_ordered_sum_settle(s->t->ordered, from);
    }
}

/* Where a slot's gradients are added: to an array of its own, or all to one where order does not
 * matter. */
static float *gradients_of(const step *s, int64_t i) {
    const wb_trainer *t = s->t;
    return t->ordered ? wb_ordered_sum_slot(t->ordered, s->slots[i].number) : t->grads;
}

/* What is audited has not left yet: no gradients of that step travel early. */
static wb_status backward_slots(step *s) {
    wb_status status = WB_OK;
    const wb_backward_listener sender = {.settled = send_settled, .context = s};
    const bool early = gradients_travel_early(s) && !s->audit.due;
    const int64_t travels = early ? last_slot(s) : -1;
    while (s->added < s->slot_count) {
        const int64_t i = s->added++;
        if (slot_has_rows(s, i)) {
            float *const grads = gradients_of(s, i);
            wb_audit_note_reps(&s->audit, &s->slots[i], s->t);
            WB_TRY(wb_slot_backward(&s->slots[i], &s->chunks[i], grads, s->t,
                                    i == travels ? &sender : NULL));
            wb_audit_note_grads(&s->audit, &s->slots[i], grads, s->gradient_floats);
            if (s->t->ordered) {
                wb_audit_add_to_sums(&s->audit, grads, s->gradient_floats);
            }
        }
    }
    if (!s->t->ordered) {
        wb_audit_add_to_sums(&s->audit, s->t->grads, s->gradient_floats);
    }
    status = s->travel;
done:
    return status;
}

static void clear(float *values, int64_t count) {
    enum { BLOCK = 1 << 16 };
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; i += BLOCK) {
        memset(values + i, 0, wb_float_bytes(count - i < BLOCK ? count - i : BLOCK));
    }
}

/* Collective. Also a rank that failed takes what the others have sent, and sends what they wait
 * for. */
static wb_status backward(step *s) {
    wb_status status = WB_OK;
    wb_trainer *t = s->t;
    wb_timetable_enter(&t->time, WB_PHASE_BACKWARD);
    if (t->ordered) {
        wb_ordered_sum_start(t->ordered, s->gradient_floats, t->rows.early * s->d, t->grads,
                             s->has_rows);
    } else {
        clear(t->grads, s->gradient_floats);
    }
    WB_TRY_ALL(t->comm, backward_slots(s));
done:
    if (status != WB_OK && status != WB_ERR_MPI && t->ordered) {
        for (; s->added < s->slot_count; s->added++) {
            if (slot_has_rows(s, s->added)) {
                (void)gradients_of(s, s->added);
            }
        }
        (void)wb_ordered_sum_finish(t->ordered);
    }
    return status;
}

/* ---- Update: one reduction, clip, optimizer
 * ---------------------------------------------------------------- */

/* Sums over ranks of what the report tells; with them all ranks learn whether each has a norm. */
static wb_status count(const step *s, wb_step_report *report) {
    wb_status status = WB_OK;
    const wb_encoder *encoder = s->t->model.encoder;
    double sums[5] = {[4] = isfinite(report->gradient_norm) ? 0.0 : 1.0};
    for (int64_t i = 0; i < s->slot_count; i++) {
        const wb_packed *all = &s->slots[i].batch.packed;
        const wb_packed kept = wb_packed_slice(all, 0, s->chunks[i].firsts[s->chunks[i].kept]);
        sums[0] += (double)wb_packed_tokens(all);
        sums[1] += (double)wb_packed_tokens(&kept);
        sums[2] += wb_encoder_flops(encoder, all);
        sums[3] += wb_encoder_flops(encoder, &kept);
    }
    WB_TRY(wb_reduce_sums(s->t->comm, sums, 5));
    WB_CHECK(sums[4] == 0.0, WB_ERR_NUMERIC, "step %lld: the gradient's norm is not finite",
             (long long)s->t->done + 1);
    report->tokens = (int64_t)sums[0];
    report->kept_tokens = (int64_t)sums[1];
    report->flops = 3.0 * sums[2];
    report->extra_flops = sums[2] - sums[3];
    report->gradient_floats = s->gradient_floats;
    report->memory = s->memory;
done:
    return status;
}

static wb_status update(step *s, wb_step_report *report) {
    wb_status status = WB_OK;
    wb_trainer *t = s->t;
    const wb_tensor_table *table = &t->model.table;
    wb_timetable_enter(&t->time, WB_PHASE_REDUCE);
    if (t->ordered) {
        WB_TRY(wb_ordered_sum_finish(t->ordered));
    } else {
        WB_TRY(wb_reduce_floats(t->comm, t->grads, s->gradient_floats));
    }
    wb_timetable_enter(&t->time, WB_PHASE_COMPARE);
    WB_TRY(wb_audit_check_sums(&s->audit, t, s->gradient_floats));
    wb_timetable_enter(&t->time, WB_PHASE_UPDATE);
    report->gradient_norm = wb_gradient_norm(t->grads, &t->rows, s->gradient_floats);
    report->rate = wb_optimizer_rate(&t->optimizer, t->done);
    WB_TRY(count(s, report));
    const double clip = t->config->optimizer_clip;
    const double scale =
        clip > 0.0 && report->gradient_norm > clip ? clip / report->gradient_norm : 1.0;
    report->temperature = wb_model_temperature(&t->model, t->config);
    wb_optimizer_update(&t->optimizer, t->model.params, t->state, t->grads, &t->rows, scale,
                        t->done, table);
    wb_model_clamp_temperature(&t->model);
    wb_encoder_convert(t->model.encoder, t->model.params);
done:
    return status;
}

static step begin(wb_trainer *t) {
    return (step){.t = t, .d = t->model.folder.spec.hidden};
}

wb_status wb_step_plan(wb_trainer *t, wb_step_report *report) {
    wb_status status = WB_OK;
    step s = begin(t);
    const size_t step_mark = wb_arena_mark(t->step_arena);
    *report = (wb_step_report){0};
    WB_TRY_ALL(t->comm, read_batch(&s));
    WB_TRY(find_touched_rows(&s));
    report->queries = s.batch.B;
    WB_TRY(count(&s, report));
done:
    wb_arena_release(t->step_arena, step_mark);
    return status;
}

wb_status wb_step_run(wb_trainer *t, wb_step_report *report) {
    wb_status status = WB_OK;
    step s = begin(t);
    const size_t step_mark = wb_arena_mark(t->step_arena);
    const size_t chunk_mark = wb_arena_mark(t->chunk_arena);
    wb_contrast_report contrast;
    *report = (wb_step_report){0};

    wb_timetable_enter(&t->time, WB_PHASE_READ);
    WB_TRY_ALL(t->comm, read_batch(&s));
    WB_TRY(find_touched_rows(&s));
    if (t->guide.encoder) {
        wb_timetable_enter(&t->time, WB_PHASE_GUIDE);
        WB_TRY_ALL(t->comm, ask_guide(&s));
    }
    wb_timetable_enter(&t->time, WB_PHASE_ENCODE);
    WB_TRY_ALL(t->comm, encode(&s));
    WB_TRY(wb_audit_prepare(&s.audit, t, s.slots, s.slot_count, s.batch.B, s.gradient_floats));
    WB_TRY(wb_contrast(&contrast, t, s.slots, s.slot_count, s.batch.B, &s.audit));
    report->queries = s.batch.B;
    report->loss = contrast.loss;
    report->filtered_rows = contrast.filtered_rows;
    WB_TRY(backward(&s));
    wb_arena_release(t->chunk_arena, chunk_mark);
    WB_TRY(wb_audit_run(&s.audit, t, &s.batch));
    WB_TRY(update(&s, report));
    t->done++;
done:
    wb_timetable_enter(&t->time, WB_PHASE_OTHER);
    wb_arena_release(t->chunk_arena, chunk_mark);
    wb_arena_release(t->step_arena, step_mark);
    return status;
}
