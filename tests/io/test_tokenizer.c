/* The tokenizer against the reference's ids, and against hostile files. Fixtures are made by
 * tests/reference/make_tokenizer.py. */
#include "files.h"
#include "hash.h"
#include "tokenizer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define VOCABULARY WB_TEST_DATA "/../../configs/vocab/bert-base-uncased-vocab.txt"
#define SCRATCH    WB_TEST_SCRATCH "/tokenizer"
#define CAP        ((size_t)32 << 20)

enum { CLS = 101, SEP = 102, UNKNOWN = 100, BLOCK = 64, MANY = 4096 };

typedef struct fixture {
    wb_tokenizer *tokenizer; /* bert-base-uncased */
    char *lines;
    size_t bytes;
} fixture;

static void must(wb_status status) {
    if (status != WB_OK) {
        fail_msg("%s\n%s", wb_error_message(), wb_error_backtrace());
    }
}

/* Not durable, and so much faster than wb_file_write. */
static void put_file(const char *path, const char *content, size_t bytes) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(content, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

static int set_up(void **state) {
    fixture *f = calloc(1, sizeof(*f));
    *state = f;
    must(wb_folder_remove(SCRATCH)); /* what a test that failed has left */
    must(wb_folder_make(SCRATCH));
    must(wb_tokenizer_open(&f->tokenizer, VOCABULARY));
    must(wb_file_read(WB_TEST_DATA "/tokenizer/lines.txt", CAP, &f->lines, &f->bytes));
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    wb_tokenizer_close(f->tokenizer);
    free(f->lines);
    free(f);
    return 0;
}

static int64_t encode(const wb_tokenizer *t, const char *text, size_t bytes, int64_t most,
                      int32_t *ids) {
    int64_t count = -1;
    must(wb_tokenizer_encode(t, text, bytes, true, most, ids, &count));
    return count;
}

/* Ids of a literal text, as one string without specials. */
static const char *ids_of(const wb_tokenizer *t, const char *text, size_t bytes) {
    static char out[1024];
    int32_t ids[64];
    int64_t count = 0;
    must(wb_tokenizer_encode(t, text, bytes, false, 64, ids, &count));
    out[0] = '\0';
    for (int64_t i = 0; i < count; i++) {
        (void)snprintf(out + strlen(out), 16, i > 0 ? " %d" : "%d", ids[i]);
    }
    return out;
}

/* The next line of *at, which moves behind it. */
static size_t next_line(const char **at, const char **line) {
    const char *end = strchr(*at, '\n');
    *line = *at;
    *at = end + 1;
    return (size_t)(end - *line);
}

/* lines.txt holds NUL bytes: lengths come from memchr. */
static size_t next_text(const fixture *f, size_t *at, const char **line) {
    *line = f->lines + *at;
    const char *end = memchr(*line, '\n', f->bytes - *at);
    assert_non_null(end);
    *at += (size_t)(end - *line) + 1;
    return (size_t)(end - *line);
}

static void every_line_has_the_ids_of_the_reference(void **state) {
    const fixture *f = *state;
    static int32_t ids[MANY];
    char *answers;
    size_t bytes, at = 0;
    int64_t lines = 0, wrong = 0;
    must(wb_file_read(WB_TEST_DATA "/tokenizer/uncased.txt", CAP, &answers, &bytes));
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

/* `text` with its first `from` replaced; the caller frees it. */
static char *replaced(const char *text, const char *from, const char *to) {
    const char *place = strstr(text, from);
    if (!place) {
        fail_msg("\"%s\" is not there", from);
    }
    char *result = malloc(strlen(text) + strlen(to) + 1);
    assert_non_null(result);
    (void)sprintf(result, "%.*s%s%s", (int)(place - text), text, to, place + strlen(from));
    return result;
}

static wb_tokenizer *open_folder_with(const char *json) {
    wb_tokenizer *tokenizer;
    must(wb_folder_make(SCRATCH "/changed"));
    put_file(SCRATCH "/changed/tokenizer.json", json, strlen(json));
    must(wb_tokenizer_open(&tokenizer, SCRATCH "/changed"));
    return tokenizer;
}

/* The exported tokenizer.json with two settings turned off. */
static wb_tokenizer *open_without(const fixture *f, const char *first, const char *second) {
    char *json;
    size_t bytes;
    must(wb_folder_make(SCRATCH "/exported"));
    must(wb_tokenizer_export(f->tokenizer, SCRATCH "/exported"));
    must(wb_file_read(SCRATCH "/exported/tokenizer.json", CAP, &json, &bytes));
    const char *const settings[] = {first, second};
    for (int i = 0; i < 2 && settings[i]; i++) {
        char on[64], off[64];
        (void)snprintf(on, sizeof(on), "\"%s\": true", settings[i]);
        (void)snprintf(off, sizeof(off), "\"%s\": false", settings[i]);
        char *changed = replaced(json, on, off);
        free(json);
        json = changed;
    }
    wb_tokenizer *tokenizer = open_folder_with(json);
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
    must(wb_file_read(WB_TEST_DATA "/tokenizer/other.txt", CAP, &answers, &bytes));
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
    must(wb_tokenizer_encode(f->tokenizer, "a", 1, false, 0, ids, &count));
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

/* ---- Files ---- */

static const char small[] =
    "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null, \"added_tokens\": ["
    "{\"id\": 2, \"content\": \"[CLS]\", \"special\": true, \"normalized\": false},"
    "{\"id\": 3, \"content\": \"[SEP]\", \"special\": true, \"normalized\": false}],"
    "\"normalizer\": {\"type\": \"BertNormalizer\", \"clean_text\": true,"
    " \"handle_chinese_chars\": true, \"strip_accents\": null, \"lowercase\": true},"
    "\"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"},"
    "\"post_processor\": {\"type\": \"BertProcessing\", \"sep\": [\"[SEP]\", 3],"
    " \"cls\": [\"[CLS]\", 2]},"
    "\"decoder\": {\"type\": \"WordPiece\"},"
    "\"model\": {\"type\": \"WordPiece\", \"unk_token\": \"[UNK]\","
    " \"continuing_subword_prefix\": \"##\", \"max_input_chars_per_word\": 100,"
    " \"vocab\": {\"[PAD]\": 0, \"[UNK]\": 1, \"[CLS]\": 2, \"[SEP]\": 3, \"a\": 4, \"##b\": 5}}}";

static void a_small_tokenizer_json_is_read(void **state) {
    (void)state;
    static const char text[] = "a ab aB\xCC\x81 b [SEP]a[CLS";
    wb_tokenizer *t = open_folder_with(small);
    assert_int_equal(wb_tokenizer_vocabulary(t), 6);
    assert_string_equal(ids_of(t, text, strlen(text)), "4 4 5 4 5 1 3 4 1 1");
    wb_tokenizer_close(t);
}

static void added_tokens_may_follow_the_vocabulary(void **state) {
    (void)state;
    char *json = replaced(small, "\"added_tokens\": [",
                          "\"added_tokens\": [{\"id\": 6, \"content\": \"[a]\"},"
                          "{\"id\": 7, \"content\": \"[a]b\"},");
    wb_tokenizer *t = open_folder_with(json);
    assert_int_equal(wb_tokenizer_vocabulary(t), 8);
    assert_string_equal(ids_of(t, "a[a]a[a]b[a", 11), "4 6 4 7 1 4");
    wb_tokenizer_close(t);
    free(json);
}

static void a_word_may_be_as_long_as_the_file_says(void **state) {
    (void)state;
    char *json = replaced(small, ": 100", ": 3");
    wb_tokenizer *t = open_folder_with(json);
    assert_string_equal(ids_of(t,
                               "abb abbb a\xCC\x81"
                               "b\xCC\x81"
                               "b\xCC\x81",
                               18),
                        "4 5 5 1 4 5 5");
    wb_tokenizer_close(t);
    free(json);
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
    put_file(SCRATCH "/marks.txt", vocabulary, strlen(vocabulary));
    must(wb_tokenizer_open(&t, SCRATCH "/marks.txt"));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_string_equal(ids_of(t, cases[i].text, strlen(cases[i].text)), cases[i].ids);
    }
    wb_tokenizer_close(t);
}

static void refuse(const char *path, const char *message) {
    wb_tokenizer *t = (wb_tokenizer *)1;
    assert_int_equal(wb_tokenizer_open(&t, path), WB_ERR_INPUT);
    assert_null(t);
    if (!strstr(wb_error_message(), message)) {
        fail_msg("the message is \"%s\", expected \"%s\"", wb_error_message(), message);
    }
    wb_error_clear();
}

static void hostile_tokenizer_json_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *from, *to, *message;
    } cases[] = {
        {"\"version\"", "version", "not valid JSON"},
        {"\"model\": {\"type\": \"WordPiece\"", "\"model\": {\"type\": \"BPE\"",
         "\"model\" is of type BPE"},
        {"\"model\": {\"type\": \"WordPiece\",", "\"model\": {", "only WordPiece is supported"},
        {"\"model\": {", "\"modal\": {", "\"model\" is missing"},
        {"BertNormalizer", "Sequence", "\"normalizer\" is of type Sequence"},
        {"BertPreTokenizer", "Whitespace", "\"pre_tokenizer\" is of type Whitespace"},
        {"BertProcessing", "RobertaProcessing", "\"post_processor\" is of type RobertaProcessing"},
        {"[\"[SEP]\", 3]", "[\"[SEP]\", 2]", "post-processor's id of [SEP] must be 3"},
        {"[\"[SEP]\", 3]", "[\"[PEP]\", 3]", "[PEP] is missing"},
        {"[\"[SEP]\", 3]", "3", "must be [token, id]"},
        {"\"lowercase\": true", "\"lowercase\": 1", "\"lowercase\" is an integer"},
        {"\"clean_text\": true", "\"clean_text\": {}", "\"clean_text\" is an object"},
        {"\"a\": 4", "\"a\": 5", "have the same id 5"},
        {"\"a\": 4", "\"a\": 6", "must have the ids 0 to 5"},
        {"\"a\": 4", "\"a\": -1", "has the id -1"},
        {"\"a\": 4", "\"a\": 4.0", "has the id -1"},
        {"\"a\": 4", "\"a\": 99999999999999999999", "not valid JSON"},
        {"\"a\": 4", "\"[PAD]\": 4", "duplicate"},
        {"\"a\": 4", "\"\": 4", "is empty"},
        {"\"a\": 4", "\"a\\nb\": 4", "a line end"},
        {"\"a\": 4", "\"a\\u0000\": 4", "not valid JSON"},
        {"\"a\": 4", "\"\xFF\": 4", "not valid JSON"},
        {"\"[PAD]\": 0", "\"[PAT]\": 0", "the token [PAD] is missing"},
        {"\"[UNK]\": 1", "\"[UNC]\": 1", "the token [UNK] is missing"},
        {"\"[UNK]\",", "\"<unk>\",", "the token <unk> is missing"},
        {"\"vocab\": {", "\"vocab\": [], \"x\": {", "must be an object"},
        {"\"max_input_chars_per_word\": 100", "\"max_input_chars_per_word\": 1001", "1 to 1000"},
        {"\"max_input_chars_per_word\": 100", "\"max_input_chars_per_word\": 0", "1 to 1000"},
        {"\"added_tokens\": [", "\"added_tokens\": {}, \"x\": [", "must be an array"},
        {"\"added_tokens\": [", "\"added_tokens\": [7,", "is no object"},
        {"\"id\": 2, ", "\"id\": 9, ", "no gaps"},
        {"\"id\": 2, ", "\"id\": 7, ", "no token has the id 6"},
        {"\"id\": 2, ", "\"id\": 6, ", "is there twice"},
        {"\"id\": 2, ", "\"id\": 3, ", "id 3 is the token [SEP]"},
        {"\"id\": 3, \"content\": \"[SEP]\"", "\"id\": 2, \"content\": \"[CLS]\"",
         "is there twice"},
        {"\"normalized\": false", "\"normalized\": true", "\"normalized\": true"},
        {"\"normalized\": false", "\"lstrip\": true", "\"lstrip\": true"},
        {"\"normalizer\": {", "\"normalizer\": 7, \"x\": {", "missing or no object"},
        {"\"handle_chinese_chars\": true", "\"handle_chinese_chars\": 1",
         "\"handle_chinese_chars\" is an integer"},
        {"\"strip_accents\": null", "\"strip_accents\": \"\"", "\"strip_accents\" is a string"},
        {"\"content\": \"[CLS]\"", "\"context\": \"[CLS]\"", "\"content\" is missing"},
        {"\"content\": \"[CLS]\"", "\"content\": \"\"", "token 0 is empty"},
        {"\"content\": \"[CLS]\"", "\"content\": \"[CLSS]\"", "but [CLSS] among added tokens"},
        {"\"id\": 2, ", "\"id\": \"2\", ", "\"id\" is a string"},
        {"\"id\": 2, ", "\"id\": 6, \"content\": \"[a]\"}, {\"id\": 6, ", "have the same id 6"},
        {"\"normalized\": false", "\"normalized\": 0", "\"normalized\" is an integer"},
        {"\"vocab\": {", "\"words\": {", "\"vocab\" must be an object"},
        {"\"unk_token\": \"[UNK]\"", "\"unk_token\": 1", "\"unk_token\" is an integer"},
        {"\"##\"", "[]", "\"continuing_subword_prefix\" is an array"},
        {"[\"[SEP]\", 3]", "[\"[SEP]\"]", "\"sep\" of the post-processor must be [token, id]"},
        {"[\"[SEP]\", 3]", "[3, 3]", "\"sep\" of the post-processor must be [token, id]"},
        {"[\"[SEP]\", 3]", "[\"[SEP]\", \"3\"]", "post-processor's id of [SEP] must be 3"},
        {"[\"[CLS]\", 2]", "[\"[CLS]\", 3]", "post-processor's id of [CLS] must be 2"},
        {"\"type\": \"BertProcessing\"", "\"typo\": 1", "\"post_processor\" is of type (none)"},
        {"\"##\"", "\"################################################################\"",
         "at most 63"},
    };
    must(wb_folder_make(SCRATCH "/hostile"));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *json = replaced(small, cases[i].from, cases[i].to);
        put_file(SCRATCH "/hostile/tokenizer.json", json, strlen(json));
        refuse(SCRATCH "/hostile", cases[i].message);
        free(json);
    }
    put_file(SCRATCH "/hostile/tokenizer.json", "[]", 2);
    refuse(SCRATCH "/hostile", "is no JSON object");
    for (size_t bytes = 0; bytes < strlen(small); bytes += 7) {
        put_file(SCRATCH "/hostile/tokenizer.json", small, bytes);
        refuse(SCRATCH "/hostile", "not valid JSON");
    }
}

