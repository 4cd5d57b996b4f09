/* Lines, whatever ends them. */
#include "lines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PATH WB_TEST_SCRATCH "/lines.txt"

static void put_file(const char *content, size_t bytes) {
    FILE *file = fopen(PATH, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(content, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

static void check_next(wb_lines *lines, const char *text, int64_t offset, int64_t number) {
    bool more = false;
    assert_int_equal(wb_lines_next(lines, &more), WB_OK);
    assert_true(more);
    assert_string_equal(lines->text, text);
    assert_int_equal(lines->bytes, strlen(text));
    assert_int_equal(lines->offset, offset);
    assert_int_equal(lines->number, number);
    assert_int_equal(wb_line_number(PATH, offset), number);
}

static void check_end(wb_lines *lines) {
    bool more = true;
    assert_int_equal(wb_lines_next(lines, &more), WB_OK);
    assert_false(more);
    assert_int_equal(wb_lines_next(lines, &more), WB_OK);
    assert_false(more);
    wb_lines_close(lines);
}

static void line_ends_and_marks_are_taken_off(void **state) {
    (void)state;
    static const char content[] = "\xEF\xBB\xBFone\r\n\n two\r\r\n\r\nthree";
    wb_lines lines;
    put_file(content, strlen(content));
    assert_int_equal(wb_lines_open(&lines, PATH), WB_OK);
    check_next(&lines, "one", 3, 1);
    check_next(&lines, "", 8, 2);
    assert_true(wb_lines_is_empty(&lines));
    check_next(&lines, " two\r", 9, 3);
    assert_false(wb_lines_is_empty(&lines));
    check_next(&lines, "", 16, 4);
    check_next(&lines, "three", 18, 5);
    check_end(&lines);
}

static void lines_longer_than_the_buffer_are_whole(void **state) {
    (void)state;
    enum { LINES = 40, STEP = 9973 };
    wb_lines lines;
    char *content = malloc((size_t)LINES * LINES * STEP);
    size_t bytes = 0;
    assert_non_null(content);
    for (int i = 0; i < LINES; i++) {
        memset(content + bytes, 'a' + i % 26, (size_t)i * STEP);
        bytes += (size_t)i * STEP;
        content[bytes++] = '\n';
    }
    put_file(content, bytes);
    assert_int_equal(wb_lines_open(&lines, PATH), WB_OK);
    int64_t offset = 0;
    for (int i = 0; i < LINES; i++) {
        content[offset + i * STEP] = '\0';
        check_next(&lines, content + offset, offset, i + 1);
        offset += i * STEP + 1;
    }
    check_end(&lines);
    free(content);
}

static void fields_are_parted_by_any_blanks(void **state) {
    (void)state;
    wb_lines lines;
    char *fields[2];
    put_file("  a \t b\t\nc\na b c\n", 17);
    assert_int_equal(wb_lines_open(&lines, PATH), WB_OK);
    check_next(&lines, "  a \t b\t", 0, 1);
    assert_int_equal(wb_lines_split(&lines, fields, 2), 2);
    assert_string_equal(fields[0], "a");
    assert_string_equal(fields[1], "b");
    check_next(&lines, "c", 9, 2);
    assert_int_equal(wb_lines_split(&lines, fields, 2), 1);
    check_next(&lines, "a b c", 11, 3);
    assert_int_equal(wb_lines_split(&lines, fields, 2), 3);
    check_end(&lines);
}

static void files_of_other_kinds_are_named(void **state) {
    (void)state;
    static const struct {
        const char *content, *message;
        size_t bytes;
    } cases[] = {
        {"\x1f\x8b\x08\x00\x00\nmore", "is compressed by gzip; unpack it first", 11},
        {"version https://git-lfs.github.com/spec/v1\n", "git lfs pull", 43},
        {"<!DOCTYPE html>\n", "is a web page", 16},
        {"\x89HDF\r\n\x1a\n", "is an HDF5 file", 8},
        {"\xff\xfe{\x00", "iconv", 4},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        wb_lines lines;
        bool more;
        put_file(cases[i].content, cases[i].bytes);
        assert_int_equal(wb_lines_open(&lines, PATH), WB_OK);
        assert_int_equal(wb_lines_next(&lines, &more), WB_ERR_INPUT);
        assert_non_null(strstr(wb_error_message(), PATH ": "));
        assert_non_null(strstr(wb_error_message(), cases[i].message));
        wb_error_clear();
        wb_lines_close(&lines);
    }
    wb_lines lines;
    static const char later[] = "a\nversion https://git-lfs\n";
    put_file(later, strlen(later));
    assert_int_equal(wb_lines_open(&lines, PATH), WB_OK);
    check_next(&lines, "a", 0, 1);
    check_next(&lines, "version https://git-lfs", 2, 2);
    check_end(&lines);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(line_ends_and_marks_are_taken_off),
        cmocka_unit_test(lines_longer_than_the_buffer_are_whole),
        cmocka_unit_test(fields_are_parted_by_any_blanks),
        cmocka_unit_test(files_of_other_kinds_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
