/* Which rows make up a step: all of them once an epoch, and apart where they share a text. */
#include "batch_plan.h"
#include "rng.h"
#include "testing.h"

static const int64_t *rows_of(wb_batch_plan *plan, int64_t step, int64_t epoch, int64_t B) {
    wb_batch_rows batch;
    expect_ok(wb_batch_plan_step(&batch, plan, step));
    assert_int_equal(batch.epoch, epoch);
    assert_int_equal(batch.B, B);
    return batch.rows;
}

static wb_batch_plan plan_of(uint64_t seed, int64_t rows, int64_t size) {
    const wb_batch_rule rule = {.seed = seed, .rows = rows, .size = size};
    wb_batch_plan plan;
    expect_ok(wb_batch_plan_create(&plan, &rule));
    return plan;
}

static void every_epoch_is_another_permutation_of_all_rows(void **state) {
    (void)state;
    enum { ROWS = 57 };
    int64_t orders[3][ROWS];
    wb_batch_plan plan = plan_of(test_seed(), ROWS, ROWS);
    for (int e = 0; e < 3; e++) {
        int seen[ROWS] = {0};
        memcpy(orders[e], rows_of(&plan, e, e, ROWS), sizeof(orders[e]));
        for (int i = 0; i < ROWS; i++) {
            assert_in_range(orders[e][i], 0, ROWS - 1);
            assert_int_equal(seen[orders[e][i]]++, 0);
        }
        for (int other = 0; other < e; other++) {
            assert_memory_not_equal(orders[e], orders[other], sizeof(orders[e]));
        }
    }
    wb_batch_plan_destroy(&plan);
}

static void steps_of_an_epoch_share_no_row_and_a_tail_waits(void **state) {
    (void)state;
    enum { ROWS = 40, B = 13 };
    wb_batch_plan plan = plan_of(5, ROWS, B);
    int64_t steps;
    expect_ok(wb_batch_plan_steps(&steps, &plan, 7));
    assert_int_equal(steps, 21);
    assert_int_equal(wb_batch_plan_waiting(&plan), 1);
    for (int e = 0; e < 4; e++) {
        int seen[ROWS] = {0}, total = 0;
        for (int64_t step = 3 * e; step < 3 * e + 3; step++) {
            const int64_t *rows = rows_of(&plan, step, e, B);
            for (int i = 0; i < B; i++) {
                total += ++seen[rows[i]];
            }
        }
        assert_int_equal(total, 3 * B); /* each row once */
    }
    wb_batch_plan_destroy(&plan);
}

static void a_tail_that_is_kept_makes_a_smaller_batch(void **state) {
    (void)state;
    enum { ROWS = 40, B = 13 };
    for (int64_t size = 12; size <= 14; size++) { /* tails of 4, 1 and 12 rows */
        const wb_batch_rule rule = {.seed = 5, .rows = ROWS, .size = size, .keeps_tails = true};
        const int64_t tail = ROWS % size, full = ROWS / size;
        wb_batch_plan plan;
        expect_ok(wb_batch_plan_create(&plan, &rule));
        int64_t steps;
        expect_ok(wb_batch_plan_steps(&steps, &plan, 2));
        assert_int_equal(steps, 2 * (full + (tail > 1 ? 1 : 0))); /* one row is no batch */
        for (int e = 0; e < 2; e++) {
            int seen[ROWS] = {0}, total = 0;
            for (int64_t k = 0; k < steps / 2; k++) {
                const int64_t n = k < full ? size : tail;
                const int64_t *rows = rows_of(&plan, e * steps / 2 + k, e, n);
                for (int64_t i = 0; i < n; i++) {
                    total += ++seen[rows[i]];
                }
            }
            assert_int_equal(total, tail > 1 ? ROWS : ROWS - tail);
        }
        wb_batch_plan_destroy(&plan);
    }
}

