/* Text files: what is read, what is refused, what is found again. */
#include "files.h"
#include "text_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PATH WB_TEST_SCRATCH "/texts.jsonl"

static void must(wb_status status) {
    if (status != WB_OK) {
        fail_msg("%s\n%s", wb_error_message(), wb_error_backtrace());
    }
}

static wb_text_file *open_bytes(const char *content, size_t bytes) {
    wb_text_file *file;
    must(wb_file_write(PATH, content, bytes));
    must(wb_text_file_open(&file, PATH));
    return file;
}

static wb_text_file *open_text(const char *content) {
    return open_bytes(content, strlen(content));
}

static void refuse_bytes(const char *content, size_t bytes, const char *message) {
    wb_text_file *file = (wb_text_file *)1;
    must(wb_file_write(PATH, content, bytes));
    assert_int_equal(wb_text_file_open(&file, PATH), WB_ERR_INPUT);
    assert_null(file);
    if (!strstr(wb_error_message(), message)) {
        fail_msg("the message is \"%s\", expected \"%s\"", wb_error_message(), message);
    }
    wb_error_clear();
}

static void check_row(const wb_text_file *file, int64_t row, const char *id, const char *text) {
    wb_text found = {0};
    must(wb_text_file_read(file, row, &found));
    assert_string_equal(found.id, id);
    assert_string_equal(found.text, text);
    assert_int_equal(found.bytes, strlen(text));
    wb_text_clear(&found);
}

static int64_t find(const wb_text_file *file, const char *id) {
    int64_t row = -2;
    must(wb_text_file_find(file, id, &row));
    return row;
}

static void all_spellings_of_id_and_text_are_read(void **state) {
    (void)state;
    wb_text_file *file = open_text("{\"_id\": \"a\", \"title\": \"One\", \"text\": \"first\"}\n"
                                   "{\"docid\": 17, \"text\": \"second\", \"title\": \"\"}\n"
                                   "{\"query_id\": \"c\", \"query\": \"third\", \"title\": null}\n"
                                   "{\"id\": -4, \"query_text\": \"\", \"more\": [1, {}]}\n");
    assert_int_equal(wb_text_file_rows(file), 4);
    check_row(file, 0, "a", "One first");
    check_row(file, 1, "17", "second");
    check_row(file, 2, "c", "third");
    check_row(file, 3, "-4", "");
    assert_int_equal(find(file, "17"), 1);
    assert_int_equal(find(file, "-4"), 3);
    assert_int_equal(find(file, "d"), -1);
    assert_int_equal(find(file, ""), -1);
    wb_text_file_close(file);
}

static void marks_line_ends_and_empty_lines_are_passed_over(void **state) {
    (void)state;
    static const char content[] = "\xEF\xBB\xBF{\"_id\": \"a\", \"text\": \"1\"}\r\n"
                                  "\r\n\n  \t\n"
                                  "{\"_id\": \"b\", \"text\": \"caf\\u00e9 \\ud83d\\ude00\"}\n"
                                  "\n{\"_id\": \"c\", \"text\": \"3\"}";
    wb_text_file *file = open_text(content);
    assert_int_equal(wb_text_file_rows(file), 3);
    check_row(file, 0, "a", "1");
    check_row(file, 1, "b", "caf\xC3\xA9 \xF0\x9F\x98\x80");
    check_row(file, 2, "c", "3");
    assert_int_equal(wb_text_file_offset(file, 0), 3);
    assert_int_equal(wb_text_file_offset(file, 3), strlen(content));
    assert_int_equal(content[wb_text_file_offset(file, 2)], '{');
    wb_text_file_close(file);
}

static void an_empty_file_has_no_rows(void **state) {
    (void)state;
    wb_text_file *file = open_text("");
    assert_int_equal(wb_text_file_rows(file), 0);
    assert_int_equal(wb_text_file_offset(file, 0), 0);
    assert_int_equal(find(file, "a"), -1);
    wb_text_file_close(file);
}

