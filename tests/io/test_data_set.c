/* Training rows from BEIR folders and Tevatron files. */
#include "data_set.h"
#include "files.h"
#include "hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FOLDER WB_TEST_SCRATCH "/data_set"
#define LINES  FOLDER "/train.jsonl"

enum { MOST = 8 };

typedef struct row {
    wb_text texts[2 + MOST];
    uint64_t keys[2 + MOST];
} row;

static void must(wb_status status) {
    if (status != WB_OK) {
        fail_msg("%s\n%s", wb_error_message(), wb_error_backtrace());
    }
}

static void write_text(const char *path, const char *content) {
    must(wb_file_write(path, content, strlen(content)));
}

static void clear(row *r) {
    for (int i = 0; i < 2 + MOST; i++) {
        wb_text_clear(&r->texts[i]);
    }
}

static void refuse(const char *path, const char *split, const char *message) {
    wb_data_set *set = (wb_data_set *)1;
    const wb_status status = wb_data_set_open(&set, path, split);
    if (status != WB_ERR_INPUT || !strstr(wb_error_message(), message)) {
        fail_msg("status %d, \"%s\"; expected \"%s\"", (int)status, wb_error_message(), message);
    }
    assert_null(set);
    wb_error_clear();
}

static int set_up(void **state) {
    (void)state;
    must(wb_folder_remove(FOLDER));
    must(wb_folder_make(FOLDER "/qrels"));
    write_text(FOLDER "/corpus.jsonl", "{\"_id\": \"d1\", \"title\": \"T\", \"text\": \"one\"}\n"
                                       "{\"_id\": \"d2\", \"text\": \"two\"}\n"
                                       "{\"_id\": 3, \"title\": \"\", \"text\": \"three\"}\n");
    write_text(FOLDER "/queries.jsonl", "{\"_id\": \"q1\", \"text\": \"first\"}\n"
                                        "{\"_id\": \"q2\", \"text\": \"second\"}\n");
    return 0;
}

static void a_beir_folder_has_a_row_for_each_relevant_judgement(void **state) {
    (void)state;
    wb_data_set *set;
    row r = {0};
    write_text(FOLDER "/qrels/train.tsv", "query-id\tcorpus-id\tscore\nq2\td1\t1\nq2\t3\t0\n"
                                          "q2\td2\t2\nq1\td2\t-1\nq1\t3\t1\n");
    must(wb_data_set_open(&set, FOLDER, "train"));
    assert_int_equal(wb_data_set_rows(set), 3);
    assert_int_equal(wb_data_set_dropped(set), 2);
    assert_int_equal(wb_data_set_negatives(set), 0);
    assert_int_equal(wb_data_set_most_negatives(set), 0);
    assert_int_equal(wb_data_set_rows_below(set, 1), 3);
    must(wb_data_set_read(set, 0, 5, 0, r.texts, r.keys));
    assert_string_equal(r.texts[0].id, "q2");
    assert_string_equal(r.texts[0].text, "second");
    assert_string_equal(r.texts[1].text, "T one");
    assert_true(r.keys[0] == wb_hash("second", 6));
    assert_true(r.keys[1] == wb_hash("T one", 5));
    must(wb_data_set_read(set, 2, 0, 0, r.texts, r.keys));
    assert_string_equal(r.texts[0].text, "first");
    assert_string_equal(r.texts[1].id, "3");
    assert_int_equal(wb_data_set_read(set, 0, 0, 1, r.texts, r.keys), WB_ERR_CONFIG);
    wb_error_clear();
    clear(&r);
    wb_data_set_close(set);
}