static void rows_are_a_function_of_seed_and_step_only(void **state) {
    (void)state;
    enum { ROWS = 64, B = 8, STEPS = 40 };
    int64_t all[STEPS][B];
    wb_batch_plan plan = plan_of(5, ROWS, B), late = plan_of(5, ROWS, B);
    wb_batch_plan other = plan_of(6, ROWS, B), wide = plan_of(5, ROWS, 2 * B);
    for (int step = 0; step < STEPS; step++) {
        memcpy(all[step], rows_of(&plan, step, step / 8, B), sizeof(all[step]));
    }
    for (int step = STEPS - 1; step >= 0; step -= 3) { /* a run that resumes, in any order */
        assert_memory_equal(rows_of(&late, step, step / 8, B), all[step], sizeof(all[step]));
        assert_memory_not_equal(rows_of(&other, step, step / 8, B), all[step], sizeof(all[step]));
        /* the order of an epoch does not depend on the size of its batches */
        assert_memory_equal(rows_of(&wide, step / 2, step / 8, 2 * B) + step % 2 * B, all[step],
                            sizeof(all[step]));
    }
    wb_batch_plan_destroy(&plan);
    wb_batch_plan_destroy(&late);
    wb_batch_plan_destroy(&other);
    wb_batch_plan_destroy(&wide);
}

static void every_row_comes_to_every_place_equally_often(void **state) {
    (void)state;
    enum { ROWS = 5, EPOCHS = 5000 };
    int counts[ROWS][ROWS] = {{0}};
    wb_batch_plan plan = plan_of(9, ROWS, ROWS);
    for (int e = 0; e < EPOCHS; e++) {
        const int64_t *rows = rows_of(&plan, e, e, ROWS);
        for (int i = 0; i < ROWS; i++) {
            counts[i][rows[i]]++;
        }
    }
    for (int i = 0; i < ROWS * ROWS; i++) { /* 1000 wanted, 28 standard deviation, a fixed seed */
        assert_in_range((&counts[0][0])[i], 850, 1150);
    }
    wb_batch_plan_destroy(&plan);
}

static void a_batch_beyond_the_data_is_refused(void **state) {
    (void)state;
    const wb_batch_rule rule = {.seed = 5, .rows = 40, .size = 41};
    wb_batch_plan plan;
    expect_error(wb_batch_plan_create(&plan, &rule), WB_ERR_CONFIG,
                 "batch.size = 41, but the data has 40 training rows");
    wb_batch_plan_destroy(&plan);
}

/* ---- Without duplicates
 * ------------------------------------------------------------------------------------ */

/* Rows of two texts: the first one of `distinct`, the second one of twice as many. */
static wb_row_texts draw_texts(int64_t rows, int64_t distinct) {
    wb_row_texts texts = {.rows = rows, .distinct = 3 * distinct};
    texts.firsts = malloc((size_t)(rows + 1) * sizeof(*texts.firsts));
    texts.numbers = malloc((size_t)(2 * rows) * sizeof(*texts.numbers));
    for (int64_t i = 0; i <= rows; i++) {
        texts.firsts[i] = 2 * i;
    }
    for (int64_t i = 0; i < rows; i++) {
        const wb_rng_key key = {
            .seed = test_seed(), .example = (uint32_t)i, .site = wb_rng_site(WB_RNG_TEST, 1)};
        texts.numbers[2 * i] = (int64_t)wb_rng_below((uint64_t)distinct, key, 0);
        texts.numbers[2 * i + 1] =
            distinct + (int64_t)wb_rng_below((uint64_t)(2 * distinct), key, 1);
    }
    return texts;
}

/* No text twice in a batch, no row twice in an epoch; how many rows were in its batches. */
static int64_t check_epoch(wb_batch_plan *plan, int64_t *step, int64_t epoch) {
    const wb_row_texts *texts = plan->rule.texts;
    int64_t *last = malloc((size_t)texts->distinct * sizeof(*last)), total = 0;
    int *seen = calloc((size_t)texts->rows, sizeof(*seen));
    wb_batch_rows batch;
    for (int64_t i = 0; i < texts->distinct; i++) {
        last[i] = -1;
    }
    for (;; ++*step) {
        expect_ok(wb_batch_plan_step(&batch, plan, *step));
        if (batch.epoch != epoch) {
            break;
        }
        assert_true(batch.B == plan->rule.size || (plan->rule.keeps_tails && batch.B > 1));
        for (int64_t i = 0; i < batch.B; i++) {
            const int64_t row = batch.rows[i];
            assert_int_equal(seen[row]++, 0);
            for (int64_t k = texts->firsts[row]; k < texts->firsts[row + 1]; k++) {
                assert_true(last[texts->numbers[k]] != *step);
                last[texts->numbers[k]] = *step;
            }
        }
        total += batch.B;
    }
    free(last);
    free(seen);
    return total;
}

