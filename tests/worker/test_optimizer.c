/* Updates against torch.optim (tests/reference/make_ops.py), schedules, the norm of a gradient. */
#include "optimizer.h"
#include "rng.h"
#include "testing.h"

static const char fixture[] = "worker/ops.txt";
enum { COUNT = 37, STEPS = 10 };

static void ten_updates_equal_pytorch(void **state) {
    (void)state;
    static const wb_optimizer cases[] = {
        {.kind = WB_OPTIMIZER_ADAMW,
         .schedule = WB_SCHEDULE_CONSTANT,
         .lr = 0.01,
         .weight_decay = 0.1,
         .beta1 = 0.9,
         .beta2 = 0.999,
         .eps = 1e-8},
        {.kind = WB_OPTIMIZER_SGD, .schedule = WB_SCHEDULE_CONSTANT, .lr = 0.01}};
    static const char *const names[] = {"adamw", "sgd"};
    for (int i = 0; i < 2; i++) {
        char name[32];
        float m[COUNT] = {0}, v[COUNT] = {0};
        float *const slots[WB_OPTIMIZER_SLOTS] = {m, v};
        wb_tensor_table table = {0};
        /* the first 30 and the others: an update finds each tensor's place */
        expect_ok(wb_tensor_add(&table, true, 6, 5, "first"));
        expect_ok(wb_tensor_add(&table, true, 7, 0, "second"));
        (void)snprintf(name, sizeof(name), "%s.p", names[i]);
        float *params = fixture_array(fixture, name, NULL);
        (void)snprintf(name, sizeof(name), "%s.grads", names[i]);
        float *grads = fixture_array(fixture, name, NULL);
        (void)snprintf(name, sizeof(name), "%s.after", names[i]);
        float *after = fixture_array(fixture, name, NULL);
        for (int step = 0; step < STEPS; step++) {
            wb_optimizer_update(&cases[i], params, slots, grads + step * COUNT, NULL, 1.0, step,
                                &table);
        }
        expect_close(params, after, COUNT, 2e-6, name); /* ten roundings of values up to 3 */
        free(params);
        free(grads);
        free(after);
        wb_tensor_table_clear(&table);
    }
}

static void decay_spares_the_tensors_that_are_not_marked(void **state) {
    (void)state;
    for (int kind = WB_OPTIMIZER_ADAMW; kind <= WB_OPTIMIZER_SGD; kind++) {
        const wb_optimizer optimizer = {.kind = (wb_optimizer_kind)kind,
                                        .schedule = WB_SCHEDULE_CONSTANT,
                                        .lr = 0.5,
                                        .weight_decay = 0.1,
                                        .beta1 = 0.9,
                                        .beta2 = 0.999,
                                        .eps = 1e-8};
        wb_tensor_table table = {0};
        float params[] = {2.0f, -4.0f, 2.0f, -4.0f}, m[4] = {0}, v[4] = {0};
        const float zeros[4] = {0};
        float *const slots[WB_OPTIMIZER_SLOTS] = {m, v};
        expect_ok(wb_tensor_add(&table, true, 2, 0, "weight"));
        expect_ok(wb_tensor_add(&table, false, 2, 0, "bias"));
        wb_optimizer_update(&optimizer, params, slots, zeros, NULL, 1.0, 0, &table);
        const float wanted[] = {1.9f, -3.8f, 2.0f, -4.0f};
        expect_close(params, wanted, 2, 1e-6, "decayed");
        assert_memory_equal(params + 2, wanted + 2, 2 * sizeof(float));
        wb_tensor_table_clear(&table);
    }
}

