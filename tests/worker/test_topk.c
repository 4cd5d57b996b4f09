/* The k best of every query against sorting all scores. Vectors hold small integers, so scores are
 * exact in any order of summation and many are equal. */
#include "rng.h"
#include "testing.h"
#include "topk.h"

enum { N = 70, M = 1100, D = 5 }; /* past the borders of tiles: 64 queries, 512 rows */

typedef struct corpus {
    float queries[N * D], rows[M * D];
    wb_hit sorted[N][M];
    wb_arena *arena;
} corpus;

static int by_rank(const void *a, const void *b) {
    const wb_hit *x = a, *y = b;
    if (x->score != y->score) {
        return x->score > y->score ? -1 : 1;
    }
    return x->row < y->row ? -1 : 1;
}

static float small_integer(uint32_t what, uint32_t i) {
    const wb_rng_key key = {
        .seed = test_seed(), .example = what, .site = wb_rng_site(WB_RNG_TEST, 0)};
    return (float)wb_rng_below(5, key, i) - 2.0f;
}

static int set_up(void **state) {
    corpus *c = calloc(1, sizeof(*c));
    for (uint32_t i = 0; i < N * D; i++) {
        c->queries[i] = small_integer(0, i);
    }
    for (uint32_t i = 0; i < M * D; i++) {
        c->rows[i] = small_integer(1, i);
    }
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < M; j++) {
            c->sorted[i][j].row = j;
            for (int k = 0; k < D; k++) {
                c->sorted[i][j].score += c->queries[i * D + k] * c->rows[j * D + k];
            }
        }
        qsort(c->sorted[i], M, sizeof(wb_hit), by_rank);
    }
    if (wb_arena_create(&c->arena, "test", (size_t)64 << 20) != WB_OK) {
        return -1;
    }
    *state = c;
    return 0;
}

static int tear_down(void **state) {
    corpus *c = *state;
    wb_arena_destroy(c->arena);
    free(c);
    return 0;
}

/* Folds the corpus in blocks that end at ends[0] < ends[1] < … = M, last block first if `backward`,
 * and compares the lists. */
static void expect_sorted(corpus *c, int64_t k, const int64_t *ends, int blocks, bool backward) {
    wb_hit *hits = malloc((size_t)(N * k) * sizeof(*hits));
    int64_t counts[N] = {0};
    for (int i = 0; i < blocks; i++) {
        const int block = backward ? blocks - 1 - i : i;
        const int64_t first = block == 0 ? 0 : ends[block - 1];
        expect_ok(wb_topk_fold(hits, counts, c->queries, c->rows + first * D, N,
                               ends[block] - first, D, k, first, c->arena));
    }
    assert_int_equal(wb_arena_mark(c->arena), 0);
    for (int i = 0; i < N; i++) {
        assert_int_equal(counts[i], k < M ? k : M);
        wb_topk_sort(hits + i * k, counts[i]);
        for (int64_t j = 0; j < counts[i]; j++) {
            const wb_hit got = hits[i * k + j], wanted = c->sorted[i][j];
            if (got.row != wanted.row || got.score != wanted.score) {
                fail_msg("k = %lld, query %d, place %lld: row %lld (%g), wanted %lld (%g)",
                         (long long)k, i, (long long)j, (long long)got.row, (double)got.score,
                         (long long)wanted.row, (double)wanted.score);
            }
        }
    }
    free(hits);
}

static void the_list_is_the_head_of_all_scores_sorted_with_ties_by_row(void **state) {
    static const int64_t depths[] = {1, 2, 7, 100, 513};
    const int64_t end = M;
    for (size_t i = 0; i < sizeof(depths) / sizeof(depths[0]); i++) {
        expect_sorted(*state, depths[i], &end, 1, false);
    }
}

static void fewer_rows_than_k_are_all_listed(void **state) {
    const int64_t end = M;
    expect_sorted(*state, M, &end, 1, false);
    expect_sorted(*state, M + 20, &end, 1, false);
}

static void no_split_into_blocks_changes_the_list(void **state) {
    static const int64_t ends[] = {1, 2, 511, 513, 600, M};
    expect_sorted(*state, 10, ends, 6, false);
    expect_sorted(*state, 10, ends, 6, true);
    expect_sorted(*state, M + 1, ends, 6, true);
}

static void an_arena_without_room_for_a_tile_is_an_error(void **state) {
    corpus *c = *state;
    wb_arena *small;
    wb_hit hits[N];
    int64_t counts[N] = {0};
    expect_ok(wb_arena_create(&small, "small", 1024));
    expect_error(wb_topk_fold(hits, counts, c->queries, c->rows, N, M, D, 1, 0, small),
                 WB_ERR_MEMORY, "the small arena");
    wb_arena_destroy(small);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_list_is_the_head_of_all_scores_sorted_with_ties_by_row),
        cmocka_unit_test(fewer_rows_than_k_are_all_listed),
        cmocka_unit_test(no_split_into_blocks_changes_the_list),
        cmocka_unit_test(an_arena_without_room_for_a_tile_is_an_error),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
