/* Both walks over tiles against the plain loss in double. */
#include "infonce.h"
#include "plain_loss.h"
#include "rng.h"
#include "testing.h"

/* Tiles are WB_INFONCE_TILE passing by 64 to 256 own rows (score_tile.c): batches on both sides of
 * those. */
static const struct {
    int64_t batch, group, width;
} shapes[] = {{5, 1, 8},   {64, 1, 16}, {65, 1, 7},  {63, 4, 12}, {64, 4, 12},
              {65, 4, 12}, {256, 1, 6}, {257, 1, 6}, {130, 3, 33}};
enum { SHAPES = sizeof(shapes) / sizeof(shapes[0]) };

typedef struct batch {
    wb_infonce loss;
    wb_infonce_batch all;
    int64_t N;
    int64_t window;       /* queries that pass by at once; 0: all */
    int64_t keeps;        /* parts of a rank that keeps its scores; 0: none are kept */
    double most;          /* largest score there can be */
    float *guide;         /* [B (1 + group), guide width], queries first; NULL without */
    float *reps;          /* [B (1 + group), d], queries first */
    float *dreps;         /* likewise, of the walks */
    wb_infonce_row *rows; /* [B] */
    uint64_t *keys;       /* [B + N], of queries, then passages */
    int64_t *known;       /* [B + 1] firsts, then [B] passages at most */
    wb_arena *arena;
} batch;

static uint64_t random_below(uint64_t bound, uint32_t what, int64_t i) {
    const wb_rng_key key = {
        .seed = test_seed(), .example = (uint32_t)i, .site = wb_rng_site(WB_RNG_TEST, what)};
    return wb_rng_below(bound, key, 0);
}

/* x [n, d]: random directions of length `length`. */
static void draw_rows(float *x, int64_t n, int64_t d, float length, uint32_t what) {
    for (int64_t i = 0; i < n; i++) {
        float *row = x + i * d, squares = 0.0f;
        for (int64_t k = 0; k < d; k++) {
            const wb_rng_key key = {.seed = test_seed(),
                                    .example = (uint32_t)i,
                                    .site = wb_rng_site(WB_RNG_TEST, what)};
            row[k] = wb_rng_normal(key, (uint32_t)k);
            squares += row[k] * row[k];
        }
        for (int64_t k = 0; k < d; k++) {
            row[k] *= length / sqrtf(squares);
        }
    }
}

/* Unit rows of length `length`. */
static batch draw(int64_t B, int64_t group, int64_t d, double temperature, float length) {
    batch b = {.loss = {.batch = B, .group = group, .width = d, .temperature = temperature},
               .N = B * group,
               .most = (double)(length * length) / temperature};
    const int64_t rows = B + b.N;
    b.reps = malloc((size_t)(rows * d) * sizeof(float));
    b.dreps = malloc((size_t)(rows * d) * sizeof(float));
    b.rows = malloc((size_t)B * sizeof(*b.rows));
    b.keys = malloc((size_t)rows * sizeof(*b.keys));
    b.known = malloc((size_t)(2 * B + 1) * sizeof(*b.known));
    b.all = (wb_infonce_batch){.rows = b.rows};
    draw_rows(b.reps, rows, d, length, 0);
    expect_ok(wb_arena_create(&b.arena, "test", (size_t)64 << 20));
    return b;
}

/* Every text stands `times` times in the batch or so. */
static void repeat_texts(batch *b, int64_t times) {
    const int64_t B = b->loss.batch;
    for (int64_t i = 0; i < B + b->N; i++) {
        b->keys[i] = random_below((uint64_t)((B + b->N) / times + 1), 1, i);
    }
    b->all.query_keys = b->keys;
    b->all.passage_keys = b->keys + B;
}

/* Every third query knows a passage that is not its own and has another text. */
static void know_more(batch *b) {
    const int64_t B = b->loss.batch;
    int64_t *const firsts = b->known, *const known = b->known + B + 1;
    firsts[0] = 0;
    for (int64_t i = 0; i < B; i++) {
        const int64_t passage = (int64_t)random_below((uint64_t)b->N, 2, i);
        const uint64_t *keys = b->all.passage_keys;
        const bool is_own =
            passage == i * b->loss.group || (keys && keys[passage] == keys[i * b->loss.group]);
        firsts[i + 1] = firsts[i];
        if (i % 3 == 0 && !is_own) {
            known[firsts[i + 1]++] = passage;
        }
    }
    b->all.known_firsts = firsts;
    b->all.known = known;
}