static void a_scale_multiplies_the_gradient_and_nothing_else(void **state) {
    (void)state;
    for (int kind = WB_OPTIMIZER_ADAMW; kind <= WB_OPTIMIZER_SGD; kind++) {
        const wb_optimizer optimizer = {.kind = (wb_optimizer_kind)kind,
                                        .schedule = WB_SCHEDULE_CONSTANT,
                                        .lr = 0.1,
                                        .weight_decay = 0.1,
                                        .beta1 = 0.9,
                                        .beta2 = 0.999,
                                        .eps = 1e-8};
        float params[2][3] = {{1, 2, 3}, {1, 2, 3}}, m[2][3] = {{0}}, v[2][3] = {{0}};
        const float grads[2][3] = {{1.5f, -2.0f, 0.25f}, {6.0f, -8.0f, 1.0f}};
        wb_tensor_table table = {0};
        expect_ok(wb_tensor_add(&table, true, 3, 0, "weight"));
        for (int i = 0; i < 2; i++) {
            float *const slots[WB_OPTIMIZER_SLOTS] = {m[i], v[i]};
            wb_optimizer_update(&optimizer, params[i], slots, grads[i], NULL, i == 0 ? 1.0 : 0.25,
                                0, &table);
        }
        assert_memory_equal(params[0], params[1], sizeof(params[0]));
        assert_memory_equal(v[0], v[1], sizeof(v[0]));
        assert_true(params[0][0] < 1.0f && params[0][1] > 1.98f);
        wb_tensor_table_clear(&table);
    }
}

/* Rows in whatever order: the update and the norm are those of the whole gradient. */
static void a_compact_gradient_gives_the_update_of_the_whole_one(void **state) {
    (void)state;
    enum { V = 40, H = 3, OTHERS = 5, TOTAL = V * H + OTHERS };
    static wb_tensor tensors[] = {{.offset = 0, .count = V * H, .decay = true},
                                  {.offset = V * H, .count = OTHERS}};
    static const wb_tensor_table table = {.tensors = tensors, .length = 2, .total = TOTAL};
    double norms[2];
    for (int late = 0; late < 2; late++) {
        for (int kind = 0; kind < 2; kind++) {
            const wb_optimizer o = {.kind = kind == 0 ? WB_OPTIMIZER_ADAMW : WB_OPTIMIZER_SGD,
                                    .schedule = WB_SCHEDULE_CONSTANT,
                                    .lr = 0.1,
                                    .weight_decay = 0.01,
                                    .beta1 = 0.9,
                                    .beta2 = 0.999,
                                    .eps = 1e-8,
                                    .total_steps = 10};
            uint8_t marks[V];
            int32_t place[V];
            float whole[TOTAL] = {0}, compact[TOTAL] = {0}, arrays[2][3][TOTAL];
            wb_table_rows rows;
            for (int i = 0; i < V; i++) {
                marks[i] = (uint8_t)(i % 3 == 0 ? 0 : 1 + late * (i % 2));
            }
            wb_table_rows_number(&rows, place, marks, V, H);
            for (int i = 0; i < TOTAL; i++) {
                const wb_rng_key key = {.seed = 5, .site = wb_rng_site(WB_RNG_TEST, 0)};
                const float gradient = wb_rng_normal(key, (uint32_t)i);
                if (i >= V * H) {
                    whole[i] = compact[i - (V - rows.count) * H] = gradient;
                } else if (marks[i / H]) {
                    whole[i] = compact[place[i / H] * H + i % H] = gradient;
                }
                for (int k = 0; k < 3; k++) {
                    arrays[0][k][i] = arrays[1][k][i] = fabsf(gradient) + (float)k;
                }
            }
            float *const slots[] = {arrays[0][1], arrays[0][2]}, *const same[] = {arrays[1][1],
                                                                                  arrays[1][2]};
            wb_optimizer_update(&o, arrays[0][0], slots, whole, NULL, 0.5, 3, &table);
            wb_optimizer_update(&o, arrays[1][0], same, compact, &rows, 0.5, 3, &table);
            assert_memory_equal(arrays[0], arrays[1], sizeof(arrays[0]));
            norms[late] = wb_gradient_norm(compact, &rows, rows.count * H + OTHERS);
            assert_true(fabs(norms[late] - wb_gradient_norm(whole, NULL, TOTAL)) < 1e-12);
        }
    }
    assert_true(norms[0] == norms[1]); /* bit by bit */
}

static void expect_rate(const wb_optimizer *optimizer, int64_t step, double wanted) {
    const double got = wb_optimizer_rate(optimizer, step);
    if (!(fabs(got - wanted) < 1e-12)) {
        fail_msg("schedule %d, step %lld: rate %.12g, wanted %.12g", (int)optimizer->schedule,
                 (long long)step, got, wanted);
    }
}

