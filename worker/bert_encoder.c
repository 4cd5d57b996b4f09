/* BERT over packed tokens: forward, and backward from kept activations.
 *
 * One layer, with the arrays that its tape keeps on the right:
 *
 *     x ──────────────┐                                   x        [T, H]   (the layer below's out)
 *     │ query, key, value: one product                    qkv      [T, 3 H]
 *     │ attention                                         context  [T, H], lse [h, T]
 *     │ output dense, dropout
 *     + ◄─────────────┘ sum                               sum1     [T, H], mean1, rstd1 [T]
 *     layer norm ─────┐                                   middle   [T, H]
 *     │ intermediate dense                                inner    [T, F]
 *     │ GELU                                              (computed again in backward)
 *     │ output dense, dropout
 *     + ◄─────────────┘ sum                               sum2     [T, H], mean2, rstd2 [T]
 *     layer norm                                          out      [T, H]
 *
 * Without a tape all layers share one set of these arrays. Source: Devlin et al. 2019; parameter
 * names and places of dropout are those of Hugging Face's BertModel.
 */
#include "bert_sites.h"
#include "encoder_kind.h"
#include "units.h"

#include <stdio.h>
#include <string.h>

/* Parameters or gradients of one layer, as places in a flat array. The three projections stand one
 * after the other, weights first, so that they are one [3 H, H] matrix and one [3 H] bias. */
typedef struct layer_weights {
    float *qkv_w, *qkv_b;       /* [3 H, H], [3 H] */
    float *output_w, *output_b; /* [H, H], [H] */
    float *norm1_w, *norm1_b;   /* [H] */
    float *inner_w, *inner_b;   /* [F, H], [F] */
    float *outer_w, *outer_b;   /* [H, F], [H] */
    float *norm2_w, *norm2_b;   /* [H] */
} layer_weights;

typedef struct layer_tape {
    const float *x;              /* [T, H] */
    float *qkv;                  /* [T, 3 H] */
    float *context;              /* [T, H] */
    float *lse;                  /* [h, T] */
    float *sum1, *mean1, *rstd1; /* [T, H], [T], [T] */
    float *middle;               /* [T, H] */
    float *inner;                /* [T, F] */
    float *sum2, *mean2, *rstd2; /* [T, H], [T], [T] */
    float *out;                  /* [T, H] */
} layer_tape;

typedef struct bert_tape {
    float *sum, *mean, *rstd; /* of the embeddings: [T, H], [T], [T] */
    float *embedded;          /* [T, H] */
    layer_tape *layers;       /* [L] */
} bert_tape;

static wb_dropout dropout_at(const wb_pass *pass, double probability, uint32_t site) {
    return (wb_dropout){.seed = pass->seed,
                        .step = pass->step,
                        .probability = pass->active ? (float)probability : 0.0f,
                        .site = site};
}

static wb_status bert_check(const wb_encoder_spec *spec) {
    if (spec->layers <= 0 || spec->heads <= 0 || spec->hidden % spec->heads != 0 ||
        spec->intermediate <= 0 || spec->positions <= 0 || spec->token_types <= 0) {
        return WB_ERROR(WB_ERR_CONFIG,
                        "model: %lld layers, %lld heads, width %lld, inner width %lld, %lld "
                        "positions, %lld token types; all must be positive and heads divide width",
                        (long long)spec->layers, (long long)spec->heads, (long long)spec->hidden,
                        (long long)spec->intermediate, (long long)spec->positions,
                        (long long)spec->token_types);
    }
    return WB_OK;
}

static wb_status declare_norm(wb_tensor_table *table, int64_t H, const char *stem) {
    wb_status status = WB_OK;
    WB_TRY(wb_tensor_add(table, false, H, 0, "%s.LayerNorm.weight", stem));
    WB_TRY(wb_tensor_add(table, false, H, 0, "%s.LayerNorm.bias", stem));
done:
    return status;
}

