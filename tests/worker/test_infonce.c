/* Both walks over tiles against the plain loss in double. */
#include "infonce.h"
#include "plain_loss.h"
#include "rng.h"
#include "testing.h"

/* Tiles are 64 rows by 256 columns (infonce.c): batches on both sides of those borders. */
static const struct {
    int64_t batch, group, width;
} shapes[] = {{5, 1, 8},   {64, 1, 16}, {65, 1, 7},  {63, 4, 12}, {64, 4, 12},
              {65, 4, 12}, {256, 1, 6}, {257, 1, 6}, {130, 3, 33}};
enum { SHAPES = sizeof(shapes) / sizeof(shapes[0]) };

typedef struct batch {
    wb_infonce loss;
    int64_t N;
    double most;         /* largest score there can be */
    float *reps;         /* [B (1 + group), d], queries first */
    float *dreps;        /* likewise, of the walks */
    float *losses, *lse; /* [B] */
    wb_arena *arena;
} batch;

/* Unit rows of length `length`. */
static batch draw(int64_t B, int64_t group, int64_t d, double temperature, float length) {
    batch b = {.loss = {.batch = B, .group = group, .width = d, .temperature = temperature},
               .N = B * group,
               .most = (double)(length * length) / temperature};
    const int64_t rows = B + b.N;
    b.reps = malloc((size_t)(rows * d) * sizeof(float));
    b.dreps = malloc((size_t)(rows * d) * sizeof(float));
    b.losses = malloc((size_t)B * sizeof(float));
    b.lse = malloc((size_t)B * sizeof(float));
    for (int64_t i = 0; i < rows; i++) {
        float *row = b.reps + i * d, squares = 0.0f;
        for (int64_t k = 0; k < d; k++) {
            const wb_rng_key key = {
                .seed = test_seed(), .example = (uint32_t)i, .site = wb_rng_site(WB_RNG_TEST, 0)};
            row[k] = wb_rng_normal(key, (uint32_t)k);
            squares += row[k] * row[k];
        }
        for (int64_t k = 0; k < d; k++) {
            row[k] *= length / sqrtf(squares);
        }
    }
    expect_ok(wb_arena_create(&b.arena, "test", (size_t)64 << 20));
    return b;
}

static void clear(batch *b) {
    free(b->reps);
    free(b->dreps);
    free(b->losses);
    free(b->lse);
    wb_arena_destroy(b->arena);
}

/* Both walks, as `ranks` ranks would share them. */
static void walk(batch *b, int64_t ranks) {
    const int64_t B = b->loss.batch, d = b->loss.width, group = b->loss.group;
    const float *q = b->reps, *p = b->reps + B * d;
    for (int64_t r = 0; r < ranks; r++) {
        const int64_t first = B * r / ranks, n = B * (r + 1) / ranks - first;
        expect_ok(wb_infonce_queries(b->losses + first, b->lse + first, b->dreps + first * d,
                                     q + first * d, p, first, n, &b->loss, b->arena));
    }
    for (int64_t r = 0; r < ranks; r++) {
        const int64_t first = B * r / ranks * group, end = B * (r + 1) / ranks * group;
        expect_ok(wb_infonce_passages(b->dreps + (B + first) * d, p + first * d, q, b->lse,
                                      b->losses, first, end - first, &b->loss, b->arena));
    }
    assert_int_equal(wb_arena_mark(b->arena), 0);
}

static void expect_plain(const batch *b, double tolerance, const char *what) {
    const int64_t B = b->loss.batch, d = b->loss.width, N = b->N;
    double *losses = malloc((size_t)B * sizeof(*losses));
    float *wanted = malloc((size_t)((B + N) * d) * sizeof(*wanted));
    (void)plain_loss_of_floats(losses, wanted, b->reps, B, b->loss.group, d, b->loss.temperature);
    for (int64_t i = 0; i < B; i++) {
        /* a small loss is the difference of two large scores, whose rounding stays */
        if (!(fabs((double)b->losses[i] - losses[i]) <= 1e-6 * (losses[i] + b->most))) {
            fail_msg("%s: loss of query %lld is %.9g, wanted %.9g", what, (long long)i,
                     (double)b->losses[i], losses[i]);
        }
    }
    expect_relative(b->dreps, wanted, B * d, tolerance, "dq");
    expect_relative(b->dreps + B * d, wanted + B * d, N * d, tolerance, "dp");
    free(losses);
    free(wanted);
}

static void both_walks_equal_the_plain_loss(void **state) {
    (void)state;
    for (int i = 0; i < SHAPES; i++) {
        for (int64_t ranks = 1; ranks <= 4; ranks++) {
            batch b = draw(shapes[i].batch, shapes[i].group, shapes[i].width, 0.05, 1.0f);
            walk(&b, ranks);
            expect_plain(&b, 1e-5, "temperature 0.05"); /* the exactness contract, DESIGN 3 */
            clear(&b);
        }
    }
}

