/* The tokenizer's ids: those of the reference, whatever the text. Fixtures are made by
 * tests/reference/make_tokenizer.py. */
#include "hash.h"
#include "tokenizer_checks.h"

#define SCRATCH WB_TEST_SCRATCH "/tokenizer"

enum { CLS = 101, SEP = 102, BLOCK = 64 };

static int set_up(void **state) {
    return make_fixture(state, SCRATCH);
}

/* The next line of *at, which moves behind it. */
static size_t next_line(const char **at, const char **line) {
    const char *end = strchr(*at, '\n');
    *line = *at;
    *at = end + 1;
    return (size_t)(end - *line);
}

static void every_line_has_the_ids_of_the_reference(void **state) {
    const fixture *f = *state;
    static int32_t ids[MANY];
    char *answers;
    size_t bytes, at = 0;
    int64_t lines = 0, wrong = 0;
    assert_ok(wb_file_read(WB_TEST_DATA "/tokenizer/uncased.txt", CAP, &answers, &bytes));
    for (const char *answer = answers, *line, *text; *answer; lines++) {
        (void)next_line(&answer, &line);
        const size_t length = next_text(f, &at, &text);
        const int64_t count = encode(f->tokenizer, text, length, MANY, ids);
        const uint64_t found = wb_hash(ids, (size_t)count * sizeof(*ids));
        const uint64_t expected = strtoull(line, NULL, 16);
        if (found != expected && wrong++ < 10) {
            print_error("line %lld: %.*s\n  ids hash to %016llx, expected %016llx\n",
                        (long long)(lines + 1), (int)length, text, (unsigned long long)found,
                        (unsigned long long)expected);
        }
    }
    free(answers);
    assert_int_equal(at, f->bytes);
    assert_true(lines >= 10000);
    assert_int_equal(wrong, 0);
}

/* The exported tokenizer.json with two settings turned off. */
static wb_tokenizer *open_without(const fixture *f, const char *first, const char *second) {
    char *json;
    size_t bytes;
    assert_ok(wb_folder_make(SCRATCH "/exported"));
    assert_ok(wb_tokenizer_export(f->tokenizer, SCRATCH "/exported"));
    assert_ok(wb_file_read(SCRATCH "/exported/tokenizer.json", CAP, &json, &bytes));
    const char *const settings[] = {first, second};
    for (int i = 0; i < 2 && settings[i]; i++) {
        char on[64], off[64];
        (void)snprintf(on, sizeof(on), "\"%s\": true", settings[i]);
        (void)snprintf(off, sizeof(off), "\"%s\": false", settings[i]);
        char *changed = replaced(json, on, off);
        free(json);
        json = changed;
    }
    wb_tokenizer *tokenizer = open_json(SCRATCH "/changed", json);
    free(json);
    return tokenizer;
}

static uint64_t hash_of_block(const wb_tokenizer *t, const fixture *f, size_t *at) {
    static int32_t ids[BLOCK * MANY];
    int64_t count = 0;
    const char *text;
    for (int i = 0; i < BLOCK && *at < f->bytes; i++) {
        const size_t length = next_text(f, at, &text);
        count += encode(t, text, length, MANY, ids + count);
    }
    return wb_hash(ids, (size_t)count * sizeof(*ids));
}

static void other_settings_have_the_ids_of_the_reference(void **state) {
    const fixture *f = *state;
    static const struct {
        const char *name, *first, *second;
    } settings[] = {
        {"cased", "lowercase", "strip_accents"},
        {"accents", "handle_chinese_chars", "strip_accents"},
        {"raw", "clean_text", NULL},
    };
    char *answers;
    size_t bytes;
    assert_ok(wb_file_read(WB_TEST_DATA "/tokenizer/other.txt", CAP, &answers, &bytes));
    const char *answer = answers, *line;
    for (int i = 0; i < 3; i++) {
        wb_tokenizer *t = open_without(f, settings[i].first, settings[i].second);
        for (size_t at = 0; at < f->bytes;) {
            (void)next_line(&answer, &line);
            char name[16];
            int first = 0;
            unsigned long long expected = 0;
            assert_int_equal(sscanf(line, "%15s %d %llx", name, &first, &expected), 3);
            assert_string_equal(name, settings[i].name);
            const unsigned long long found = hash_of_block(t, f, &at);
            if (found != expected) {
                fail_msg("%s, lines from %d: %llx, expected %llx", name, first + 1, found,
                         expected);
            }
        }
        wb_tokenizer_close(t);
    }
    assert_int_equal(*answer, '\0');
    free(answers);
}

