/* The step: gradient cache over ranks and chunks (Gao et al. 2021, arXiv 2101.06983).
 *
 * A step is five calls, each a paragraph below: read, encode, contrast, backward, update. What they
 * hand on stands in `step`; all of it lives in the step arena, tapes in the chunk arena.
 *
 * The batch is cut into slots (ordered_sum.h), runs of rows that depend on the batch alone; a rank
 * owns whole slots. Chunks, tiles of the loss and sums of gradients begin and end with slots, so
 * that every number of ranks computes the same values in the same order.
 */
#include "step.h"

#include "chunk_plan.h"
#include "exchange.h"
#include "infonce.h"
#include "known_passages.h"
#include "matryoshka.h"
#include "units.h"

#include <math.h>
#include <string.h>

/* A run of the batch's rows. */
typedef struct slot {
    int64_t number; /* in the batch */
    wb_batch batch;
    wb_tape **tapes;   /* [chunks kept] */
    float *reps;       /* [n (1 + group), d], its queries, then their passages */
    float *dreps;      /* likewise: the cached gradients */
    double dlog_scale; /* its rows' part of the derivative by log(1 / temperature) */
    float *dnarrow;    /* likewise, of the first components only; NULL without loss.widths */
} slot;

typedef struct step {
    wb_trainer *t;
    wb_pass pass;
    int64_t B, group, d;
    slot *slots; /* [slot_count], this rank's */
    int64_t slot_count;
    wb_chunk_plan *chunks; /* [slot_count] */
    wb_chunk_memory memory;
    bool *has_rows;          /* [slots of the batch] */
    int64_t *query_firsts;   /* [K + 1], first query of each rank */
    int64_t *passage_firsts; /* [K + 1] */
    float *queries;          /* [B, d], of all ranks */
    float *passages;         /* [B group, d], of all ranks */
    uint64_t *query_keys;    /* [B], of all ranks, where the loss asks for them */
    uint64_t *passage_keys;  /* [B group] */
    float *narrow;           /* [B (1 + group), d], first components of queries and passages */
    float *norms;            /* [B (1 + group)], theirs */
    wb_infonce_batch all;    /* the loss's view of these */
    wb_infonce_row *rows;    /* [B], of all ranks */
} step;

/* First row of a slot of the batch. */
static int64_t slot_row(const step *s, int64_t number) {
    return (int64_t)((__int128)s->B * number / s->t->slot_total);
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
    WB_TRY(wb_arena_take(t->step_arena, (size_t)s->slot_count * sizeof(slot), &taken));
    s->slots = taken;
    memset(s->slots, 0, (size_t)s->slot_count * sizeof(slot));
    WB_TRY(wb_arena_take(t->step_arena, (size_t)s->slot_count * sizeof(wb_chunk_plan), &taken));
    s->chunks = taken;
    WB_TRY(wb_arena_take(t->step_arena, (size_t)t->slot_total * sizeof(bool), &taken));
    s->has_rows = taken;
    for (int64_t i = 0; i < t->slot_total; i++) {
        s->has_rows[i] = slot_row(s, i + 1) > slot_row(s, i);
    }
    WB_TRY(wb_arena_int64s(t->step_arena, world + 1, &s->query_firsts));
    WB_TRY(wb_arena_int64s(t->step_arena, world + 1, &s->passage_firsts));
    for (int r = 0; r <= world; r++) {
        s->query_firsts[r] = slot_row(s, wb_slot_share(t->slot_total, r, world));
        s->passage_firsts[r] = s->query_firsts[r] * s->group;
    }
    WB_TRY(wb_arena_floats(t->step_arena, s->B * s->d, &s->queries));
    WB_TRY(wb_arena_floats(t->step_arena, s->B * s->group * s->d, &s->passages));
    if (t->widths.count > 0) {
        WB_TRY(wb_arena_floats(t->step_arena, s->B * (1 + s->group) * s->d, &s->narrow));
        WB_TRY(wb_arena_floats(t->step_arena, s->B * (1 + s->group), &s->norms));
    }
    WB_TRY(wb_arena_take(t->step_arena, (size_t)s->B * sizeof(uint64_t), &taken));
    s->query_keys = taken;
    WB_TRY(wb_arena_take(t->step_arena, (size_t)(s->B * s->group) * sizeof(uint64_t), &taken));
    s->passage_keys = taken;
    WB_TRY(wb_arena_take(t->step_arena, (size_t)s->B * sizeof(*s->rows), &taken));
    s->rows = taken;
done:
    return status;
}

