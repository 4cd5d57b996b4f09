/* What each kind of encoder implements; seen by encoder.c and the kinds only. */
#ifndef WB_ENCODER_KIND_H
#define WB_ENCODER_KIND_H

#include "encoder.h"
#include "ops.h"

typedef struct wb_encoder_kind_ops {
    bool by_sequence; /* takes sequences whole: a chunk says nothing of single tokens */
    wb_status (*check)(const wb_encoder_spec *spec);
    wb_status (*declare)(const wb_encoder_spec *spec, wb_tensor_table *table);
    /* narrow [total] filled with bf16 copies of what enters products; NULL where nothing does */
    void (*convert)(uint16_t *narrow, const wb_encoder_spec *spec, const float *params,
                    int64_t total);
    wb_encoder_memory (*bytes)(const wb_encoder_spec *spec, int64_t tokens);

    /* y [n, H] filled with pooled rows; *kept is the kind's own tape, or NULL where `keep` is false
     */
    wb_status (*forward)(const wb_encoder *encoder, float *y, void **kept, bool keep,
                         const float *params, const wb_chunk *chunk, const wb_pass *pass,
                         wb_arena *arena);
    /* dy [n, H] is the gradient of the pooled rows; the word table comes first in `grads` */
    wb_status (*backward)(const wb_encoder *encoder, float *grads, const wb_table_rows *rows,
                          const float *params, void *kept, const float *dy, const wb_chunk *chunk,
                          const wb_pass *pass, const wb_backward_listener *listener,
                          wb_arena *arena);
    double (*flops)(const wb_encoder_spec *spec, const wb_packed *packed);
} wb_encoder_kind_ops;

struct wb_encoder {
    wb_encoder_spec spec;
    wb_tensor_table table;
    const wb_encoder_kind_ops *kind;
    uint16_t *narrow; /* owned; [total], NULL in fp32 */
};

/* A matrix of `params` in the encoder's precision. */
static inline wb_numbers wb_encoder_matrix(const wb_encoder *encoder, const float *params,
                                           const float *matrix) {
    return encoder->narrow ? (wb_numbers){.bf16 = encoder->narrow + (matrix - params)}
                           : wb_fp32(matrix);
}

extern const wb_encoder_kind_ops wb_bert_ops, wb_static_ops;

#endif
