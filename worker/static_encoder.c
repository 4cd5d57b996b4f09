/* The static encoder: a representation is the mean of its tokens' table rows. One table, no
 * positions, no dropout; a thousand times cheaper than a transformer and a strong baseline. Of each
 * sequence a tape keeps its tokens as a list, each with how often it comes. */
#include "encoder_kind.h"

static wb_status static_check(const wb_encoder_spec *spec) {
    (void)spec;
    return WB_OK;
}

static wb_status static_declare(const wb_encoder_spec *spec, wb_tensor_table *table) {
    return wb_tensor_add(table, true, spec->vocabulary, spec->hidden, "embedding.weight");
}

static wb_encoder_memory static_bytes(const wb_encoder_spec *spec, int64_t tokens) {
    const size_t items = wb_arena_rounded((size_t)tokens * sizeof(wb_bag_item));
    const int64_t ends = wb_embedding_bag_ends(spec->vocabulary);
    return (wb_encoder_memory){.forward = items,
                               .tape = items,
                               .backward =
                                   items + wb_arena_rounded((size_t)ends * sizeof(int64_t))};
}

static wb_status take_items(const wb_packed *packed, void **items, wb_arena *arena) {
    return wb_arena_take(arena, (size_t)wb_packed_tokens(packed) * sizeof(wb_bag_item), items);
}

static wb_status static_forward(const wb_encoder *encoder, float *y, void **kept, bool keep,
                                const float *params, const wb_chunk *chunk, const wb_pass *pass,
                                wb_arena *arena) {
    (void)keep;
    (void)pass;
    wb_status status = WB_OK;
    WB_TRY(take_items(&chunk->packed, kept, arena));
    wb_embedding_bag_forward(y, *kept, params, &chunk->packed, encoder->spec.hidden);
done:
    return status;
}

static wb_status static_backward(const wb_encoder *encoder, float *grads, const wb_table_rows *rows,
                                 const float *params, void *kept, const float *dy,
                                 const wb_chunk *chunk, const wb_pass *pass,
                                 const wb_backward_listener *listener, wb_arena *arena) {
    (void)params;
    (void)pass;
    (void)listener;
    wb_status status = WB_OK;
    const int64_t V = encoder->spec.vocabulary;
    void *room = NULL;
    int64_t *ends;
    WB_TRY(take_items(&chunk->packed, &room, arena));
    WB_TRY(wb_arena_int64s(arena, wb_embedding_bag_ends(rows ? rows->count : V), &ends));
    wb_embedding_bag_backward(grads, rows, dy, kept, &chunk->packed, V, encoder->spec.hidden, room,
                              ends);
done:
    return status;
}

static double static_flops(const wb_encoder_spec *spec, const wb_packed *packed) {
    return (double)wb_packed_tokens(packed) * (double)spec->hidden;
}

const wb_encoder_kind_ops wb_static_ops = {.check = static_check,
                                           .by_sequence = true,
                                           .declare = static_declare,
                                           .bytes = static_bytes,
                                           .forward = static_forward,
                                           .backward = static_backward,
                                           .flops = static_flops};