static void a_beir_query_knows_the_passages_of_all_its_rows(void **state) {
    (void)state;
    wb_data_set *set;
    uint64_t keys[2];
    int64_t count;
    write_text(FOLDER "/qrels/known.tsv", "query-id\tcorpus-id\tscore\nq2\td1\t1\nq1\t3\t1\n"
                                          "q2\td2\t2\nq1\td2\t-1\n");
    must(wb_data_set_open(&set, FOLDER, "known"));
    assert_int_equal(wb_data_set_most_positives(set), 2);
    for (int again = 0; again < 2; again++) {
        for (int64_t i = 0; i < 2; i++) {
            must(wb_data_set_positive_keys(set, i, keys, &count));
            assert_int_equal(count, 2);
            assert_true(keys[0] == wb_hash("T one", 5));
            assert_true(keys[1] == wb_hash("two", 3));
        }
        must(wb_data_set_positive_keys(set, 2, keys, &count));
        assert_int_equal(count, 1);
        assert_true(keys[0] == wb_hash("three", 5));
    }
    wb_data_set_close(set);
}

static void judgements_of_unknown_ids_are_refused_with_their_line(void **state) {
    (void)state;
    static const char head[] = "query-id\tcorpus-id\tscore\n";
    write_text(FOLDER "/qrels/a.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td9\t1\n");
    refuse(FOLDER, "a", "a.tsv:3: the document \"d9\" is not in ");
    write_text(FOLDER "/qrels/b.tsv", "query-id\tcorpus-id\tscore\r\nq9\td1\t1\r\n");
    refuse(FOLDER, "b", "b.tsv:2: the query \"q9\" is not in ");
    write_text(FOLDER "/qrels/c.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t0\n");
    refuse(FOLDER, "c", "no row has a positive passage (1 have none)");
    write_text(FOLDER "/qrels/d.tsv", head);
    refuse(FOLDER, "d", "no rows are there");
    refuse(FOLDER, "nowhere", "nowhere.tsv: cannot open");
    wb_data_set *set;
    assert_int_equal(wb_data_set_open(&set, FOLDER, NULL), WB_ERR_USAGE);
    wb_error_clear();
}

static const char legacy[] =
    "{\"query_id\": \"1\", \"query\": \"who\", \"positive_passages\": ["
    "{\"docid\": \"p0\", \"title\": \"t\", \"text\": \"P0\"}, {\"docid\": \"p1\", \"text\": "
    "\"P1\"}],"
    "\"negative_passages\": [{\"docid\": \"n0\", \"text\": \"N0\"}, {\"docid\": \"n1\", \"text\": "
    "\"N1\"}, {\"docid\": \"n2\", \"text\": \"N2\"}, {\"docid\": \"n3\", \"text\": \"N3\"},"
    "{\"docid\": \"n4\", \"text\": \"N4\"}]}\n\n"
    "{\"query_id\": 2, \"query\": \"none\", \"positive_passages\": [], \"negative_passages\": []}\n"
    "{\"query_id\": 3, \"query\": \"what\", \"positive_passages\": [{\"docid\": 9, \"text\": "
    "\"P9\"}],"
    " \"negative_passages\": [{\"docid\": 4, \"text\": \"A\"}, {\"docid\": 5, \"text\": \"B\"},"
    "{\"docid\": 6, \"text\": \"C\"}]}";

static void a_legacy_tevatron_file_has_a_row_for_each_line_with_positives(void **state) {
    (void)state;
    wb_data_set *set;
    row r = {0};
    write_text(LINES, legacy);
    must(wb_data_set_open(&set, LINES, NULL));
    assert_int_equal(wb_data_set_rows(set), 2);
    assert_int_equal(wb_data_set_dropped(set), 1);
    assert_int_equal(wb_data_set_negatives(set), 3);
    assert_int_equal(wb_data_set_most_negatives(set), 5);
    assert_int_equal(wb_data_set_rows_below(set, 3), 0);
    assert_int_equal(wb_data_set_rows_below(set, 4), 1);
    assert_int_equal(wb_data_set_rows_below(set, 6), 2);
    for (int draw = 0; draw < 4; draw++) {
        must(wb_data_set_read(set, 0, draw, 0, r.texts, r.keys));
        assert_string_equal(r.texts[0].text, "who");
        assert_string_equal(r.texts[1].text, draw % 2 ? "P1" : "t P0");
        must(wb_data_set_read(set, 1, draw, 3, r.texts, r.keys));
        assert_string_equal(r.texts[0].id, "3");
        assert_string_equal(r.texts[1].id, "9");
        assert_true(r.keys[1] == wb_hash("P9", 2));
    }
    assert_int_equal(wb_data_set_read(set, 1, 0, 4, r.texts, r.keys), WB_ERR_CONFIG);
    assert_non_null(strstr(wb_error_message(), "4 negatives wanted, 3 are there"));
    wb_error_clear();
    clear(&r);
    wb_data_set_close(set);
}

