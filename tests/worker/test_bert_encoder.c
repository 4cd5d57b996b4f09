/* The whole step on one rank against PyTorch, in values made in double by
 * tests/reference/make_encoder.py. */
#include "encoder.h"
#include "infonce.h"
#include "product.h"
#include "reference64.h"
#include "testing.h"

static const char fixture[] = "worker/encoder.txt";
static const wb_pass evaluation = {0};

typedef struct tiny {
    wb_encoder_spec spec;
    wb_encoder *encoder;
    wb_arena *arena;
    int64_t batch, group, n;
    double temperature;
    float *params;
    int32_t *ids;
    int64_t *offsets;
    uint32_t *examples;
    wb_packed packed;
} tiny;

static tiny open_tiny(wb_pooling pooling, bool normalize) {
    tiny t = {0};
    int64_t count = 0;
    float *spec = fixture_array(fixture, "spec", NULL);
    t.spec = (wb_encoder_spec){.kind = WB_ENCODER_BERT,
                               .vocabulary = (int64_t)spec[0],
                               .positions = (int64_t)spec[1],
                               .hidden = (int64_t)spec[2],
                               .layers = (int64_t)spec[3],
                               .heads = (int64_t)spec[4],
                               .intermediate = (int64_t)spec[5],
                               .token_types = 2,
                               .layer_norm_eps = 1e-12,
                               .pooling = pooling,
                               .normalize = normalize};
    t.batch = (int64_t)spec[6];
    t.group = (int64_t)spec[7];
    t.temperature = (double)spec[8];
    free(spec);
    float *lengths = fixture_array(fixture, "lengths", &t.n);
    float *ids = fixture_array(fixture, "ids", &count);
    t.params = fixture_array(fixture, "params", NULL);
    t.ids = malloc((size_t)count * sizeof(*t.ids));
    t.offsets = calloc((size_t)t.n + 1, sizeof(*t.offsets));
    t.examples = malloc((size_t)t.n * sizeof(*t.examples));
    for (int64_t i = 0; i < count; i++) {
        t.ids[i] = (int32_t)ids[i];
    }
    for (int64_t i = 0; i < t.n; i++) {
        t.offsets[i + 1] = t.offsets[i] + (int64_t)lengths[i];
        t.examples[i] = (uint32_t)i;
    }
    free(lengths);
    free(ids);
    t.packed = (wb_packed){.ids = t.ids, .offsets = t.offsets, .n = t.n};
    expect_ok(wb_encoder_create(&t.encoder, &t.spec));
    expect_ok(wb_arena_create(&t.arena, "test", (size_t)1 << 30));
    return t;
}

static void close_tiny(tiny *t) {
    wb_encoder_destroy(t->encoder);
    wb_arena_destroy(t->arena);
    free(t->params);
    free(t->ids);
    free(t->offsets);
    free(t->examples);
}

/* grads [total] owned by the caller; everything in chunks of `chunk` sequences, tapes dropped: the
 * cached gradient, with the second encoding in full. */
static float *cached_gradient(tiny *t, const wb_pass *pass, int64_t chunk, double *loss_value) {
    const int64_t d = t->spec.hidden, B = t->batch;
    float *reps = malloc((size_t)(t->n * d) * sizeof(*reps));
    float *dreps = malloc((size_t)(t->n * d) * sizeof(*dreps));
    float *grads = calloc((size_t)wb_encoder_table(t->encoder)->total, sizeof(*grads));
    wb_infonce_row rows[16];
    for (int64_t i = 0; i < t->n; i += chunk) {
        const wb_packed part = wb_packed_slice(&t->packed, i, i + chunk < t->n ? chunk : t->n - i);
        expect_ok(wb_encoder_forward(t->encoder, reps + i * d, NULL, t->params, &part,
                                     t->examples + i, pass, t->arena));
    }
    const wb_infonce loss = {
        .batch = B, .group = t->group, .width = d, .temperature = t->temperature};
    const wb_infonce_batch batch = {.rows = rows};
    const wb_infonce_block all = {.n = B, .q = reps, .p = reps + B * d};
    const size_t start = wb_arena_mark(t->arena);
    wb_infonce_part *whole;
    expect_ok(wb_infonce_begin(&whole, &loss, &batch, &all, t->arena));
    expect_ok(wb_infonce_meet(whole, &all, t->arena));
    expect_ok(wb_infonce_settle(whole, dreps, dreps + B * d));
    expect_ok(wb_infonce_answer(whole, dreps, dreps + B * d, &all, t->arena));
    wb_arena_release(t->arena, start);
    *loss_value = 0.0;
    for (int64_t i = 0; i < B; i++) {
        *loss_value += (double)rows[i].loss / (double)B;
    }
    for (int64_t i = 0; i < t->n; i += chunk) {
        const wb_packed part = wb_packed_slice(&t->packed, i, i + chunk < t->n ? chunk : t->n - i);
        const size_t mark = wb_arena_mark(t->arena);
        wb_tape *tape;
        float again[15 * 16];
        expect_ok(wb_encoder_forward(t->encoder, again, &tape, t->params, &part, t->examples + i,
                                     pass, t->arena));
        expect_ok(wb_encoder_backward(t->encoder, grads, NULL, t->params, tape, dreps + i * d, NULL,
                                      t->arena));
        wb_arena_release(t->arena, mark);
    }
    free(reps);
    free(dreps);
    return grads;
}

