/* The sum over slots, at 1 to 4 ranks: the bits of a tree that one rank adds up by itself. */
#include "ordered_sum.h"
#include "rng.h"
#include "testing.h"

static wb_comm *comm;
static int rank, world;

enum { SLOTS = 64, VALUES = 1009 };
static float values_of[SLOTS][VALUES];

/* Sums of these are rounded at every addition. */
static void draw_values(void) {
    for (int slot = 0; slot < SLOTS; slot++) {
        const wb_rng_key key = {
            .seed = 3, .example = (uint32_t)slot, .site = wb_rng_site(WB_RNG_TEST, 0)};
        for (int i = 0; i < VALUES; i++) {
            values_of[slot][i] =
                wb_rng_normal(key, (uint32_t)i) * (slot % 3 == 0 ? 1000.0f : 0.001f);
        }
    }
}

/* Value i of a slot's array. */
static float value_of(int64_t slot, int64_t i) {
    return values_of[slot][i % VALUES];
}

/* Element i of the sum over slots [first, first + count), as the tree adds; *found: any has rows.
 */
static float tree(int64_t first, int64_t count, int64_t i, const bool *has_rows, bool *found) {
    if (count == 1) {
        *found = has_rows[first];
        return has_rows[first] ? value_of(first, i) : 0.0f;
    }
    bool left_found, right_found;
    const float left = tree(first, count / 2, i, has_rows, &left_found);
    const float right = tree(first + count / 2, count / 2, i, has_rows, &right_found);
    *found = left_found || right_found;
    return left_found && right_found ? left + right : (left_found ? left : right);
}

/* The last slot is added a part at a time; a rank that does not say so cuts the same buckets. */
static void add_slots(wb_ordered_sum *sum, float *result, int64_t slots, int64_t count,
                      const bool *has_rows, int64_t parts, bool says_so) {
    const int64_t end = wb_slot_share(slots, rank + 1, world);
    int64_t last = -1;
    for (int64_t slot = wb_slot_share(slots, rank, world); slot < end; slot++) {
        last = has_rows[slot] ? slot : last;
    }
    const int64_t early = parts > 1 ? count / 3 : 0; /* of every slot, before anything travels */
    wb_ordered_sum_start(sum, count, early, result, has_rows);
    for (int64_t slot = wb_slot_share(slots, rank, world); slot <= last; slot++) {
        if (has_rows[slot]) {
            float *values = wb_ordered_sum_slot(sum, slot);
            for (int64_t i = 0; i < early; i++) {
                values[i] = value_of(slot, i);
            }
            for (int64_t part = parts, to = count; part-- > 0;) {
                const int64_t from = early + (count - early) * part / parts;
                for (int64_t i = from; i < to; i++) {
                    assert_true(values[i] == 0.0f);
                    values[i] += value_of(slot, i);
                }
                if (slot == last && says_so) {
                    expect_ok(wb_ordered_sum_settle(sum, from));
                }
                to = from;
            }
        }
    }
}

static void check(int64_t slots, int64_t count, uint32_t pattern) {
    bool has_rows[SLOTS], found;
    wb_ordered_sum *sum;
    wb_arena *arena;
    float *result = malloc((size_t)count * sizeof(*result));
    for (int64_t i = 0; i < slots; i++) {
        has_rows[i] = (pattern >> i % 32 & 1) != 0;
    }
    expect_ok(wb_arena_create(&arena, "sums", wb_ordered_sum_bytes(comm, slots, count)));
    expect_ok(wb_ordered_sum_create(&sum, comm, slots, count, arena));
    for (int again = 0; again < 3; again++) {
        const int64_t used = again == 1 ? count / 2 : count;      /* shorter in between */
        add_slots(sum, result, slots, count, has_rows, 1, false); /* as after an error */
        add_slots(sum, result, slots, used, has_rows, 1 + 7 * again, again < 2 || rank != 1);
        expect_ok(wb_ordered_sum_finish(sum));
        for (int64_t i = 0; i < used; i++) {
            const float wanted = tree(0, slots, i, has_rows, &found);
            if (result[i] != wanted) {
                fail_msg("%lld slots, pattern %x: sum[%lld] = %.9g, wanted %.9g", (long long)slots,
                         pattern, (long long)i, (double)result[i], (double)wanted);
            }
        }
    }
    wb_ordered_sum_destroy(sum);
    wb_arena_destroy(arena);
    free(result);
}