static void a_tevatron_query_knows_the_positives_of_its_line(void **state) {
    (void)state;
    wb_data_set *set;
    uint64_t keys[2];
    int64_t count;
    write_text(LINES, legacy);
    must(wb_data_set_open(&set, LINES, NULL));
    assert_int_equal(wb_data_set_most_positives(set), 2);
    must(wb_data_set_positive_keys(set, 0, keys, &count));
    assert_int_equal(count, 2);
    assert_true(keys[0] == wb_hash("t P0", 4));
    assert_true(keys[1] == wb_hash("P1", 2));
    must(wb_data_set_positive_keys(set, 1, keys, &count));
    assert_int_equal(count, 1);
    wb_data_set_close(set);
}

static void a_row_brings_its_query_and_what_may_be_its_positive(void **state) {
    (void)state;
    wb_data_set *set;
    uint64_t keys[3];
    int64_t count;
    write_text(LINES, legacy);
    must(wb_data_set_open(&set, LINES, NULL));
    assert_int_equal(wb_data_set_most_own_keys(set), 3);
    must(wb_data_set_own_keys(set, 0, keys, &count));
    assert_int_equal(count, 3);
    assert_true(keys[1] == wb_hash("t P0", 4) && keys[2] == wb_hash("P1", 2));
    must(wb_data_set_own_keys(set, 1, keys, &count));
    assert_int_equal(count, 2);
    wb_data_set_close(set);
    write_text(FOLDER "/qrels/own.tsv", "query-id\tcorpus-id\tscore\nq2\td1\t1\nq2\td2\t1\n");
    must(wb_data_set_open(&set, FOLDER, "own"));
    assert_int_equal(wb_data_set_most_own_keys(set), 2);
    must(wb_data_set_own_keys(set, 1, keys, &count));
    assert_int_equal(count, 2);
    assert_true(keys[0] == wb_hash("second", 6) && keys[1] == wb_hash("two", 3));
    wb_data_set_close(set);
}

/* Five negatives, two a draw: five draws show each exactly twice, in the same cyclic order. */
static void draws_cycle_through_the_negatives(void **state) {
    (void)state;
    wb_data_set *set;
    row r = {0};
    int seen[5] = {0}, order[10];
    write_text(LINES, legacy);
    must(wb_data_set_open(&set, LINES, NULL));
    for (int draw = 0; draw < 5; draw++) {
        must(wb_data_set_read(set, 0, draw, 2, r.texts, r.keys));
        for (int i = 0; i < 2; i++) {
            order[2 * draw + i] = r.texts[2 + i].text[1] - '0';
            seen[order[2 * draw + i]]++;
            assert_true(r.keys[2 + i] == wb_hash(r.texts[2 + i].text, 2));
        }
    }
    for (int i = 0; i < 5; i++) {
        assert_int_equal(seen[i], 2);
        assert_int_equal(order[i], order[i + 5]);
    }
    must(wb_data_set_read(set, 0, 5 * 1000000007LL + 1, 2, r.texts, r.keys));
    assert_int_equal(r.texts[2].text[1] - '0', order[2]);
    clear(&r);
    wb_data_set_close(set);
}