static void a_share_of_the_batch_gives_the_rows_of_the_whole(void **state) {
    (void)state;
    batch whole = draw(130, 3, 24, 0.1, 1.0f), shared = draw(130, 3, 24, 0.1, 1.0f);
    walk(&whole, 1);
    for (int64_t ranks = 2; ranks <= 131; ranks += 43) {
        walk(&shared, ranks);
        /* the contract between layouts, DESIGN section 3 */
        expect_relative(shared.dreps, whole.dreps, 130 * 4 * 24, 1e-6, "gradients of shares");
        expect_close(shared.losses, whole.losses, 130, 1e-5, "losses of shares");
    }
    clear(&whole);
    clear(&shared);
}

static void scores_beyond_the_range_of_exp_do_not_overflow(void **state) {
    (void)state;
    /* scores up to 1000, and up to 3000 between long rows */
    batch b = draw(65, 4, 12, 1e-3, 1.0f);
    walk(&b, 2);
    expect_plain(&b, 1e-3, "temperature 0.001"); /* single precision leaves 1000 * 2^-24 */
    clear(&b);
    b = draw(65, 4, 12, 0.3, 30.0f);
    walk(&b, 2);
    expect_plain(&b, 1e-3, "long rows");
    clear(&b);
}

static void a_batch_where_every_score_is_equal_loses_the_logarithm_of_its_size(void **state) {
    (void)state;
    batch b = draw(65, 4, 12, 0.05, 0.0f);
    walk(&b, 1);
    for (int i = 0; i < 65; i++) {
        assert_true(fabs((double)b.losses[i] - log(260.0)) < 1e-5);
    }
    clear(&b);
}

static void gradients_equal_central_differences(void **state) {
    (void)state;
    enum { B = 9, GROUP = 2, D = 5, COUNT = B * (1 + GROUP) * D };
    batch b = draw(B, GROUP, D, 0.2, 1.0f);
    double reps[COUNT];
    walk(&b, 3);
    for (int i = 0; i < COUNT; i++) {
        reps[i] = (double)b.reps[i];
    }
    for (int i = 0; i < COUNT; i++) {
        const double at = reps[i], h = 1e-5;
        reps[i] = at + h;
        const double above = plain_loss(NULL, NULL, reps, B, GROUP, D, 0.2);
        reps[i] = at - h;
        const double below = plain_loss(NULL, NULL, reps, B, GROUP, D, 0.2);
        reps[i] = at;
        const double wanted = (above - below) / (2.0 * h);
        if (!(fabs((double)b.dreps[i] - wanted) < 1e-6)) { /* single precision of values below 1 */
            fail_msg("gradient [%d] is %.9g, difference %.9g", i, (double)b.dreps[i], wanted);
        }
    }
    clear(&b);
}

static void input_that_is_not_finite_is_refused_with_the_number_of_the_query(void **state) {
    (void)state;
    static const float wrong[] = {NAN, INFINITY, -INFINITY, 3e38f};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        batch b = draw(70, 2, 3, 0.05, 1.0f);
        float *q = b.reps, *p = b.reps + 70 * 3;
        q[67 * 3 + 1] = wrong[i];
        expect_error(
            wb_infonce_queries(b.losses, b.lse, b.dreps, q + 60 * 3, p, 60, 10, &b.loss, b.arena),
            WB_ERR_NUMERIC, "the loss of query 67 of the batch");
        q[67 * 3 + 1] = 0.0f;
        p[139 * 3] = isinf(wrong[i]) ? NAN : wrong[i]; /* the last passage, of nobody here */
        if (isnan(p[139 * 3])) {
            expect_error(
                wb_infonce_queries(b.losses, b.lse, b.dreps, q, p, 0, 10, &b.loss, b.arena),
                WB_ERR_NUMERIC, "the loss of query 0 of the batch");
        }
        assert_int_equal(wb_arena_mark(b.arena), 0);
        clear(&b);
    }
}

static void an_arena_without_room_for_a_tile_is_an_error(void **state) {
    (void)state;
    batch b = draw(4, 1, 3, 0.05, 1.0f);
    wb_arena *small;
    expect_ok(wb_arena_create(&small, "small", 1024));
    expect_error(
        wb_infonce_queries(b.losses, b.lse, b.dreps, b.reps, b.reps + 12, 0, 4, &b.loss, small),
        WB_ERR_MEMORY, "the small arena");
    expect_error(wb_infonce_passages(b.dreps + 12, b.reps + 12, b.reps, b.lse, b.losses, 0, 4,
                                     &b.loss, small),
                 WB_ERR_MEMORY, "the small arena");
    wb_arena_destroy(small);
    clear(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_walks_equal_the_plain_loss),
        cmocka_unit_test(a_share_of_the_batch_gives_the_rows_of_the_whole),
        cmocka_unit_test(scores_beyond_the_range_of_exp_do_not_overflow),
        cmocka_unit_test(a_batch_where_every_score_is_equal_loses_the_logarithm_of_its_size),
        cmocka_unit_test(gradients_equal_central_differences),
        cmocka_unit_test(input_that_is_not_finite_is_refused_with_the_number_of_the_query),
        cmocka_unit_test(an_arena_without_room_for_a_tile_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