static void representations_loss_and_gradient_equal_pytorch(void **state) {
    (void)state;
    static const struct {
        const char *key;
        wb_pooling pooling;
        bool normalize;
    } cases[] = {{"mean.raw", WB_POOLING_MEAN, false},
                 {"mean.unit", WB_POOLING_MEAN, true},
                 {"cls.raw", WB_POOLING_CLS, false},
                 {"cls.unit", WB_POOLING_CLS, true}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        tiny t = open_tiny(cases[i].pooling, cases[i].normalize);
        const int64_t total = wb_encoder_table(t.encoder)->total;
        char name[64];
        int64_t count = 0;
        (void)snprintf(name, sizeof(name), "%s.reps", cases[i].key);
        float *wanted = fixture_array(fixture, name, &count);
        float *reps = malloc((size_t)count * sizeof(*reps));
        expect_ok(wb_encoder_forward(t.encoder, reps, NULL, t.params, &t.packed, t.examples,
                                     &evaluation, t.arena));
        /* single precision through two layers */
        expect_relative(reps, wanted, count, 1e-6, name);
        free(wanted);
        free(reps);
        for (int64_t chunk = 1; chunk <= t.n; chunk += 7) {
            double loss;
            float *grads = cached_gradient(&t, &evaluation, chunk, &loss);
            (void)snprintf(name, sizeof(name), "%s.loss", cases[i].key);
            wanted = fixture_array(fixture, name, NULL);
            assert_true(fabs(loss - (double)wanted[0]) < 1e-5 * fabs((double)wanted[0]) + 1e-7);
            free(wanted);
            (void)snprintf(name, sizeof(name), "%s.grads", cases[i].key);
            wanted = fixture_array(fixture, name, &count);
            assert_int_equal(count, total);
            /* the exactness contract: DESIGN section 3 */
            expect_relative(grads, wanted, count, 1e-5, name);
            free(wanted);
            free(grads);
        }
        close_tiny(&t);
    }
}

/* About a dozen numbers of a layer are rounded to bf16, by up to 2^-9 of themselves on average. */
static void bf16_is_close_to_pytorch_in_double_and_chunks_close_to_each_other(void **state) {
    (void)state;
    if (!wb_product_has_bf16()) {
        skip();
    }
    tiny t = open_tiny(WB_POOLING_MEAN, true);
    t.spec.precision = WB_BF16;
    wb_encoder_destroy(t.encoder);
    expect_ok(wb_encoder_create(&t.encoder, &t.spec));
    wb_encoder_convert(t.encoder, t.params);
    int64_t count = 0;
    float *wanted = fixture_array(fixture, "mean.unit.reps", &count);
    float *reps = malloc((size_t)count * sizeof(*reps));
    expect_ok(wb_encoder_forward(t.encoder, reps, NULL, t.params, &t.packed, t.examples,
                                 &evaluation, t.arena));
    expect_relative(reps, wanted, count, 1e-2, "representations");
    assert_true(relative_error(reps, wanted, count) > 1e-5); /* it is bf16 */
    free(wanted);
    free(reps);
    wanted = fixture_array(fixture, "mean.unit.grads", &count);
    double loss, loss_whole;
    float *whole = cached_gradient(&t, &evaluation, t.n, &loss_whole);
    expect_relative(whole, wanted, count, 5e-2, "gradient");
    for (int64_t chunk = 1; chunk < t.n; chunk += 3) {
        /* a sum in another order may be rounded to the neighbour */
        float *grads = cached_gradient(&t, &evaluation, chunk, &loss);
        expect_relative(grads, whole, count, 1e-3, "gradient in chunks");
        free(grads);
    }
    free(whole);
    free(wanted);
    close_tiny(&t);
}

static void dropout_is_replayed_whatever_the_chunks(void **state) {
    (void)state;
    tiny t = open_tiny(WB_POOLING_MEAN, true);
    t.spec.dropout_hidden = 0.1;
    t.spec.dropout_attention = 0.1;
    wb_encoder_destroy(t.encoder);
    expect_ok(wb_encoder_create(&t.encoder, &t.spec));
    const wb_pass pass = {.active = true, .seed = 5, .step = 3};
    const int64_t total = wb_encoder_table(t.encoder)->total;
    double loss, loss_whole, loss_off;
    float *whole = cached_gradient(&t, &pass, t.n, &loss_whole);
    for (int64_t chunk = 1; chunk < t.n; chunk++) {
        float *grads = cached_gradient(&t, &pass, chunk, &loss);
        expect_relative(grads, whole, total, 1e-6, "gradient in chunks");
        free(grads);
    }
    float *off = cached_gradient(&t, &evaluation, t.n, &loss_off);
    assert_true(relative_error(off, whole, total) > 1e-3);
    free(off);
    free(whole);
    close_tiny(&t);
}