static void no_text_stands_twice_in_a_batch(void **state) {
    (void)state;
    for (int round = 0; round < 12; round++) {
        const int64_t rows = 100 + 97 * round;
        wb_row_texts texts = draw_texts(rows, round % 3 == 0 ? rows / 8 : rows);
        const wb_batch_rule rule = {.seed = test_seed(),
                                    .rows = rows,
                                    .size = 2 + 3 * round,
                                    .keeps_tails = round % 2,
                                    .texts = &texts};
        wb_batch_plan plan;
        int64_t step = 0, steps;
        expect_ok(wb_batch_plan_create(&plan, &rule));
        for (int64_t epoch = 0; epoch < 3; epoch++) {
            const int64_t total = check_epoch(&plan, &step, epoch);
            /* texts come once or twice: few rows are left over */
            assert_true(round % 3 == 0 || total >= rows - 3 * rule.size);
        }
        expect_ok(wb_batch_plan_steps(&steps, &plan, 3));
        assert_int_equal(steps, step);
        wb_batch_plan_destroy(&plan);
        wb_row_texts_clear(&texts);
    }
}

static void without_equal_texts_the_plan_is_that_of_any_data(void **state) {
    (void)state;
    enum { ROWS = 50, B = 8 };
    wb_row_texts texts = draw_texts(ROWS, ROWS);
    for (int64_t i = 0; i < 2 * ROWS; i++) {
        texts.numbers[i] = i;
    }
    const wb_batch_rule rule = {.seed = 5, .rows = ROWS, .size = B, .texts = &texts};
    wb_batch_plan apart, plan = plan_of(5, ROWS, B);
    expect_ok(wb_batch_plan_create(&apart, &rule));
    for (int step = 17; step >= 0; step--) {
        assert_memory_equal(rows_of(&apart, step, step / 6, B), rows_of(&plan, step, step / 6, B),
                            B * sizeof(int64_t));
    }
    wb_batch_plan_destroy(&apart);
    wb_batch_plan_destroy(&plan);
    wb_row_texts_clear(&texts);
}

static void a_text_of_all_rows_is_refused_with_what_to_do(void **state) {
    (void)state;
    wb_row_texts texts = draw_texts(30, 30);
    for (int64_t i = 0; i < 30; i++) {
        texts.numbers[2 * i] = 0;
    }
    const wb_batch_rule rule = {.seed = 5, .rows = 30, .size = 2, .texts = &texts};
    wb_batch_plan plan;
    expect_error(wb_batch_plan_create(&plan, &rule), WB_ERR_CONFIG,
                 "the 30 rows of epoch 0 make no batch of 2 rows without a text that stands twice");
    wb_batch_plan_destroy(&plan);
    wb_row_texts_clear(&texts);
}

/* One look at each text: a text that half of the rows share costs no more than any other. */
static void planning_takes_linear_time(void **state) {
    (void)state;
    enum { ROWS = 200000 };
    wb_row_texts texts = draw_texts(ROWS, ROWS);
    for (int64_t i = 0; i < ROWS; i += 2) {
        texts.numbers[2 * i] = 0;
    }
    const wb_batch_rule rule = {.seed = 5, .rows = ROWS, .size = 16, .texts = &texts};
    wb_batch_plan plan;
    int64_t steps;
    const clock_t began = clock();
    expect_ok(wb_batch_plan_create(&plan, &rule));
    expect_ok(wb_batch_plan_steps(&steps, &plan, 1));
    assert_in_range(steps, 1, ROWS / 16);
    /* 0.1 s of processor time here; a look at all earlier rows would take minutes */
    assert_true((double)(clock() - began) / CLOCKS_PER_SEC < 10.0 * test_slowness());
    wb_batch_plan_destroy(&plan);
    wb_row_texts_clear(&texts);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_epoch_is_another_permutation_of_all_rows),
        cmocka_unit_test(steps_of_an_epoch_share_no_row_and_a_tail_waits),
        cmocka_unit_test(a_tail_that_is_kept_makes_a_smaller_batch),
        cmocka_unit_test(rows_are_a_function_of_seed_and_step_only),
        cmocka_unit_test(every_row_comes_to_every_place_equally_often),
        cmocka_unit_test(a_batch_beyond_the_data_is_refused),
        cmocka_unit_test(no_text_stands_twice_in_a_batch),
        cmocka_unit_test(without_equal_texts_the_plan_is_that_of_any_data),
        cmocka_unit_test(a_text_of_all_rows_is_refused_with_what_to_do),
        cmocka_unit_test(planning_takes_linear_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
