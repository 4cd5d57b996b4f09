/* The static encoder: a representation is the mean of its tokens' table rows. One table, no
 * positions, no dropout; a thousand times cheaper than a transformer and a strong baseline. */
#include "encoder_kind.h"

static wb_status static_check(const wb_encoder_spec *spec) {
    (void)spec;
    return WB_OK;
}

static wb_status static_declare(const wb_encoder_spec *spec, wb_tensor_table *table) {
    return wb_tensor_add(table, true, spec->vocabulary, spec->hidden, "embedding.weight");
}

static wb_encoder_memory static_bytes(const wb_encoder_spec *spec, int64_t tokens) {
    (void)spec;
    (void)tokens;
    return (wb_encoder_memory){0};
}

static wb_status static_forward(const wb_encoder *encoder, float *y, void **kept, bool keep,
                                const float *params, const wb_chunk *chunk, const wb_pass *pass,
                                wb_arena *arena) {
    (void)keep;
    (void)pass;
    (void)arena;
    *kept = NULL;
    wb_embedding_bag_forward(y, params, &chunk->packed, encoder->spec.hidden);
    return WB_OK;
}

static wb_status static_backward(const wb_encoder *encoder, float *grads, const wb_table_rows *rows,
                                 const float *params, void *kept, const float *dy,
                                 const wb_chunk *chunk, const wb_pass *pass,
                                 const wb_backward_listener *listener, wb_arena *arena) {
    (void)params;
    (void)kept;
    (void)pass;
    (void)listener;
    (void)arena;
    wb_embedding_bag_backward(grads, rows, dy, &chunk->packed, encoder->spec.hidden);
    return WB_OK;
}

static double static_flops(const wb_encoder_spec *spec, const wb_packed *packed) {
    return (double)wb_packed_tokens(packed) * (double)spec->hidden;
}

const wb_encoder_kind_ops wb_static_ops = {.check = static_check,
                                           .declare = static_declare,
                                           .bytes = static_bytes,
                                           .forward = static_forward,
                                           .backward = static_backward,
                                           .flops = static_flops};