static void templates_other_than_berts_are_refused(void **state) {
    (void)state;
    static const char from[] = "{\"type\": \"BertProcessing\", \"sep\": [\"[SEP]\", 3],"
                               " \"cls\": [\"[CLS]\", 2]}";
    static const char template[] =
        "{\"type\": \"TemplateProcessing\", \"single\": ["
        "{\"SpecialToken\": {\"id\": \"[CLS]\", \"type_id\": 0}},"
        "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}},"
        "{\"SpecialToken\": {\"id\": \"[SEP]\", \"type_id\": 0}}], \"special_tokens\": {"
        "\"[CLS]\": {\"ids\": [2]}, \"[SEP]\": {\"ids\": [3]}}}";
    static const char *const changes[][2] = {
        {"\"A\"", "\"B\""},
        {"\"A\"", "7"},
        {"\"A\", \"type_id\": 0", "\"A\", \"type_id\": 1"},
        {"\"single\": [", "\"single\": [{}, "},
        {"\"SpecialToken\": {\"id\": \"[SEP]\"", "\"SpecialToken\": {\"id\": 3"},
        {"{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}},", ""},
        {"\"type_id\": 0", "\"type_id\": 1"},
        {"[3]", "[3, 3]"},
        {"[2]", "[4]"},
        {"\"SpecialToken\"", "\"Special\""},
    };
    char *good = replaced(small, from, template);
    wb_tokenizer_close(open_folder_with(good));
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        char *json = replaced(good, changes[i][0], changes[i][1]);
        put_file(SCRATCH "/hostile/tokenizer.json", json, strlen(json));
        refuse(SCRATCH "/hostile", "post-processor");
        free(json);
    }
    char *json = replaced(good, "\"SpecialToken\": {\"id\": \"[SEP]\"",
                          "\"SpecialToken\": {\"id\": \"[PEP]\"");
    put_file(SCRATCH "/hostile/tokenizer.json", json, strlen(json));
    refuse(SCRATCH "/hostile", "the token [PEP] is missing");
    free(json);
    free(good);
}

