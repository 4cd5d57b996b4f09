/* Every code point against the reference's normaliser and pre-tokeniser; UTF-8 at its edges. */
#include "hash.h"
#include "unicode_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { RUN = 1024 };

typedef struct joined {
    char text[64 * RUN];
    size_t bytes;
} joined;

static void append(joined *to, uint32_t code) {
    to->bytes += wb_utf8_encode(code, to->text + to->bytes);
}

static void end_word(joined *to) {
    if (to->bytes > 0 && to->text[to->bytes - 1] != '\n') {
        append(to, '\n');
    }
}

/* The words of "a", a character, "b", each with its line end. */
static void fold_between_letters(joined *to, uint32_t code, wb_unicode_rules rules) {
    wb_folded folded[WB_FOLDED_MOST];
    const int count = wb_unicode_fold(code, rules, folded);
    assert_in_range(count, 0, WB_FOLDED_MOST);
    append(to, 'a');
    for (int i = 0; i < count; i++) {
        if (folded[i].kind == WB_CHAR_SPACE) {
            end_word(to);
        } else if (folded[i].kind == WB_CHAR_PUNCTUATION) {
            end_word(to);
            append(to, folded[i].code);
            end_word(to);
        } else if (folded[i].kind == WB_CHAR_WORD) {
            append(to, folded[i].code);
        }
    }
    append(to, 'b');
    end_word(to);
}

static wb_unicode_rules rules_called(const char *name) {
    static const struct {
        const char *name;
        wb_unicode_rules rules;
    } settings[] = {
        {"uncased", {true, true, true, true}},
        {"cased", {true, true, false, false}},
        {"accents", {true, false, false, true}},
        {"raw", {false, false, true, false}},
    };
    for (size_t i = 0; i < 4; i++) {
        if (strcmp(name, settings[i].name) == 0) {
            return settings[i].rules;
        }
    }
    fail_msg("unknown setting %s", name);
    return settings[0].rules;
}

static void every_code_point_folds_as_in_the_reference(void **state) {
    (void)state;
    static joined text;
    FILE *file = fopen(WB_TEST_DATA "/tokenizer/code_points.txt", "r");
    assert_non_null(file);
    char line[128], name[16];
    unsigned first, runs = 0, wrong = 0;
    unsigned long long expected;
    while (fgets(line, sizeof(line), file)) {
        if (line[0] == '#') {
            continue;
        }
        assert_int_equal(sscanf(line, "%15s %x %llx", name, &first, &expected), 3);
        text.bytes = 0;
        for (uint32_t code = first; code < first + RUN; code++) {
            if (code < 0xD800 || code >= 0xE000) {
                fold_between_letters(&text, code, rules_called(name));
            }
        }
        const unsigned long long found = wb_hash(text.text, text.bytes);
        if (found != expected) {
            print_error("%s U+%06X: found %llx, expected %llx\n", name, first, found, expected);
            wrong++;
        }
        runs++;
    }
    (void)fclose(file);
    assert_int_equal(runs, 4 * 0x110000 / RUN);
    assert_int_equal(wrong, 0);
}

static void every_scalar_value_survives_utf8(void **state) {
    (void)state;
    for (uint32_t code = 0; code < 0x110000; code++) {
        if (code >= 0xD800 && code < 0xE000) {
            continue;
        }
        char bytes[4];
        uint32_t back = 0;
        const size_t length = wb_utf8_encode(code, bytes);
        assert_int_equal(wb_utf8_decode(bytes, length, &back), length);
        assert_int_equal(back, code);
        if (length > 1) {
            assert_int_equal(wb_utf8_decode(bytes, length - 1, &back), 1);
            assert_int_equal(back, WB_REPLACEMENT);
        }
    }
}

static void each_bad_byte_counts_alone(void **state) {
    (void)state;
    static const char *const bad[] = {
        "\x80",
        "\xBF",
        "\xC0\x80",
        "\xC1\xBF",
        "\xE0\x9F\xBF",
        "\xED\xA0\x80",
        "\xF0\x8F\xBF\xBF",
        "\xF4\x90\x80\x80",
        "\xF5\x80\x80\x80",
        "\xFF",
        "\xC3(",
        "\xE2\x82(",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint32_t code = 0;
        assert_int_equal(wb_utf8_decode(bad[i], strlen(bad[i]), &code), 1);
        assert_int_equal(code, WB_REPLACEMENT);
        assert_int_equal(wb_utf8_valid(bad[i], strlen(bad[i])), 0);
    }
    assert_int_equal(wb_utf8_valid("a\0b", 3), 1);
    assert_int_equal(wb_utf8_valid("a\xEF\xBF\xBD", 4), 4);
    assert_int_equal(wb_utf8_valid("h\xC3\xA9\xC3", 4), 3);
}

/* Whole blocks of ASCII are passed over at once. */
static void bad_bytes_are_found_at_every_place(void **state) {
    (void)state;
    enum { BYTES = 200 };
    static const char bad[] = {'\0', '\x80', '\xFF'};
    char text[BYTES];
    for (size_t at = 0; at < BYTES; at++) {
        memset(text, 'a', BYTES);
        for (size_t i = 0; i < sizeof(bad); i++) {
            text[at] = bad[i];
            assert_int_equal(wb_utf8_valid(text, BYTES), at);
        }
        if (at + 1 < BYTES) {
            memcpy(text + at, "\xC3\xA9", 2);
            assert_int_equal(wb_utf8_valid(text, BYTES), BYTES);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point_folds_as_in_the_reference),
        cmocka_unit_test(every_scalar_value_survives_utf8),
        cmocka_unit_test(each_bad_byte_counts_alone),
        cmocka_unit_test(bad_bytes_are_found_at_every_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
