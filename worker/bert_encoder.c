/* BERT over packed tokens: forward, and backward from kept activations.
 *
 * One layer, with the arrays that its tape keeps on the right:
 *
 *     x ──────────────┐
 *     │ query, key, value: one product                    qkv      [T, 3 H]
 *     │ attention                                         context  [T, H], lse [h, T]
 *     │ output dense, dropout
 *     + ◄─────────────┘ sum                               sum1     [T, H], mean1, rstd1 [T]
 *     layer norm ─────┐ middle
 *     │ intermediate dense                                inner    [T, F]
 *     │ GELU
 *     │ output dense, dropout
 *     + ◄─────────────┘ sum                               sum2     [T, H], mean2, rstd2 [T]
 *     layer norm        the x of the layer above
 *
 * What a product made is kept, what a pass over a row makes is not: backward rebuilds x, middle and
 * GELU from the sums and from inner, bit for bit, in less than a hundredth of its time. That is a
 * sixth of the memory less; encoding again would pay a forward pass for it.
 *
 * Activations, the copies of the weights and gradients that enter products are of the encoder's
 * precision; the gradient that runs down the residual stream is fp32. Without a tape all layers
 * share one set of arrays. Source: Devlin et al. 2019; parameter names and places of dropout are
 * those of Hugging Face's BertModel.
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
    wb_numbers qkv, context, sum1, inner, sum2;
    float *lse, *mean1, *rstd1, *mean2, *rstd2;
} layer_tape;

typedef struct bert_tape {
    wb_numbers sum;     /* of the embeddings: [T, H] */
    float *mean, *rstd; /* [T] */
    layer_tape *layers; /* [L] */
} bert_tape;

static wb_dropout dropout_at(const wb_pass *pass, double probability, uint32_t site) {
    return (wb_dropout){.seed = pass->seed,
                        .step = pass->step,
                        .probability = pass->active ? (float)probability : 0.0f,
                        .site = site};
}

