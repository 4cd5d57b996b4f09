/* Tokens of a batch's rows do not depend on who reads them. */
#include "batch.h"
#include "tiny_run.h"

typedef struct reading {
    tiny_run run;
    wb_model model; /* its tokenizer only */
    wb_data_set *data;
    wb_arena *arena;
} reading;

static int set_up(void **state) {
    reading *r = calloc(1, sizeof(*r));
    char folder[700];
    (void)snprintf(r->run.folder, sizeof(r->run.folder), "%s/batch", WB_TEST_SCRATCH);
    (void)snprintf(r->run.model, sizeof(r->run.model), "%s/model", r->run.folder);
    (void)snprintf(r->run.beir, sizeof(r->run.beir), "%s/beir", r->run.folder);
    (void)snprintf(r->run.tevatron, sizeof(r->run.tevatron), "%s/tevatron.jsonl", r->run.folder);
    (void)snprintf(folder, sizeof(folder), "%s/qrels", r->run.beir);
    expect_ok(wb_folder_remove(r->run.folder));
    expect_ok(wb_folder_make(r->run.model));
    expect_ok(wb_folder_make(folder));
    tiny_write_model(&r->run);
    tiny_write_data(&r->run);
    (void)snprintf(folder, sizeof(folder), "%s/vocab.txt", r->run.model);
    expect_ok(wb_tokenizer_open(&r->model.tokenizer, folder));
    r->model.specials = true;
    expect_ok(wb_data_set_open(&r->data, r->run.tevatron, NULL));
    expect_ok(wb_arena_create(&r->arena, "test", 16 << 20));
    *state = r;
    return 0;
}

static int tear_down(void **state) {
    reading *r = *state;
    wb_data_set_close(r->data);
    wb_tokenizer_close(r->model.tokenizer);
    wb_arena_destroy(r->arena);
    free(r);
    return 0;
}

static void expect_same_sequence(const wb_batch *a, int64_t i, const wb_batch *b, int64_t j) {
    const int64_t *x = a->packed.offsets, *y = b->packed.offsets;
    assert_int_equal(x[i + 1] - x[i], y[j + 1] - y[j]);
    assert_memory_equal(a->packed.ids + x[i], b->packed.ids + y[j],
                        (size_t)(x[i + 1] - x[i]) * sizeof(int32_t));
    assert_int_equal(a->examples[i], b->examples[j]);
}

static void tokens_do_not_depend_on_the_share(void **state) {
    reading *r = *state;
    enum { B = 37 };
    const wb_batch_shape shape = {.group = 3, .query_tokens = 4, .passage_tokens = 9};
    int64_t rows[B];
    wb_batch whole;
    for (int i = 0; i < B; i++) {
        rows[i] = (i * 11 + 2) % TINY_ROWS;
    }
    expect_ok(wb_batch_read(&whole, r->data, &r->model, &shape, rows, 2, B, 0, B, r->arena));
    assert_int_equal(whole.packed.n, B * 4);
    for (int64_t i = 0; i < whole.packed.n; i++) {
        const int64_t length = whole.packed.offsets[i + 1] - whole.packed.offsets[i];
        assert_in_range(length, 2, i < B ? 4 : 9); /* [CLS] and [SEP] at least */
        assert_int_equal(whole.examples[i], i);    /* queries, then passages of the batch */
    }
    for (int world = 2; world <= 41; world += 13) {
        for (int rank = 0; rank < world; rank++) {
            const int64_t first = B * rank / world, n = B * (rank + 1) / world - first;
            const size_t mark = wb_arena_mark(r->arena);
            wb_batch own;
            expect_ok(wb_batch_read(&own, r->data, &r->model, &shape, rows + first, 2, B, first, n,
                                    r->arena));
            assert_int_equal(own.packed.n, n * 4);
            for (int64_t i = 0; i < n; i++) {
                expect_same_sequence(&own, i, &whole, first + i);
                for (int64_t k = 0; k < 3; k++) {
                    expect_same_sequence(&own, n + i * 3 + k, &whole, B + (first + i) * 3 + k);
                }
            }
            assert_true(wb_arena_mark(r->arena) - mark <= wb_batch_bytes(&shape, n));
            wb_arena_release(r->arena, mark);
        }
    }
}

static void what_a_batch_takes_is_what_was_said(void **state) {
    reading *r = *state;
    const wb_batch_shape shape = {.group = 2, .query_tokens = 16, .passage_tokens = 32};
    const int64_t rows[] = {0, 1, 2, 3, 4};
    for (int64_t n = 0; n <= 5; n++) {
        wb_arena *tight;
        wb_batch batch;
        const size_t said = wb_batch_bytes(&shape, n);
        expect_ok(wb_arena_create(&tight, "tight", said));
        expect_ok(wb_batch_read(&batch, r->data, &r->model, &shape, rows, 0, 5, 0, n, tight));
        assert_int_equal(wb_arena_peak(tight), said);
        wb_arena_destroy(tight);
    }
}