static wb_status read_slots(step *s) {
    wb_status status = WB_OK;
    wb_trainer *t = s->t;
    const int64_t first_slot =
        wb_slot_share(t->slot_total, wb_comm_rank(t->comm), wb_comm_world(t->comm));
    int64_t epoch;
    const int64_t *rows = wb_batch_plan_rows(&t->plan, t->done, &epoch);
    for (int64_t i = 0; i < s->slot_count; i++) {
        slot *own = &s->slots[i];
        own->number = first_slot + i;
        const int64_t first = slot_row(s, own->number), n = slot_row(s, own->number + 1) - first;
        WB_TRY(wb_batch_read(&own->batch, t->data, &t->model, &t->shape, rows + first, epoch, s->B,
                             first, n, t->step_arena));
        WB_TRY(wb_arena_floats(t->step_arena, own->batch.packed.n * s->d, &own->reps));
        WB_TRY(wb_arena_floats(t->step_arena, own->batch.packed.n * s->d, &own->dreps));
        if (t->widths.count > 0) {
            WB_TRY(wb_arena_floats(t->step_arena, own->batch.packed.n * s->d, &own->dnarrow));
        }
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
        WB_TRY(wb_chunk_plan_cut(&s->chunks[i], packed[i], t->config->memory_chunk_tokens,
                                 t->step_arena));
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
    WB_TRY(take_tables(s));
    WB_TRY(read_slots(s));
    WB_TRY(plan_chunks(s));
done:
    return status;
}

/* ---- Encode: every chunk once, tapes of the first ones kept
 * ------------------------------------------- */

static wb_status encode_chunk(step *s, int64_t i, int64_t chunk, wb_tape **tape) {
    wb_trainer *t = s->t;
    const slot *own = &s->slots[i];
    const int64_t first = s->chunks[i].firsts[chunk];
    const wb_packed part =
        wb_packed_slice(&own->batch.packed, first, s->chunks[i].firsts[chunk + 1] - first);
    return wb_encoder_forward(t->model.encoder, own->reps + first * s->d, tape, t->model.params,
                              &part, own->batch.examples + first, &s->pass, t->chunk_arena);
}

static wb_status encode(step *s) {
    wb_status status = WB_OK;
    for (int64_t i = 0; i < s->slot_count; i++) {
        const slot *own = &s->slots[i];
        const int64_t n = own->batch.n, first = own->batch.first;
        for (int64_t chunk = 0; chunk < s->chunks[i].chunks; chunk++) {
            wb_timetable_enter(&s->t->time, WB_PHASE_ENCODE);
            WB_TRY(
                encode_chunk(s, i, chunk, chunk < s->chunks[i].kept ? &own->tapes[chunk] : NULL));
        }
        memcpy(s->queries + first * s->d, own->reps, wb_float_bytes(n * s->d));
        memcpy(s->passages + first * s->group * s->d, own->reps + n * s->d,
               wb_float_bytes(n * s->group * s->d));
    }
done:
    return status;
}

/* ---- Contrast: representations of all ranks, loss, gradients of this rank's
 * ---------------------------- */

/* Text keys of this rank's rows go to their places among all. */
static void place_keys(step *s) {
    for (int64_t i = 0; i < s->slot_count; i++) {
        const wb_batch *batch = &s->slots[i].batch;
        for (int64_t row = 0; row < batch->n; row++) {
            const uint64_t *keys = batch->keys + row * (1 + s->group);
            s->query_keys[batch->first + row] = keys[0];
            memcpy(s->passage_keys + (batch->first + row) * s->group, keys + 1,
                   (size_t)s->group * sizeof(*keys));
        }
    }
}

static wb_status find_known(step *s) {
    wb_status status = WB_OK;
    wb_trainer *t = s->t;
    wb_known_passages found = {0};
    void *taken = NULL;
    WB_TRY_ALL(t->comm,
               wb_arena_take(t->step_arena, (size_t)s->slot_count * sizeof(wb_batch *), &taken));
    const wb_batch **own = taken;
    for (int64_t i = 0; i < s->slot_count; i++) {
        own[i] = &s->slots[i].batch;
    }
    WB_TRY(wb_known_passages_find(&found, t->comm, own, s->slot_count, s->passage_keys,
                                  s->query_firsts, t->shape.positives, t->step_arena));
    s->all.known_firsts = found.firsts;
    s->all.known = found.known;
done:
    return status;
}

/* Representations, and where the loss asks for them text keys, of all ranks. */
static wb_status gather(step *s) {
    wb_status status = WB_OK;
    wb_trainer *t = s->t;
    const bool masks = strcmp(t->config->loss_duplicates, "mask") == 0;
    const size_t row = wb_float_bytes(s->d), key = sizeof(*s->query_keys);
    WB_TRY(wb_gather_rows(t->comm, s->queries, NULL, s->query_firsts, row));
    WB_TRY(wb_gather_rows(t->comm, s->passages, NULL, s->passage_firsts, row));
    s->all = (wb_infonce_batch){.q = s->queries, .p = s->passages};
    if (masks || t->shape.positives > 0) {
        place_keys(s);
        WB_TRY(wb_gather_rows(t->comm, s->query_keys, NULL, s->query_firsts, key));
        WB_TRY(wb_gather_rows(t->comm, s->passage_keys, NULL, s->passage_firsts, key));
    }
    if (masks) {
        s->all.query_keys = s->query_keys;
        s->all.passage_keys = s->passage_keys;
    }
    if (t->shape.positives > 0) {
        WB_TRY(find_known(s));
    }
done:
    return status;
}

static float *gradients_of(const slot *own) {
    return own->dnarrow ? own->dnarrow : own->dreps;
}

static wb_status contrast_rows(step *s, const wb_infonce *loss) {
    wb_status status = WB_OK;
    for (int64_t i = 0; i < s->slot_count; i++) {
        const wb_batch *batch = &s->slots[i].batch;
        float *dq = gradients_of(&s->slots[i]);
        WB_TRY(wb_infonce_rows(s->rows + batch->first, dq, dq + batch->n * loss->width, &s->all,
                               batch->first, batch->n, loss, s->t->step_arena));
    }
done:
    return status;
}

static wb_status contrast_columns(step *s, const wb_infonce *loss) {
    wb_status status = WB_OK;
    for (int64_t i = 0; i < s->slot_count; i++) {
        const wb_batch *batch = &s->slots[i].batch;
        float *dq = gradients_of(&s->slots[i]);
        WB_TRY(wb_infonce_columns(dq, dq + batch->n * loss->width, s->rows, &s->all, batch->first,
                                  batch->n, loss, s->t->step_arena));
    }
done:
    return status;
}

/* Both walks at one width; the loss is added up in the order of the batch. */
static wb_status contrast_once(step *s, const wb_infonce *loss, double weight, double *total) {
    wb_status status = WB_OK;
    wb_trainer *t = s->t;
    WB_TRY_ALL(t->comm, contrast_rows(s, loss));
    WB_TRY(wb_gather_rows(t->comm, s->rows, NULL, s->query_firsts, sizeof(*s->rows)));
    WB_TRY_ALL(t->comm, contrast_columns(s, loss));
    for (int64_t row = 0; row < s->B; row++) {
        *total += weight * (double)s->rows[row].loss / (double)s->B;
    }
    for (int64_t i = 0; i < s->slot_count; i++) {
        slot *own = &s->slots[i];
        for (int64_t row = own->batch.first; row < own->batch.first + own->batch.n; row++) {
            own->dlog_scale += weight * (double)s->rows[row].slope / (double)s->B;
        }
    }
done:
    return status;
}

/* The loss of all first components, then the gradient back to the whole width. */
static wb_status contrast_width(step *s, int64_t width, double weight, double *total) {
    wb_status status = WB_OK;
    const int64_t d = s->d, B = s->B, group = s->group;
    wb_infonce loss = wb_loss_of(s->t);
    float *norms = s->t->model.folder.spec.normalize ? s->norms : NULL;
    float *queries = s->narrow, *passages = s->narrow + B * width;
    loss.width = width;
    wb_matryoshka_forward(queries, norms, s->queries, B, d, width);
    wb_matryoshka_forward(passages, norms ? norms + B : NULL, s->passages, B * group, d, width);
    s->all.q = queries;
    s->all.p = passages;
    WB_TRY(contrast_once(s, &loss, weight, total));
    for (int64_t i = 0; i < s->slot_count; i++) {
        const slot *own = &s->slots[i];
        const int64_t n = own->batch.n, first = own->batch.first;
        wb_matryoshka_backward(own->dreps, own->dnarrow, queries + first * width,
                               norms ? norms + first : NULL, n, d, width, weight);
        wb_matryoshka_backward(
            own->dreps + n * d, own->dnarrow + n * width, passages + first * group * width,
            norms ? norms + B + first * group : NULL, n * group, d, width, weight);
    }
done:
    return status;
}

static wb_status contrast(step *s, double *loss_value) {
    wb_status status = WB_OK;
    wb_trainer *t = s->t;
    const wb_infonce loss = wb_loss_of(t);
    wb_timetable_enter(&t->time, WB_PHASE_GATHER);
    WB_TRY(gather(s));
    wb_timetable_enter(&t->time, WB_PHASE_LOSS);
    *loss_value = 0.0;
    if (t->widths.count == 0) {
        WB_TRY(contrast_once(s, &loss, 1.0, loss_value));
    }
    for (int64_t i = 0; i < s->slot_count && t->widths.count > 0; i++) {
        memset(s->slots[i].dreps, 0, wb_float_bytes(s->slots[i].batch.packed.n * s->d));
    }
    for (int64_t k = 0; k < t->widths.count; k++) {
        WB_TRY(contrast_width(s, t->widths.widths[k], t->widths.weights[k], loss_value));
    }
done:
    return status;
}

/* ---- Backward: kept chunks straight away, the others encode again
 * ------------------------------------------ */

static wb_status backward_slot(step *s, int64_t i, float *grads) {
    wb_status status = WB_OK;
    wb_trainer *t = s->t;
    const slot *own = &s->slots[i];
    if (t->model.log_scale) {
        grads[t->model.log_scale - t->model.params] += (float)own->dlog_scale;
    }
    for (int64_t chunk = 0; chunk < s->chunks[i].chunks; chunk++) {
        const size_t mark = wb_arena_mark(t->chunk_arena);
        wb_tape *tape = NULL;
        if (chunk < s->chunks[i].kept) {
            tape = own->tapes[chunk];
        } else {
            wb_timetable_enter(&t->time, WB_PHASE_ENCODE_AGAIN);
            WB_TRY(encode_chunk(s, i, chunk, &tape));
        }
        wb_timetable_enter(&t->time, WB_PHASE_BACKWARD);
        WB_TRY(wb_encoder_backward(t->model.encoder, grads, t->model.params, tape,
                                   own->dreps + s->chunks[i].firsts[chunk] * s->d, t->chunk_arena));
        wb_arena_release(t->chunk_arena, mark);
    }
done:
    return status;
}

/* Each slot adds to an array of its own, or all to one where order does not matter. */
static wb_status backward(step *s) {
    wb_status status = WB_OK;
    wb_trainer *t = s->t;
    wb_timetable_enter(&t->time, WB_PHASE_BACKWARD);
    if (t->ordered) {
        wb_ordered_sum_start(t->ordered);
    } else {
        memset(t->grads, 0, wb_float_bytes(t->model.table.total));
    }
    for (int64_t i = 0; i < s->slot_count; i++) {
        const int64_t number = s->slots[i].number;
        if (s->has_rows[number]) {
            WB_TRY(backward_slot(s, i,
                                 t->ordered ? wb_ordered_sum_slot(t->ordered, number) : t->grads));
        }
    }
done:
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
        WB_TRY(wb_ordered_sum_finish(t->ordered, t->grads, s->has_rows));
    } else {
        WB_TRY(wb_reduce_floats(t->comm, t->grads, table->total));
    }
    wb_timetable_enter(&t->time, WB_PHASE_UPDATE);
    report->gradient_norm = wb_gradient_norm(t->grads, table->total);
    report->rate = wb_optimizer_rate(&t->optimizer, t->done);
    WB_TRY(count(s, report));
    const double clip = t->config->optimizer_clip;
    const double scale =
        clip > 0.0 && report->gradient_norm > clip ? clip / report->gradient_norm : 1.0;
    report->temperature = wb_model_temperature(&t->model, t->config);
    wb_optimizer_update(&t->optimizer, t->model.params, t->state, t->grads, scale, t->done, table);
    wb_model_clamp_temperature(&t->model);
done:
    return status;
}

