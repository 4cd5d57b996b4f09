/* What all kinds of encoder share: the life of a tape, pooling's last step, first values. */
#include "encoder.h"

#include "encoder_kind.h"
#include "product.h"
#include "units.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct wb_tape {
    wb_chunk chunk;
    wb_pass pass;
    float *reps;  /* [n, H], as returned: normalisation's backward needs them */
    float *norms; /* [n] */
    void *kept;   /* of the kind */
};

static const wb_encoder_kind_ops *const kinds[] = {
    [WB_ENCODER_BERT] = &wb_bert_ops,
    [WB_ENCODER_STATIC] = &wb_static_ops,
};

wb_status wb_encoder_create(wb_encoder **encoder, const wb_encoder_spec *spec) {
    wb_status status = WB_OK;
    wb_encoder *made = calloc(1, sizeof(*made));
    WB_CHECK(made, WB_ERR_MEMORY, "no memory for an encoder");
    made->spec = *spec;
    made->kind = kinds[spec->kind];
    WB_CHECK(spec->vocabulary > 0 && spec->hidden > 0, WB_ERR_CONFIG,
             "model: vocabulary %lld, width %lld; both must be positive",
             (long long)spec->vocabulary, (long long)spec->hidden);
    WB_TRY(made->kind->check(spec));
    WB_TRY(made->kind->declare(spec, &made->table));
    if (spec->precision == WB_BF16 && made->kind->convert) {
        WB_CHECK(wb_product_has_bf16(), WB_ERR_CONFIG,
                 "model.precision = bf16, but this processor or build has no bf16 products "
                 "(AVX-512 BF16 or AMX, and oneDNN); use fp32 or auto");
        made->narrow = calloc((size_t)made->table.total, sizeof(*made->narrow));
        WB_CHECK(made->narrow, WB_ERR_MEMORY, "no memory for bf16 copies of the weights");
    }
    *encoder = made;
    made = NULL;
done:
    wb_encoder_destroy(made);
    return status;
}

void wb_encoder_destroy(wb_encoder *encoder) {
    if (encoder) {
        wb_tensor_table_clear(&encoder->table);
        free(encoder->narrow);
        free(encoder);
    }
}

const wb_tensor_table *wb_encoder_table(const wb_encoder *encoder) {
    return &encoder->table;
}

void wb_encoder_init(const wb_encoder *encoder, float *params, uint64_t seed) {
    const bool is_static = encoder->spec.kind == WB_ENCODER_STATIC;
    const float spread = is_static ? 1.0f / sqrtf((float)encoder->spec.hidden) : 0.02f;
    for (int64_t i = 0; i < encoder->table.length; i++) {
        const wb_tensor *tensor = &encoder->table.tensors[i];
        const bool is_scale = strstr(tensor->name, "LayerNorm.weight") != NULL;
#pragma omp parallel for schedule(static)
        for (int64_t j = 0; j < tensor->count; j++) {
            const wb_rng_key key = {.seed = seed,
                                    .step = (uint32_t)i,
                                    .example = (uint32_t)(j >> 32),
                                    .site = wb_rng_site(WB_RNG_INIT, 0)};
            params[tensor->offset + j] = tensor->rank == 2
                                             ? spread * wb_rng_normal(key, (uint32_t)j)
                                             : (is_scale ? 1.0f : 0.0f);
        }
    }
}

void wb_encoder_convert(wb_encoder *encoder, const float *params) {
    if (encoder->narrow) {
        encoder->kind->convert(encoder->narrow, &encoder->spec, params, encoder->table.total);
    }
}

static size_t chunk_bytes(const wb_encoder *encoder, int64_t tokens) {
    return encoder->kind->by_sequence ? 0 : 2 * wb_arena_rounded((size_t)tokens * sizeof(uint32_t));
}

wb_encoder_memory wb_encoder_bytes(const wb_encoder *encoder, int64_t tokens, int64_t sequences) {
    wb_encoder_memory memory = encoder->kind->bytes(&encoder->spec, tokens);
    const size_t reps = wb_arena_rounded(wb_float_bytes(sequences * encoder->spec.hidden));
    const size_t shared = wb_arena_rounded(sizeof(wb_tape)) + chunk_bytes(encoder, tokens) + reps +
                          wb_arena_rounded(wb_float_bytes(sequences));
    memory.forward += shared;
    memory.tape += shared;
    memory.backward += reps;
    return memory;
}

