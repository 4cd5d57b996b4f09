/* Run files: written whole or not at all, read back to the last bit. */
#include "files.h"
#include "rng.h"
#include "trec_run.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PATH WB_TEST_SCRATCH "/run.trec"

static void must(wb_status status) {
    if (status != WB_OK) {
        fail_msg("%s\n%s", wb_error_message(), wb_error_backtrace());
    }
}

static void refuse(const char *content, const char *message) {
    wb_trec_rows run;
    must(wb_file_write(PATH, content, strlen(content)));
    const wb_status status = wb_trec_run_read(&run, PATH);
    if (status != WB_ERR_INPUT || !strstr(wb_error_message(), message)) {
        fail_msg("status %d, \"%s\"; expected \"%s\"", (int)status, wb_error_message(), message);
    }
    wb_error_clear();
}

static void scores_read_back_as_the_same_float(void **state) {
    (void)state;
    enum { ROWS = 3000 };
    wb_trec_run_writer *writer;
    wb_trec_rows run;
    static float scores[ROWS];
    must(wb_trec_run_create(&writer, PATH, "test"));
    for (int i = 0; i < ROWS; i++) {
        char query[16], docid[16];
        const wb_rng_key key = {.seed = 1, .site = wb_rng_site(WB_RNG_TEST, 0)};
        uint32_t words[4];
        wb_rng_block(words, key, (uint32_t)i);
        memcpy(&scores[i], words, sizeof(float));
        scores[i] = isfinite(scores[i]) ? scores[i] : 0.1f;
        (void)snprintf(query, sizeof(query), "q%d", i / 100);
        (void)snprintf(docid, sizeof(docid), "d%d", i % 100);
        must(wb_trec_run_add(writer, query, docid, i % 100 + 1, scores[i]));
    }
    must(wb_trec_run_commit(writer));
    must(wb_trec_run_read(&run, PATH));
    assert_int_equal(run.count, ROWS);
    assert_int_equal(run.queries.count, ROWS / 100);
    for (int i = 0; i < ROWS; i++) {
        if (memcmp(&run.rows[i].score, &scores[i], sizeof(float)) != 0) {
            fail_msg("row %d: %a, written %a", i, (double)run.rows[i].score, (double)scores[i]);
        }
    }
    wb_trec_rows_clear(&run);
}

static void rows_are_grouped_by_query_and_ranks_are_not_looked_at(void **state) {
    (void)state;
    static const char content[] =
        "b Q0 d1 9 0.5 tag\r\na\tQ0\td1\tx\t-1e-3\ttag\n\n  b Q0 d0 1 7 t\n";
    wb_trec_rows run;
    must(wb_file_write(PATH, content, strlen(content)));
    must(wb_trec_run_read(&run, PATH));
    assert_int_equal(run.queries.count, 2);
    assert_string_equal(run.queries.strings[0], "b");
    assert_int_equal(run.first[1], 2);
    assert_int_equal(run.first[2], 3);
    assert_string_equal(wb_trec_rows_docid(&run, 1), "d0");
    assert_true(run.rows[0].score == 0.5f && run.rows[1].score == 7.0f &&
                run.rows[2].score == -1e-3f);
    wb_trec_rows_clear(&run);
}

static void wrong_lines_are_refused_with_their_place(void **state) {
    (void)state;
    refuse("", "no rows are there");
    refuse("q Q0 d 1 1\n", "run.trec:1: too few columns");
    refuse("q Q0 d 1 1 t t\n", "run.trec:1: too many columns");
    refuse("q Q0 d 1 1 t\nq Q0 e 1 nan t\n", "run.trec:2: the score \"nan\"");
    refuse("q Q0 d 1 inf t\n", "the score \"inf\"");
    refuse("q Q0 d 1 1e39 t\n", "the score \"1e39\"");
    refuse("q Q0 d 1 1x t\n", "the score \"1x\"");
    refuse("q Q0 d 1 1 t\nr Q0 d 1 1 t\nq Q0 d 2 0 t\n",
           "run.trec:3: query \"q\" already has document \"d\" on line 1");
    refuse("q Q0 \xC0 1 1 t\n", "run.trec:1:6: invalid UTF-8");
}

static void what_is_not_committed_leaves_the_old_file(void **state) {
    (void)state;
    wb_trec_run_writer *writer;
    char *content;
    size_t bytes;
    must(wb_file_write(PATH, "old", 3));
    must(wb_trec_run_create(&writer, PATH, "tag"));
    must(wb_trec_run_add(writer, "q", "d", 1, 1.0f));
    wb_trec_run_discard(writer);
    must(wb_file_read(PATH, 100, &content, &bytes));
    assert_string_equal(content, "old");
    free(content);
    assert_false(wb_path_is_file(PATH ".tmp"));
    must(wb_trec_run_create(&writer, PATH, "tag"));
    must(wb_trec_run_add(writer, "q", "d", 1, 1.0f));
    must(wb_trec_run_commit(writer));
    must(wb_file_read(PATH, 100, &content, &bytes));
    assert_string_equal(content, "q Q0 d 1 1 tag\n");
    free(content);
    assert_false(wb_path_is_file(PATH ".tmp"));
    wb_trec_run_discard(NULL);
}

static void what_would_break_the_columns_is_refused(void **state) {
    (void)state;
    wb_trec_run_writer *writer;
    static const char *const tags[] = {"", "a b", "a\tb"};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(wb_trec_run_create(&writer, PATH, tags[i]), WB_ERR_USAGE);
        assert_null(writer);
        wb_error_clear();
    }
    assert_int_equal(wb_trec_run_create(&writer, WB_TEST_SCRATCH "/no/run", "t"), WB_ERR_DISK);
    wb_error_clear();
    must(wb_trec_run_create(&writer, PATH, "tag"));
    assert_int_equal(wb_trec_run_add(writer, "q 1", "d", 1, 1.0f), WB_ERR_INPUT);
    wb_error_clear();
    assert_int_equal(wb_trec_run_add(writer, "q", "", 1, 1.0f), WB_ERR_INPUT);
    wb_error_clear();
    assert_int_equal(wb_trec_run_add(writer, "q", "d", 1, NAN), WB_ERR_NUMERIC);
    wb_error_clear();
    wb_trec_run_discard(writer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_read_back_as_the_same_float),
        cmocka_unit_test(rows_are_grouped_by_query_and_ranks_are_not_looked_at),
        cmocka_unit_test(wrong_lines_are_refused_with_their_place),
        cmocka_unit_test(what_is_not_committed_leaves_the_old_file),
        cmocka_unit_test(what_would_break_the_columns_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