wb_status wb_step_run(wb_trainer *t, wb_step_report *report) {
    wb_status status = WB_OK;
    step s = {
        .t = t,
        .B = t->plan.size,
        .group = t->shape.group,
        .d = t->model.folder.spec.hidden,
        .pass = {.active = true, .seed = (uint64_t)t->config->run_seed, .step = (uint32_t)t->done}};
    const size_t step_mark = wb_arena_mark(t->step_arena);
    const size_t chunk_mark = wb_arena_mark(t->chunk_arena);
    *report = (wb_step_report){0};

    wb_timetable_enter(&t->time, WB_PHASE_READ);
    WB_TRY_ALL(t->comm, read_batch(&s));
    wb_timetable_enter(&t->time, WB_PHASE_ENCODE);
    WB_TRY_ALL(t->comm, encode(&s));
    WB_TRY(contrast(&s, &report->loss));
    for (int64_t row = 0; row < s.B; row++) {
        report->filtered_rows += s.rows[row].alone > 0.0f ? 1 : 0;
    }
    WB_TRY_ALL(t->comm, backward(&s));
    WB_TRY(update(&s, report));
    t->done++;
done:
    wb_timetable_enter(&t->time, WB_PHASE_OTHER);
    wb_arena_release(t->chunk_arena, chunk_mark);
    wb_arena_release(t->step_arena, step_mark);
    return status;
}
