/* A forward pass as the papers write it: one sequence at a time, one loop at a time. */
#include "reference64.h"

#include "bert_sites.h"
#include "ops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Parameters are read in the order of the tensor table. */
typedef struct cursor {
    const float *params, *direction;
    double step;
    double *buffer; /* the newest tensor, in double */
    int64_t capacity;
} cursor;

/* The next `count` parameters in double; valid until the next call. */
static const double *next(cursor *c, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        c->buffer[i] = (double)c->params[i];
        if (c->direction) {
            c->buffer[i] += c->step * (double)c->direction[i];
        }
    }
    c->params += count;
    c->direction = c->direction ? c->direction + count : NULL;
    return c->buffer;
}

/* One pass: all sequences, T rows. */
typedef struct pass64 {
    const wb_encoder_spec *spec;
    const wb_packed *packed;
    const uint32_t *examples;
    const wb_pass *pass;
    cursor params;
    int64_t T;
    double *x, *y, *wide, *scores; /* [T, H], [T, H], [T, max(3 H, F)], [longest] */
} pass64;

static double mask_of(const pass64 *p, double probability, uint32_t site, uint32_t example,
                      int64_t row, int64_t column, int64_t width) {
    if (!p->pass->active || probability <= 0.0) {
        return 1.0;
    }
    const wb_dropout dropout = {.seed = p->pass->seed,
                                .step = p->pass->step,
                                .probability = (float)probability,
                                .site = site};
    const int64_t groups = (width + WB_DROPOUT_GROUP - 1) / WB_DROPOUT_GROUP;
    float mask[WB_DROPOUT_GROUP];
    wb_dropout_mask(mask, &dropout, example, (uint64_t)(row * groups + column / WB_DROPOUT_GROUP));
    return (double)mask[column % WB_DROPOUT_GROUP];
}

/* x [T, H] *= mask, row by row of every sequence */
static void drop_rows(const pass64 *p, double *x, uint32_t site) {
    const int64_t H = p->spec->hidden;
    for (int64_t s = 0; s < p->packed->n; s++) {
        const int64_t start = p->packed->offsets[s] - p->packed->offsets[0];
        const int64_t length = p->packed->offsets[s + 1] - p->packed->offsets[s];
        for (int64_t i = 0; i < length * H; i++) {
            x[start * H + i] *=
                mask_of(p, p->spec->dropout_hidden, site, p->examples[s], i / H, i % H, H);
        }
    }
}

/* y [rows, out] = x wᵀ, rows of y being y_width long */
static void multiply(double *y, const double *x, const double *w, int64_t rows, int64_t in,
                     int64_t out, int64_t y_width) {
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < rows; t++) {
        for (int64_t o = 0; o < out; o++) {
            double sum = 0.0;
#pragma omp simd reduction(+ : sum)
            for (int64_t i = 0; i < in; i++) {
                sum += x[t * in + i] * w[o * in + i];
            }
            y[t * y_width + o] = sum;
        }
    }
}

static void add_bias(double *y, const double *b, int64_t rows, int64_t out, int64_t y_width) {
    for (int64_t t = 0; t < rows; t++) {
        for (int64_t o = 0; o < out; o++) {
            y[t * y_width + o] += b[o];
        }
    }
}

/* x [T, H] becomes its layer norm; weight and bias stand next */
static void normalize_rows(pass64 *p, double *x) {
    const int64_t H = p->spec->hidden;
    for (int64_t t = 0; t < p->T; t++) {
        double mean = 0.0, variance = 0.0;
        for (int64_t i = 0; i < H; i++) {
            mean += x[t * H + i] / (double)H;
        }
        for (int64_t i = 0; i < H; i++) {
            variance += (x[t * H + i] - mean) * (x[t * H + i] - mean) / (double)H;
        }
        for (int64_t i = 0; i < H; i++) {
            x[t * H + i] = (x[t * H + i] - mean) / sqrt(variance + p->spec->layer_norm_eps);
        }
    }
    const double *weight = next(&p->params, H);
    for (int64_t i = 0; i < p->T * H; i++) {
        x[i] *= weight[i % H];
    }
    add_bias(x, next(&p->params, H), p->T, H, H);
}

/* One head of one sequence: y rows from p->wide = [query | key | value]. */
static void attend(pass64 *p, double *y, int64_t s, int64_t h, int64_t layer) {
    const int64_t H = p->spec->hidden, D = H / p->spec->heads;
    const int64_t start = p->packed->offsets[s] - p->packed->offsets[0];
    const int64_t length = p->packed->offsets[s + 1] - p->packed->offsets[s];
    for (int64_t i = 0; i < length; i++) {
        const double *q = p->wide + (start + i) * 3 * H + h * D;
        double sum = 0.0, most = -INFINITY;
        for (int64_t j = 0; j < length; j++) {
            const double *k = p->wide + (start + j) * 3 * H + H + h * D;
            p->scores[j] = 0.0;
            for (int64_t e = 0; e < D; e++) {
                p->scores[j] += q[e] * k[e] / sqrt((double)D);
            }
            most = fmax(most, p->scores[j]);
        }
        for (int64_t j = 0; j < length; j++) {
            p->scores[j] = exp(p->scores[j] - most);
            sum += p->scores[j];
        }
        double *out = y + (start + i) * H + h * D;
        memset(out, 0, (size_t)D * sizeof(*out));
        for (int64_t j = 0; j < length; j++) {
            const double *v = p->wide + (start + j) * 3 * H + 2 * H + h * D;
            const double weight =
                p->scores[j] / sum *
                mask_of(p, p->spec->dropout_attention, wb_bert_site(layer, WB_BERT_ATTENTION),
                        p->examples[s], h * length + i, j, length);
            for (int64_t e = 0; e < D; e++) {
                out[e] += weight * v[e];
            }
        }
    }
}

