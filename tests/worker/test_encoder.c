/* What all encoders promise: memory said beforehand, first values, refusals; and the static one,
 * against its plain form. */
#include "encoder.h"
#include "product.h"
#include "reference64.h"
#include "rng.h"
#include "testing.h"

static const wb_pass evaluation = {0};

static const wb_encoder_spec small_bert = {.kind = WB_ENCODER_BERT,
                                           .vocabulary = 50,
                                           .hidden = 24,
                                           .layers = 3,
                                           .heads = 3,
                                           .intermediate = 40,
                                           .positions = 64,
                                           .token_types = 2,
                                           .layer_norm_eps = 1e-12,
                                           .dropout_hidden = 0.1,
                                           .dropout_attention = 0.1,
                                           .normalize = true};
static const wb_encoder_spec small_static = {
    .kind = WB_ENCODER_STATIC, .vocabulary = 50, .hidden = 24, .normalize = true};

/* A model and a run of sequences of given lengths. */
typedef struct subject {
    wb_encoder *encoder;
    int64_t total, n;
    float *params, *grads, *reps, *dreps;
    int32_t *ids;
    int64_t *offsets;
    uint32_t *examples;
    wb_packed packed;
} subject;

static float normal(uint32_t what, int64_t i) {
    const wb_rng_key key = {
        .seed = test_seed(), .example = what, .site = wb_rng_site(WB_RNG_TEST, 0)};
    return wb_rng_normal(key, (uint32_t)i);
}

static subject make(const wb_encoder_spec *spec, const int64_t *lengths, int64_t n) {
    subject s = {.n = n};
    expect_ok(wb_encoder_create(&s.encoder, spec));
    s.total = wb_encoder_table(s.encoder)->total;
    s.params = malloc((size_t)s.total * sizeof(float));
    s.grads = calloc((size_t)s.total, sizeof(float));
    s.reps = malloc((size_t)(n * spec->hidden) * sizeof(float));
    s.dreps = malloc((size_t)(n * spec->hidden) * sizeof(float));
    s.offsets = calloc((size_t)n + 1, sizeof(*s.offsets));
    s.examples = calloc((size_t)n, sizeof(*s.examples));
    wb_encoder_init(s.encoder, s.params, 7);
    for (int64_t i = 0; i < n; i++) {
        s.offsets[i + 1] = s.offsets[i] + lengths[i];
        s.examples[i] = (uint32_t)i;
    }
    s.ids = malloc((size_t)(s.offsets[n] + 1) * sizeof(*s.ids));
    for (int64_t t = 0; t < s.offsets[n]; t++) {
        s.ids[t] = (int32_t)(t * 7 % spec->vocabulary);
    }
    for (int64_t i = 0; i < n * spec->hidden; i++) {
        s.dreps[i] = normal(1, i);
    }
    s.packed = (wb_packed){.ids = s.ids, .offsets = s.offsets, .n = n};
    return s;
}

static void clear(subject *s) {
    wb_encoder_destroy(s->encoder);
    free(s->params);
    free(s->grads);
    free(s->reps);
    free(s->dreps);
    free(s->ids);
    free(s->offsets);
    free(s->examples);
}

/* ---- Memory
 * ------------------------------------------------------------------------------------------- */

/* The most bytes that one forward pass took, what it kept, and the most beside that in backward. */
static wb_encoder_memory measure(subject *s) {
    wb_encoder_memory used = {0};
    wb_arena *arena;
    wb_tape *tape;
    expect_ok(wb_arena_create(&arena, "test", (size_t)1 << 28));
    expect_ok(wb_encoder_forward(s->encoder, s->reps, NULL, s->params, &s->packed, s->examples,
                                 &evaluation, arena));
    used.forward = wb_arena_peak(arena);
    assert_int_equal(wb_arena_mark(arena), 0);
    wb_arena_destroy(arena);
    expect_ok(wb_arena_create(&arena, "test", (size_t)1 << 28));
    expect_ok(wb_encoder_forward(s->encoder, s->reps, &tape, s->params, &s->packed, s->examples,
                                 &evaluation, arena));
    used.tape = wb_arena_mark(arena);
    expect_ok(
        wb_encoder_backward(s->encoder, s->grads, NULL, s->params, tape, s->dreps, NULL, arena));
    used.backward = wb_arena_peak(arena) - used.tape;
    assert_int_equal(wb_arena_mark(arena), used.tape);
    wb_arena_destroy(arena);
    return used;
}