static void a_row_that_cannot_be_read_is_the_batchs_error(void **state) {
    reading *r = *state;
    const wb_batch_shape greedy = {.group = 4, .query_tokens = 16, .passage_tokens = 32};
    const wb_batch_shape plain = {.group = 1, .query_tokens = 16, .passage_tokens = 32};
    int64_t rows[TINY_ROWS];
    wb_batch batch;
    wb_data_set *shrunk;
    for (int64_t i = 0; i < TINY_ROWS; i++) {
        rows[i] = i;
    }
    expect_error(wb_batch_read(&batch, r->data, &r->model, &greedy, rows, 0, TINY_ROWS, 0,
                               TINY_ROWS, r->arena),
                 WB_ERR_CONFIG, "negatives");
    expect_ok(wb_data_set_open(&shrunk, r->run.tevatron, NULL));
    (void)fclose(fopen(r->run.tevatron, "w"));
    expect_error(wb_batch_read(&batch, shrunk, &r->model, &plain, rows, 0, TINY_ROWS, 0, TINY_ROWS,
                               r->arena),
                 WB_ERR_INPUT, "tevatron.jsonl");
    wb_data_set_close(shrunk);
}

static void expect_same_batch(const wb_batch *a, const wb_batch *b) {
    assert_int_equal(a->packed.n, b->packed.n);
    for (int64_t i = 0; i < a->packed.n; i++) {
        expect_same_sequence(a, i, b, i);
        assert_true(a->keys[i] == b->keys[i]);
    }
}

/* Two negatives a row, one a draw: after two epochs there is nothing that was not read, and the
 * file may be gone. */
static void what_was_read_is_not_read_again(void **state) {
    reading *r = *state;
    wb_batch_shape shape = {.group = 2, .query_tokens = 4, .passage_tokens = 9};
    int64_t rows[TINY_ROWS];
    wb_batch plain[4], remembered;
    expect_ok(wb_token_cache_create(&shape.cache, 1 << 20));
    wb_batch_shape forgetful = shape;
    forgetful.cache = NULL;
    for (int64_t i = 0; i < TINY_ROWS; i++) {
        rows[i] = (7 * i) % TINY_ROWS;
    }
    for (int epoch = 0; epoch < 4; epoch++) {
        expect_ok(wb_batch_read(&plain[epoch], r->data, &r->model, &forgetful, rows, epoch,
                                TINY_ROWS, 0, TINY_ROWS, r->arena));
    }
    for (int epoch = 0; epoch < 4; epoch++) {
        if (epoch == 2) {
            (void)fclose(fopen(r->run.tevatron, "w"));
        }
        expect_ok(wb_batch_read(&remembered, r->data, &r->model, &shape, rows, epoch, TINY_ROWS, 0,
                                TINY_ROWS, r->arena));
        expect_same_batch(&remembered, &plain[epoch]);
        assert_int_equal(wb_token_cache_texts(shape.cache), TINY_ROWS * (epoch == 0 ? 3 : 4));
    }
    assert_in_range(wb_token_cache_bytes(shape.cache), 4 * TINY_ROWS * 2 * sizeof(int32_t),
                    1 << 20);
    wb_token_cache_destroy(shape.cache);
}

static void a_full_cache_costs_nothing_but_time(void **state) {
    reading *r = *state;
    static const size_t limits[] = {0, 1, 500, 5000};
    const int64_t rows[] = {3, 1, 4, 1, 5, 9};
    const wb_batch_shape forgetful = {.group = 2, .query_tokens = 4, .passage_tokens = 9};
    wb_batch plain, batch;
    expect_ok(wb_batch_read(&plain, r->data, &r->model, &forgetful, rows, 0, 6, 0, 6, r->arena));
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        wb_batch_shape shape = forgetful;
        expect_ok(wb_token_cache_create(&shape.cache, limits[i]));
        for (int again = 0; again < 2; again++) {
            expect_ok(
                wb_batch_read(&batch, r->data, &r->model, &shape, rows, 0, 6, 0, 6, r->arena));
            expect_same_batch(&batch, &plain);
        }
        assert_true(wb_token_cache_bytes(shape.cache) <= limits[i]);
        wb_token_cache_destroy(shape.cache);
    }
}

int main(void) {
    expect_ok(wb_io_init());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tokens_do_not_depend_on_the_share, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_a_batch_takes_is_what_was_said, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_row_that_cannot_be_read_is_the_batchs_error, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_was_read_is_not_read_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_cache_costs_nothing_but_time, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
