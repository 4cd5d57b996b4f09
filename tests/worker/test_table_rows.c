/* Rows of the word table that a batch touches: numbered, held compactly, expanded. */
#include "rng.h"
#include "table_rows.h"
#include "testing.h"

enum { V = 37, H = 3, REST = 11, TOTAL = V * H + REST };

static uint64_t random_below(uint64_t bound, uint32_t i) {
    const wb_rng_key key = {.seed = test_seed(), .example = i, .site = wb_rng_site(WB_RNG_TEST, 0)};
    return wb_rng_below(bound, key, 0);
}

static void marks_are_of_the_sequences_alone(void **state) {
    (void)state;
    const int32_t ids[] = {9, 1, 2, 1, 36, 9};
    const int64_t offsets[] = {1, 4, 5}; /* a slice of a longer run */
    uint8_t marks[V] = {[7] = 1};
    wb_table_rows_mark(marks, &(wb_packed){.ids = ids, .offsets = offsets, .n = 2}, WB_ROW_EARLY);
    for (int i = 0; i < V; i++) {
        assert_int_equal(marks[i], i == 1 || i == 2 || i == 36 || i == 7);
    }
    const int64_t first[] = {0, 2}; /* 9 and 1 are late, and stay so */
    wb_table_rows_mark(marks, &(wb_packed){.ids = ids, .offsets = first, .n = 1}, WB_ROW_LATE);
    wb_table_rows_mark(marks, &(wb_packed){.ids = ids, .offsets = offsets, .n = 2}, WB_ROW_EARLY);
    for (int i = 0; i < V; i++) {
        assert_int_equal(marks[i], i == 1 || i == 9 ? 2 : i == 2 || i == 36 || i == 7);
    }
}

static void expanding_puts_every_row_in_its_place(void **state) {
    (void)state;
    for (uint32_t round = 0; round < 50; round++) {
        uint8_t marks[V];
        int32_t place[V];
        float wanted[TOTAL], values[TOTAL], expanded[TOTAL];
        int64_t counts[3] = {0};
        wb_table_rows rows;
        for (uint32_t i = 0; i < V; i++) { /* none, all and everything between */
            marks[i] = (uint8_t)(random_below(49, 100 * round + i) < round
                                     ? 1 + random_below(2, 100 * round + i + 50)
                                     : 0);
            counts[marks[i]]++;
        }
        wb_table_rows_number(&rows, place, marks, V, H);
        assert_int_equal(rows.early, counts[WB_ROW_EARLY]);
        assert_int_equal(rows.count, counts[WB_ROW_EARLY] + counts[WB_ROW_LATE]);
        assert_int_equal(wb_table_rows_elements(&rows, TOTAL), rows.count * H + REST);
        memset(wanted, 0, sizeof(wanted));
        for (int i = 0; i < V; i++) {
            assert_true(marks[i] ? place[i] >= 0 && place[i] < rows.count : place[i] == -1);
            assert_int_equal(marks[i] && place[i] < rows.early, marks[i] == WB_ROW_EARLY);
            for (int k = 0; k < H && marks[i]; k++) {
                values[place[i] * H + k] = wanted[i * H + k] = (float)(1 + i * H + k);
            }
        }
        for (int k = 0; k < REST; k++) {
            values[rows.count * H + k] = wanted[V * H + k] = (float)-k;
        }
        wb_table_rows_expand(expanded, values, &rows, TOTAL);
        assert_memory_equal(expanded, wanted, sizeof(wanted));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(marks_are_of_the_sequences_alone),
        cmocka_unit_test(expanding_puts_every_row_in_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