static wb_status bert_check(const wb_encoder_spec *spec) {
    if (spec->layers <= 0 || spec->heads <= 0 || spec->hidden % spec->heads != 0 ||
        spec->intermediate <= 0 || spec->positions <= 0 || spec->token_types <= 0 ||
        spec->hidden > WB_WIDEST_ROW) {
        return WB_ERROR(WB_ERR_CONFIG,
                        "model: %lld layers, %lld heads, width %lld, inner width %lld, %lld "
                        "positions, %lld token types; all must be positive, heads divide width, "
                        "and width be 4096 or less",
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

/* The same in an array of gradients, which may hold some rows of the word table only. */
static bert_weights find_gradients(const wb_encoder_spec *spec, const wb_table_rows *rows,
                                   float *grads) {
    wb_encoder_spec held = *spec;
    held.vocabulary = rows ? rows->count : spec->vocabulary;
    return find_embeddings(&held, grads);
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
enum { TAPE_NUMBERS = 5, TAPE_FLOATS = 5 };
typedef struct layer_sizes {
    int64_t numbers[TAPE_NUMBERS], floats[TAPE_FLOATS];
} layer_sizes;

static layer_sizes sizes_of_layer(const wb_encoder_spec *spec, int64_t T) {
    const int64_t H = spec->hidden;
    return (layer_sizes){.numbers = {3 * T * H, T * H, T * H, T * spec->intermediate, T * H},
                         .floats = {spec->heads * T, T, T, T, T}};
}

static wb_status take_layer(layer_tape *tape, const wb_encoder_spec *spec, int64_t T,
                            wb_arena *arena) {
    wb_status status = WB_OK;
    wb_numbers *const numbers[TAPE_NUMBERS] = {&tape->qkv, &tape->context, &tape->sum1,
                                               &tape->inner, &tape->sum2};
    float **const floats[TAPE_FLOATS] = {&tape->lse, &tape->mean1, &tape->rstd1, &tape->mean2,
                                         &tape->rstd2};
    const layer_sizes sizes = sizes_of_layer(spec, T);
    for (int i = 0; i < TAPE_NUMBERS; i++) {
        WB_TRY(wb_arena_numbers(arena, sizes.numbers[i], spec->precision, numbers[i]));
    }
    for (int i = 0; i < TAPE_FLOATS; i++) {
        WB_TRY(wb_arena_floats(arena, sizes.floats[i], floats[i]));
    }
done:
    return status;
}

static size_t floats_taken(int64_t count) {
    return wb_arena_rounded(wb_float_bytes(count));
}

static size_t numbers_taken(const wb_encoder_spec *spec, int64_t count) {
    return wb_arena_rounded(wb_number_bytes(spec->precision, count));
}

static wb_encoder_memory bert_bytes(const wb_encoder_spec *spec, int64_t T) {
    const int64_t H = spec->hidden, F = spec->intermediate;
    const layer_sizes sizes = sizes_of_layer(spec, T);
    size_t layer = 0;
    for (int i = 0; i < TAPE_NUMBERS; i++) {
        layer += numbers_taken(spec, sizes.numbers[i]);
    }
    for (int i = 0; i < TAPE_FLOATS; i++) {
        layer += floats_taken(sizes.floats[i]);
    }
    const size_t row = numbers_taken(spec, T * H), wide = numbers_taken(spec, T * F);
    const size_t attention = floats_taken(wb_attention_scratch(spec->positions, H / spec->heads));
    const size_t embeddings = row + 2 * floats_taken(T) + wb_arena_rounded(sizeof(bert_tape)) +
                              wb_arena_rounded((size_t)spec->layers * sizeof(layer_tape));
    const size_t tape = embeddings + (size_t)spec->layers * layer;
    const size_t working = 2 * row + wide + attention; /* x, middle, GELU */
    return (wb_encoder_memory){
        .forward = embeddings + layer + working,
        .tape = tape,
        .backward = working + row + wide + numbers_taken(spec, 3 * T * H) +
                    2 * floats_taken(T * H) + floats_taken(2 * WB_ROW_BLOCKS * H),
    };
}

/* With `keep` every layer has arrays of its own; without, all share the first layer's. */
static wb_status take_tape(bert_tape **tape, const wb_encoder_spec *spec, int64_t T, bool keep,
                           wb_arena *arena) {
    wb_status status = WB_OK;
    void *taken = NULL;
    WB_TRY(wb_arena_take(arena, sizeof(bert_tape), &taken));
    bert_tape *made = taken;
    WB_TRY(wb_arena_take(arena, (size_t)spec->layers * sizeof(layer_tape), &taken));
    made->layers = taken;
    WB_TRY(wb_arena_numbers(arena, T * spec->hidden, spec->precision, &made->sum));
    WB_TRY(wb_arena_floats(arena, T, &made->mean));
    WB_TRY(wb_arena_floats(arena, T, &made->rstd));
    for (int64_t i = 0; i < spec->layers; i++) {
        if (i == 0 || keep) {
            WB_TRY(take_layer(&made->layers[i], spec, T, arena));
        } else {
            made->layers[i] = made->layers[0];
        }
    }
    *tape = made;
done:
    return status;
}

/* What forward and backward work in, beside the tape. */
typedef struct working {
    wb_numbers x, middle; /* [T, H] */
    wb_numbers gelu;      /* [T, F] */
    float *attention;
} working;

static wb_status take_working(working *work, const wb_encoder_spec *spec, int64_t T,
                              wb_arena *arena) {
    wb_status status = WB_OK;
    const int64_t H = spec->hidden;
    WB_TRY(wb_arena_numbers(arena, T * H, spec->precision, &work->x));
    WB_TRY(wb_arena_numbers(arena, T * H, spec->precision, &work->middle));
    WB_TRY(wb_arena_numbers(arena, T * spec->intermediate, spec->precision, &work->gelu));
    WB_TRY(wb_arena_floats(arena, wb_attention_scratch(spec->positions, H / spec->heads),
                           &work->attention));
done:
    return status;
}

/* ---- What both ways need to know of a layer
 * ----------------------------------------------------------- */

typedef struct layer_view {
    wb_numbers qkv_w, output_w, inner_w, outer_w; /* of the encoder's precision */
    layer_weights w;
    wb_norm norm1, norm2;
    wb_dropout attention, output1, output2;
} layer_view;

static layer_view view_layer(const wb_encoder *encoder, const float *params, const wb_pass *pass,
                             int64_t layer) {
    const wb_encoder_spec *spec = &encoder->spec;
    const bert_weights all = find_embeddings(spec, readable(params));
    const layer_weights w = find_layer(spec, all.layers, layer);
    return (layer_view){
        .qkv_w = wb_encoder_matrix(encoder, params, w.qkv_w),
        .output_w = wb_encoder_matrix(encoder, params, w.output_w),
        .inner_w = wb_encoder_matrix(encoder, params, w.inner_w),
        .outer_w = wb_encoder_matrix(encoder, params, w.outer_w),
        .w = w,
        .norm1 = norm_of(spec, w.norm1_w, w.norm1_b),
        .norm2 = norm_of(spec, w.norm2_w, w.norm2_b),
        .attention =
            dropout_at(pass, spec->dropout_attention, wb_bert_site(layer, WB_BERT_ATTENTION)),
        .output1 = dropout_at(pass, spec->dropout_hidden, wb_bert_site(layer, WB_BERT_OUTPUT1)),
        .output2 = dropout_at(pass, spec->dropout_hidden, wb_bert_site(layer, WB_BERT_OUTPUT2)),
    };
}

static void bert_convert(uint16_t *narrow, const wb_encoder_spec *spec, const float *params,
                         int64_t total) {
    const int64_t first = find_embeddings(spec, readable(params)).layers - params;
#pragma omp parallel for schedule(static)
    for (int64_t at = first; at < total; at += WB_WIDEST_ROW) {
        wb_narrow(narrow + at, params + at,
                  total - at < WB_WIDEST_ROW ? total - at : WB_WIDEST_ROW);
    }
}

/* ---- Forward
 * ------------------------------------------------------------------------------------------ */

/* work->x holds the layer's x, and its output when this returns. */
static void layer_forward(layer_tape *tape, const wb_encoder_spec *spec, const layer_view *l,
                          const wb_chunk *chunk, const working *work) {
    const int64_t T = wb_packed_tokens(&chunk->packed), H = spec->hidden, F = spec->intermediate;
    wb_linear_forward(tape->qkv, work->x, l->qkv_w, l->w.qkv_b, T, H, 3 * H);
    wb_attention_forward(tape->context, tape->lse, tape->qkv, chunk, &l->attention, spec->heads, H,
                         work->attention);
    wb_linear_forward(tape->sum1, tape->context, l->output_w, l->w.output_b, T, H, H);
    wb_add_norm_forward(work->middle, tape->mean1, tape->rstd1, tape->sum1, work->x, &l->norm1,
                        chunk, &l->output1, H);
    wb_linear_forward(tape->inner, work->middle, l->inner_w, l->w.inner_b, T, H, F);
    wb_gelu_forward(work->gelu, tape->inner, T * F);
    wb_linear_forward(tape->sum2, work->gelu, l->outer_w, l->w.outer_b, T, F, H);
    wb_add_norm_forward(work->x, tape->mean2, tape->rstd2, tape->sum2, work->middle, &l->norm2,
                        chunk, &l->output2, H);
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
    working work;
    WB_TRY(take_tape(&tape, spec, T, keep, arena));
    const size_t mark = wb_arena_mark(arena);
    WB_TRY(take_working(&work, spec, T, arena));

    wb_embed_forward(tape->sum, w.words, w.positions, w.types, chunk, H);
    wb_add_norm_forward(work.x, tape->mean, tape->rstd, tape->sum, (wb_numbers){0}, &norm, chunk,
                        &none, H);
    wb_dropout_apply(work.x, chunk, &dropout, H);
    for (int64_t i = 0; i < spec->layers; i++) {
        const layer_view layer = view_layer(encoder, params, pass, i);
        layer_forward(&tape->layers[i], spec, &layer, chunk, &work);
    }
    if (spec->pooling == WB_POOLING_MEAN) {
        wb_mean_pool_forward(y, work.x, &chunk->packed, H);
    } else {
        wb_first_pool_forward(y, work.x, &chunk->packed, H);
    }
    wb_arena_release(arena, mark);
    *kept = tape;
done:
    return status;
}

/* ---- Backward
 * ----------------------------------------------------------------------------------------- */

typedef struct backward_scratch {
    working work;
    float *dout;        /* [T, H], gradient that comes from above; of the layer's x when done */
    float *dsum;        /* [T, H] */
    wb_numbers dbranch; /* [T, H] */
    wb_numbers dqkv;    /* [T, 3 H] */
    wb_numbers dinner;  /* [T, F] */
    float *partial;     /* [2 * WB_ROW_BLOCKS, H] */
    const wb_backward_listener *listener;
    const float *grads; /* of the first parameter */
} backward_scratch;

static wb_status take_backward(backward_scratch *b, const wb_encoder_spec *spec, int64_t T,
                               wb_arena *arena) {
    wb_status status = WB_OK;
    const int64_t H = spec->hidden;
    WB_TRY(take_working(&b->work, spec, T, arena));
    WB_TRY(wb_arena_floats(arena, T * H, &b->dout));
    WB_TRY(wb_arena_floats(arena, T * H, &b->dsum));
    WB_TRY(wb_arena_numbers(arena, T * H, spec->precision, &b->dbranch));
    WB_TRY(wb_arena_numbers(arena, 3 * T * H, spec->precision, &b->dqkv));
    WB_TRY(wb_arena_numbers(arena, T * spec->intermediate, spec->precision, &b->dinner));
    WB_TRY(wb_arena_floats(arena, 2 * WB_ROW_BLOCKS * H, &b->partial));
done:
    return status;
}

/* Parameters stand in the order of the forward pass, so gradients settle from the end. */
static void tell(const backward_scratch *b, const float *settled) {
    if (b->listener) {
        b->listener->settled(b->listener->context, settled - b->grads);
    }
}

/* b->work.x holds the layer's x again. */
static void layer_backward(const backward_scratch *b, const layer_weights *grads,
                           const layer_tape *tape, const wb_encoder_spec *spec, const layer_view *l,
                           const wb_chunk *chunk) {
    const int64_t T = wb_packed_tokens(&chunk->packed), H = spec->hidden, F = spec->intermediate;
    const working *work = &b->work;
    wb_norm_again(work->middle, tape->sum1, tape->mean1, tape->rstd1, &l->norm1, T, H);
    wb_add_norm_backward(b->dsum, b->dbranch, grads->norm2_w, grads->norm2_b, b->partial, b->dout,
                         tape->sum2, tape->mean2, tape->rstd2, &l->norm2, chunk, &l->output2, H);
    wb_linear_backward_input(b->dinner, false, b->dbranch, l->outer_w, T, F, H);
    wb_gelu_backward(b->dinner, work->gelu, b->dinner, tape->inner, T * F);
    tell(b, grads->norm2_w);
    wb_linear_backward_weights(grads->outer_w, grads->outer_b, b->dbranch, work->gelu, T, F, H);
    tell(b, grads->outer_w);
    wb_linear_backward_weights(grads->inner_w, grads->inner_b, b->dinner, work->middle, T, H, F);
    tell(b, grads->inner_w);
    wb_linear_backward_input(wb_fp32(b->dsum), true, b->dinner, l->inner_w, T, H, F);
    wb_add_norm_backward(b->dout, b->dbranch, grads->norm1_w, grads->norm1_b, b->partial, b->dsum,
                         tape->sum1, tape->mean1, tape->rstd1, &l->norm1, chunk, &l->output1, H);
    wb_linear_backward_weights(grads->output_w, grads->output_b, b->dbranch, tape->context, T, H,
                               H);
    tell(b, grads->output_w);
    wb_linear_backward_input(wb_fp32(b->dsum), false, b->dbranch, l->output_w, T, H, H);
    wb_attention_backward(b->dqkv, b->dsum, tape->context, tape->lse, tape->qkv, chunk,
                          &l->attention, spec->heads, H, work->attention);
    tell(b, grads->output_w);
    wb_linear_backward_weights(grads->qkv_w, grads->qkv_b, b->dqkv, work->x, T, H, 3 * H);
    tell(b, grads->qkv_w);
    wb_linear_backward_input(wb_fp32(b->dout), true, b->dqkv, l->qkv_w, T, H, 3 * H);
}

static wb_status bert_backward(const wb_encoder *encoder, float *grads, const wb_table_rows *rows,
                               const float *params, void *kept, const float *dy,
                               const wb_chunk *chunk, const wb_pass *pass,
                               const wb_backward_listener *listener, wb_arena *arena) {
    wb_status status = WB_OK;
    const wb_encoder_spec *spec = &encoder->spec;
    const bert_tape *tape = kept;
    const int64_t T = wb_packed_tokens(&chunk->packed), H = spec->hidden;
    const bert_weights w = find_embeddings(spec, readable(params));
    const bert_weights dw = find_gradients(spec, rows, grads);
    const wb_norm norm = norm_of(spec, w.norm_w, w.norm_b);
    const wb_dropout none = {0};
    const wb_dropout dropout = dropout_at(pass, spec->dropout_hidden, WB_BERT_SITE_EMBEDDINGS);
    const size_t mark = wb_arena_mark(arena);
    backward_scratch b = {.listener = listener, .grads = grads};
    WB_TRY(take_backward(&b, spec, T, arena));

    if (spec->pooling == WB_POOLING_MEAN) {
        wb_mean_pool_backward(b.dout, dy, &chunk->packed, H);
    } else {
        wb_first_pool_backward(b.dout, dy, &chunk->packed, H);
    }
    for (int64_t i = spec->layers - 1; i >= 0; i--) {
        const layer_view layer = view_layer(encoder, params, pass, i);
        const layer_weights dlayer = find_layer(spec, dw.layers, i);
        if (i > 0) {
            const layer_tape *below = &tape->layers[i - 1];
            const layer_view under = view_layer(encoder, params, pass, i - 1);
            wb_norm_again(b.work.x, below->sum2, below->mean2, below->rstd2, &under.norm2, T, H);
        } else {
            wb_norm_again(b.work.x, tape->sum, tape->mean, tape->rstd, &norm, T, H);
            wb_dropout_apply(b.work.x, chunk, &dropout, H);
        }
        layer_backward(&b, &dlayer, &tape->layers[i], spec, &layer, chunk);
    }
    wb_dropout_apply(wb_fp32(b.dout), chunk, &dropout, H);
    wb_add_norm_backward(b.dsum, (wb_numbers){0}, dw.norm_w, dw.norm_b, b.partial, b.dout,
                         tape->sum, tape->mean, tape->rstd, &norm, chunk, &none, H);
    wb_embed_backward(dw.words, rows, dw.positions, dw.types, b.dsum, chunk, H);
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
                                         .convert = bert_convert,
                                         .bytes = bert_bytes,
                                         .forward = bert_forward,
                                         .backward = bert_backward,
                                         .flops = bert_flops};
