/* Numbers filed under hashes: all are found, and no choice of hashes makes searches long. */
#include "io_checks.h"

#include "id_index.h"
#include "rng.h"

enum { NUMBERS = 200000 };

static bool is_filed(const wb_id_index *index, uint64_t hash, int64_t number) {
    uint64_t step = 0;
    int64_t found;
    do {
        found = wb_id_index_next(index, hash, &step);
    } while (found >= 0 && found != number);
    return found == number;
}

static void all_numbers_are_found(void **state) {
    (void)state;
    const wb_rng_key key = {.seed = 3};
    wb_id_index index = {0};
    assert_false(is_filed(&index, 5, 0));
    for (uint32_t i = 0; i < NUMBERS; i++) {
        assert_ok(wb_id_index_reserve(&index, (int64_t)i + 1));
        wb_id_index_put(&index, wb_rng_below(NUMBERS / 4, key, i), i);
    }
    for (uint32_t i = 0; i < NUMBERS; i++) {
        assert_true(is_filed(&index, wb_rng_below(NUMBERS / 4, key, i), i));
    }
    assert_false(is_filed(&index, NUMBERS, 0));
    wb_id_index_clear(&index);
    assert_refused(wb_id_index_reserve(&index, ((int64_t)1 << 31) + 1), WB_ERR_INPUT, "at most");
}

/* Hashes that differ in few bits, whichever they are: 200,000 searches take thousands of times
 * longer where they crowd together. */
static void hashes_that_are_alike_do_not_crowd(void **state) {
    (void)state;
    for (int shift = 0; shift <= 46; shift += 23) {
        wb_id_index index = {0};
        uint64_t steps = 0;
        assert_ok(wb_id_index_reserve(&index, NUMBERS));
        for (uint64_t i = 0; i < NUMBERS; i++) {
            uint64_t step = 0;
            while (wb_id_index_next(&index, i << shift, &step) >= 0) {
            }
            steps += step;
            wb_id_index_put(&index, i << shift, (int64_t)i);
        }
        assert_true(steps < (uint64_t)20 * NUMBERS);
        wb_id_index_clear(&index);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_numbers_are_found),
        cmocka_unit_test(hashes_that_are_alike_do_not_crowd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
