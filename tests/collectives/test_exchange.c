/* What ranks exchange and how they agree, at 1 to 4 ranks: every rank knows what it must get. */
#include "exchange.h"
#include "testing.h"

static wb_comm *comm;
static int rank, world;

/* ---- Exchange
 * ----------------------------------------------------------------------------------------- */

/* Row `row` of all ranks holds row * 10, row * 10 + 1, … */
static void gather_and_check(const int64_t *firsts, int64_t width) {
    const int64_t total = firsts[world], n = firsts[rank + 1] - firsts[rank];
    float *mine = malloc((size_t)(n * width + 1) * sizeof(*mine));
    float *all = malloc((size_t)(total * width + 1) * sizeof(*all));
    for (int64_t i = 0; i < n * width; i++) {
        mine[i] = (float)((firsts[rank] + i / width) * 10 + i % width);
    }
    all[total * width] = -7.0f;
    expect_ok(wb_gather_rows(comm, all, mine, firsts, (size_t)width * sizeof(float)));
    for (int64_t i = 0; i < total * width; i++) {
        assert_true(all[i] == (float)(i / width * 10 + i % width));
    }
    assert_true(all[total * width] == -7.0f);
    free(mine);
    free(all);
}

static void gathered_rows_stand_in_order_of_rank(void **state) {
    (void)state;
    int64_t even[] = {0, 3, 6, 9, 12}, uneven[] = {0, 5, 6, 10, 17};
    gather_and_check(even, 4);
    gather_and_check(uneven, 1);
    gather_and_check(uneven, 7);
}

static void ranks_without_rows_take_part_in_a_gather(void **state) {
    (void)state;
    int64_t first_only[] = {0, 2, 2, 2, 2}, last_only[] = {0, 0, 0, 0, 0}, none[5] = {0};
    last_only[world] = 3;
    gather_and_check(first_only, 3);
    gather_and_check(last_only, 3);
    gather_and_check(none, 3);
}

/* Every window of every length, with the same rows as a gather. */
static void a_window_holds_the_rows_of_whoever_owns_them(void **state) {
    (void)state;
    enum { WIDTH = 3, MOST = 17 };
    const int64_t firsts[] = {0, 5, 6, 6, 17};
    const int64_t total = firsts[world];
    for (int64_t begin = 0; begin < total; begin++) {
        for (int64_t end = begin; end <= total; end++) {
            float window[MOST * WIDTH + 1];
            for (int64_t i = 0; i < (end - begin) * WIDTH; i++) {
                const int64_t row = begin + i / WIDTH;
                const bool mine = row >= firsts[rank] && row < firsts[rank + 1];
                window[i] = mine ? (float)(row * 10 + i % WIDTH) : -1.0f;
            }
            window[(end - begin) * WIDTH] = -7.0f;
            expect_ok(wb_gather_window(comm, window, firsts, begin, end, WIDTH * sizeof(*window)));
            for (int64_t i = 0; i < (end - begin) * WIDTH; i++) {
                assert_true(window[i] == (float)((begin + i / WIDTH) * 10 + i % WIDTH));
            }
            assert_true(window[(end - begin) * WIDTH] == -7.0f);
        }
    }
}

static void reduced_floats_are_the_sum_on_every_rank(void **state) {
    (void)state;
    enum { COUNT = 70001 };
    float *values = malloc(COUNT * sizeof(*values));
    double check[2] = {0.0, 0.0};
    for (int i = 0; i < COUNT; i++) {
        values[i] = (float)((rank + 1) * (i % 100)) + 0.1f * (float)rank;
    }
    expect_ok(wb_reduce_floats(comm, values, COUNT));
    const double ranks = (double)(world * (world + 1) / 2);
    for (int i = 0; i < COUNT; i++) {
        const double wanted = ranks * (double)(i % 100) + 0.1 * (double)(world * (world - 1) / 2);
        assert_true(fabs((double)values[i] - wanted) <= 1e-6 * (wanted + 1.0));
        check[0] += (double)values[i];
        check[1] += (double)values[i] * (double)i;
    }
    double least[2], mean[2], most[2];
    expect_ok(wb_reduce_spread(comm, least, mean, most, check, 2));
    assert_memory_equal(least, most, sizeof(least)); /* the same bits everywhere */
    expect_ok(wb_reduce_floats(comm, values, 0));
    free(values);
}

static void a_spread_is_least_mean_and_most_over_ranks(void **state) {
    (void)state;
    const double values[] = {(double)rank, -2.5 * (double)rank, 4.0};
    double least[3], mean[3], most[3];
    expect_ok(wb_reduce_spread(comm, least, mean, most, values, 3));
    const double last = (double)(world - 1);
    assert_true(least[0] == 0.0 && mean[0] == last / 2.0 && most[0] == last);
    assert_true(least[1] == -2.5 * last && mean[1] == -1.25 * last && most[1] == 0.0);
    assert_true(least[2] == 4.0 && mean[2] == 4.0 && most[2] == 4.0);
}