int64_t wb_encoder_chunk_tokens(const wb_encoder *encoder, int64_t wanted) {
    enum { TIMES = 64 };
    return encoder->kind->by_sequence && wanted < INT64_MAX / TIMES ? wanted * TIMES : wanted;
}

/* Says of every row which sequence it belongs to and where in it. */
static wb_status lay_out(wb_chunk *chunk, wb_arena *arena) {
    wb_status status = WB_OK;
    const wb_packed *packed = &chunk->packed;
    const int64_t tokens = wb_packed_tokens(packed);
    void *sequences = NULL, *positions = NULL;
    WB_TRY(wb_arena_take(arena, (size_t)tokens * sizeof(uint32_t), &sequences));
    WB_TRY(wb_arena_take(arena, (size_t)tokens * sizeof(uint32_t), &positions));
    uint32_t *sequence_of = sequences, *position_of = positions;
    int64_t t = 0;
    for (int64_t s = 0; s < packed->n; s++) {
        const int64_t length = packed->offsets[s + 1] - packed->offsets[s];
        for (int64_t i = 0; i < length; i++, t++) {
            sequence_of[t] = (uint32_t)s;
            position_of[t] = (uint32_t)i;
        }
    }
    chunk->sequences = sequence_of;
    chunk->positions = position_of;
done:
    return status;
}

wb_status wb_encoder_forward(const wb_encoder *encoder, float *reps, wb_tape **tape,
                             const float *params, const wb_packed *chunk, const uint32_t *examples,
                             const wb_pass *pass, wb_arena *arena) {
    wb_status status = WB_OK;
    const size_t mark = wb_arena_mark(arena);
    const int64_t n = chunk->n, H = encoder->spec.hidden;
    void *taken = NULL;
    WB_TRY(wb_arena_take(arena, sizeof(wb_tape), &taken));
    wb_tape *made = taken;
    *made = (wb_tape){.chunk = {.packed = *chunk, .examples = examples}, .pass = *pass};
    if (!encoder->kind->by_sequence) {
        WB_TRY(lay_out(&made->chunk, arena));
    }
    WB_TRY(wb_arena_floats(arena, n * H, &made->reps));
    WB_TRY(wb_arena_floats(arena, n, &made->norms));
    WB_TRY(encoder->kind->forward(encoder, made->reps, &made->kept, tape != NULL, params,
                                  &made->chunk, pass, arena));
    if (encoder->spec.normalize) {
        wb_normalize_forward(made->reps, made->norms, made->reps, n, H);
    }
    memcpy(reps, made->reps, wb_float_bytes(n * H));
    if (tape) {
        *tape = made;
    }
done:
    if (!tape || status != WB_OK) {
        wb_arena_release(arena, mark);
    }
    return status;
}

wb_status wb_encoder_backward(const wb_encoder *encoder, float *grads, const wb_table_rows *rows,
                              const float *params, wb_tape *tape, const float *dreps,
                              const wb_backward_listener *listener, wb_arena *arena) {
    wb_status status = WB_OK;
    const size_t mark = wb_arena_mark(arena);
    const int64_t n = tape->chunk.packed.n, H = encoder->spec.hidden;
    float *dpooled;
    WB_TRY(wb_arena_floats(arena, n * H, &dpooled));
    if (encoder->spec.normalize) {
        wb_normalize_backward(dpooled, dreps, tape->reps, tape->norms, n, H);
    } else {
        memcpy(dpooled, dreps, wb_float_bytes(n * H));
    }
    WB_TRY(encoder->kind->backward(encoder, grads, rows, params, tape->kept, dpooled, &tape->chunk,
                                   &tape->pass, listener, arena));
done:
    wb_arena_release(arena, mark);
    return status;
}

double wb_encoder_flops(const wb_encoder *encoder, const wb_packed *packed) {
    return encoder->kind->flops(&encoder->spec, packed);
}