static void run_layer(pass64 *p, int64_t layer) {
    const int64_t H = p->spec->hidden, F = p->spec->intermediate, T = p->T;
    for (int64_t i = 0; i < 3; i++) {
        multiply(p->wide + i * H, p->x, next(&p->params, H * H), T, H, H, 3 * H);
    }
    add_bias(p->wide, next(&p->params, 3 * H), T, 3 * H, 3 * H);
    double *context = p->y;
    for (int64_t task = 0; task < p->packed->n * p->spec->heads; task++) {
        attend(p, context, task / p->spec->heads, task % p->spec->heads, layer);
    }
    double *branch = p->wide;
    multiply(branch, context, next(&p->params, H * H), T, H, H, H);
    add_bias(branch, next(&p->params, H), T, H, H);
    drop_rows(p, branch, wb_bert_site(layer, WB_BERT_OUTPUT1));
    for (int64_t i = 0; i < T * H; i++) {
        p->x[i] += branch[i];
    }
    normalize_rows(p, p->x);
    multiply(p->wide, p->x, next(&p->params, F * H), T, H, F, F);
    add_bias(p->wide, next(&p->params, F), T, F, F);
    for (int64_t i = 0; i < T * F; i++) {
        p->wide[i] *= 0.5 * erfc(-p->wide[i] / sqrt(2.0));
    }
    multiply(p->y, p->wide, next(&p->params, H * F), T, F, H, H);
    add_bias(p->y, next(&p->params, H), T, H, H);
    drop_rows(p, p->y, wb_bert_site(layer, WB_BERT_OUTPUT2));
    for (int64_t i = 0; i < T * H; i++) {
        p->x[i] += p->y[i];
    }
    normalize_rows(p, p->x);
}

/* x [T, H] += rows of the table that stands next, chosen by token, by place, or always the first */
typedef enum embed_by { BY_TOKEN, BY_PLACE, BY_NOTHING } embed_by;
static void embed(pass64 *p, int64_t rows, embed_by by) {
    const int64_t H = p->spec->hidden;
    const double *table = next(&p->params, rows * H);
    for (int64_t s = 0; s < p->packed->n; s++) {
        const int64_t start = p->packed->offsets[s];
        for (int64_t t = start; t < p->packed->offsets[s + 1]; t++) {
            const int64_t row =
                by == BY_TOKEN ? p->packed->ids[t] : (by == BY_PLACE ? t - start : 0);
            for (int64_t i = 0; i < H; i++) {
                p->x[(t - p->packed->offsets[0]) * H + i] += table[row * H + i];
            }
        }
    }
}

static void pool(const pass64 *p, double *reps) {
    const int64_t H = p->spec->hidden;
    for (int64_t s = 0; s < p->packed->n; s++) {
        const int64_t start = p->packed->offsets[s] - p->packed->offsets[0];
        const int64_t length = p->packed->offsets[s + 1] - p->packed->offsets[s];
        const bool first = p->spec->kind == WB_ENCODER_BERT && p->spec->pooling == WB_POOLING_CLS;
        const int64_t used = first && length > 1 ? 1 : length;
        double *rep = reps + s * H;
        double square = 0.0;
        memset(rep, 0, (size_t)H * sizeof(*rep));
        for (int64_t i = 0; i < used * H; i++) {
            rep[i % H] += p->x[start * H + i] / (double)used;
        }
        for (int64_t i = 0; i < H; i++) {
            square += rep[i] * rep[i];
        }
        for (int64_t i = 0; p->spec->normalize && i < H; i++) {
            rep[i] /= fmax(sqrt(square), 1e-12);
        }
    }
}

static int64_t most(int64_t a, int64_t b) {
    return a > b ? a : b;
}

wb_status wb_reference64_forward(const wb_encoder_spec *spec, double *reps, const float *params,
                                 const float *direction, double step, const wb_packed *chunk,
                                 const uint32_t *examples, const wb_pass *pass) {
    wb_status status = WB_OK;
    const bool bert = spec->kind == WB_ENCODER_BERT;
    const int64_t T = wb_packed_tokens(chunk), H = spec->hidden, F = spec->intermediate;
    pass64 p = {.spec = spec, .packed = chunk, .examples = examples, .pass = pass, .T = T};
    p.params = (cursor){.params = params, .direction = direction, .step = step};
    const int64_t largest = most(most(spec->vocabulary, spec->positions) * H, most(H, 4) * F);
    p.params.buffer = malloc((size_t)most(largest, H * H) * sizeof(double));
    p.x = calloc((size_t)(T * H + 1), sizeof(double));
    p.y = calloc((size_t)(T * H + 1), sizeof(double));
    p.wide = calloc((size_t)(T * most(3 * H, F) + 1), sizeof(double));
    p.scores = calloc((size_t)T + 1, sizeof(double));
    WB_CHECK(p.params.buffer && p.x && p.y && p.wide && p.scores, WB_ERR_MEMORY,
             "no memory for a reference of %lld tokens", (long long)T);
    embed(&p, spec->vocabulary, BY_TOKEN);
    if (bert) {
        embed(&p, spec->positions, BY_PLACE);
        embed(&p, spec->token_types, BY_NOTHING);
        normalize_rows(&p, p.x);
        drop_rows(&p, p.x, WB_BERT_SITE_EMBEDDINGS);
    }
    for (int64_t layer = 0; bert && layer < spec->layers; layer++) {
        run_layer(&p, layer);
    }
    pool(&p, reps);
done:
    free(p.params.buffer);
    free(p.x);
    free(p.y);
    free(p.wide);
    free(p.scores);
    return status;
}