static void sums_keep_whole_numbers_exact(void **state) {
    (void)state;
    double values[] = {1.0, (double)((int64_t)1 << 50) + (double)rank};
    expect_ok(wb_reduce_sums(comm, values, 2));
    assert_true(values[0] == (double)world);
    assert_true(values[1] == (double)(((int64_t)1 << 50) * world + world * (world - 1) / 2));
}

static void marks_of_any_rank_stand_on_all(void **state) {
    (void)state;
    uint8_t marks[9] = {0};
    marks[0] = 1;
    marks[4 + rank] = 1;
    expect_ok(wb_reduce_marks(comm, marks, 9));
    for (int i = 0; i < 9; i++) {
        assert_int_equal(marks[i], i == 0 || (i >= 4 && i < 4 + world));
    }
    expect_ok(wb_reduce_marks(comm, NULL, 0));
}

static void a_broadcast_brings_the_bytes_of_rank_0(void **state) {
    (void)state;
    char text[100];
    memset(text, 'a' + rank, sizeof(text));
    expect_ok(wb_broadcast(comm, text, 99));
    for (int i = 0; i < 99; i++) {
        assert_int_equal(text[i], 'a');
    }
    assert_int_equal(text[99], 'a' + rank);
    expect_ok(wb_broadcast(comm, NULL, 0));
}

/* Rank r brings r * `each` bytes of value r + 1 (rank 0 too where `each` is 0: nothing). */
static void collect_and_check(int64_t each) {
    const int64_t bytes = rank * each;
    unsigned char *mine = bytes > 0 ? malloc((size_t)bytes) : NULL;
    int64_t sizes[8] = {-1, -1, -1, -1, -1, -1, -1, -1};
    void *all = &sizes;
    if (mine) {
        memset(mine, rank + 1, (size_t)bytes);
    }
    expect_ok(wb_collect(comm, &all, sizes, mine, bytes));
    if (rank > 0) {
        assert_null(all);
    } else {
        const unsigned char *at = all;
        for (int r = 0; r < world; r++) {
            assert_int_equal(sizes[r], r * each);
            for (int64_t i = 0; i < sizes[r]; i++) {
                assert_int_equal(*at++, r + 1);
            }
        }
    }
    free(all);
    free(mine);
}

static void rank_0_collects_the_bytes_of_all_ranks_in_order(void **state) {
    (void)state;
    collect_and_check(3);
    collect_and_check(100000); /* beyond what MPI sends without a handshake */
}

static void nothing_to_collect_is_no_error(void **state) {
    (void)state;
    collect_and_check(0);
}

/* ---- Agreement
 * ---------------------------------------------------------------------------------------- */

static void ranks_that_are_all_well_agree(void **state) {
    (void)state;
    wb_error_clear();
    assert_int_equal(wb_agree(comm, WB_OK), WB_OK);
    assert_string_equal(wb_error_message(), "");
}

static void every_rank_gets_the_status_and_message_of_the_one_that_failed(void **state) {
    (void)state;
    for (int bad = 0; bad < world; bad++) {
        char wanted[64];
        wb_error_clear();
        const wb_status mine =
            rank == bad ? WB_ERROR(WB_ERR_INPUT, "file %d is broken", bad) : WB_OK;
        assert_int_equal(wb_agree(comm, mine), WB_ERR_INPUT);
        /* where a rank stands alone there is no other to tell it from */
        (void)snprintf(wanted, sizeof(wanted),
                       world == 1 ? "file %d is broken" : "rank %d: file %d is broken", bad, bad);
        assert_string_equal(wb_error_message(), wanted);
    }
}

static void the_lowest_of_several_failed_ranks_speaks(void **state) {
    (void)state;
    if (world < 3) {
        return;
    }
    wb_error_clear();
    const wb_status mine =
        rank == 0 ? WB_OK : WB_ERROR(rank == 1 ? WB_ERR_DISK : WB_ERR_MEMORY, "of %d", rank);
    assert_int_equal(wb_agree(comm, mine), WB_ERR_DISK);
    assert_string_equal(wb_error_message(), "rank 1: of 1");
}

static void a_failure_of_all_ranks_is_nobodys(void **state) {
    (void)state;
    wb_error_clear();
    assert_int_equal(wb_agree(comm, WB_ERROR(WB_ERR_CONFIG, "no such folder")), WB_ERR_CONFIG);
    assert_string_equal(wb_error_message(), "no such folder");
}

static void an_agreement_carries_the_most_of_what_ranks_bring(void **state) {
    (void)state;
    for (int bad = -1; bad < world; bad++) {
        wb_error_clear();
        int most = 3 * rank - 5;
        const wb_status mine = rank == bad ? WB_ERROR(WB_ERR_INPUT, "broken") : WB_OK;
        assert_int_equal(wb_agree_most(comm, mine, &most), bad < 0 ? WB_OK : WB_ERR_INPUT);
        assert_int_equal(most, 3 * (world - 1) - 5);
    }
}

