/* What is computed of one slot. */
#include "slot.h"

wb_status wb_slot_read(wb_slot *slot, const wb_trainer *t, const wb_batch_shape *shape,
                       const wb_batch_rows *batch) {
    wb_status status = WB_OK;
    const int64_t first = wb_slot_row(batch->B, t->slot_total, slot->number);
    const int64_t n = wb_slot_row(batch->B, t->slot_total, slot->number + 1) - first;
    const int64_t d = t->model.folder.spec.hidden;
    WB_TRY(wb_batch_read(&slot->batch, t->data, &t->model, shape, batch->rows + first,
                         wb_draw_of(t, batch->epoch), batch->B, first, n, t->step_arena));
    WB_TRY(wb_arena_floats(t->step_arena, slot->batch.packed.n * d, &slot->reps));
    WB_TRY(wb_arena_floats(t->step_arena, slot->batch.packed.n * d, &slot->dreps));
done:
    return status;
}

wb_status wb_slot_encode(const wb_slot *slot, const wb_chunk_plan *chunks, int64_t chunk,
                         wb_tape **tape, const wb_trainer *t) {
    const int64_t first = chunks->firsts[chunk];
    const wb_packed part =
        wb_packed_slice(&slot->batch.packed, first, chunks->firsts[chunk + 1] - first);
    const wb_pass pass = {
        .active = true, .seed = (uint64_t)t->config->run_seed, .step = (uint32_t)t->done};
    return wb_encoder_forward(t->model.encoder, slot->reps + first * t->model.folder.spec.hidden,
                              tape, t->model.params, &part, slot->batch.examples + first, &pass,
                              t->chunk_arena);
}

/* The temperature stands behind all tensors, where a compact array is shorter. */
static void add_log_scale(const wb_slot *slot, float *grads, const wb_trainer *t) {
    const int64_t total = t->model.table.total;
    const int64_t left_out = total - wb_table_rows_elements(&t->rows, total);
    grads[t->model.log_scale - t->model.params - left_out] += (float)slot->dlog_scale;
}

wb_status wb_slot_backward(const wb_slot *slot, const wb_chunk_plan *chunks, float *grads,
                           wb_trainer *t, const wb_backward_listener *listener) {
    wb_status status = WB_OK;
    if (t->model.log_scale) {
        add_log_scale(slot, grads, t);
    }
    for (int64_t chunk = 0; chunk < chunks->chunks; chunk++) {
        const size_t mark = wb_arena_mark(t->chunk_arena);
        const bool is_last = chunk + 1 == chunks->chunks;
        wb_tape *tape = NULL;
        if (chunk < chunks->kept) {
            tape = slot->tapes[chunk];
        } else {
            wb_timetable_enter(&t->time, WB_PHASE_ENCODE_AGAIN);
            WB_TRY(wb_slot_encode(slot, chunks, chunk, &tape, t));
        }
        wb_timetable_enter(&t->time, WB_PHASE_BACKWARD);
        WB_TRY(
            wb_encoder_backward(t->model.encoder, grads, &t->rows, t->model.params, tape,
                                slot->dreps + chunks->firsts[chunk] * t->model.folder.spec.hidden,
                                is_last ? listener : NULL, t->chunk_arena));
        wb_arena_release(t->chunk_arena, mark);
    }
done:
    return status;
}