static wb_status declare_dense(wb_tensor_table *table, int64_t out, int64_t in, const char *stem) {
    wb_status status = WB_OK;
    WB_TRY(wb_tensor_add(table, true, out, in, "%s.dense.weight", stem));
    WB_TRY(wb_tensor_add(table, false, out, 0, "%s.dense.bias", stem));
done:
    return status;
}

static wb_status declare_layer(wb_tensor_table *table, const wb_encoder_spec *spec, int64_t layer) {
    static const char *const projections[] = {"query", "key", "value"};
    wb_status status = WB_OK;
    const int64_t H = spec->hidden, F = spec->intermediate;
    char stem[64];
    for (int i = 0; i < 3; i++) {
        WB_TRY(wb_tensor_add(table, true, H, H, "encoder.layer.%lld.attention.self.%s.weight",
                             (long long)layer, projections[i]));
    }
    for (int i = 0; i < 3; i++) {
        WB_TRY(wb_tensor_add(table, false, H, 0, "encoder.layer.%lld.attention.self.%s.bias",
                             (long long)layer, projections[i]));
    }
    (void)snprintf(stem, sizeof(stem), "encoder.layer.%lld.attention.output", (long long)layer);
    WB_TRY(declare_dense(table, H, H, stem));
    WB_TRY(declare_norm(table, H, stem));
    (void)snprintf(stem, sizeof(stem), "encoder.layer.%lld.intermediate", (long long)layer);
    WB_TRY(declare_dense(table, F, H, stem));
    (void)snprintf(stem, sizeof(stem), "encoder.layer.%lld.output", (long long)layer);
    WB_TRY(declare_dense(table, H, F, stem));
    WB_TRY(declare_norm(table, H, stem));
done:
    return status;
}

static wb_status bert_declare(const wb_encoder_spec *spec, wb_tensor_table *table) {
    wb_status status = WB_OK;
    const int64_t H = spec->hidden;
    WB_TRY(wb_tensor_add(table, true, spec->vocabulary, H, "embeddings.word_embeddings.weight"));
    WB_TRY(wb_tensor_add(table, true, spec->positions, H, "embeddings.position_embeddings.weight"));
    WB_TRY(wb_tensor_add(table, true, spec->token_types, H,
                         "embeddings.token_type_embeddings.weight"));
    WB_TRY(declare_norm(table, H, "embeddings"));
    for (int64_t layer = 0; layer < spec->layers; layer++) {
        WB_TRY(declare_layer(table, spec, layer));
    }
done:
    return status;
}

/* The flat array cut in the order in which bert_declare named its parts. */
typedef struct bert_weights {
    float *words, *positions, *types; /* [V, H], [P, H], [types, H] */
    float *norm_w, *norm_b;           /* [H] */
    float *layers;                    /* first layer; each takes layer_size elements */
} bert_weights;

static bert_weights find_embeddings(const wb_encoder_spec *spec, float *flat) {
    const int64_t H = spec->hidden;
    bert_weights w;
    w.words = flat;
    w.positions = w.words + spec->vocabulary * H;
    w.types = w.positions + spec->positions * H;
    w.norm_w = w.types + spec->token_types * H;
    w.norm_b = w.norm_w + H;
    w.layers = w.norm_b + H;
    return w;
}

static layer_weights find_layer(const wb_encoder_spec *spec, float *layers, int64_t layer) {
    const int64_t H = spec->hidden, F = spec->intermediate;
    const int64_t layer_size = 4 * H * H + 2 * H * F + 9 * H + F;
    layer_weights w;
    w.qkv_w = layers + layer * layer_size;
    w.qkv_b = w.qkv_w + 3 * H * H;
    w.output_w = w.qkv_b + 3 * H;
    w.output_b = w.output_w + H * H;
    w.norm1_w = w.output_b + H;
    w.norm1_b = w.norm1_w + H;
    w.inner_w = w.norm1_b + H;
    w.inner_b = w.inner_w + F * H;
    w.outer_w = w.inner_b + F;
    w.outer_b = w.outer_w + H * F;
    w.norm2_w = w.outer_b + H;
    w.norm2_b = w.norm2_w + H;
    return w;
}

