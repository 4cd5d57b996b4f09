/* Every operation twice: against PyTorch's values in double (tests/reference/make_ops.py), and its
 * backward against central differences of a plain forward in double written here. */
#include "gemm.h"
#include "ops.h"
#include "testing.h"
#include "threads.h"
#include "vector_math.h"

static const char fixture[] = "worker/ops.txt";

/* ---- Inputs
 * -----------------------------------------------------------------------------------------------
 */

/* Owned by the caller: `count` standard normal numbers of the test's seed. */
static float *draw(int64_t count, uint32_t what) {
    float *values = malloc((size_t)(count > 0 ? count : 1) * sizeof(*values));
    for (int64_t i = 0; i < count; i++) {
        const wb_rng_key key = {
            .seed = test_seed(), .example = what, .site = wb_rng_site(WB_RNG_TEST, 1)};
        values[i] = wb_rng_normal(key, (uint32_t)i);
    }
    return values;
}

static float *zeros(int64_t count) {
    return calloc((size_t)(count > 0 ? count : 1), sizeof(float));
}

/* A chunk of sequences with these lengths; freed by free_chunk. */
static wb_chunk make_chunk(const int64_t *lengths, int64_t n, int32_t vocabulary) {
    int64_t *offsets = calloc((size_t)n + 1, sizeof(*offsets));
    for (int64_t i = 0; i < n; i++) {
        offsets[i + 1] = offsets[i] + lengths[i];
    }
    const int64_t T = offsets[n];
    int32_t *ids = malloc((size_t)(T + 1) * sizeof(*ids));
    uint32_t *examples = malloc((size_t)n * sizeof(*examples));
    uint32_t *sequences = malloc((size_t)(T + 1) * sizeof(*sequences));
    uint32_t *positions = malloc((size_t)(T + 1) * sizeof(*positions));
    for (int64_t i = 0; i < n; i++) {
        examples[i] = (uint32_t)(10 + i);
        for (int64_t k = 0; k < lengths[i]; k++) {
            const wb_rng_key key = {.seed = test_seed(), .site = wb_rng_site(WB_RNG_TEST, 2)};
            const int64_t t = offsets[i] + k;
            ids[t] = (int32_t)wb_rng_below((uint64_t)vocabulary, key, (uint32_t)t);
            sequences[t] = (uint32_t)i;
            positions[t] = (uint32_t)k;
        }
    }
    return (wb_chunk){.packed = {.ids = ids, .offsets = offsets, .n = n},
                      .examples = examples,
                      .sequences = sequences,
                      .positions = positions};
}

static void free_chunk(wb_chunk *chunk) {
    free((void *)(uintptr_t)chunk->packed.ids);
    free((void *)(uintptr_t)chunk->packed.offsets);
    free((void *)(uintptr_t)chunk->examples);
    free((void *)(uintptr_t)chunk->sequences);
    free((void *)(uintptr_t)chunk->positions);
}

/* ---- Central differences
 * ------------------------------------------------------------------------------------ */

/* A forward pass in double: y from x, other inputs through `with`. */
typedef void (*plain_forward)(double *y, const double *x, const void *with);

/* d(sum dy_i y_i)/dx_j for every j, against `got`. */
static void expect_difference(const float *got, const float *x, int64_t x_count, const float *dy,
                              int64_t y_count, plain_forward forward, const void *with,
                              double tolerance, const char *what) {
    double *x64 = malloc((size_t)x_count * sizeof(*x64));
    double *y64 = malloc((size_t)y_count * sizeof(*y64));
    for (int64_t j = 0; j < x_count; j++) {
        x64[j] = (double)x[j];
    }
    for (int64_t j = 0; j < x_count; j++) {
        double sums[2] = {0.0, 0.0};
        const double h = 1e-5, at = x64[j];
        for (int side = 0; side < 2; side++) {
            x64[j] = at + (side == 0 ? h : -h);
            forward(y64, x64, with);
            for (int64_t i = 0; i < y_count; i++) {
                sums[side] += (double)dy[i] * y64[i];
            }
        }
        x64[j] = at;
        const double wanted = (sums[0] - sums[1]) / (2.0 * h);
        if (!(fabs((double)got[j] - wanted) <= tolerance * (1.0 + fabs(wanted)))) {
            fail_msg("%s[%lld]: gradient %.9g, difference %.9g", what, (long long)j, (double)got[j],
                     wanted);
        }
    }
    free(x64);
    free(y64);
}