/* A control character is dropped, and what it stands in is read letter by letter. */
static void words_found_in_one_look_have_the_ids_of_their_letters(void **state) {
    const fixture *f = *state;
    static const char *const words[] = {"the",      "The",          "A",         "patients",
                                        "2021",     "hypertension", "dysplasia", "cardiovascular",
                                        "Zz9",      "abnormality",  "x",         "internationally",
                                        "ing",      "PREDICTIONS",  "0",         "disestablishment",
                                        "fractures"};
    static const char *const ends[] = {
        " ", ".",  "",   "-",        "\xC3\xA9", "\xCC\x81", "\n", "[MASK]", "\xE4\xB8\xAD",
        "_", ", ", "\t", "\xC2\xA0", "'"};
    enum { WORDS = sizeof(words) / sizeof(*words), ENDS = sizeof(ends) / sizeof(*ends) };
    uint32_t draw = 1;
    for (int round = 0; round < 2000; round++) {
        char text[1024] = "", apart[2048];
        int32_t ids[MANY], letters[MANY];
        const int parts = 1 + round % 12;
        for (int i = 0; i < parts; i++) {
            draw = draw * 1664525U + 1013904223U;
            (void)strcat(text, words[(draw >> 8) % WORDS]);
            (void)strcat(text, ends[(draw >> 20) % ENDS]);
        }
        size_t bytes = 0;
        for (const char *at = text; *at; at++) {
            apart[bytes++] = *at;
            if (at[0] != '[' && ((*at >= '0' && *at <= '9') || (*at | 0x20) >= 'a') &&
                !strstr("[MASK]", (char[]){*at, '\0'}) && (unsigned char)*at < 0x80) {
                apart[bytes++] = '\x01';
            }
        }
        const int64_t count = encode(f->tokenizer, text, strlen(text), MANY, ids);
        assert_int_equal(encode(f->tokenizer, apart, bytes, MANY, letters), count);
        assert_memory_equal(ids, letters, (size_t)count * sizeof(*ids));
    }
}

static void fewer_tokens_are_the_first_tokens(void **state) {
    const fixture *f = *state;
    static int32_t all[MANY], some[MANY];
    static const int64_t most[] = {2, 3, 4, 5, 8, 13};
    const char *text;
    for (size_t at = 0; at < f->bytes;) {
        const size_t length = next_text(f, &at, &text);
        const int64_t count = encode(f->tokenizer, text, length, MANY, all);
        for (size_t i = 0; i < sizeof(most) / sizeof(most[0]); i++) {
            const int64_t expected = count < most[i] ? count : most[i];
            assert_int_equal(encode(f->tokenizer, text, length, most[i], some), expected);
            assert_memory_equal(some, all, (size_t)(expected - 1) * sizeof(*some));
            assert_int_equal(some[expected - 1], SEP);
        }
    }
}

static void special_tokens_surround_the_text_and_fit_the_limit(void **state) {
    const fixture *f = *state;
    int32_t ids[4];
    int64_t count;
    assert_int_equal(encode(f->tokenizer, "", 0, 4, ids), 2);
    assert_int_equal(ids[0], CLS);
    assert_int_equal(ids[1], SEP);
    assert_int_equal(wb_tokenizer_encode(f->tokenizer, "a", 1, true, 1, ids, &count), WB_ERR_USAGE);
    wb_error_clear();
    assert_ok(wb_tokenizer_encode(f->tokenizer, "a", 1, false, 0, ids, &count));
    assert_int_equal(count, 0);
    assert_int_equal(wb_tokenizer_vocabulary(f->tokenizer), 30522);
}

static void invalid_utf8_is_dropped_byte_by_byte(void **state) {
    const fixture *f = *state;
    const char *whole = ids_of(f->tokenizer, "hello", 5);
    char expected[1024];
    (void)strcpy(expected, whole);
    static const char *const damaged[] = {
        "hel\x80lo",         "\xFFhello",     "hello\xE2\x82",         "he\xC3llo",
        "he\xED\xA0\x80llo", "\xC0\x80hello", "hell\xF4\x90\x80\x80o", "hello\xF0",
    };
    for (size_t i = 0; i < sizeof(damaged) / sizeof(damaged[0]); i++) {
        assert_string_equal(ids_of(f->tokenizer, damaged[i], strlen(damaged[i])), expected);
    }
}

static void line_feeds_and_nul_bytes_are_handled(void **state) {
    const fixture *f = *state;
    char expected[1024];
    (void)strcpy(expected, ids_of(f->tokenizer, "hello world", 11));
    assert_string_equal(ids_of(f->tokenizer, "hello\nworld", 11), expected);
    assert_string_equal(ids_of(f->tokenizer, "he\0llo\r\nwor\0ld\n", 16), expected);
}