/* A guide of another width that has its own view of what is similar. */
static void guide(batch *b, int64_t width) {
    const int64_t rows = b->loss.batch + b->N;
    b->loss.guide_width = width;
    b->guide = malloc((size_t)(rows * width) * sizeof(*b->guide));
    draw_rows(b->guide, rows, width, 1.0f, 3);
}

static void clear(batch *b) {
    free(b->guide);
    free(b->reps);
    free(b->dreps);
    free(b->rows);
    free(b->keys);
    free(b->known);
    wb_arena_destroy(b->arena);
}

static wb_infonce_block block_of(const batch *b, int64_t first, int64_t n, wb_infonce_sides sides) {
    const int64_t B = b->loss.batch, d = b->loss.width, g = b->loss.group;
    const int64_t wide = b->loss.guide_width;
    wb_infonce_block block = {.first = first, .n = n};
    if (sides.queries) {
        block.q = b->reps + first * d;
        block.guide_q = b->guide ? b->guide + first * wide : NULL;
    }
    if (sides.passages) {
        block.p = b->reps + (B + first * g) * d;
        block.guide_p = b->guide ? b->guide + (B + first * g) * wide : NULL;
    }
    return block;
}

typedef wb_status (*pass)(batch *b, wb_infonce_part *part, int64_t first,
                          const wb_infonce_block *block);

static wb_status meet(batch *b, wb_infonce_part *part, int64_t first,
                      const wb_infonce_block *block) {
    (void)first;
    return wb_infonce_meet(part, block, b->arena);
}

static wb_status answer(batch *b, wb_infonce_part *part, int64_t first,
                        const wb_infonce_block *block) {
    const int64_t d = b->loss.width;
    return wb_infonce_answer(part, b->dreps + first * d,
                             b->dreps + (b->loss.batch + first * b->loss.group) * d, block,
                             b->arena);
}

/* All blocks pass by a part; only the sides that the walk asks for are there. */
static wb_status pass_by(batch *b, wb_infonce_part *part, int64_t first, wb_infonce_sides sides,
                         pass each) {
    const int64_t B = b->loss.batch, window = b->window > 0 ? b->window : B;
    wb_status status = WB_OK;
    for (int64_t at = 0; at < B && status == WB_OK; at += window) {
        const wb_infonce_block block = block_of(b, at, B - at < window ? B - at : window, sides);
        status = each(b, part, first, &block);
    }
    return status;
}

/* First walk of queries first .. first + n. */
static wb_status walk_rows(batch *b, wb_infonce_part **part, int64_t first, int64_t n) {
    static const wb_infonce_sides both = {true, true};
    const int64_t d = b->loss.width;
    const wb_infonce_block own = block_of(b, first, n, both);
    wb_status status = wb_infonce_begin(part, &b->loss, &b->all, &own, b->arena);
    if (status == WB_OK) {
        status = pass_by(b, *part, first, wb_infonce_first_walk(&b->loss), meet);
    }
    if (status == WB_OK) {
        status = wb_infonce_settle(*part, b->dreps + first * d,
                                   b->dreps + (b->loss.batch + first * b->loss.group) * d);
    }
    return status;
}

/* Room for the scores of one rank, whose parts these are: `keeps` of `ranks` parts. */
static wb_infonce_kept keep(batch *b, int64_t part, int64_t ranks) {
    const int64_t B = b->loss.batch, last = part + b->keeps < ranks ? part + b->keeps : ranks;
    const int64_t first = B * part / ranks, n = B * last / ranks - first;
    const size_t before = wb_arena_mark(b->arena);
    wb_infonce_kept kept = {0};
    if (n > 0) {
        expect_ok(wb_infonce_keep(&kept, &b->loss, first, n, b->arena));
        assert_true(wb_arena_mark(b->arena) - before <= wb_infonce_kept_bytes(&b->loss, n));
    }
    return kept;
}