/* ---- exp and the normal distribution
 * --------------------------------------------------------------------------- */

static void exp_and_normal_are_accurate(void **state) {
    (void)state;
    for (double x = -90.0; x < 88.0; x += 0.0037) {
        const double wanted = (float)x < -87.33f ? 0.0 : exp((double)(float)x);
        /* two units in the last place */
        assert_true(fabs((double)wb_exp((float)x) - wanted) <= 2.4e-7 * wanted);
    }
    assert_true(isnan(wb_exp(NAN)));
    assert_true(wb_exp(-INFINITY) == 0.0f && wb_exp(0.0f) == 1.0f);
    for (double x = -12.0; x < 12.0; x += 0.0011) {
        float density;
        const double at = (double)(float)x;
        const double got = (double)wb_normal((float)x, &density);
        assert_true(fabs(got - 0.5 * erfc(-at / sqrt(2.0))) < 2.5e-7);
        assert_true(fabs((double)density - exp(-at * at / 2.0) / sqrt(2.0 * M_PI)) < 1e-7);
    }
}

/* ---- Linear
 * --------------------------------------------------------------------------------------------------
 */

static void linear_equals_pytorch(void **state) {
    (void)state;
    enum { ROWS = 5, IN = 7, OUT = 6 };
    float *x = fixture_array(fixture, "linear.x", NULL),
          *w = fixture_array(fixture, "linear.w", NULL);
    float *b = fixture_array(fixture, "linear.b", NULL),
          *y = fixture_array(fixture, "linear.y", NULL);
    float *dy = fixture_array(fixture, "linear.dy", NULL);
    float *dx = fixture_array(fixture, "linear.dx", NULL);
    float *dw = fixture_array(fixture, "linear.dw", NULL);
    float *db = fixture_array(fixture, "linear.db", NULL);
    float got[ROWS * IN + ROWS * OUT + OUT * IN] = {0}, got_w[OUT * IN], got_b[OUT] = {0};
    wb_linear_forward(wb_fp32(got), wb_fp32(x), wb_fp32(w), b, ROWS, IN, OUT);
    expect_close(got, y, ROWS * OUT, 2e-6, "y");
    wb_linear_backward_input(wb_fp32(got), false, wb_fp32(dy), wb_fp32(w), ROWS, IN, OUT);
    expect_close(got, dx, ROWS * IN, 2e-6, "dx");
    wb_linear_backward_input(wb_fp32(got), true, wb_fp32(dy), wb_fp32(w), ROWS, IN, OUT);
    for (int i = 0; i < ROWS * IN; i++) {
        assert_true(fabsf(got[i] - 2.0f * dx[i]) < 4e-6f);
    }
    memcpy(got_w, dw, sizeof(got_w)); /* gradients are added to */
    wb_linear_backward_weights(got_w, got_b, wb_fp32(dy), wb_fp32(x), ROWS, IN, OUT);
    for (int i = 0; i < OUT * IN; i++) {
        assert_true(fabsf(got_w[i] - 2.0f * dw[i]) < 4e-6f);
    }
    expect_close(got_b, db, OUT, 2e-6, "db");
    float *const all[] = {x, w, b, y, dy, dx, dw, db};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        free(all[i]);
    }
}

/* ---- GELU
 * ------------------------------------------------------------------------------------------------------
 */

static void gelu_equals_pytorch(void **state) {
    (void)state;
    int64_t n;
    float *x = fixture_array(fixture, "gelu.x", &n), *y = fixture_array(fixture, "gelu.y", NULL);
    float *dx = fixture_array(fixture, "gelu.dx", NULL),
          *dy = fixture_array(fixture, "gelu.dy", NULL);
    float *got = zeros(n), *again = zeros(n);
    wb_gelu_forward(wb_fp32(got), wb_fp32(x), n);
    expect_close(got, y, n, 1e-6, "y");
    wb_gelu_backward(wb_fp32(got), wb_fp32(again), wb_fp32(dy), wb_fp32(x), n);
    expect_close(got, dx, n, 2e-6, "dx");
    expect_close(again, y, n, 1e-6, "y again");
    float *const all[] = {x, y, dx, dy, got, again};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        free(all[i]);
    }
}