static void expect_bound(size_t used, size_t said, const char *what) {
    if (used > said || said > used + used / 50) { /* a plan that reserves 2 % more is no plan */
        fail_msg("%s: took %zu bytes, %zu were said", what, used, said);
    }
}

static void memory_is_what_was_said(void **state) {
    (void)state;
    static const int64_t lengths[][4] = {
        {1, 1, 1, 1}, {64, 1, 13, 2}, {0, 5, 0, 0}, {64, 64, 64, 64}};
    wb_encoder_spec narrow_bert = small_bert;
    narrow_bert.precision = WB_BF16;
    const wb_encoder_spec *const specs[] = {&small_bert, &small_static, &narrow_bert};
    for (int k = 0; k < (wb_product_has_bf16() ? 3 : 2); k++) {
        for (int i = 0; i < 4; i++) {
            for (int64_t n = 1; n <= 4; n += 3) {
                subject s = make(specs[k], lengths[i], n);
                const wb_encoder_memory used = measure(&s);
                const wb_encoder_memory said = wb_encoder_bytes(s.encoder, s.offsets[n], n);
                expect_bound(used.forward, said.forward, "forward");
                expect_bound(used.tape, said.tape, "tape");
                expect_bound(used.backward, said.backward, "backward");
                clear(&s);
            }
        }
    }
}

static void an_arena_that_is_too_small_is_an_error_and_given_back(void **state) {
    (void)state;
    static const int64_t lengths[] = {20, 11};
    const wb_encoder_spec *const specs[] = {&small_bert, &small_static};
    for (int k = 0; k < 2; k++) {
        subject s = make(specs[k], lengths, 2);
        const wb_encoder_memory said = wb_encoder_bytes(s.encoder, s.offsets[2], 2);
        const size_t whole = said.tape + said.backward;
        for (size_t bytes = 64; bytes < whole - whole / 20 - 64; bytes += whole / 40) {
            wb_arena *arena;
            wb_tape *tape;
            expect_ok(wb_arena_create(&arena, "small", bytes));
            wb_error_clear();
            wb_status status = wb_encoder_forward(s.encoder, s.reps, &tape, s.params, &s.packed,
                                                  s.examples, &evaluation, arena);
            assert_true(status == WB_OK || wb_arena_mark(arena) == 0);
            if (status == WB_OK) {
                status = wb_encoder_backward(s.encoder, s.grads, NULL, s.params, tape, s.dreps,
                                             NULL, arena);
            }
            assert_int_equal(status, WB_ERR_MEMORY);
            assert_non_null(strstr(wb_error_message(), "the small arena"));
            wb_arena_destroy(arena);
        }
        clear(&s);
    }
}

/* ---- First values and facts
 * ------------------------------------------------------------------------------- */

static void first_values_depend_on_the_seed_only(void **state) {
    (void)state;
    static const int64_t length = 1;
    const wb_encoder_spec *const specs[] = {&small_bert, &small_static};
    const double spreads[] = {0.02, 1.0 / sqrt(24.0)};
    for (int k = 0; k < 2; k++) {
        subject s = make(specs[k], &length, 1), t = make(specs[k], &length, 1);
        assert_memory_equal(s.params, t.params, (size_t)s.total * sizeof(float));
        wb_encoder_init(t.encoder, t.params, 8);
        const wb_tensor_table *table = wb_encoder_table(s.encoder);
        for (int64_t i = 0; i < table->length; i++) {
            const wb_tensor *tensor = &table->tensors[i];
            const float *values = s.params + tensor->offset;
            double squares = 0.0;
            for (int64_t j = 0; j < tensor->count; j++) {
                squares += (double)values[j] * (double)values[j];
            }
            const double spread = sqrt(squares / (double)tensor->count);
            if (tensor->rank == 2) {
                /* 48 values at least: their spread is known to a third */
                assert_true(fabs(spread - spreads[k]) < spreads[k] / 3.0);
                assert_memory_not_equal(values, t.params + tensor->offset,
                                        (size_t)tensor->count * sizeof(float));
            } else {
                assert_true(spread == (strstr(tensor->name, "LayerNorm.weight") ? 1.0 : 0.0));
            }
        }
        clear(&s);
        clear(&t);
    }
}