/* Both walks, as `ranks` ranks would share them, or ranks of `keeps` parts each. */
static void walk(batch *b, int64_t ranks) {
    const int64_t B = b->loss.batch;
    wb_infonce_part **parts = calloc((size_t)ranks, sizeof(wb_infonce_part *));
    wb_infonce_kept *kept = calloc((size_t)ranks, sizeof(*kept));
    for (int64_t r = 0; r < ranks; r++) {
        const int64_t first = B * r / ranks, of = b->keeps > 0 ? r / b->keeps : 0;
        if (b->keeps > 0 && r % b->keeps == 0) {
            kept[of] = keep(b, r, ranks);
        }
        b->all.kept = b->keeps > 0 ? &kept[of] : NULL;
        expect_ok(walk_rows(b, &parts[r], first, B * (r + 1) / ranks - first));
    }
    for (int64_t r = 0; r < ranks; r++) {
        b->all.kept = b->keeps > 0 ? &kept[r / b->keeps] : NULL;
        expect_ok(pass_by(b, parts[r], B * r / ranks, wb_infonce_second_walk(&b->loss), answer));
    }
    free(parts);
    free(kept);
    b->all.kept = NULL;
    wb_arena_release(b->arena, 0);
}

static plain_terms terms_of(const batch *b) {
    const wb_infonce *l = &b->loss;
    return (plain_terms){.B = l->batch,
                         .group = l->group,
                         .d = l->width,
                         .tau = l->temperature,
                         .margin = l->margin,
                         .all_positives = l->all_positives,
                         .filter = (int)l->filter,
                         .filter_margin = l->filter_margin,
                         .symmetric = l->symmetric,
                         .query_query = l->query_query,
                         .passage_passage = l->passage_passage,
                         .guide = b->guide,
                         .guide_width = l->guide_width,
                         .query_keys = b->all.query_keys,
                         .passage_keys = b->all.passage_keys,
                         .known_firsts = b->all.known_firsts,
                         .known = b->all.known};
}

static void expect_plain(const batch *b, double tolerance, const char *what) {
    const int64_t B = b->loss.batch, d = b->loss.width, N = b->N;
    const plain_terms terms = terms_of(b);
    double *losses = malloc((size_t)B * sizeof(*losses));
    float *wanted = malloc((size_t)((B + N) * d) * sizeof(*wanted));
    (void)plain_loss_of_floats(losses, wanted, b->reps, &terms);
    for (int64_t i = 0; i < B; i++) {
        /* a small loss hangs on the difference of two large scores, whose rounding stays */
        if (!(fabs((double)b->rows[i].loss - losses[i]) <= 1e-6 * (losses[i] + b->most))) {
            fail_msg("%s: loss of query %lld is %.9g, wanted %.9g", what, (long long)i,
                     (double)b->rows[i].loss, losses[i]);
        }
    }
    expect_relative(b->dreps, wanted, B * d, tolerance, what);
    expect_relative(b->dreps + B * d, wanted + B * d, N * d, tolerance, what);
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
        for (int i = 0; i < 130; i++) {
            expect_close(&shared.rows[i].loss, &whole.rows[i].loss, 1, 1e-5, "losses of shares");
        }
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
        assert_true(fabs((double)b.rows[i].loss - log(260.0)) < 1e-5);
    }
    clear(&b);
}

/* Slopes by log(1 / temperature) against central differences, query by query. */
static void check_slopes(const batch *b) {
    enum { MOST = 16 };
    const int64_t B = b->loss.batch, count = B * (1 + b->loss.group) * b->loss.width;
    const double h = 1e-5;
    double above[MOST], below[MOST], *reps = calloc((size_t)count, sizeof(*reps));
    plain_terms terms = terms_of(b);
    assert_true(B <= MOST);
    for (int64_t i = 0; i < count; i++) {
        reps[i] = (double)b->reps[i];
    }
    terms.tau = b->loss.temperature * exp(-h);
    (void)plain_loss(above, NULL, reps, &terms);
    terms.tau = b->loss.temperature * exp(h);
    (void)plain_loss(below, NULL, reps, &terms);
    for (int64_t i = 0; i < B; i++) {
        const float wanted = (float)((above[i] - below[i]) / (2.0 * h));
        const float got = (float)b->rows[i].slope;
        /* single precision of scores up to 1 / temperature */
        expect_close(&got, &wanted, 1, 5e-6, "slope");
    }
    free(reps);
}