/* Parameters are only read through these pointers; one struct serves values and gradients. */
static float *readable(const float *params) {
    return (float *)(uintptr_t)params;
}

static wb_norm norm_of(const wb_encoder_spec *spec, const float *weight, const float *bias) {
    return (wb_norm){.weight = weight, .bias = bias, .eps = (float)spec->layer_norm_eps};
}

/* ---- Memory
 * ------------------------------------------------------------------------------------------- */

/* Elements of each array of a layer's tape, in the order in which take_layer takes them. */
enum { LAYER_ARRAYS = 11 };
static void layer_sizes(int64_t sizes[LAYER_ARRAYS], const wb_encoder_spec *spec, int64_t T) {
    const int64_t H = spec->hidden, F = spec->intermediate;
    const int64_t counts[LAYER_ARRAYS] = {3 * T * H, T * H, spec->heads * T, T * H, T, T,
                                          T * H,     T * F, T * H,           T,     T};
    memcpy(sizes, counts, sizeof(counts));
}

static wb_status take_layer(layer_tape *tape, const wb_encoder_spec *spec, int64_t T,
                            wb_arena *arena) {
    wb_status status = WB_OK;
    float **const arrays[LAYER_ARRAYS] = {&tape->qkv,   &tape->context, &tape->lse,    &tape->sum1,
                                          &tape->mean1, &tape->rstd1,   &tape->middle, &tape->inner,
                                          &tape->sum2,  &tape->mean2,   &tape->rstd2};
    int64_t sizes[LAYER_ARRAYS];
    layer_sizes(sizes, spec, T);
    for (int i = 0; i < LAYER_ARRAYS; i++) {
        WB_TRY(wb_arena_floats(arena, sizes[i], arrays[i]));
    }
done:
    return status;
}

static size_t floats_taken(int64_t count) {
    return wb_arena_rounded(wb_float_bytes(count));
}

static wb_encoder_memory bert_bytes(const wb_encoder_spec *spec, int64_t T) {
    const int64_t H = spec->hidden, F = spec->intermediate;
    int64_t sizes[LAYER_ARRAYS];
    layer_sizes(sizes, spec, T);
    size_t layer = 0;
    for (int i = 0; i < LAYER_ARRAYS; i++) {
        layer += floats_taken(sizes[i]);
    }
    const size_t row = floats_taken(T * H);
    const size_t embeddings = 2 * row + 2 * floats_taken(T) + wb_arena_rounded(sizeof(bert_tape)) +
                              wb_arena_rounded((size_t)spec->layers * sizeof(layer_tape));
    const size_t scratch =
        floats_taken(T * F) + floats_taken(wb_attention_scratch(spec->positions, H / spec->heads));
    return (wb_encoder_memory){
        .forward = embeddings + layer + row + scratch,
        .tape = embeddings + (size_t)spec->layers * (layer + row),
        .backward = 3 * row + floats_taken(3 * T * H) + 2 * floats_taken(T * F) +
                    floats_taken(2 * WB_ROW_BLOCKS * H) +
                    floats_taken(wb_attention_scratch(spec->positions, H / spec->heads)),
    };
}

/* With `keep` every layer has arrays of its own; without, all share the first layer's, and a
 * layer's out takes the place of its x only after x was read for the last time. */