/* The same gradient, without the rows that no token asks for. */
static void a_compact_gradient_expands_to_the_whole_one(void **state) {
    (void)state;
    static const int64_t lengths[] = {3, 10, 1};
    static const wb_encoder_spec *const specs[] = {&small_bert, &small_static};
    for (int k = 0; k < 2; k++) {
        subject s = make(specs[k], lengths, 3);
        const int64_t V = specs[k]->vocabulary, H = specs[k]->hidden;
        const int64_t total = wb_encoder_table(s.encoder)->total;
        float *compact = calloc((size_t)total, sizeof(*compact));
        uint8_t *marks = calloc((size_t)V, 1);
        int32_t *place = malloc((size_t)V * sizeof(*place));
        wb_table_rows rows;
        wb_arena *arena;
        wb_tape *tape;
        wb_table_rows_mark(marks, &s.packed, WB_ROW_EARLY);
        marks[s.packed.ids[0]] = WB_ROW_LATE;
        wb_table_rows_number(&rows, place, marks, V, H);
        assert_true(rows.count < V);
        expect_ok(wb_arena_create(&arena, "test", (size_t)1 << 28));
        expect_ok(wb_encoder_forward(s.encoder, s.reps, &tape, s.params, &s.packed, s.examples,
                                     &evaluation, arena));
        memset(s.grads, 0, (size_t)total * sizeof(*s.grads));
        expect_ok(
            wb_encoder_backward(s.encoder, s.grads, NULL, s.params, tape, s.dreps, NULL, arena));
        expect_ok(
            wb_encoder_backward(s.encoder, compact, &rows, s.params, tape, s.dreps, NULL, arena));
        for (int64_t i = wb_table_rows_elements(&rows, total); i < total; i++) {
            assert_true(compact[i] == 0.0f);
        }
        float *expanded = malloc((size_t)total * sizeof(*expanded));
        wb_table_rows_expand(expanded, compact, &rows, total);
        assert_memory_equal(expanded, s.grads, (size_t)total * sizeof(*expanded));
        free(expanded);
        free(compact);
        free(marks);
        free(place);
        wb_arena_destroy(arena);
        clear(&s);
    }
}

static void operations_add_up_over_sequences(void **state) {
    (void)state;
    static const int64_t lengths[] = {3, 10};
    subject s = make(&small_bert, lengths, 2);
    const wb_packed first = wb_packed_slice(&s.packed, 0, 1);
    const wb_packed second = wb_packed_slice(&s.packed, 1, 1);
    /* products of one layer: 4 H H for the projections, 2 H F inside, 2 length H for scores */
    const double one = 3.0 * 2.0 * 3.0 * (4.0 * 24.0 * 24.0 + 2.0 * 24.0 * 40.0 + 2.0 * 3.0 * 24.0);
    assert_true(wb_encoder_flops(s.encoder, &first) == one);
    assert_true(wb_encoder_flops(s.encoder, &s.packed) ==
                one + wb_encoder_flops(s.encoder, &second));
    clear(&s);
    s = make(&small_static, lengths, 2);
    assert_true(wb_encoder_flops(s.encoder, &s.packed) == 13.0 * 24.0);
    clear(&s);
}

static void numbers_that_do_not_fit_together_are_refused(void **state) {
    (void)state;
    wb_encoder *encoder;
    wb_encoder_spec spec;
#define REFUSED(base, member, value, part)                                                         \
    spec = (base);                                                                                 \
    spec.member = (value);                                                                         \
    expect_error(wb_encoder_create(&encoder, &spec), WB_ERR_CONFIG, part)
    REFUSED(small_bert, vocabulary, 0, "vocabulary 0");
    REFUSED(small_bert, hidden, 0, "width 0");
    REFUSED(small_static, hidden, -1, "width -1");
    REFUSED(small_bert, layers, 0, "0 layers");
    REFUSED(small_bert, heads, 0, "0 heads");
    REFUSED(small_bert, heads, 5, "heads divide width");
    REFUSED(small_bert, intermediate, 0, "inner width 0");
    REFUSED(small_bert, positions, 0, "0 positions");
    REFUSED(small_bert, token_types, 0, "0 token types");
#undef REFUSED
    spec = small_static;
    spec.vocabulary = spec.hidden = (int64_t)1 << 40;
    expect_error(wb_encoder_create(&encoder, &spec), WB_ERR_INPUT, "embedding.weight");
    wb_encoder_destroy(NULL);
}