static void plain_gelu(double *y, const double *x, const void *with) {
    for (int64_t i = 0; i < *(const int64_t *)with; i++) {
        y[i] = x[i] * 0.5 * erfc(-x[i] / sqrt(2.0));
    }
}

static void gelu_gradient_equals_difference(void **state) {
    (void)state;
    const int64_t n = 50;
    float *x = draw(n, 1), *dy = draw(n, 2), *dx = zeros(n), *y = zeros(n);
    wb_gelu_backward(wb_fp32(dx), wb_fp32(y), wb_fp32(dy), wb_fp32(x), n);
    expect_difference(dx, x, n, dy, n, plain_gelu, &n, 2e-6, "gelu");
    free(x);
    free(dy);
    free(dx);
    free(y);
}

/* ---- Layer norm of a sum, with dropout
 * --------------------------------------------------------------------------- */

typedef struct norm_case {
    const wb_chunk *chunk;
    const wb_dropout *dropout;
    const float *x, *residual, *weight, *bias; /* what is not being varied */
    int64_t T, H;
    int varied; /* 0 x, 1 residual, 2 weight, 3 bias */
} norm_case;

static void plain_norm(double *y, const double *v, const void *with) {
    const norm_case *c = with;
    const int64_t groups = (c->H + WB_DROPOUT_GROUP - 1) / WB_DROPOUT_GROUP;
    for (int64_t t = 0; t < c->T; t++) {
        double mean = 0.0, variance = 0.0;
        double row[512];
        for (int64_t i = 0; i < c->H; i++) {
            float mask[WB_DROPOUT_GROUP];
            wb_dropout_mask(mask, c->dropout, c->chunk->examples[c->chunk->sequences[t]],
                            (uint64_t)(c->chunk->positions[t] * groups + i / WB_DROPOUT_GROUP));
            const double keep =
                c->dropout->probability > 0.0f ? (double)mask[i % WB_DROPOUT_GROUP] : 1.0;
            const double x = c->varied == 0 ? v[t * c->H + i] : (double)c->x[t * c->H + i];
            const double residual =
                c->varied == 1 ? v[t * c->H + i] : (double)c->residual[t * c->H + i];
            row[i] = residual + keep * x;
            mean += row[i] / (double)c->H;
        }
        for (int64_t i = 0; i < c->H; i++) {
            variance += (row[i] - mean) * (row[i] - mean) / (double)c->H;
        }
        for (int64_t i = 0; i < c->H; i++) {
            const double weight = c->varied == 2 ? v[i] : (double)c->weight[i];
            const double bias = c->varied == 3 ? v[i] : (double)c->bias[i];
            y[t * c->H + i] = (row[i] - mean) / sqrt(variance + 1e-12) * weight + bias;
        }
    }
}