static void check_differences(void (*change)(batch *)) {
    enum { B = 9, GROUP = 2, D = 5, COUNT = B * (1 + GROUP) * D };
    batch b = draw(B, GROUP, D, 0.2, 1.0f);
    change(&b);
    const plain_terms terms = terms_of(&b);
    double reps[COUNT];
    walk(&b, 3);
    for (int i = 0; i < COUNT; i++) {
        reps[i] = (double)b.reps[i];
    }
    for (int i = 0; i < COUNT; i++) {
        const double at = reps[i], h = 1e-5;
        reps[i] = at + h;
        const double above = plain_loss(NULL, NULL, reps, &terms);
        reps[i] = at - h;
        const double below = plain_loss(NULL, NULL, reps, &terms);
        reps[i] = at;
        const double wanted = (above - below) / (2.0 * h);
        if (!(fabs((double)b.dreps[i] - wanted) < 1e-6)) { /* single precision of values below 1 */
            fail_msg("gradient [%d] is %.9g, difference %.9g", i, (double)b.dreps[i], wanted);
        }
    }
    check_slopes(&b);
    clear(&b);
}

static void leave_plain(batch *b) {
    (void)b;
}

static void mask(batch *b) {
    repeat_texts(b, 2);
    know_more(b);
}

static void take_all_positives(batch *b) {
    mask(b);
    b->loss.all_positives = true;
}

static void compare_all(batch *b) {
    mask(b);
    b->loss.margin = 0.1;
    b->loss.symmetric = b->loss.query_query = b->loss.passage_passage = true;
}

static void filter_absolute(batch *b) {
    compare_all(b);
    b->loss.filter = WB_FILTER_ABSOLUTE;
    b->loss.filter_margin = -0.3;
}

static void filter_relative(batch *b) {
    mask(b);
    b->loss.filter = WB_FILTER_RELATIVE;
    b->loss.filter_margin = 0.1;
}

static void filter_by_a_guide(batch *b) {
    filter_absolute(b);
    guide(b, 4);
}

static void gradients_equal_central_differences(void **state) {
    (void)state;
    check_differences(leave_plain);
    check_differences(mask);
    check_differences(take_all_positives);
    check_differences(compare_all);
    check_differences(filter_absolute);
    check_differences(filter_relative);
    check_differences(filter_by_a_guide);
}

/* Near the limit the two walks round differently: every second passage is the same one, so that
 * many scores are there. */
static void candidates_as_similar_as_the_positive_are_kept_by_both_walks(void **state) {
    (void)state;
    for (int64_t d = 3; d < 400; d += 77) {
        batch b = draw(70, 3, d, 0.05, 1.0f);
        float *p = b.reps + 70 * d;
        for (int64_t i = 2; i < b.N; i += 2) {
            memcpy(p + i * d, p, (size_t)d * sizeof(*p));
        }
        b.loss.filter = WB_FILTER_ABSOLUTE;
        walk(&b, 3);
        expect_plain(&b, 1e-5, "ties"); /* the exactness contract, DESIGN 3 */
        assert_true(b.rows[0].alone == 0.0f);
        clear(&b);
    }
}

/* Every combination of terms, with and without masks, at both sides of the tiles' borders. */
static void every_combination_of_terms_equals_the_plain_loss(void **state) {
    (void)state;
    enum { TERMS = 5, MASKS = 4 };
    for (int bits = 0; bits < MASKS << TERMS; bits++) {
        const int64_t B = (const int64_t[]){5, 67, 63, 130}[bits * 7 % 4];
        batch b = draw(B, 1 + bits % 3, 9, 0.1, 1.0f);
        char what[64];
        (void)snprintf(what, sizeof(what), "terms %x, batch of %lld", (unsigned)bits, (long long)B);
        b.loss.margin = bits & 1 ? 0.2 : 0.0;
        b.loss.symmetric = bits & 2;
        b.loss.query_query = bits & 4;
        b.loss.passage_passage = bits & 8;
        b.loss.all_positives = bits & 16;
        if (bits & 32) {
            repeat_texts(&b, bits & 1 ? 2 : 6);
        }
        if (bits & 64) {
            know_more(&b);
        }
        b.loss.filter = (wb_filter)(bits / 3 % 3);
        b.loss.filter_margin = bits / 9 % 2 ? 0.1 : -0.2;
        walk(&b, 1 + bits % 4);
        expect_plain(&b, 1e-5, what); /* the exactness contract, DESIGN 3 */
        clear(&b);
    }
}