static void wrong_lines_are_refused_with_their_place(void **state) {
    (void)state;
    static const struct {
        const char *line, *message;
    } cases[] = {
        {"{\"_id\": \"x\", \"text\": 5}", "texts.jsonl:2: \"text\" must be a string"},
        {"{\"_id\": \"x\"}", "texts.jsonl:2: no text"},
        {"{\"_id\": \"x\", \"text\": null}", "texts.jsonl:2: no text"},
        {"{\"text\": \"x\"}", "texts.jsonl:2: no id"},
        {"{\"_id\": null, \"text\": \"x\"}", "texts.jsonl:2: no id"},
        {"{\"_id\": 1.5, \"text\": \"x\"}", "must be a string or an integer"},
        {"{\"_id\": true, \"text\": \"x\"}", "must be a string or an integer"},
        {"{\"_id\": [], \"text\": \"x\"}", "must be a string or an integer"},
        {"{\"_id\": \"x y\", \"text\": \"x\"}", "the id \"x y\" has blanks"},
        {"{\"_id\": \"x\\ty\", \"text\": \"x\"}", "has blanks"},
        {"{\"_id\": \"x\\n\", \"text\": \"x\"}", "has blanks"},
        {"{\"_id\": \"\", \"text\": \"x\"}", "is empty"},
        {"{\"_id\": \"x\", \"text\": \"x\", \"title\": 3}", "\"title\" must be a string"},
        {"[\"x\"]", "texts.jsonl:2: is no JSON object"},
        {"3", "texts.jsonl:2"},
        {"{\"_id\": \"x\", \"text\": \"x\"} {", "texts.jsonl:2"},
        {"{\"_id\": \"x\", \"_id\": \"y\", \"text\": \"x\"}", "duplicate"},
        {"{\"_id\": \"x\", \"text\": \"\xC3(\"}", "texts.jsonl:2"},
        {"{\"_id\": \"x\", \"text\": \"\\u0000\"}", "texts.jsonl:2"},
        {"{\"_id\": \"x\", \"text\": \"\\ud800\"}", "texts.jsonl:2"},
        {"{\"_id\": 99999999999999999999, \"text\": \"x\"}", "texts.jsonl:2"},
        {"{\"_id\": \"a\", \"text\": \"x\"}", "texts.jsonl:2: the id \"a\" is already on line 1"},
    };
    char content[512];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const int bytes = snprintf(content, sizeof(content),
                                   "{\"_id\": \"a\", \"text\": \"1\"}\n%s\n", cases[i].line);
        refuse_bytes(content, (size_t)bytes, cases[i].message);
    }
    refuse_bytes("\0\n", 2, "texts.jsonl:1");
    refuse_bytes("{\"_id\": \"x\", \"text\": \"a\0b\"}", 27, "texts.jsonl:1");
    refuse_bytes("{\"_id\": \"x\", \"text\": \"a\"}\0", 26, "texts.jsonl:1");
}

static void duplicates_name_both_lines_across_empty_ones(void **state) {
    (void)state;
    static const char content[] = "\n{\"_id\": \"7\", \"text\": \"\"}\n\n\n{\"_id\": \"b\", "
                                  "\"text\": \"\"}\n{\"_id\": 7, \"text\": \"\"}\n";
    refuse_bytes(content, strlen(content), "texts.jsonl:6: the id \"7\" is already on line 2");
}

static void deep_nesting_is_refused(void **state) {
    (void)state;
    const size_t depth = 1 << 16;
    char *content = malloc(depth + 64);
    assert_non_null(content);
    const int head = sprintf(content, "{\"_id\": \"x\", \"text\": \"\", \"deep\": ");
    memset(content + head, '[', depth);
    refuse_bytes(content, (size_t)head + depth,
                 "texts.jsonl:1: more than 128 arrays and objects in each other");
    free(content);
}

/* As a tree they would take a hundred times what they take as text. */
static void too_many_values_are_refused(void **state) {
    (void)state;
    const size_t bytes = (size_t)15 << 20;
    char *content = malloc(bytes + 64);
    assert_non_null(content);
    const int head = sprintf(content, "{\"_id\": \"x\", \"text\": \"\", \"many\": [1");
    for (size_t i = 0; i < bytes; i += 2) {
        memcpy(content + head + i, ",1", 2);
    }
    refuse_bytes(content, (size_t)head + bytes, "texts.jsonl:1: more than 131072 values");
    free(content);
}

static void a_line_beyond_the_cap_is_refused(void **state) {
    (void)state;
    const size_t bytes = ((size_t)16 << 20) + 100;
    char *content = malloc(bytes);
    assert_non_null(content);
    memset(content, ' ', bytes);
    memcpy(content, "{\"_id\": \"x\", \"text\": \"\"}\n{", 26);
    refuse_bytes(content, bytes, "texts.jsonl:2: the line is longer than 16");
    free(content);
}

static void files_that_are_none_are_refused(void **state) {
    (void)state;
    wb_text_file *file;
    assert_int_equal(wb_text_file_open(&file, WB_TEST_SCRATCH "/nowhere.jsonl"), WB_ERR_INPUT);
    wb_error_clear();
    assert_int_equal(wb_text_file_open(&file, WB_TEST_SCRATCH), WB_ERR_INPUT);
    wb_error_clear();
    assert_int_equal(wb_text_file_open(&file, "/dev/null"), WB_ERR_INPUT);
    wb_error_clear();
}

/* Puts something else in the place of what open_text wrote. */
static void change_file(void) {
    FILE *again = fopen(PATH, "w");
    assert_non_null(again);
    (void)fputs("[]", again);
    (void)fclose(again);
}