static void check_norm(double probability) {
    const int64_t lengths[] = {4, 1, 3}, H = 133; /* more than one group of a mask */
    wb_chunk chunk = make_chunk(lengths, 3, 10);
    const int64_t T = wb_packed_tokens(&chunk.packed);
    const wb_dropout dropout = {.seed = 4, .step = 2, .probability = (float)probability, .site = 3};
    float *x = draw(T * H, 1), *residual = draw(T * H, 2), *weight = draw(H, 3), *bias = draw(H, 4);
    float *dy = draw(T * H, 5), *y = zeros(T * H), *sum = zeros(T * H), *mean = zeros(T);
    float *rstd = zeros(T), *dsum = zeros(T * H), *dx = zeros(T * H), *dweight = zeros(H);
    float *dbias = zeros(H), *partial = zeros(2 * WB_ROW_BLOCKS * H);
    const wb_norm norm = {.weight = weight, .bias = bias, .eps = 1e-12f};
    memcpy(sum, x, (size_t)(T * H) * sizeof(*sum));
    wb_add_norm_forward(wb_fp32(y), mean, rstd, wb_fp32(sum), wb_fp32(residual), &norm, &chunk,
                        &dropout, H);
    float *again = zeros(T * H);
    wb_norm_again(wb_fp32(again), wb_fp32(sum), mean, rstd, &norm, T, H);
    assert_memory_equal(again, y, (size_t)(T * H) * sizeof(*y));
    free(again);
    norm_case c = {.chunk = &chunk,
                   .dropout = &dropout,
                   .x = x,
                   .residual = residual,
                   .weight = weight,
                   .bias = bias,
                   .T = T,
                   .H = H};
    double *x64 = calloc((size_t)(T * H), sizeof(*x64)),
           *y64 = calloc((size_t)(T * H), sizeof(*y64));
    for (int64_t i = 0; i < T * H; i++) {
        x64[i] = (double)x[i];
    }
    plain_norm(y64, x64, &c);
    for (int64_t i = 0; i < T * H; i++) {
        assert_true(fabs((double)y[i] - y64[i]) < 1e-5);
    }
    wb_add_norm_backward(dsum, wb_fp32(dx), dweight, dbias, partial, dy, wb_fp32(sum), mean, rstd,
                         &norm, &chunk, &dropout, H);
    const float *const gradients[] = {dx, dsum, dweight, dbias};
    const float *const varied[] = {x, residual, weight, bias};
    const int64_t counts[] = {T * H, T * H, H, H};
    for (c.varied = 0; c.varied < 4; c.varied++) {
        expect_difference(gradients[c.varied], varied[c.varied], counts[c.varied], dy, T * H,
                          plain_norm, &c, 1e-5, "norm");
    }
    float *const all[] = {x,    residual, weight, bias, dy,      y,     sum,
                          mean, rstd,     dsum,   dx,   dweight, dbias, partial};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        free(all[i]);
    }
    free(x64);
    free(y64);
    free_chunk(&chunk);
}

static void norm_gradient_equals_difference_with_and_without_dropout(void **state) {
    (void)state;
    check_norm(0.0);
    check_norm(0.4);
}

static void norm_equals_pytorch(void **state) {
    (void)state;
    enum { T = 9, H = 20 };
    const int64_t lengths[] = {T};
    wb_chunk chunk = make_chunk(lengths, 1, 10);
    const wb_dropout none = {0};
    float *x = fixture_array(fixture, "norm.x", NULL), *w = fixture_array(fixture, "norm.w", NULL);
    float *b = fixture_array(fixture, "norm.b", NULL), *y = fixture_array(fixture, "norm.y", NULL);
    float *dy = fixture_array(fixture, "norm.dy", NULL),
          *dx = fixture_array(fixture, "norm.dx", NULL);
    float *dw = fixture_array(fixture, "norm.dw", NULL),
          *db = fixture_array(fixture, "norm.db", NULL);
    float got[T * H], mean[T], rstd[T], got_w[H] = {0}, got_b[H] = {0};
    float partial[2 * WB_ROW_BLOCKS * H];
    const wb_norm norm = {.weight = w, .bias = b, .eps = 1e-12f};
    wb_add_norm_forward(wb_fp32(got), mean, rstd, wb_fp32(x), (wb_numbers){0}, &norm, &chunk, &none,
                        H);
    expect_close(got, y, T * H, 3e-6, "y");
    wb_add_norm_backward(got, (wb_numbers){0}, got_w, got_b, partial, dy, wb_fp32(x), mean, rstd,
                         &norm, &chunk, &none, H);
    expect_close(got, dx, T * H, 5e-6, "dx");
    expect_close(got_w, dw, H, 5e-6, "dw");
    expect_close(got_b, db, H, 5e-6, "db");
    float *const all[] = {x, w, b, y, dy, dx, dw, db};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        free(all[i]);
    }
    free_chunk(&chunk);
}

/* ---- Attention
 * ------------------------------------------------------------------------------------------------------
 */