static void orders_of_negatives_differ_between_rows(void **state) {
    (void)state;
    enum { ROWS = 40, NEGATIVES = 6 };
    char *content = malloc(ROWS * 512), *at = content;
    wb_data_set *set;
    row r = {0};
    int first[NEGATIVES] = {0};
    assert_non_null(content);
    for (int i = 0; i < ROWS; i++) {
        at += sprintf(at,
                      "{\"query_id\": %d, \"query\": \"q\", \"positive_passages\": "
                      "[{\"docid\": \"p\", \"text\": \"p\"}], \"negative_passages\": [",
                      i);
        for (int k = 0; k < NEGATIVES; k++) {
            at += sprintf(at, "%s{\"docid\": %d, \"text\": \"\"}", k ? ", " : "", k);
        }
        at += sprintf(at, "]}\n");
    }
    write_text(LINES, content);
    must(wb_data_set_open(&set, LINES, NULL));
    for (int i = 0; i < ROWS; i++) {
        must(wb_data_set_read(set, i, 0, 1, r.texts, r.keys));
        first[atoi(r.texts[2].id)]++;
    }
    for (int k = 0; k < NEGATIVES; k++) {
        assert_in_range(first[k], 1, ROWS / 2);
    }
    clear(&r);
    wb_data_set_close(set);
    free(content);
}

static void a_new_tevatron_file_takes_texts_from_its_corpus(void **state) {
    (void)state;
    wb_data_set *set;
    row r = {0};
    write_text(LINES,
               "{\"query_id\": \"1\", \"query_text\": \"who\", \"positive_document_ids\": [3],"
               " \"negative_document_ids\": [\"d2\", \"d1\"]}\n"
               "{\"query_id\": \"2\", \"query_text\": \"x\", \"positive_document_ids\": []}\n"
               "{\"query_id\": \"3\", \"query_text\": \"y\", \"positive_document_ids\": "
               "[\"d1\"], \"negative_document_ids\": null}\n");
    must(wb_data_set_open(&set, LINES, "train"));
    assert_int_equal(wb_data_set_rows(set), 2);
    assert_int_equal(wb_data_set_dropped(set), 1);
    assert_int_equal(wb_data_set_negatives(set), 0);
    must(wb_data_set_read(set, 0, 0, 2, r.texts, r.keys));
    assert_string_equal(r.texts[0].text, "who");
    assert_string_equal(r.texts[1].text, "three");
    assert_int_equal(strlen(r.texts[2].text) + strlen(r.texts[3].text),
                     strlen("two") + strlen("T one"));
    must(wb_data_set_read(set, 1, 7, 0, r.texts, r.keys));
    assert_string_equal(r.texts[1].text, "T one");
    clear(&r);
    wb_data_set_close(set);
}

/* A number with an exponent makes a line one that only a tree shows. */
static void plain_lines_and_rare_ones_say_the_same(void **state) {
    (void)state;
    static const char *const ends[] = {"", ", \"score\": 1e2"};
    static const char *const paths[] = {LINES, FOLDER "/rare.jsonl"};
    wb_data_set *sets[2];
    row r[2] = {0};
    uint64_t keys[2][MOST];
    int64_t counts[2];
    for (int i = 0; i < 2; i++) {
        char content[2048], *at = content;
        for (int k = 0; k < 5; k++) {
            at += sprintf(at,
                          "{\"query_id\": \"%d\", \"query\": \"q\\n%d\", \"positive_passages\": "
                          "[{\"docid\": 7, \"title\": \"\\u00e9\", \"text\": \"a%d\"}, {\"docid\": "
                          "\"b\", \"text\": \"\"}], \"negative_passages\": [{\"docid\": \"c\", "
                          "\"text\": \"c%d\"}, {\"docid\": \"d\", \"text\": \"d\"}]%s}\n",
                          k, k, k, k, ends[i]);
        }
        write_text(paths[i], content);
        must(wb_data_set_open(&sets[i], paths[i], NULL));
    }
    for (int64_t at = 0; at < 5 * 4; at++) {
        for (int i = 0; i < 2; i++) {
            must(wb_data_set_read(sets[i], at / 4, at % 4, 2, r[i].texts, r[i].keys));
            must(wb_data_set_positive_keys(sets[i], at / 4, keys[i], &counts[i]));
        }
        for (int k = 0; k < 4; k++) {
            assert_string_equal(r[0].texts[k].id, r[1].texts[k].id);
            assert_string_equal(r[0].texts[k].text, r[1].texts[k].text);
        }
        assert_memory_equal(r[0].keys, r[1].keys, 4 * sizeof(r[0].keys[0]));
        assert_int_equal(counts[0], 2);
        assert_int_equal(counts[1], 2);
        assert_memory_equal(keys[0], keys[1], 2 * sizeof(keys[0][0]));
    }
    assert_string_equal(r[0].texts[0].text, "q\n4");
    for (int i = 0; i < 2; i++) {
        clear(&r[i]);
        wb_data_set_close(sets[i]);
    }
}

