/* Judgements in both layouts. */
#include "files.h"
#include "qrels.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PATH WB_TEST_SCRATCH "/qrels.tsv"

static void read_text(wb_trec_rows *qrels, const char *content) {
    assert_int_equal(wb_file_write(PATH, content, strlen(content)), WB_OK);
    if (wb_qrels_read(qrels, PATH) != WB_OK) {
        fail_msg("%s", wb_error_message());
    }
}

static void refuse(const char *content, size_t bytes, const char *message) {
    wb_trec_rows qrels;
    assert_int_equal(wb_file_write(PATH, content, bytes), WB_OK);
    const wb_status status = wb_qrels_read(&qrels, PATH);
    if (status != WB_ERR_INPUT || !strstr(wb_error_message(), message)) {
        fail_msg("status %d, \"%s\"; expected \"%s\"", (int)status, wb_error_message(), message);
    }
    wb_error_clear();
}

static void check_row(const wb_trec_rows *qrels, int64_t row, const char *query, const char *docid,
                      int64_t score, int64_t line) {
    assert_string_equal(qrels->queries.strings[qrels->rows[row].query], query);
    assert_string_equal(wb_trec_rows_docid(qrels, row), docid);
    assert_int_equal(qrels->rows[row].judgement, score);
    assert_int_equal(qrels->rows[row].line, line);
}

static void both_layouts_are_told_apart(void **state) {
    (void)state;
    wb_trec_rows qrels;
    read_text(&qrels,
              "\xEF\xBB\xBFquery-id\tcorpus-id\tscore\r\nb\td1\t1\r\n\r\na\td1\t0\nb\td2\t-3");
    assert_int_equal(qrels.queries.count, 2);
    assert_int_equal(qrels.count, 3);
    check_row(&qrels, 0, "b", "d1", 1, 2);
    check_row(&qrels, 1, "b", "d2", -3, 5);
    check_row(&qrels, 2, "a", "d1", 0, 4);
    assert_int_equal(qrels.first[0], 0);
    assert_int_equal(qrels.first[1], 2);
    assert_int_equal(qrels.first[2], 3);
    wb_trec_rows_clear(&qrels);
    read_text(&qrels, "b 0 d1 1\n  b\tQ0   d2\t2 \n");
    assert_int_equal(qrels.queries.count, 1);
    check_row(&qrels, 0, "b", "d1", 1, 1);
    check_row(&qrels, 1, "b", "d2", 2, 2);
    wb_trec_rows_clear(&qrels);
}

static void wrong_files_are_refused_with_their_line(void **state) {
    (void)state;
    static const struct {
        const char *content, *message;
    } cases[] = {
        {"", "no rows are there"},
        {"query-id\tcorpus-id\tscore\n", "no rows are there"},
        {"q\td\t1\n", "qrels.tsv:1: neither the header"},
        {"query-id\tcorpus-id\tscore\nq\td\n", "qrels.tsv:2: too few columns; there must be 3"},
        {"query-id\tcorpus-id\tscore\nq 0 d 1\n", "qrels.tsv:2: too many columns"},
        {"q 0 d 1\nquery-id\tcorpus-id\tscore\n", "qrels.tsv:2: too few columns"},
        {"q 0 d 1\n\nq 0 d2 1 x\n", "qrels.tsv:3: too many columns; there must be 4"},
        {"q 0 d 1.5\n", "qrels.tsv:1: the score \"1.5\" must be an integer"},
        {"q 0 d x\n", "must be an integer"},
        {"q 0 d 99999999999999999999\n", "must be an integer"},
        {"q 0 d 1\nr 0 d 1\nq 0 d 0\nr 0 d 1\n",
         "qrels.tsv:3: query \"q\" already has document \"d\" on line 1"},
        {"q 0 \xFF 1\n", "qrels.tsv:1:5: invalid UTF-8"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        refuse(cases[i].content, strlen(cases[i].content), cases[i].message);
    }
    refuse("q 0 d\0 1\n", 9, "qrels.tsv:1:6: a NUL byte");
    wb_trec_rows qrels;
    assert_int_equal(wb_qrels_read(&qrels, WB_TEST_SCRATCH "/nowhere.tsv"), WB_ERR_INPUT);
    wb_error_clear();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_layouts_are_told_apart),
        cmocka_unit_test(wrong_files_are_refused_with_their_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