static void attention_equals_pytorch(void **state) {
    (void)state;
    enum { T = 83, H = 24, HEADS = 3 };
    const int64_t lengths[] = {70, 1, 12}; /* one sequence spans two blocks of query rows */
    wb_chunk chunk = make_chunk(lengths, 3, 10);
    const wb_dropout none = {0};
    float *x = fixture_array(fixture, "attention.x", NULL);
    float *y = fixture_array(fixture, "attention.y", NULL);
    float *dy = fixture_array(fixture, "attention.dy", NULL);
    float *dx = fixture_array(fixture, "attention.dx", NULL);
    float *got = zeros(T * H), *lse = zeros(HEADS * T), *dqkv = zeros(T * 3 * H);
    float *scratch = zeros(wb_attention_scratch(70, H / HEADS));
    wb_attention_forward(wb_fp32(got), lse, wb_fp32(x), &chunk, &none, HEADS, H, scratch);
    expect_close(got, y, T * H, 2e-6, "y");
    wb_attention_backward(wb_fp32(dqkv), dy, wb_fp32(got), lse, wb_fp32(x), &chunk, &none, HEADS, H,
                          scratch);
    expect_close(dqkv, dx, T * 3 * H, 3e-6, "dqkv");
    float *const all[] = {x, y, dy, dx, got, lse, dqkv, scratch};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        free(all[i]);
    }
    free_chunk(&chunk);
}

typedef struct attention_case {
    const wb_chunk *chunk;
    const wb_dropout *dropout;
    int64_t heads, H;
} attention_case;

static void plain_attention(double *y, const double *qkv, const void *with) {
    const attention_case *c = with;
    const int64_t D = c->H / c->heads, ld = 3 * c->H;
    for (int64_t s = 0; s < c->chunk->packed.n; s++) {
        const int64_t start = c->chunk->packed.offsets[s];
        const int64_t length = c->chunk->packed.offsets[s + 1] - start;
        const int64_t groups = (length + WB_DROPOUT_GROUP - 1) / WB_DROPOUT_GROUP;
        for (int64_t task = 0; task < c->heads * length; task++) {
            const int64_t h = task / length, i = task % length;
            double p[256], sum = 0.0;
            for (int64_t j = 0; j < length; j++) {
                double score = 0.0;
                for (int64_t k = 0; k < D; k++) {
                    score += qkv[(start + i) * ld + h * D + k] *
                             qkv[(start + j) * ld + c->H + h * D + k];
                }
                p[j] = exp(score / sqrt((double)D));
                sum += p[j];
            }
            for (int64_t k = 0; k < D; k++) {
                y[(start + i) * c->H + h * D + k] = 0.0;
            }
            float mask[WB_DROPOUT_GROUP];
            for (int64_t j = 0; j < length; j++) {
                if (j % WB_DROPOUT_GROUP == 0) {
                    wb_dropout_mask(mask, c->dropout, c->chunk->examples[s],
                                    (uint64_t)((h * length + i) * groups + j / WB_DROPOUT_GROUP));
                }
                const double keep =
                    c->dropout->probability > 0.0f ? (double)mask[j % WB_DROPOUT_GROUP] : 1.0;
                for (int64_t k = 0; k < D; k++) {
                    y[(start + i) * c->H + h * D + k] +=
                        keep * p[j] / sum * qkv[(start + j) * ld + 2 * c->H + h * D + k];
                }
            }
        }
    }
}

static void attention_gradient_equals_difference_with_dropout(void **state) {
    (void)state;
    enum { H = 8, HEADS = 2, LONGEST = 34 }; /* more than one block of query rows */
    const int64_t lengths[] = {5, 1, LONGEST};
    wb_chunk chunk = make_chunk(lengths, 3, 10);
    const int64_t T = wb_packed_tokens(&chunk.packed);
    const wb_dropout dropout = {.seed = 9, .step = 1, .probability = 0.3f, .site = 2};
    const attention_case c = {.chunk = &chunk, .dropout = &dropout, .heads = HEADS, .H = H};
    float *x = draw(T * 3 * H, 1), *dy = draw(T * H, 2), *y = zeros(T * H), *lse = zeros(HEADS * T);
    float *dqkv = zeros(T * 3 * H), *scratch = zeros(wb_attention_scratch(LONGEST, H / HEADS));
    wb_attention_forward(wb_fp32(y), lse, wb_fp32(x), &chunk, &dropout, HEADS, H, scratch);
    wb_attention_backward(wb_fp32(dqkv), dy, wb_fp32(y), lse, wb_fp32(x), &chunk, &dropout, HEADS,
                          H, scratch);
    expect_difference(dqkv, x, T * 3 * H, dy, T * H, plain_attention, &c, 1e-5, "attention");
    float *const all[] = {x, dy, y, lse, dqkv, scratch};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        free(all[i]);
    }
    free_chunk(&chunk);
}

/* ---- Dropout
 * --------------------------------------------------------------------------------------------------------
 */