static void schedules_rise_to_the_peak_and_fall_to_zero(void **state) {
    (void)state;
    wb_optimizer o = {.lr = 2.0, .warmup_steps = 4, .total_steps = 12};
    static const wb_schedule schedules[] = {WB_SCHEDULE_LINEAR, WB_SCHEDULE_COSINE,
                                            WB_SCHEDULE_CONSTANT};
    for (int i = 0; i < 3; i++) {
        o.schedule = schedules[i];
        expect_rate(&o, 0, 0.5);
        expect_rate(&o, 3, 2.0);
        expect_rate(&o, 4, 2.0);
    }
    o.schedule = WB_SCHEDULE_LINEAR;
    expect_rate(&o, 8, 1.0);
    expect_rate(&o, 11, 0.25);
    expect_rate(&o, 12, 0.0);
    expect_rate(&o, 13, 0.0);
    o.schedule = WB_SCHEDULE_COSINE;
    expect_rate(&o, 6, 1.0 + cos(M_PI / 4.0));
    expect_rate(&o, 8, 1.0);
    expect_rate(&o, 12, 0.0);
    o.schedule = WB_SCHEDULE_CONSTANT;
    expect_rate(&o, 12, 2.0);
    /* without a warm-up the first step has the peak; a warm-up as long as the run has no fall */
    o = (wb_optimizer){.schedule = WB_SCHEDULE_LINEAR, .lr = 1.0, .total_steps = 10};
    expect_rate(&o, 0, 1.0);
    o.warmup_steps = 10;
    expect_rate(&o, 9, 1.0);
    expect_rate(&o, 10, 1.0);
}

static void the_norm_of_any_count_equals_the_plain_sum(void **state) {
    (void)state;
    static const int64_t counts[] = {0, 1, 2, 1023, 1024, 1025, 2049, 70001};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        float *grads = malloc((size_t)(counts[i] + 1) * sizeof(*grads));
        double squares = 0.0;
        for (int64_t j = 0; j < counts[i]; j++) {
            const wb_rng_key key = {.seed = test_seed(), .site = wb_rng_site(WB_RNG_TEST, 0)};
            grads[j] = wb_rng_normal(key, (uint32_t)j);
            squares += (double)grads[j] * (double)grads[j];
        }
        const double got = wb_gradient_norm(grads, NULL, counts[i]), wanted = sqrt(squares);
        if (!(fabs(got - wanted) <= 1e-12 * wanted)) { /* another order of double sums */
            fail_msg("norm of %lld values: %.15g, wanted %.15g", (long long)counts[i], got, wanted);
        }
        if (counts[i] > 0) {
            grads[counts[i] - 1] = NAN;
            assert_true(isnan(wb_gradient_norm(grads, NULL, counts[i])));
        }
        free(grads);
    }
}

static void kinds_name_their_state(void **state) {
    (void)state;
    assert_int_equal(wb_optimizer_slots(WB_OPTIMIZER_ADAMW), 2);
    assert_int_equal(wb_optimizer_slots(WB_OPTIMIZER_SGD), 0);
    assert_string_equal(wb_optimizer_slot_name(WB_OPTIMIZER_ADAMW, 0), "adamw.m");
    assert_string_equal(wb_optimizer_slot_name(WB_OPTIMIZER_ADAMW, 1), "adamw.v");
    assert_null(wb_optimizer_slot_name(WB_OPTIMIZER_SGD, 0));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_updates_equal_pytorch),
        cmocka_unit_test(decay_spares_the_tensors_that_are_not_marked),
        cmocka_unit_test(a_scale_multiplies_the_gradient_and_nothing_else),
        cmocka_unit_test(a_compact_gradient_gives_the_update_of_the_whole_one),
        cmocka_unit_test(schedules_rise_to_the_peak_and_fall_to_zero),
        cmocka_unit_test(the_norm_of_any_count_equals_the_plain_sum),
        cmocka_unit_test(kinds_name_their_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