static void a_query_without_candidates_has_no_loss_and_no_gradient(void **state) {
    (void)state;
    batch b = draw(70, 2, 9, 0.05, 1.0f);
    for (int64_t i = 0; i < 70 + b.N; i++) {
        b.keys[i] = 1;
    }
    b.all.query_keys = b.keys;
    b.all.passage_keys = b.keys + 70;
    b.loss.symmetric = b.loss.query_query = b.loss.passage_passage = true;
    walk(&b, 3);
    for (int64_t i = 0; i < (70 + b.N) * 9; i++) {
        assert_true(b.dreps[i] == 0.0f);
    }
    for (int64_t i = 0; i < 70; i++) {
        assert_true(b.rows[i].loss == 0.0f);
    }
    clear(&b);
}

static void input_that_is_not_finite_is_refused_with_the_number_of_the_query(void **state) {
    (void)state;
    static const float wrong[] = {NAN, INFINITY, -INFINITY, 3e38f};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        batch b = draw(70, 2, 3, 0.05, 1.0f);
        float *q = b.reps, *p = b.reps + 70 * 3;
        wb_infonce_part *part;
        q[67 * 3 + 1] = wrong[i];
        expect_error(walk_rows(&b, &part, 60, 10), WB_ERR_NUMERIC,
                     "the loss of query 67 of the batch");
        q[67 * 3 + 1] = 0.0f;
        p[139 * 3] = isinf(wrong[i]) ? NAN : wrong[i]; /* the last passage, of nobody here */
        if (isnan(p[139 * 3])) {
            expect_error(walk_rows(&b, &part, 0, 10), WB_ERR_NUMERIC,
                         "the loss of query 0 of the batch");
        }
        clear(&b);
    }
}

static void an_arena_without_room_for_a_part_or_a_tile_is_an_error(void **state) {
    (void)state;
    batch b = draw(4, 1, 3, 0.05, 1.0f);
    const wb_infonce_block all = block_of(&b, 0, 4, (wb_infonce_sides){true, true});
    const size_t part_bytes = wb_infonce_part_bytes(&b.loss, 4, 0);
    wb_arena *small;
    wb_infonce_part *part;
    expect_ok(wb_arena_create(&small, "small", part_bytes - 64));
    expect_error(wb_infonce_begin(&part, &b.loss, &b.all, &all, small), WB_ERR_MEMORY,
                 "the small arena");
    wb_arena_destroy(small);
    expect_ok(wb_arena_create(&small, "small", part_bytes + 64));
    expect_ok(wb_infonce_begin(&part, &b.loss, &b.all, &all, small));
    assert_int_equal(wb_arena_mark(small), part_bytes); /* what was said */
    expect_error(wb_infonce_meet(part, &all, small), WB_ERR_MEMORY, "the small arena");
    expect_error(wb_infonce_answer(part, b.dreps, b.dreps + 12, &all, small), WB_ERR_MEMORY,
                 "the small arena");
    wb_arena_destroy(small);
    clear(&b);
}

/* Windows of any size, shares that do not end with them: the same bits. */
static void windows_give_the_bits_of_the_whole(void **state) {
    (void)state;
    enum { B = 2 * WB_INFONCE_TILE + 150, D = 9, GROUP = 2, FLOATS = B * (1 + GROUP) * D };
    for (int bits = 0; bits < 16; bits++) {
        batch whole = draw(B, GROUP, D, 0.1, 1.0f), cut = draw(B, GROUP, D, 0.1, 1.0f);
        batch *const both[] = {&whole, &cut};
        for (int k = 0; k < 2; k++) {
            batch *b = both[k];
            repeat_texts(b, 3);
            know_more(b);
            b->loss.symmetric = bits & 1;
            b->loss.query_query = b->loss.passage_passage = bits & 2;
            b->loss.all_positives = bits & 4;
            b->loss.filter = (wb_filter)(bits % 3);
            b->window = k == 0 ? 0 : (1 + bits % 2) * WB_INFONCE_TILE;
            if (bits & 8) {
                guide(b, 7);
            }
            walk(b, 3); /* the slots of a batch, whoever owns them */
        }
        assert_memory_equal(whole.dreps, cut.dreps, FLOATS * sizeof(float));
        for (int i = 0; i < B; i++) {
            assert_true(whole.rows[i].loss == cut.rows[i].loss);
            assert_true(whole.rows[i].slope == cut.rows[i].slope);
        }
        expect_plain(&cut, 1e-5, "windows"); /* the exactness contract, DESIGN 3 */
        clear(&whole);
        clear(&cut);
    }
}

