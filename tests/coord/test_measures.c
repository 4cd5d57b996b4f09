/* Measures against trec_eval's, and by hand. Fixtures are made by tests/reference/make_measures.py.
 */
#include "files.h"
#include "measures.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FOLDER WB_TEST_DATA "/measures"

static void must(wb_status status) {
    if (status != WB_OK) {
        fail_msg("%s\n%s", wb_error_message(), wb_error_backtrace());
    }
}

static wb_measures compute(const char *qrels_path, const char *run_path) {
    wb_trec_rows qrels;
    wb_trec_rows run;
    wb_measures measures;
    must(wb_qrels_read(&qrels, qrels_path));
    must(wb_trec_run_read(&run, run_path));
    must(wb_measures_compute(&qrels, &run, &measures));
    wb_trec_rows_clear(&run);
    wb_trec_rows_clear(&qrels);
    return measures;
}

static wb_measures compute_text(const char *qrels, const char *run) {
    must(wb_file_write(WB_TEST_SCRATCH "/measured.qrels", qrels, strlen(qrels)));
    must(wb_file_write(WB_TEST_SCRATCH "/measured.run", run, strlen(run)));
    return compute(WB_TEST_SCRATCH "/measured.qrels", WB_TEST_SCRATCH "/measured.run");
}

static wb_measure measure_called(const char *name) {
    for (int i = 0; i < WB_MEASURE_COUNT; i++) {
        if (strcmp(wb_measure_name((wb_measure)i), name) == 0) {
            return (wb_measure)i;
        }
    }
    fail_msg("no measure is called %s", name);
    return WB_MEASURE_COUNT;
}

/* The same sums in double, in the same order but for trec_eval's order of queries: 1e-12. */
static void all_numbers_are_those_of_trec_eval(void **state) {
    (void)state;
    FILE *answers = fopen(FOLDER "/expected.txt", "r");
    assert_non_null(answers);
    int number, last = -1, lines = 0;
    char name[32], qrels[512], run[512];
    double expected;
    wb_measures measures = {0};
    while (fscanf(answers, "%d %31s %lf", &number, name, &expected) == 3) {
        if (number != last) {
            (void)snprintf(qrels, sizeof(qrels), FOLDER "/qrels-%d.txt", number);
            (void)snprintf(run, sizeof(run), FOLDER "/run-%d.txt", number);
            measures = compute(qrels, run);
            last = number;
        }
        const double found = measures.values[measure_called(name)];
        if (!(fabs(found - expected) <= 1e-12)) {
            fail_msg("case %d, %s: %.17g, expected %.17g", number, name, found, expected);
        }
        lines++;
    }
    (void)fclose(answers);
    assert_int_equal(lines, 5 * WB_MEASURE_COUNT);
}

static void queries_without_results_or_relevant_documents_count_nothing(void **state) {
    (void)state;
    const wb_measures m = compute_text("a 0 d1 1\nb 0 d1 1\nc 0 d1 0\nd 0 d1 -2\n",
                                       "a Q0 d1 1 1.0 t\nc Q0 d1 1 1.0 t\nx Q0 d1 1 1.0 t\n");
    assert_int_equal(m.queries, 4);
    assert_int_equal(m.without_results, 2);
    assert_int_equal(m.without_relevant, 2);
    for (int i = 0; i < WB_MEASURE_COUNT; i++) {
        assert_true(fabs(m.values[i] - 0.25) < 1e-15);
    }
}

static void equal_scores_rank_the_later_id_first(void **state) {
    (void)state;
    const wb_measures m = compute_text("a 0 d10 1\n", "a Q0 d10 1 0.5 t\na Q0 d9 2 0.5 t\n"
                                                      "a Q0 d1 3 0.5 t\n");
    assert_true(m.values[WB_MEASURE_recip_rank] == 0.5);
    assert_true(m.values[WB_MEASURE_success_1] == 0.0);
}

static void a_rank_beyond_ten_counts_for_recip_rank_only(void **state) {
    (void)state;
    char run[1024] = "";
    for (int i = 0; i < 11; i++) {
        (void)sprintf(run + strlen(run), "a Q0 d%d 0 %d t\n", i, 20 - i);
    }
    const wb_measures m = compute_text("a 0 d10 1\n", run);
    assert_true(m.values[WB_MEASURE_mrr_10] == 0.0);
    assert_true(m.values[WB_MEASURE_recip_rank] == 1.0 / 11.0);
    assert_true(m.values[WB_MEASURE_ndcg_cut_10] == 0.0);
    assert_true(m.values[WB_MEASURE_recall_10] == 0.0);
    assert_true(m.values[WB_MEASURE_success_20] == 1.0);
}

static void numbers_print_as_trec_eval_prints_them(void **state) {
    (void)state;
    char *text = NULL;
    size_t bytes = 0;
    const wb_measures m = compute_text("a 0 d1 1\na 0 d2 1\na 0 d3 1\n", "a Q0 d1 1 1.0 t\n");
    FILE *file = open_memstream(&text, &bytes);
    assert_non_null(file);
    wb_measures_print(&m, file);
    (void)fclose(file);
    assert_non_null(strstr(text, "num_q                 \tall\t1\n"));
    assert_non_null(strstr(text, "\nmap                   \tall\t0.3333\n"));
    assert_non_null(strstr(text, "\nrecall_100            \tall\t0.3333\n"));
    assert_non_null(strstr(text, "\nsuccess_1             \tall\t1.0000\n"));
    free(text);
}

/* What is printed is read back as it was printed; where a byte is missing, it is not read. */
static void what_is_printed_is_read(void **state) {
    (void)state;
    char *text = NULL, *again = NULL;
    size_t bytes = 0, again_bytes = 0;
    wb_measures m = compute(FOLDER "/qrels-0.txt", FOLDER "/run-0.txt"), read;
    m.without_results = 3;
    FILE *file = open_memstream(&text, &bytes);
    assert_non_null(file);
    wb_measures_print(&m, file);
    (void)fclose(file);
    assert_true(wb_measures_parse(&read, text));
    file = open_memstream(&again, &again_bytes);
    assert_non_null(file);
    wb_measures_print(&read, file);
    (void)fclose(file);
    assert_string_equal(again, text);
    for (size_t end = 0; end < bytes; end++) {
        const char kept = text[end];
        text[end] = '\0';
        assert_false(wb_measures_parse(&read, text));
        text[end] = kept;
    }
    memcpy(strstr(text, "recall_10 "), "Recall_10 ", 10);
    assert_false(wb_measures_parse(&read, text));
    memcpy(strstr(text, "Recall_10 "), "recall_10 ", 10);
    static const char *const wrong[] = {"nan   ", "-1.000", "1e+300"};
    for (int i = 0; i < 3; i++) {
        assert_true(wb_measures_parse(&read, text));
        char *const value = strstr(text, "mrr_10") + strlen("mrr_10                \tall\t");
        char kept[6];
        memcpy(kept, value, sizeof(kept));
        memcpy(value, wrong[i], sizeof(kept));
        assert_false(wb_measures_parse(&read, text));
        memcpy(value, kept, sizeof(kept));
    }
    free(again);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_numbers_are_those_of_trec_eval),
        cmocka_unit_test(queries_without_results_or_relevant_documents_count_nothing),
        cmocka_unit_test(equal_scores_rank_the_later_id_first),
        cmocka_unit_test(a_rank_beyond_ten_counts_for_recip_rank_only),
        cmocka_unit_test(numbers_print_as_trec_eval_prints_them),
        cmocka_unit_test(what_is_printed_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