static wb_status take_tape(bert_tape **tape, const wb_encoder_spec *spec, int64_t T, bool keep,
                           wb_arena *arena) {
    wb_status status = WB_OK;
    const int64_t H = spec->hidden;
    void *taken = NULL;
    WB_TRY(wb_arena_take(arena, sizeof(bert_tape), &taken));
    bert_tape *made = taken;
    WB_TRY(wb_arena_take(arena, (size_t)spec->layers * sizeof(layer_tape), &taken));
    made->layers = taken;
    WB_TRY(wb_arena_floats(arena, T * H, &made->sum));
    WB_TRY(wb_arena_floats(arena, T * H, &made->embedded));
    WB_TRY(wb_arena_floats(arena, T, &made->mean));
    WB_TRY(wb_arena_floats(arena, T, &made->rstd));
    for (int64_t i = 0; i < spec->layers; i++) {
        layer_tape *layer = &made->layers[i];
        if (i == 0 || keep) {
            WB_TRY(take_layer(layer, spec, T, arena));
            WB_TRY(wb_arena_floats(arena, T * H, &layer->out));
        } else {
            *layer = made->layers[0];
        }
        layer->x = i == 0 ? made->embedded : made->layers[i - 1].out;
    }
    *tape = made;
done:
    return status;
}

/* ---- Forward
 * ------------------------------------------------------------------------------------------ */

static void layer_forward(layer_tape *tape, const wb_encoder_spec *spec, const layer_weights *w,
                          const wb_chunk *chunk, const wb_pass *pass, int64_t layer, float *gelu,
                          float *scratch) {
    const int64_t T = wb_packed_tokens(&chunk->packed), H = spec->hidden, F = spec->intermediate;
    const wb_dropout attention =
        dropout_at(pass, spec->dropout_attention, wb_bert_site(layer, WB_BERT_ATTENTION));
    const wb_dropout output1 =
        dropout_at(pass, spec->dropout_hidden, wb_bert_site(layer, WB_BERT_OUTPUT1));
    const wb_dropout output2 =
        dropout_at(pass, spec->dropout_hidden, wb_bert_site(layer, WB_BERT_OUTPUT2));
    const wb_norm norm1 = norm_of(spec, w->norm1_w, w->norm1_b);
    const wb_norm norm2 = norm_of(spec, w->norm2_w, w->norm2_b);

    wb_linear_forward(tape->qkv, tape->x, w->qkv_w, w->qkv_b, T, H, 3 * H);
    wb_attention_forward(tape->context, tape->lse, tape->qkv, chunk, &attention, spec->heads, H,
                         scratch);
    wb_linear_forward(tape->sum1, tape->context, w->output_w, w->output_b, T, H, H);
    wb_add_norm_forward(tape->middle, tape->mean1, tape->rstd1, tape->sum1, tape->x, &norm1, chunk,
                        &output1, H);
    wb_linear_forward(tape->inner, tape->middle, w->inner_w, w->inner_b, T, H, F);
    wb_gelu_forward(gelu, tape->inner, T * F);
    wb_linear_forward(tape->sum2, gelu, w->outer_w, w->outer_b, T, F, H);
    wb_add_norm_forward(tape->out, tape->mean2, tape->rstd2, tape->sum2, tape->middle, &norm2,
                        chunk, &output2, H);
}

static wb_status bert_forward(const wb_encoder *encoder, float *y, void **kept, bool keep,
                              const float *params, const wb_chunk *chunk, const wb_pass *pass,
                              wb_arena *arena) {
    wb_status status = WB_OK;
    const wb_encoder_spec *spec = &encoder->spec;
    const int64_t T = wb_packed_tokens(&chunk->packed), H = spec->hidden;
    const bert_weights w = find_embeddings(spec, readable(params));
    const wb_norm norm = norm_of(spec, w.norm_w, w.norm_b);
    const wb_dropout none = {0};
    const wb_dropout dropout = dropout_at(pass, spec->dropout_hidden, WB_BERT_SITE_EMBEDDINGS);
    bert_tape *tape;
    float *gelu, *scratch;
    WB_TRY(take_tape(&tape, spec, T, keep, arena));
    const size_t mark = wb_arena_mark(arena);
    WB_TRY(wb_arena_floats(arena, T * spec->intermediate, &gelu));
    WB_TRY(
        wb_arena_floats(arena, wb_attention_scratch(spec->positions, H / spec->heads), &scratch));

    wb_embed_forward(tape->sum, w.words, w.positions, w.types, chunk, H);
    wb_add_norm_forward(tape->embedded, tape->mean, tape->rstd, tape->sum, NULL, &norm, chunk,
                        &none, H);
    wb_dropout_apply(tape->embedded, chunk, &dropout, H);
    for (int64_t i = 0; i < spec->layers; i++) {
        const layer_weights layer = find_layer(spec, w.layers, i);
        layer_forward(&tape->layers[i], spec, &layer, chunk, pass, i, gelu, scratch);
    }
    const float *top = tape->layers[spec->layers - 1].out;
    if (spec->pooling == WB_POOLING_MEAN) {
        wb_mean_pool_forward(y, top, &chunk->packed, H);
    } else {
        wb_first_pool_forward(y, top, &chunk->packed, H);
    }
    wb_arena_release(arena, mark);
    *kept = tape;
done:
    return status;
}