static void hostile_vocabularies_are_refused(void **state) {
    (void)state;
    static const char path[] = SCRATCH "/hostile.txt";
    static const char head[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n";
    static const struct {
        const char *text;
        size_t bytes;
        const char *message;
    } cases[] = {
        {"a\n\nb\n", 5, "token 5 is empty"},
        {"a\r\n\r\n", 5, "token 5 is empty"},
        {"a\nb\na\n", 6, "\"a\" is there twice, with ids 4 and 6"},
        {"a\0b\n", 4, "token 4 holds a NUL byte"},
        {"a\n\xC3\n", 4, "token 5 holds invalid UTF-8"},
        {"a\rb\n", 4, "a line end"},
    };
    char text[2048];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memcpy(text, head, strlen(head));
        memcpy(text + strlen(head), cases[i].text, cases[i].bytes);
        put_file(path, text, strlen(head) + cases[i].bytes);
        refuse(path, cases[i].message);
    }
    memset(text, 'x', sizeof(text));
    memcpy(text, head, strlen(head));
    put_file(path, text, strlen(head) + 1025);
    refuse(path, "1025 bytes; at most 1024");
    for (size_t i = 0; i < 4; i++) { /* all but one */
        char *const without = strdup(head), message[32];
        assert_non_null(without);
        (void)snprintf(message, sizeof(message), "%.5s is missing", head + 6 * i);
        without[6 * i] = '<';
        put_file(path, without, strlen(without));
        refuse(path, message);
        free(without);
    }
    put_file(path, "", 0);
    refuse(path, "is missing");
    refuse(SCRATCH "/nowhere.txt", "cannot open");
    must(wb_folder_make(SCRATCH "/empty"));
    refuse(SCRATCH "/empty", "neither tokenizer.json nor vocab.txt");
}