static wb_status fail_on_last(bool *went_on) {
    wb_status status = WB_OK;
    WB_TRY_ALL(comm, rank == world - 1 ? WB_ERROR(WB_ERR_DISK, "full") : WB_OK);
    *went_on = true;
done:
    return status;
}

static void no_rank_goes_on_alone(void **state) {
    (void)state;
    bool went_on = false;
    expect_error(fail_on_last(&went_on), WB_ERR_DISK, "full");
    assert_false(went_on);
}

static void a_long_message_is_cut_and_ends(void **state) {
    (void)state;
    char text[5000];
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    wb_error_clear();
    assert_int_equal(wb_agree(comm, rank == 0 ? WB_ERROR(WB_ERR_INPUT, "%s", text) : WB_OK),
                     WB_ERR_INPUT);
    assert_true(strlen(wb_error_message()) > 500 && strlen(wb_error_message()) < 2100);
}

static void the_communicator_knows_itself(void **state) {
    (void)state;
    assert_true(rank >= 0 && rank < world);
    assert_int_equal(wb_comm_local_world(comm), world); /* tests run on one machine */
    assert_true(strlen(wb_comm_library()) > 3);
    wb_comm_destroy(NULL);
}

/* ---- Work that all leave together
 * -------------------------------------------------------------------------------- */

/* What a rank brings: nothing until it has been asked so often, then a value. */
typedef struct reason {
    int64_t asked, from;
    int value;
} reason;

static int bring(void *context) {
    reason *r = context;
    return r->asked++ >= r->from ? r->value : 0;
}

/* `parts` parts of work, or fewer where the ranks leave; returns how many. */
static int64_t work(int64_t parts, reason *r, int *most) {
    int64_t done = 0;
    *most = 0;
    while (done < parts && *most == 0) {
        done++;
        expect_ok(wb_look(comm, bring(r), most));
    }
    expect_ok(wb_leave(comm, bring, r, most));
    return done;
}

static void who_has_no_reason_does_all_its_work(void **state) {
    (void)state;
    for (int time = 0; time < 20; time++) {
        int most = -1;
        reason none = {.value = 0};
        const int64_t parts = (rank * 37 + time * 11) % 50;
        assert_int_equal(work(parts, &none, &most), parts);
        assert_int_equal(most, 0);
    }
}

/* Whether it still works or waits for the others; those that work for ever leave, too. */
static void one_rank_takes_all_ranks_along(void **state) {
    (void)state;
    for (int who = 0; who < world; who++) {
        for (int64_t parts = 0; parts < 100; parts += 33) {
            int most = -1;
            reason mine = {.from = 40, .value = rank == who ? 7 : 0};
            const bool is_short = rank == who && world > 1;
            const int64_t done = work(is_short ? parts : INT64_MAX, &mine, &most);
            assert_int_equal(most, 7);
            assert_true(done < INT64_MAX);
        }
    }
}

static void the_largest_reason_of_a_round_is_heard(void **state) {
    (void)state;
    int most = -1;
    reason mine = {.value = rank + 1};
    (void)work(INT64_MAX, &mine, &most);
    assert_int_equal(most, world);
    expect_ok(wb_agree(comm, WB_OK));
}

int main(int argc, char **argv) {
    expect_ok(wb_comm_create(&comm, &argc, &argv));
    rank = wb_comm_rank(comm);
    world = wb_comm_world(comm);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gathered_rows_stand_in_order_of_rank),
        cmocka_unit_test(ranks_without_rows_take_part_in_a_gather),
        cmocka_unit_test(a_window_holds_the_rows_of_whoever_owns_them),
        cmocka_unit_test(reduced_floats_are_the_sum_on_every_rank),
        cmocka_unit_test(a_spread_is_least_mean_and_most_over_ranks),
        cmocka_unit_test(sums_keep_whole_numbers_exact),
        cmocka_unit_test(marks_of_any_rank_stand_on_all),
        cmocka_unit_test(a_broadcast_brings_the_bytes_of_rank_0),
        cmocka_unit_test(rank_0_collects_the_bytes_of_all_ranks_in_order),
        cmocka_unit_test(nothing_to_collect_is_no_error),
        cmocka_unit_test(ranks_that_are_all_well_agree),
        cmocka_unit_test(every_rank_gets_the_status_and_message_of_the_one_that_failed),
        cmocka_unit_test(the_lowest_of_several_failed_ranks_speaks),
        cmocka_unit_test(a_failure_of_all_ranks_is_nobodys),
        cmocka_unit_test(an_agreement_carries_the_most_of_what_ranks_bring),
        cmocka_unit_test(no_rank_goes_on_alone),
        cmocka_unit_test(who_has_no_reason_does_all_its_work),
        cmocka_unit_test(one_rank_takes_all_ranks_along),
        cmocka_unit_test(the_largest_reason_of_a_round_is_heard),
        cmocka_unit_test(a_long_message_is_cut_and_ends),
        cmocka_unit_test(the_communicator_knows_itself),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    wb_comm_destroy(comm);
    return failed;
}