static void masks_keep_the_mean_and_belong_to_their_name(void **state) {
    (void)state;
    enum { GROUPS = 2000 };
    const wb_dropout dropout = {.seed = test_seed(), .step = 7, .probability = 0.1f, .site = 1};
    wb_dropout other = dropout;
    other.step = 8;
    double sum = 0.0;
    int64_t zeros_seen = 0, differs = 0;
    for (uint64_t g = 0; g < GROUPS; g++) {
        float mask[WB_DROPOUT_GROUP], again[WB_DROPOUT_GROUP], elsewhere[WB_DROPOUT_GROUP];
        wb_dropout_mask(mask, &dropout, 3, g);
        wb_dropout_mask(again, &dropout, 3, g);
        wb_dropout_mask(elsewhere, &other, 3, g);
        assert_memory_equal(mask, again, sizeof(mask));
        for (int i = 0; i < WB_DROPOUT_GROUP; i++) {
            sum += (double)mask[i];
            zeros_seen += mask[i] == 0.0f;
            differs += mask[i] != elsewhere[i];
        }
    }
    const double n = (double)GROUPS * WB_DROPOUT_GROUP;
    /* six standard errors */
    assert_true(fabs((double)zeros_seen / n - 0.1) < 6.0 * sqrt(0.09 / n));
    assert_true(fabs(sum / n - 1.0) < 6.0 * sqrt(0.09 / n) / 0.9);
    assert_true(fabs((double)differs / n - 0.18) < 6.0 * sqrt(0.18 * 0.82 / n));
}

/* ---- Embeddings and pooling
 * ---------------------------------------------------------------------------------------------- */

/* Linear maps: <dy, f(x)> must equal <f's backward of dy, x>. */
static double dot64(const float *a, const float *b, int64_t n) {
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) {
        sum += (double)a[i] * (double)b[i];
    }
    return sum;
}

static void
embeddings_and_pooling_equal_plain_sums_and_their_backward_is_the_transpose(void **state) {
    (void)state;
    enum { H = 165, V = 11, P = 9 };
    const int64_t lengths[] = {3, 0, 9, 1};
    wb_chunk chunk = make_chunk(lengths, 4, V);
    const wb_packed *packed = &chunk.packed;
    const int64_t T = wb_packed_tokens(packed);
    float *words = draw(V * H, 1), *positions = draw(P * H, 2), *types = draw(H, 3);
    float *dy = draw(T * H, 4), *dpooled = draw(4 * H, 5), *y = zeros(T * H),
          *pooled = zeros(4 * H);
    float *dwords = zeros(V * H), *dpositions = zeros(P * H), *dtypes = zeros(H),
          *dx = zeros(T * H);
    wb_embed_forward(wb_fp32(y), words, positions, types, &chunk, H);
    for (int64_t t = 0; t < T; t++) {
        for (int64_t i = 0; i < H; i++) {
            const float wanted =
                words[packed->ids[t] * H + i] + positions[chunk.positions[t] * H + i] + types[i];
            assert_true(fabsf(y[t * H + i] - wanted) < 1e-6f);
        }
    }
    wb_embed_backward(dwords, NULL, dpositions, dtypes, dy, &chunk, H);
    const double forward = dot64(dy, y, T * H);
    const double backward =
        dot64(dwords, words, V * H) + dot64(dpositions, positions, P * H) + dot64(dtypes, types, H);
    assert_true(fabs(forward - backward) < 1e-3);

    wb_mean_pool_forward(pooled, wb_fp32(y), packed, H);
    wb_mean_pool_backward(dx, dpooled, packed, H);
    assert_true(fabs(dot64(dpooled, pooled, 4 * H) - dot64(dx, y, T * H)) < 1e-3);
    for (int64_t i = 0; i < H; i++) {
        assert_true(fabsf(pooled[i] - (y[i] + y[H + i] + y[2 * H + i]) / 3.0f) < 1e-6f);
        assert_true(pooled[H + i] == 0.0f); /* no token, no representation */
    }
    wb_first_pool_forward(pooled, wb_fp32(y), packed, H);
    wb_first_pool_backward(dx, dpooled, packed, H);
    assert_true(fabs(dot64(dpooled, pooled, 4 * H) - dot64(dx, y, T * H)) < 1e-3);
    assert_memory_equal(pooled + 2 * H, y + 3 * H, H * sizeof(float));

    wb_embed_forward(wb_fp32(y), words, NULL, NULL, &chunk, H);
    wb_mean_pool_forward(pooled, wb_fp32(y), packed, H);
    float *bag = zeros(4 * H);
    wb_bag_item *items = malloc((size_t)T * sizeof(*items)),
                *room = malloc((size_t)T * sizeof(*room));
    int64_t *ends = malloc((size_t)wb_embedding_bag_ends(V) * sizeof(*ends));
    wb_embedding_bag_forward(bag, items, words, packed, H);
    expect_close(bag, pooled, 4 * H, 1e-6, "embedding bag");
    memset(dwords, 0, V * H * sizeof(float));
    wb_embedding_bag_backward(dwords, NULL, dpooled, items, packed, V, H, room, ends);
    free(items);
    free(room);
    free(ends);
    assert_true(fabs(dot64(dpooled, bag, 4 * H) - dot64(dwords, words, V * H)) < 1e-3);
    float *const all[] = {words,  positions, types,      dy,     dpooled, y,
                          pooled, dwords,    dpositions, dtypes, dx,      bag};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        free(all[i]);
    }
    free_chunk(&chunk);
}