static void wrong_tevatron_lines_are_refused_with_their_place(void **state) {
    (void)state;
    static const struct {
        const char *line, *message;
    } cases[] = {
        {"{\"query_id\": 1, \"positive_passages\": []}", "train.jsonl:1: no text"},
        {"{\"query\": \"q\", \"positive_passages\": []}", "train.jsonl:1: no id"},
        {"{\"query_id\": 1, \"query\": \"q\"}", "train.jsonl:1: neither \"positive_passages\""},
        {"{\"query_id\": 1, \"query\": \"q\", \"positive_passages\": {}}", "must be an array"},
        {"{\"query_id\": 1, \"query\": \"q\", \"positive_passages\": [], \"negative_passages\": 1}",
         "\"negative_passages\" must be an array"},
        {"{\"query_id\": 1, \"query\": \"q\", \"positive_passages\": [3]}",
         "train.jsonl:1: positive_passages[0]: is no JSON object"},
        {"{\"query_id\": 1, \"query\": \"q\", \"positive_passages\": [{\"docid\": 1}]}", "no text"},
        {"{\"query_id\": 1, \"query\": \"q\", \"positive_document_ids\": [\"d7\"]}",
         "train.jsonl:1: the document \"d7\" is not in "},
        {"{\"query_id\": 1, \"query\": \"q\", \"positive_document_ids\": [1.5]}",
         "\"positive_document_ids\" must be a string or an integer"},
        {"{\"query_id\": 1, \"query\": \"q\", \"positive_document_ids\": [\"d1\"], "
         "\"negative_document_ids\": [\"d 1\"]}",
         "has blanks"},
        {"{\"query_id\": 1, \"query\": \"q\", \"positive_passages\": []}", "no row has a positive"},
        {"{\"query_id\": 1,", "train.jsonl:1"},
        {"", "train.jsonl: holds no rows"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        write_text(LINES, cases[i].line);
        refuse(LINES, NULL, cases[i].message);
    }
    refuse(FOLDER "/nowhere.jsonl", NULL, "cannot open");
    must(wb_folder_make(FOLDER "/alone"));
    write_text(FOLDER "/alone/train.jsonl",
               "{\"query_id\": 1, \"query\": \"q\", \"positive_document_ids\": [\"d1\"]}");
    refuse(FOLDER "/alone/train.jsonl", NULL, "their texts are missing");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_beir_folder_has_a_row_for_each_relevant_judgement),
        cmocka_unit_test(a_beir_query_knows_the_passages_of_all_its_rows),
        cmocka_unit_test(a_tevatron_query_knows_the_positives_of_its_line),
        cmocka_unit_test(a_row_brings_its_query_and_what_may_be_its_positive),
        cmocka_unit_test(judgements_of_unknown_ids_are_refused_with_their_line),
        cmocka_unit_test(a_legacy_tevatron_file_has_a_row_for_each_line_with_positives),
        cmocka_unit_test(draws_cycle_through_the_negatives),
        cmocka_unit_test(orders_of_negatives_differ_between_rows),
        cmocka_unit_test(a_new_tevatron_file_takes_texts_from_its_corpus),
        cmocka_unit_test(plain_lines_and_rare_ones_say_the_same),
        cmocka_unit_test(wrong_tevatron_lines_are_refused_with_their_place),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