/* ---- Backward
 * ----------------------------------------------------------------------------------------- */

typedef struct backward_scratch {
    float *dout;    /* [T, H], gradient that comes from above; of the layer's x when it is done */
    float *dsum;    /* [T, H] */
    float *dbranch; /* [T, H] */
    float *dqkv;    /* [T, 3 H] */
    float *dinner;  /* [T, F] */
    float *gelu;    /* [T, F] */
    float *partial; /* [2 * WB_ROW_BLOCKS, H] */
    float *scratch;
} backward_scratch;

static wb_status take_backward(backward_scratch *b, const wb_encoder_spec *spec, int64_t T,
                               wb_arena *arena) {
    wb_status status = WB_OK;
    const int64_t H = spec->hidden, F = spec->intermediate;
    WB_TRY(wb_arena_floats(arena, T * H, &b->dout));
    WB_TRY(wb_arena_floats(arena, T * H, &b->dsum));
    WB_TRY(wb_arena_floats(arena, T * H, &b->dbranch));
    WB_TRY(wb_arena_floats(arena, 3 * T * H, &b->dqkv));
    WB_TRY(wb_arena_floats(arena, T * F, &b->dinner));
    WB_TRY(wb_arena_floats(arena, T * F, &b->gelu));
    WB_TRY(wb_arena_floats(arena, 2 * WB_ROW_BLOCKS * H, &b->partial));
    WB_TRY(wb_arena_floats(arena, wb_attention_scratch(spec->positions, H / spec->heads),
                           &b->scratch));
done:
    return status;
}

static void layer_backward(backward_scratch *b, const layer_weights *grads, const layer_tape *tape,
                           const wb_encoder_spec *spec, const layer_weights *w,
                           const wb_chunk *chunk, const wb_pass *pass, int64_t layer) {
    const int64_t T = wb_packed_tokens(&chunk->packed), H = spec->hidden, F = spec->intermediate;
    const wb_dropout attention =
        dropout_at(pass, spec->dropout_attention, wb_bert_site(layer, WB_BERT_ATTENTION));
    const wb_dropout output1 =
        dropout_at(pass, spec->dropout_hidden, wb_bert_site(layer, WB_BERT_OUTPUT1));
    const wb_dropout output2 =
        dropout_at(pass, spec->dropout_hidden, wb_bert_site(layer, WB_BERT_OUTPUT2));
    const wb_norm norm1 = norm_of(spec, w->norm1_w, w->norm1_b);
    const wb_norm norm2 = norm_of(spec, w->norm2_w, w->norm2_b);

    wb_add_norm_backward(b->dsum, b->dbranch, grads->norm2_w, grads->norm2_b, b->partial, b->dout,
                         tape->sum2, tape->mean2, tape->rstd2, &norm2, chunk, &output2, H);
    /* GELU's own output is needed for the weights' gradient: its backward computes both. */
    wb_linear_backward_input(b->dinner, false, b->dbranch, w->outer_w, T, F, H);
    wb_gelu_backward(b->dinner, b->gelu, b->dinner, tape->inner, T * F);
    wb_linear_backward_weights(grads->outer_w, grads->outer_b, b->dbranch, b->gelu, T, F, H);
    wb_linear_backward_weights(grads->inner_w, grads->inner_b, b->dinner, tape->middle, T, H, F);
    wb_linear_backward_input(b->dsum, true, b->dinner, w->inner_w, T, H, F);
    wb_add_norm_backward(b->dout, b->dbranch, grads->norm1_w, grads->norm1_b, b->partial, b->dsum,
                         tape->sum1, tape->mean1, tape->rstd1, &norm1, chunk, &output1, H);
    wb_linear_backward_weights(grads->output_w, grads->output_b, b->dbranch, tape->context, T, H,
                               H);
    wb_linear_backward_input(b->dsum, false, b->dbranch, w->output_w, T, H, H);
    wb_attention_backward(b->dqkv, b->dsum, tape->context, tape->lse, tape->qkv, chunk, &attention,
                          spec->heads, H, b->scratch);
    wb_linear_backward_weights(grads->qkv_w, grads->qkv_b, b->dqkv, tape->x, T, H, 3 * H);
    wb_linear_backward_input(b->dout, true, b->dqkv, w->qkv_w, T, H, 3 * H);
}