static void normalisation_equals_pytorch_and_survives_zeros(void **state) {
    (void)state;
    enum { N = 6, H = 19 };
    float *x = fixture_array(fixture, "normalize.x", NULL),
          *y = fixture_array(fixture, "normalize.y", NULL);
    float *dx = fixture_array(fixture, "normalize.dx", NULL);
    float *dy = fixture_array(fixture, "normalize.dy", NULL);
    float got[N * H], norms[N], nothing[H] = {0}, norm;
    wb_normalize_forward(got, norms, x, N, H);
    expect_close(got, y, N * H, 1e-6, "y");
    wb_normalize_backward(got, dy, got, norms, N, H);
    expect_close(got, dx, N * H, 2e-6, "dx");
    wb_normalize_forward(nothing, &norm, nothing, 1, H);
    wb_normalize_backward(nothing, nothing, nothing, &norm, 1, H);
    for (int i = 0; i < H; i++) {
        assert_true(nothing[i] == 0.0f);
    }
    free(x);
    free(y);
    free(dx);
    free(dy);
}

static void wide_processors_get_wide_kernels(void **state) {
    (void)state;
    assert_string_equal(wb_gemm_better_kernels("Haswell", true, false), "SkylakeX");
    assert_string_equal(wb_gemm_better_kernels("Zen", true, true), "Cooperlake");
    assert_null(wb_gemm_better_kernels("Zen", false, false));
    assert_null(wb_gemm_better_kernels("SkylakeX", true, true));
    assert_null(wb_gemm_better_kernels("SapphireRapids", true, true));
    assert_non_null(strstr(wb_gemm_library(), wb_gemm_kernels()));
}

static void products_report_their_rate(void **state) {
    (void)state;
    float *scratch = zeros(3 * 64 * 64);
    assert_true(wb_gemm_rate(64, 64, 64, 0.01, scratch) > 1e6);
    assert_non_null(strstr(wb_gemm_library(), "OpenBLAS"));
    assert_true(wb_threads() >= 1 && wb_thread() == 0);
    free(scratch);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_and_normal_are_accurate),
        cmocka_unit_test(linear_equals_pytorch),
        cmocka_unit_test(gelu_equals_pytorch),
        cmocka_unit_test(gelu_gradient_equals_difference),
        cmocka_unit_test(norm_equals_pytorch),
        cmocka_unit_test(norm_gradient_equals_difference_with_and_without_dropout),
        cmocka_unit_test(attention_equals_pytorch),
        cmocka_unit_test(attention_gradient_equals_difference_with_dropout),
        cmocka_unit_test(masks_keep_the_mean_and_belong_to_their_name),
        cmocka_unit_test(
            embeddings_and_pooling_equal_plain_sums_and_their_backward_is_the_transpose),
        cmocka_unit_test(normalisation_equals_pytorch_and_survives_zeros),
        cmocka_unit_test(products_report_their_rate),
        cmocka_unit_test(wide_processors_get_wide_kernels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
