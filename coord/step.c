/* The step: gradient cache over ranks and chunks (Gao et al. 2021, arXiv 2101.06983).
 *
 * A step is five calls, each a paragraph below: read, encode, contrast, backward, update. What they
 * hand on stands in wb_step; all of it lives in the step arena, tapes in the chunk arena.
 */
#include "step.h"

#include "chunk_plan.h"
#include "exchange.h"
#include "infonce.h"
#include "units.h"

#include <math.h>
#include <string.h>

typedef struct step {
    wb_trainer *t;
    wb_pass pass;
    wb_batch batch;
    wb_chunk_plan chunks;
    wb_tape **tapes;         /* [chunks.kept] */
    int64_t *query_firsts;   /* [K + 1], first query of each rank */
    int64_t *passage_firsts; /* [K + 1] */
    float *reps;             /* [n (1 + group), d], this rank's queries, then its passages */
    float *dreps;            /* likewise: the cached gradients */
    float *queries;          /* [B, d], of all ranks */
    float *passages;         /* [B group, d], of all ranks */
    float *scalars;          /* [B, 2], log-sum-exp and loss of every query */
} step;

/* ---- Read: rows of this step, tokens of this rank's share
 * ------------------------------------------- */

static wb_status read_batch(step *s) {
    wb_status status = WB_OK;
    wb_trainer *t = s->t;
    const int world = wb_comm_world(t->comm), rank = wb_comm_rank(t->comm);
    const int64_t B = t->plan.size, group = t->shape.group;
    int64_t epoch;
    const int64_t *rows = wb_batch_plan_rows(&t->plan, t->done, &epoch);
    WB_TRY(wb_arena_int64s(t->step_arena, world + 1, &s->query_firsts));
    WB_TRY(wb_arena_int64s(t->step_arena, world + 1, &s->passage_firsts));
    for (int r = 0; r <= world; r++) {
        s->query_firsts[r] = wb_batch_share(B, r, world);
        s->passage_firsts[r] = s->query_firsts[r] * group;
    }
    const int64_t first = s->query_firsts[rank], n = s->query_firsts[rank + 1] - first;
    WB_TRY(wb_batch_read(&s->batch, t->data, &t->model, &t->shape, rows + first, epoch, B, first, n,
                         t->step_arena));
    WB_TRY(wb_chunk_plan_make(&s->chunks, t->model.encoder, &s->batch.packed,
                              t->config->memory_chunk_tokens, wb_arena_left(t->chunk_arena),
                              t->step_arena));
done:
    return status;
}

static wb_status take_arrays(step *s) {
    wb_status status = WB_OK;
    wb_arena *arena = s->t->step_arena;
    const int64_t B = s->t->plan.size, group = s->t->shape.group;
    const int64_t d = s->t->model.folder.spec.hidden, sequences = s->batch.packed.n;
    void *tapes = NULL;
    WB_TRY(wb_arena_take(arena, (size_t)s->chunks.kept * sizeof(*s->tapes), &tapes));
    s->tapes = tapes;
    WB_TRY(wb_arena_floats(arena, sequences * d, &s->reps));
    WB_TRY(wb_arena_floats(arena, sequences * d, &s->dreps));
    WB_TRY(wb_arena_floats(arena, B * d, &s->queries));
    WB_TRY(wb_arena_floats(arena, B * group * d, &s->passages));
    WB_TRY(wb_arena_floats(arena, B * 2, &s->scalars));
done:
    return status;
}

/* ---- Encode: every chunk once, tapes of the first ones kept
 * ------------------------------------------- */

static wb_status encode_chunk(step *s, int64_t chunk, wb_tape **tape) {
    wb_trainer *t = s->t;
    const int64_t first = s->chunks.firsts[chunk];
    const wb_packed part =
        wb_packed_slice(&s->batch.packed, first, s->chunks.firsts[chunk + 1] - first);
    return wb_encoder_forward(t->model.encoder, s->reps + first * t->model.folder.spec.hidden, tape,
                              t->model.params, &part, s->batch.examples + first, &s->pass,
                              t->chunk_arena);
}