/* ---- The static encoder
 * ----------------------------------------------------------------------------------- */

/* The mean row of every sequence, in double, of unit length where `normalize`. */
static void plain_forward(double *y, const double *table, const wb_packed *packed, int64_t H,
                          bool normalize) {
    for (int64_t s = 0; s < packed->n; s++) {
        const int64_t length = packed->offsets[s + 1] - packed->offsets[s];
        double squares = 0.0;
        for (int64_t i = 0; i < H; i++) {
            y[s * H + i] = 0.0;
            for (int64_t t = packed->offsets[s]; t < packed->offsets[s + 1]; t++) {
                y[s * H + i] += table[packed->ids[t] * H + i] / (double)length;
            }
            squares += y[s * H + i] * y[s * H + i];
        }
        for (int64_t i = 0; normalize && length > 0 && i < H; i++) {
            y[s * H + i] /= sqrt(squares);
        }
    }
}

static double plain_product(const double *table, const subject *s, int64_t H, bool normalize) {
    double *y = malloc((size_t)(s->n * H) * sizeof(*y)), sum = 0.0;
    plain_forward(y, table, &s->packed, H, normalize);
    for (int64_t i = 0; i < s->n * H; i++) {
        sum += (double)s->dreps[i] * y[i];
    }
    free(y);
    return sum;
}

static void static_rows_and_gradients_equal_the_plain_form(void **state) {
    (void)state;
    static const int64_t lengths[] = {1, 9, 0, 30};
    for (int normalize = 0; normalize < 2; normalize++) {
        wb_encoder_spec spec = small_static;
        spec.normalize = normalize;
        spec.hidden = 11;
        subject s = make(&spec, lengths, 4);
        double y[4 * 11], in_double[4 * 11], *table = malloc((size_t)s.total * sizeof(*table));
        wb_arena *arena;
        wb_tape *tape;
        for (int64_t i = 0; i < s.total; i++) {
            table[i] = (double)s.params[i];
        }
        expect_ok(wb_arena_create(&arena, "test", 1 << 20));
        expect_ok(wb_encoder_forward(s.encoder, s.reps, &tape, s.params, &s.packed, s.examples,
                                     &evaluation, arena));
        plain_forward(y, table, &s.packed, 11, normalize);
        for (int i = 0; i < 4 * 11; i++) {
            assert_true(fabs((double)s.reps[i] - y[i]) < 1e-6); /* single precision below 1 */
        }
        expect_ok(wb_reference64_forward(&spec, in_double, s.params, NULL, 0.0, &s.packed,
                                         s.examples, &evaluation));
        for (int i = 0; i < 4 * 11; i++) {
            assert_true(fabs(in_double[i] - y[i]) < 1e-13);
        }
        for (int i = 0; i < 11; i++) {
            assert_true(s.reps[2 * 11 + i] == 0.0f); /* a text without tokens */
        }
        s.grads[3] = 100.0f; /* gradients are added to */
        expect_ok(
            wb_encoder_backward(s.encoder, s.grads, NULL, s.params, tape, s.dreps, NULL, arena));
        s.grads[3] -= 100.0f;
        for (int64_t i = 0; i < s.total; i++) {
            const double at = table[i], h = 1e-5;
            table[i] = at + h;
            const double above = plain_product(table, &s, 11, normalize);
            table[i] = at - h;
            const double below = plain_product(table, &s, 11, normalize);
            table[i] = at;
            const double wanted = (above - below) / (2.0 * h);
            if (!(fabs((double)s.grads[i] - wanted) < 2e-5 * (1.0 + fabs(wanted)))) {
                fail_msg("gradient [%lld] is %.9g, difference %.9g", (long long)i,
                         (double)s.grads[i], wanted);
            }
        }
        free(table);
        wb_arena_destroy(arena);
        clear(&s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_what_was_said),
        cmocka_unit_test(an_arena_that_is_too_small_is_an_error_and_given_back),
        cmocka_unit_test(first_values_depend_on_the_seed_only),
        cmocka_unit_test(a_compact_gradient_expands_to_the_whole_one),
        cmocka_unit_test(operations_add_up_over_sequences),
        cmocka_unit_test(numbers_that_do_not_fit_together_are_refused),
        cmocka_unit_test(static_rows_and_gradients_equal_the_plain_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