/* One token too many, and more bytes of tokens than a trie has units. */
static void too_large_vocabularies_are_refused(void **state) {
    (void)state;
    static const char path[] = SCRATCH "/large.txt";
    enum { LINES = 1 << 22, LONG = 1000, MANY_LONG = 17000 };
    char *text = malloc((size_t)MANY_LONG * (LONG + 1));
    assert_non_null(text);
    for (size_t i = 0; i < LINES; i++) {
        memcpy(text + 2 * i, "a\n", 2);
    }
    put_file(path, text, 2 * (size_t)LINES);
    refuse(path, "4194304 tokens; there must be fewer than 4194304");
    size_t at = (size_t)snprintf(text, 32, "[PAD]\n[UNK]\n[CLS]\n[SEP]\n");
    for (int i = 0; i < MANY_LONG - 4; i++) {
        at += (size_t)sprintf(text + at, "%05d", i);
        memset(text + at, 'a', LONG - 5);
        at += LONG - 5;
        text[at++] = '\n';
    }
    put_file(path, text, at);
    refuse(path, "needs more than 16777216 trie units; use one with fewer or shorter tokens");
    assert_int_equal(unlink(path), 0);
    free(text);
}

static void a_name_may_not_be_too_long(void **state) {
    (void)state;
    char path[WB_PATH + 1];
    wb_tokenizer *t = (wb_tokenizer *)1;
    memset(path, 'a', WB_PATH);
    path[WB_PATH] = '\0';
    assert_int_equal(wb_tokenizer_open(&t, path), WB_ERR_USAGE);
    assert_null(t);
    assert_non_null(strstr(wb_error_message(), "path too long: aaa"));
    wb_error_clear();
}