static wb_status encode(step *s) {
    wb_status status = WB_OK;
    for (int64_t chunk = 0; chunk < s->chunks.chunks; chunk++) {
        WB_TRY(encode_chunk(s, chunk, chunk < s->chunks.kept ? &s->tapes[chunk] : NULL));
    }
done:
    return status;
}

/* ---- Contrast: representations of all ranks, loss, gradients of this rank's
 * ---------------------------- */

static wb_status gather(step *s) {
    wb_status status = WB_OK;
    const int64_t d = s->t->model.folder.spec.hidden;
    WB_TRY(wb_gather_rows(s->t->comm, s->queries, s->reps, s->query_firsts, d));
    WB_TRY(wb_gather_rows(s->t->comm, s->passages, s->reps + s->batch.n * d, s->passage_firsts, d));
done:
    return status;
}

static wb_infonce loss_of(const step *s) {
    return (wb_infonce){.batch = s->t->plan.size,
                        .group = s->t->shape.group,
                        .width = s->t->model.folder.spec.hidden,
                        .temperature = s->t->config->loss_temperature};
}

/* Rows of this rank's queries in the first walk; their two scalars side by side. */
static wb_status contrast_queries(step *s, float *scalars) {
    wb_status status = WB_OK;
    const wb_infonce loss = loss_of(s);
    const int64_t n = s->batch.n;
    const size_t mark = wb_arena_mark(s->t->step_arena);
    float *losses, *lse;
    WB_TRY(wb_arena_floats(s->t->step_arena, n, &losses));
    WB_TRY(wb_arena_floats(s->t->step_arena, n, &lse));
    WB_TRY(wb_infonce_queries(losses, lse, s->dreps, s->reps, s->passages, s->batch.first, n, &loss,
                              s->t->step_arena));
    for (int64_t i = 0; i < n; i++) {
        scalars[2 * i] = lse[i];
        scalars[2 * i + 1] = losses[i];
    }
done:
    wb_arena_release(s->t->step_arena, mark);
    return status;
}

static wb_status contrast_passages(step *s, double *loss_value) {
    wb_status status = WB_OK;
    const wb_infonce loss = loss_of(s);
    const int64_t B = loss.batch, n = s->batch.n, d = loss.width;
    const size_t mark = wb_arena_mark(s->t->step_arena);
    float *lse;
    WB_TRY(wb_arena_floats(s->t->step_arena, B, &lse));
    *loss_value = 0.0;
    for (int64_t i = 0; i < B; i++) {
        lse[i] = s->scalars[2 * i];
        *loss_value += (double)s->scalars[2 * i + 1] / (double)B;
    }
    WB_TRY(wb_infonce_passages(s->dreps + n * d, s->reps + n * d, s->queries, lse,
                               s->batch.first * loss.group, n * loss.group, &loss,
                               s->t->step_arena));
done:
    wb_arena_release(s->t->step_arena, mark);
    return status;
}

static wb_status contrast(step *s, double *loss) {
    wb_status status = WB_OK;
    wb_trainer *t = s->t;
    wb_timetable_enter(&t->time, WB_PHASE_GATHER);
    WB_TRY(gather(s));
    wb_timetable_enter(&t->time, WB_PHASE_LOSS);
    const size_t mark = wb_arena_mark(t->step_arena);
    float *mine;
    WB_TRY_ALL(t->comm, wb_arena_floats(t->step_arena, s->batch.n * 2, &mine));
    WB_TRY_ALL(t->comm, contrast_queries(s, mine));
    WB_TRY(wb_gather_rows(t->comm, s->scalars, mine, s->query_firsts, 2));
    wb_arena_release(t->step_arena, mark);
    WB_TRY_ALL(t->comm, contrast_passages(s, loss));
done:
    return status;
}

/* ---- Backward: kept chunks straight away, the others encode again
 * ------------------------------------------ */