static void kept_scores_give_the_bits_of_scores_multiplied_again(void **state) {
    (void)state;
    enum { B = 3 * WB_INFONCE_TILE + 90, D = 24, GROUP = 2, FLOATS = B * (1 + GROUP) * D };
    for (int bits = 0; bits < 8; bits++) {
        batch again = draw(B, GROUP, D, 0.1, 1.0f), kept = draw(B, GROUP, D, 0.1, 1.0f);
        batch *const both[] = {&again, &kept};
        for (int k = 0; k < 2; k++) {
            batch *b = both[k];
            repeat_texts(b, 3);
            know_more(b);
            b->loss.symmetric = b->loss.query_query = bits & 1;
            b->loss.all_positives = bits & 2;
            b->loss.filter = (wb_filter)(bits % 3);
            b->window = bits & 4 ? WB_INFONCE_TILE : 0;
            b->keeps = k == 0 ? 0 : 1 + bits % 3;
            walk(b, 3);
        }
        for (int i = 0; i < B; i++) { /* nothing of the first walk changes */
            assert_true(again.rows[i].loss == kept.rows[i].loss);
        }
        assert_memory_equal(kept.dreps, again.dreps, FLOATS * sizeof(float));
        clear(&again);
        clear(&kept);
    }
}

/* Shapes, terms, masks, shares and windows drawn from the seed. */
static void random_batches_equal_the_plain_loss(void **state) {
    (void)state;
    const int rounds = getenv("WB_TEST_LONG") && getenv("WB_TEST_LONG")[0] == '1' ? 400 : 10;
    for (int i = 0; i < rounds; i++) {
        const int64_t B = 2 + (int64_t)random_below(600, 10, i);
        const int64_t group = 1 + (int64_t)random_below(3, 11, i);
        const uint64_t terms = random_below(256, 12, i), of = random_below(3, 13, i);
        batch b = draw(B, group, 2 + (int64_t)random_below(40, 14, i), 0.1, 1.0f);
        char what[96];
        (void)snprintf(what, sizeof(what), "round %d: %lld queries, group %lld, terms %llx", i,
                       (long long)B, (long long)group, (unsigned long long)terms);
        b.loss.margin = terms & 1 ? 0.15 : 0.0;
        b.loss.symmetric = terms & 2;
        b.loss.query_query = terms & 4;
        b.loss.passage_passage = terms & 8;
        b.loss.all_positives = terms & 16;
        if (terms & 32) {
            repeat_texts(&b, 1 + (int64_t)random_below(5, 15, i));
        }
        if (terms & 64) {
            know_more(&b);
        }
        b.loss.filter = (wb_filter)of;
        b.loss.filter_margin = 0.1;
        if (terms & 128) {
            guide(&b, 1 + (int64_t)random_below(20, 16, i));
        }
        b.window = (int64_t)random_below(4, 17, i) * WB_INFONCE_TILE;
        b.keeps = (int64_t)random_below(4, 19, i);
        walk(&b, 1 + (int64_t)random_below(9, 18, i));
        expect_plain(&b, 1e-5, what); /* the exactness contract, DESIGN 3 */
        clear(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_walks_equal_the_plain_loss),
        cmocka_unit_test(a_share_of_the_batch_gives_the_rows_of_the_whole),
        cmocka_unit_test(scores_beyond_the_range_of_exp_do_not_overflow),
        cmocka_unit_test(a_batch_where_every_score_is_equal_loses_the_logarithm_of_its_size),
        cmocka_unit_test(gradients_equal_central_differences),
        cmocka_unit_test(candidates_as_similar_as_the_positive_are_kept_by_both_walks),
        cmocka_unit_test(every_combination_of_terms_equals_the_plain_loss),
        cmocka_unit_test(a_query_without_candidates_has_no_loss_and_no_gradient),
        cmocka_unit_test(input_that_is_not_finite_is_refused_with_the_number_of_the_query),
        cmocka_unit_test(windows_give_the_bits_of_the_whole),
        cmocka_unit_test(kept_scores_give_the_bits_of_scores_multiplied_again),
        cmocka_unit_test(random_batches_equal_the_plain_loss),
        cmocka_unit_test(an_arena_without_room_for_a_part_or_a_tile_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