/* Words that are whole tokens only: nothing continues one. */
static void a_vocabulary_may_lack_tokens_that_continue(void **state) {
    (void)state;
    static const char text[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n";
    wb_tokenizer *t;
    put_file(SCRATCH "/whole.txt", text, strlen(text));
    must(wb_tokenizer_open(&t, SCRATCH "/whole.txt"));
    assert_string_equal(ids_of(t, "a ab a", 6), "4 1 4");
    wb_tokenizer_close(t);
}

/* Without "added_tokens" no token is cut out of the text: "[sep]" is three words. Nor is [MASK]
 * needed, and then none is exported. */
static void no_token_needs_to_be_an_added_one(void **state) {
    (void)state;
    char *json = replaced(small, "\"added_tokens\": [", "\"others\": [");
    wb_tokenizer *t = open_folder_with(json);
    assert_string_equal(ids_of(t, "a[SEP]a", 7), "4 1 1 1 4");
    char *map;
    size_t bytes;
    must(wb_folder_make(SCRATCH "/maskless"));
    must(wb_tokenizer_export(t, SCRATCH "/maskless"));
    must(wb_file_read(SCRATCH "/maskless/special_tokens_map.json", CAP, &map, &bytes));
    assert_non_null(strstr(map, "\"pad_token\": \"[PAD]\""));
    assert_null(strstr(map, "mask_token"));
    free(map);
    wb_tokenizer_close(t);
    free(json);
}

static void a_vocabulary_may_have_crlf_and_no_last_line_end(void **state) {
    (void)state;
    static const char text[] = "[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\na\r\n##b";
    wb_tokenizer *t;
    put_file(SCRATCH "/crlf.txt", text, strlen(text));
    must(wb_tokenizer_open(&t, SCRATCH "/crlf.txt"));
    assert_int_equal(wb_tokenizer_vocabulary(t), 6);
    assert_string_equal(ids_of(t, "ab", 2), "4 5");
    wb_tokenizer_close(t);
}

static void the_config_next_to_a_vocabulary_counts(void **state) {
    const fixture *f = *state;
    static const char cased[] = "{\"do_lower_case\": false, \"strip_accents\": null}";
    wb_tokenizer *t;
    must(wb_folder_make(SCRATCH "/cased"));
    must(wb_file_copy(VOCABULARY, SCRATCH "/cased/vocab.txt"));
    must(wb_tokenizer_open(&t, SCRATCH "/cased"));
    char expected[1024];
    (void)strcpy(expected, ids_of(f->tokenizer, "Caf\xC3\xA9", 5));
    assert_string_equal(ids_of(t, "Caf\xC3\xA9", 5), expected);
    wb_tokenizer_close(t);
    put_file(SCRATCH "/cased/tokenizer_config.json", cased, strlen(cased));
    must(wb_tokenizer_open(&t, SCRATCH "/cased"));
    assert_string_equal(ids_of(t, "Cafe\xCC\x81", 6), "100");
    wb_tokenizer_close(t);
    static const char *const refused[][2] = {
        {"[]", "is no JSON object"},
        {"{\"do_lower_case\": 1}", "\"do_lower_case\" is an integer"},
        {"{\"strip_accents\": \"yes\"}", "\"strip_accents\" is a string"},
        {"{\"tokenize_chinese_chars\": {}}", "\"tokenize_chinese_chars\" is an object"},
    };
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        put_file(SCRATCH "/cased/tokenizer_config.json", refused[i][0], strlen(refused[i][0]));
        refuse(SCRATCH "/cased", refused[i][1]);
    }
    must(wb_folder_remove(SCRATCH "/cased"));
}