/* Each of them is one unknown word, whatever its length; a second would take minutes if the cost
 * were not linear. */
static void huge_words_take_linear_time(void **state) {
    const fixture *f = *state;
    static const char *const units[] = {"a", "\xCC\x81", "\xE3\x80\xAE\xF0\x9D\x85\xA5",
                                        "\xEA\xB0\x81", "\xF0\x9D\x92\xB3"};
    const size_t bytes = 4 << 20;
    char *text = malloc(bytes);
    assert_non_null(text);
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        const size_t length = strlen(units[i]);
        size_t used = 0;
        for (; used + length <= bytes; used += length) {
            memcpy(text + used, units[i], length);
        }
        const char *expected = i == 1 ? "" : "100"; /* accents leave nothing */
        assert_string_equal(ids_of(f->tokenizer, text, used), expected);
    }
    free(text);
}

static void truncation_does_not_read_the_rest(void **state) {
    const fixture *f = *state;
    int32_t ids[16];
    /* only the first words exist: reading on would leave the block, which ASan reports */
    char *text = malloc(64);
    assert_non_null(text);
    memset(text, ' ', 64);
    memcpy(text, "one two three four five six seven eight nine ten", 48);
    assert_int_equal(encode(f->tokenizer, text, 1 << 30, 8, ids), 8);
    assert_int_equal(ids[7], SEP);
    free(text);
}

/* U+302E has combining class 224, U+1D165 and U+1D166 have 216; none of them is stripped. U+0901 is
 * stripped and has class 0: nothing moves over it. The ids are the reference's. */
static void kept_marks_are_in_canonical_order(void **state) {
    (void)state;
    static const char vocabulary[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n##"
                                     "\xF0\x9D\x85\xA5\n##"
                                     "\xE3\x80\xAE\n##"
                                     "\xF0\x9D\x85\xA6\na"
                                     "\xF0\x9D\x85\xA5"
                                     "\xE3\x80\xAE\n"
                                     "\xE3\x80\xAE\n"
                                     "\xF0\x9D\x85\xA5\n";
    static const struct {
        const char *text, *ids;
    } cases[] = {
        {"a"
         "\xE3\x80\xAE"
         "\xF0\x9D\x85\xA5",
         "8"},
        {"a"
         "\xF0\x9D\x85\xA5"
         "\xE3\x80\xAE",
         "8"},
        {"a"
         "\xF0\x9D\x85\xA6"
         "\xF0\x9D\x85\xA5",
         "4 7 5"},
        {"a"
         "\xF0\x9D\x85\xA5"
         "\xF0\x9D\x85\xA6",
         "4 5 7"},
        {"a"
         "\xE3\x80\xAE"
         "\xE0\xA4\x81"
         "\xF0\x9D\x85\xA5",
         "4 6 5"},
        {"a"
         "\xE3\x80\xAE"
         "\xCC\x81"
         "\xF0\x9D\x85\xA5",
         "8"},
        {"\xE3\x80\xAE"
         "\xF0\x9D\x85\xA5",
         "10 6"},
        {"a"
         "\xE3\x80\xAE"
         "\xE2\x80\x8D"
         "\xF0\x9D\x85\xA5",
         "8"},
        {"a"
         "\xE3\x80\xAE"
         "\xF0\x9D\x85\xA5"
         "\xE3\x80\xAE"
         "\xF0\x9D\x85\xA6",
         "4 5 7 6 6"},
    };
    wb_tokenizer *t;
    put_text(SCRATCH "/marks.txt", vocabulary);
    assert_ok(wb_tokenizer_open(&t, SCRATCH "/marks.txt"));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_string_equal(ids_of(t, cases[i].text, strlen(cases[i].text)), cases[i].ids);
    }
    wb_tokenizer_close(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_line_has_the_ids_of_the_reference),
        cmocka_unit_test(other_settings_have_the_ids_of_the_reference),
        cmocka_unit_test(words_found_in_one_look_have_the_ids_of_their_letters),
        cmocka_unit_test(fewer_tokens_are_the_first_tokens),
        cmocka_unit_test(special_tokens_surround_the_text_and_fit_the_limit),
        cmocka_unit_test(invalid_utf8_is_dropped_byte_by_byte),
        cmocka_unit_test(line_feeds_and_nul_bytes_are_handled),
        cmocka_unit_test(huge_words_take_linear_time),
        cmocka_unit_test(truncation_does_not_read_the_rest),
        cmocka_unit_test(kept_marks_are_in_canonical_order),
    };
    return cmocka_run_group_tests(tests, set_up, drop_fixture);
}