static wb_status bert_backward(const wb_encoder *encoder, float *grads, const float *params,
                               void *kept, const float *dy, const wb_chunk *chunk,
                               const wb_pass *pass, wb_arena *arena) {
    wb_status status = WB_OK;
    const wb_encoder_spec *spec = &encoder->spec;
    const bert_tape *tape = kept;
    const int64_t T = wb_packed_tokens(&chunk->packed), H = spec->hidden;
    const bert_weights w = find_embeddings(spec, readable(params));
    const bert_weights dw = find_embeddings(spec, grads);
    const wb_norm norm = norm_of(spec, w.norm_w, w.norm_b);
    const wb_dropout none = {0};
    const wb_dropout dropout = dropout_at(pass, spec->dropout_hidden, WB_BERT_SITE_EMBEDDINGS);
    const size_t mark = wb_arena_mark(arena);
    backward_scratch b;
    WB_TRY(take_backward(&b, spec, T, arena));

    if (spec->pooling == WB_POOLING_MEAN) {
        wb_mean_pool_backward(b.dout, dy, &chunk->packed, H);
    } else {
        wb_first_pool_backward(b.dout, dy, &chunk->packed, H);
    }
    for (int64_t i = spec->layers - 1; i >= 0; i--) {
        const layer_weights layer = find_layer(spec, w.layers, i);
        const layer_weights dlayer = find_layer(spec, dw.layers, i);
        layer_backward(&b, &dlayer, &tape->layers[i], spec, &layer, chunk, pass, i);
    }
    wb_dropout_apply(b.dout, chunk, &dropout, H);
    wb_add_norm_backward(b.dsum, NULL, dw.norm_w, dw.norm_b, b.partial, b.dout, tape->sum,
                         tape->mean, tape->rstd, &norm, chunk, &none, H);
    wb_embed_backward(dw.words, dw.positions, dw.types, b.dsum, chunk, H);
done:
    wb_arena_release(arena, mark);
    return status;
}

static double bert_flops(const wb_encoder_spec *spec, const wb_packed *packed) {
    const double H = (double)spec->hidden, F = (double)spec->intermediate;
    double products = 0.0;
    for (int64_t i = 0; i < packed->n; i++) {
        const double length = (double)(packed->offsets[i + 1] - packed->offsets[i]);
        products += length * (4.0 * H * H + 2.0 * H * F) + 2.0 * length * length * H;
    }
    return 2.0 * products * (double)spec->layers;
}

const wb_encoder_kind_ops wb_bert_ops = {.check = bert_check,
                                         .declare = bert_declare,
                                         .bytes = bert_bytes,
                                         .forward = bert_forward,
                                         .backward = bert_backward,
                                         .flops = bert_flops};