static wb_status backward(step *s) {
    wb_status status = WB_OK;
    wb_trainer *t = s->t;
    const int64_t d = t->model.folder.spec.hidden;
    wb_timetable_enter(&t->time, WB_PHASE_BACKWARD);
    memset(t->grads, 0, wb_float_bytes(wb_encoder_table(t->model.encoder)->total));
    for (int64_t chunk = 0; chunk < s->chunks.chunks; chunk++) {
        const size_t mark = wb_arena_mark(t->chunk_arena);
        wb_tape *tape = NULL;
        if (chunk < s->chunks.kept) {
            tape = s->tapes[chunk];
        } else {
            wb_timetable_enter(&t->time, WB_PHASE_ENCODE_AGAIN);
            WB_TRY(encode_chunk(s, chunk, &tape));
        }
        wb_timetable_enter(&t->time, WB_PHASE_BACKWARD);
        WB_TRY(wb_encoder_backward(t->model.encoder, t->grads, t->model.params, tape,
                                   s->dreps + s->chunks.firsts[chunk] * d, t->chunk_arena));
        wb_arena_release(t->chunk_arena, mark);
    }
done:
    return status;
}

/* ---- Update: one reduction, clip, optimizer
 * ---------------------------------------------------------------- */

static wb_status update(step *s, wb_step_report *report) {
    wb_status status = WB_OK;
    wb_trainer *t = s->t;
    const wb_tensor_table *table = wb_encoder_table(t->model.encoder);
    wb_timetable_enter(&t->time, WB_PHASE_REDUCE);
    WB_TRY(wb_reduce_floats(t->comm, t->grads, table->total));
    wb_timetable_enter(&t->time, WB_PHASE_UPDATE);
    report->gradient_norm = wb_gradient_norm(t->grads, table->total);
    report->rate = wb_optimizer_rate(&t->optimizer, t->done);
    WB_CHECK(isfinite(report->gradient_norm), WB_ERR_NUMERIC,
             "step %lld: the gradient's norm is %g; the parameters are those of step %lld",
             (long long)t->done + 1, report->gradient_norm, (long long)t->done);
    const double clip = t->config->optimizer_clip;
    const double scale =
        clip > 0.0 && report->gradient_norm > clip ? clip / report->gradient_norm : 1.0;
    wb_optimizer_update(&t->optimizer, t->model.params, t->slots, t->grads, scale, t->done, table);
done:
    return status;
}

static wb_status count(const step *s, wb_step_report *report) {
    wb_status status = WB_OK;
    const wb_packed kept = wb_packed_slice(&s->batch.packed, 0, s->chunks.firsts[s->chunks.kept]);
    double sums[] = {(double)wb_packed_tokens(&s->batch.packed), (double)wb_packed_tokens(&kept),
                     wb_encoder_flops(s->t->model.encoder, &s->batch.packed),
                     wb_encoder_flops(s->t->model.encoder, &kept)};
    WB_TRY(wb_reduce_sums(s->t->comm, sums, 4));
    report->tokens = (int64_t)sums[0];
    report->kept_tokens = (int64_t)sums[1];
    report->flops = 3.0 * sums[2];
    report->extra_flops = sums[2] - sums[3];
done:
    return status;
}

wb_status wb_step_run(wb_trainer *t, wb_step_report *report) {
    wb_status status = WB_OK;
    step s = {
        .t = t,
        .pass = {.active = true, .seed = (uint64_t)t->config->run_seed, .step = (uint32_t)t->done}};
    const size_t step_mark = wb_arena_mark(t->step_arena);
    const size_t chunk_mark = wb_arena_mark(t->chunk_arena);
    *report = (wb_step_report){0};

    wb_timetable_enter(&t->time, WB_PHASE_READ);
    WB_TRY_ALL(t->comm, read_batch(&s));
    WB_TRY_ALL(t->comm, take_arrays(&s));
    wb_timetable_enter(&t->time, WB_PHASE_ENCODE);
    WB_TRY_ALL(t->comm, encode(&s));
    WB_TRY(contrast(&s, &report->loss));
    WB_TRY_ALL(t->comm, backward(&s));
    WB_TRY(update(&s, report));
    wb_timetable_enter(&t->time, WB_PHASE_OTHER);
    WB_TRY(count(&s, report));
    t->done++;
done:
    wb_arena_release(t->chunk_arena, chunk_mark);
    wb_arena_release(t->step_arena, step_mark);
    return status;
}