static void a_short_file_is_held_as_it_was(void **state) {
    (void)state;
    wb_text_file *file = open_text("{\"_id\": \"a\", \"text\": \"12345\"}\n\n{\"_id\": \"b\", "
                                   "\"text\": \"6\", \"more\": 1e3}");
    change_file();
    check_row(file, 0, "a", "12345");
    check_row(file, 1, "b", "6");
    wb_text_file_close(file);
}

static void a_long_file_that_changed_is_noticed(void **state) {
    (void)state;
    enum { LINES = 3, BYTES = 12 << 20 }; /* more than is held */
    char *content = malloc((size_t)LINES * (BYTES + 64)), *at = content;
    assert_non_null(content);
    for (int i = 0; i < LINES; i++) {
        at += sprintf(at, "{\"_id\": \"%d\", \"text\": \"", i);
        memset(at, 'x', BYTES);
        at += BYTES;
        at += sprintf(at, "\"}\n");
    }
    wb_text_file *file = open_text(content);
    wb_text text = {0};
    must(wb_text_file_read(file, 2, &text));
    assert_string_equal(text.id, "2");
    assert_int_equal(text.bytes, BYTES);
    change_file();
    assert_int_equal(wb_text_file_read(file, 0, &text), WB_ERR_INPUT);
    wb_error_clear();
    wb_text_clear(&text);
    wb_text_file_close(file);
    free(content);
}

static void many_ids_are_found_in_their_rows(void **state) {
    (void)state;
    enum { ROWS = 20000 };
    char *content = malloc(64 * ROWS), *at = content;
    assert_non_null(content);
    for (int i = 0; i < ROWS; i++) {
        at += sprintf(at, "{\"_id\": \"d%d\", \"text\": \"%d\"}%s", i * 7, i,
                      i % 5 ? "\n" : "\r\n\n");
    }
    wb_text_file *file = open_bytes(content, (size_t)(at - content));
    wb_text text = {0};
    assert_int_equal(wb_text_file_rows(file), ROWS);
    for (int i = 0; i < ROWS; i += 3) {
        char id[32], expected[32];
        int64_t row = -1;
        (void)sprintf(id, "d%d", i * 7);
        (void)sprintf(expected, "%d", i);
        must(wb_text_file_fetch(file, id, &row, &text));
        assert_int_equal(row, i);
        assert_string_equal(text.text, expected);
        (void)sprintf(id, "d%d", i * 7 + 1);
        assert_int_equal(find(file, id), -1);
        assert_true(wb_text_file_offset(file, i) < wb_text_file_offset(file, i + 1));
    }
    wb_text_clear(&text);
    wb_text_file_close(file);
    free(content);
}

static int set_up(void **state) {
    (void)state;
    return wb_folder_make(WB_TEST_SCRATCH) == WB_OK ? 0 : -1;
}

static void ids_are_found_while_a_file_is_opened(void **state) {
    (void)state;
    static const char *const ids[] = {"c", "missing", "7", "a", "c"};
    static const int64_t expected[] = {2, -1, 1, 0}; /* of distinct ids */
    wb_interner wanted = {0};
    wb_text_file *file;
    int64_t rows[4], number;
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        must(wb_interner_add(&wanted, ids[i], &number));
    }
    const char *content = "{\"_id\": \"a\", \"text\": \"x\"}\n\n{\"_id\": 7, \"text\": \"y\"}\n"
                          "{\"_id\": \"c\", \"text\": \"z\"}\n{\"_id\": \"d\", \"text\": \"z\"}\n";
    must(wb_file_write(PATH, content, strlen(content)));
    must(wb_text_file_open_finding(&file, PATH, &wanted, rows));
    assert_int_equal(wanted.count, 4);
    assert_memory_equal(rows, expected, sizeof(expected));
    wb_text_file_close(file);
    wb_interner_clear(&wanted);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_spellings_of_id_and_text_are_read),
        cmocka_unit_test(marks_line_ends_and_empty_lines_are_passed_over),
        cmocka_unit_test(an_empty_file_has_no_rows),
        cmocka_unit_test(wrong_lines_are_refused_with_their_place),
        cmocka_unit_test(duplicates_name_both_lines_across_empty_ones),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(too_many_values_are_refused),
        cmocka_unit_test(a_line_beyond_the_cap_is_refused),
        cmocka_unit_test(files_that_are_none_are_refused),
        cmocka_unit_test(a_short_file_is_held_as_it_was),
        cmocka_unit_test(a_long_file_that_changed_is_noticed),
        cmocka_unit_test(many_ids_are_found_in_their_rows),
        cmocka_unit_test(ids_are_found_while_a_file_is_opened),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