static void gradient_with_dropout_equals_central_difference(void **state) {
    (void)state;
    tiny t = open_tiny(WB_POOLING_MEAN, true);
    t.spec.dropout_hidden = 0.2;
    t.spec.dropout_attention = 0.3;
    wb_encoder_destroy(t.encoder);
    expect_ok(wb_encoder_create(&t.encoder, &t.spec));
    const wb_pass pass = {.active = true, .seed = 11, .step = 1};
    const int64_t total = wb_encoder_table(t.encoder)->total;
    double loss, above, below;
    float *grads = cached_gradient(&t, &pass, 4, &loss);
    /* along the gradient, where single precision leaves four digits */
    double square = 0.0;
    for (int64_t i = 0; i < total; i++) {
        square += (double)grads[i] * (double)grads[i];
    }
    const double length = sqrt(square), h = 1e-3;
    float *kept = malloc((size_t)total * sizeof(*kept));
    memcpy(kept, t.params, (size_t)total * sizeof(*kept));
    for (int64_t i = 0; i < total; i++) {
        t.params[i] = kept[i] + (float)(h * (double)grads[i] / length);
    }
    free(cached_gradient(&t, &pass, t.n, &above));
    for (int64_t i = 0; i < total; i++) {
        t.params[i] = kept[i] - (float)(h * (double)grads[i] / length);
    }
    free(cached_gradient(&t, &pass, t.n, &below));
    const double slope = (above - below) / (2.0 * h);
    if (fabs(slope - length) > 2e-3 * length) {
        fail_msg("slope along the gradient %.6g, its length %.6g", slope, length);
    }
    free(kept);
    free(grads);
    close_tiny(&t);
}

static void the_reference_in_double_equals_pytorch(void **state) {
    (void)state;
    static const struct {
        const char *reps;
        wb_pooling pooling;
        bool normalize;
    } cases[] = {{"mean.raw.reps", WB_POOLING_MEAN, false},
                 {"mean.unit.reps", WB_POOLING_MEAN, true},
                 {"cls.raw.reps", WB_POOLING_CLS, false},
                 {"cls.unit.reps", WB_POOLING_CLS, true}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        tiny t = open_tiny(cases[i].pooling, cases[i].normalize);
        int64_t count = 0;
        float *wanted = fixture_array(fixture, cases[i].reps, &count);
        double *reps = malloc((size_t)count * sizeof(*reps));
        expect_ok(wb_reference64_forward(&t.spec, reps, t.params, NULL, 0.0, &t.packed, t.examples,
                                         &evaluation));
        for (int64_t j = 0; j < count; j++) { /* the fixture is read as float */
            assert_true(fabs(reps[j] - (double)wanted[j]) <=
                        6e-8 * (fabs((double)wanted[j]) + 1.0));
        }
        free(reps);
        free(wanted);
        close_tiny(&t);
    }
}

static void the_reference_in_double_draws_the_same_masks_and_follows_a_direction(void **state) {
    (void)state;
    tiny t = open_tiny(WB_POOLING_MEAN, true);
    const int64_t total = wb_encoder_table(t.encoder)->total, count = t.n * t.spec.hidden;
    const wb_pass pass = {.active = true, .seed = 5, .step = 3};
    float *direction = malloc((size_t)total * sizeof(float));
    float *reps = malloc((size_t)count * sizeof(float)),
          *got = malloc((size_t)count * sizeof(float));
    double *plain = malloc((size_t)count * sizeof(double));
    t.spec.dropout_hidden = 0.2;
    t.spec.dropout_attention = 0.3;
    wb_encoder_destroy(t.encoder);
    expect_ok(wb_encoder_create(&t.encoder, &t.spec));
    for (int64_t i = 0; i < total; i++) {
        direction[i] = (float)(i % 7) - 3.0f;
    }
    expect_ok(wb_reference64_forward(&t.spec, plain, t.params, direction, 1.0 / 512.0, &t.packed,
                                     t.examples, &pass));
    for (int64_t i = 0; i < total; i++) {
        t.params[i] += direction[i] / 512.0f;
    }
    expect_ok(
        wb_encoder_forward(t.encoder, reps, NULL, t.params, &t.packed, t.examples, &pass, t.arena));
    for (int64_t i = 0; i < count; i++) {
        got[i] = (float)plain[i];
    }
    expect_relative(reps, got, count, 2e-6, "reps with dropout"); /* single precision, two layers */
    free(direction);
    free(reps);
    free(got);
    free(plain);
    close_tiny(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(representations_loss_and_gradient_equal_pytorch),
        cmocka_unit_test(bf16_is_close_to_pytorch_in_double_and_chunks_close_to_each_other),
        cmocka_unit_test(dropout_is_replayed_whatever_the_chunks),
        cmocka_unit_test(gradient_with_dropout_equals_central_difference),
        cmocka_unit_test(the_reference_in_double_equals_pytorch),
        cmocka_unit_test(the_reference_in_double_draws_the_same_masks_and_follows_a_direction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