static void every_number_of_ranks_gets_the_bits_of_the_tree(void **state) {
    (void)state;
    static const int64_t counts[] = {1, 3, 1000};
    for (int64_t slots = 4; slots <= 64; slots *= 2) {
        for (int i = 0; i < 3; i++) {
            check(slots, counts[i], 0xffffffff);
        }
    }
}

/* More than one bucket, of which the first travel before the last is settled. */
static void long_arrays_travel_in_buckets(void **state) {
    (void)state;
    check(8, (5 << 19) / 2 + 3, 0xffffffff);
    check(4, 3 << 19, 0x5);
}

static void slots_without_rows_take_no_part(void **state) {
    (void)state;
    static const uint32_t patterns[] = {0x1,        0x8,        0x80000000, 0x55555555,
                                        0xaaaaaaaa, 0xf0f0f0f0, 0x01000000, 0xdeadbeef};
    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
        check(32, 7, patterns[i]);
        check(4, 7, patterns[i]);
    }
}

static void the_sum_of_nothing_is_zero(void **state) {
    (void)state;
    check(8, 5, 0);
}

static void one_slot_is_its_own_sum(void **state) {
    (void)state;
    if (world == 1) {
        check(1, 5, 1);
    }
    wb_ordered_sum_destroy(NULL);
}

static void shares_cover_all_slots_for_any_number_of_ranks(void **state) {
    (void)state;
    for (int ranks = 1; ranks <= 64; ranks++) {
        assert_int_equal(wb_slot_share(64, 0, ranks), 0);
        assert_int_equal(wb_slot_share(64, ranks, ranks), 64);
        for (int r = 0; r < ranks; r++) {
            const int64_t n = wb_slot_share(64, r + 1, ranks) - wb_slot_share(64, r, ranks);
            assert_in_range(n, 64 / ranks, 64 / ranks + 1);
        }
    }
}

static void too_little_memory_is_an_error(void **state) {
    (void)state;
    wb_ordered_sum *sum;
    wb_arena *arena;
    expect_ok(wb_arena_create(&arena, "small", 64));
    expect_error(wb_ordered_sum_create(&sum, comm, 8, 1000, arena), WB_ERR_MEMORY,
                 "the small arena");
    wb_arena_destroy(arena);
}

static void the_first_ranks_are_a_communicator_of_their_own(void **state) {
    (void)state;
    for (int ranks = 1; ranks <= world; ranks++) {
        wb_comm *part;
        expect_ok(wb_comm_first(&part, comm, ranks));
        if (rank < ranks) {
            assert_int_equal(wb_comm_rank(part), rank);
            assert_int_equal(wb_comm_world(part), ranks);
            assert_int_equal(wb_agree(part, WB_OK), WB_OK);
        } else {
            assert_null(part);
        }
        wb_comm_destroy(part);
    }
}

int main(int argc, char **argv) {
    expect_ok(wb_comm_create(&comm, &argc, &argv));
    rank = wb_comm_rank(comm);
    world = wb_comm_world(comm);
    draw_values();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_number_of_ranks_gets_the_bits_of_the_tree),
        cmocka_unit_test(long_arrays_travel_in_buckets),
        cmocka_unit_test(slots_without_rows_take_no_part),
        cmocka_unit_test(the_sum_of_nothing_is_zero),
        cmocka_unit_test(one_slot_is_its_own_sum),
        cmocka_unit_test(shares_cover_all_slots_for_any_number_of_ranks),
        cmocka_unit_test(too_little_memory_is_an_error),
        cmocka_unit_test(the_first_ranks_are_a_communicator_of_their_own),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    wb_comm_destroy(comm);
    return failed;
}