static void an_exported_folder_opens_the_same_and_is_copied_verbatim(void **state) {
    const fixture *f = *state;
    static const char *const names[] = {"tokenizer.json", "vocab.txt", "tokenizer_config.json",
                                        "special_tokens_map.json"};
    static int32_t ours[MANY], theirs[MANY];
    wb_tokenizer *t;
    must(wb_folder_make(SCRATCH "/one"));
    must(wb_folder_make(SCRATCH "/two"));
    must(wb_tokenizer_export(f->tokenizer, SCRATCH "/one"));
    must(wb_tokenizer_open(&t, SCRATCH "/one"));
    must(wb_tokenizer_export(t, SCRATCH "/two"));
    const char *text;
    for (size_t at = 0; at < f->bytes;) {
        const size_t length = next_text(f, &at, &text);
        const int64_t count = encode(f->tokenizer, text, length, MANY, ours);
        assert_int_equal(encode(t, text, length, MANY, theirs), count);
        assert_memory_equal(ours, theirs, (size_t)count * sizeof(*ours));
    }
    wb_tokenizer_close(t);
    for (int i = 0; i < 4; i++) {
        char path[WB_PATH], *one, *two;
        size_t bytes_one, bytes_two;
        must(wb_path_join(path, SCRATCH "/one", "%s", names[i]));
        must(wb_file_read(path, CAP, &one, &bytes_one));
        must(wb_path_join(path, SCRATCH "/two", "%s", names[i]));
        must(wb_file_read(path, CAP, &two, &bytes_two));
        assert_int_equal(bytes_one, bytes_two);
        assert_memory_equal(one, two, bytes_one);
        free(one);
        free(two);
    }
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
        cmocka_unit_test(a_small_tokenizer_json_is_read),
        cmocka_unit_test(added_tokens_may_follow_the_vocabulary),
        cmocka_unit_test(a_word_may_be_as_long_as_the_file_says),
        cmocka_unit_test(kept_marks_are_in_canonical_order),
        cmocka_unit_test(hostile_tokenizer_json_is_refused),
        cmocka_unit_test(templates_other_than_berts_are_refused),
        cmocka_unit_test(hostile_vocabularies_are_refused),
        cmocka_unit_test(too_large_vocabularies_are_refused),
        cmocka_unit_test(a_name_may_not_be_too_long),
        cmocka_unit_test(a_vocabulary_may_lack_tokens_that_continue),
        cmocka_unit_test(no_token_needs_to_be_an_added_one),
        cmocka_unit_test(a_vocabulary_may_have_crlf_and_no_last_line_end),
        cmocka_unit_test(the_config_next_to_a_vocabulary_counts),
        cmocka_unit_test(an_exported_folder_opens_the_same_and_is_copied_verbatim),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
