/* The files of a tokenizer: what may differ in them is read, what is wrong is refused, and what is
 * written opens the same. */
#include "tokenizer_checks.h"

#define SCRATCH WB_TEST_SCRATCH "/tokenizer_spec"

static int set_up(void **state) {
    return make_fixture(state, SCRATCH);
}

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
    wb_tokenizer *t = open_json(SCRATCH "/changed", small);
    assert_int_equal(wb_tokenizer_vocabulary(t), 6);
    assert_string_equal(ids_of(t, text, strlen(text)), "4 4 5 4 5 1 3 4 1 1");
    wb_tokenizer_close(t);
}

static void added_tokens_may_follow_the_vocabulary(void **state) {
    (void)state;
    char *json = replaced(small, "\"added_tokens\": [",
                          "\"added_tokens\": [{\"id\": 6, \"content\": \"[a]\"},"
                          "{\"id\": 7, \"content\": \"[a]b\"},");
    wb_tokenizer *t = open_json(SCRATCH "/changed", json);
    assert_int_equal(wb_tokenizer_vocabulary(t), 8);
    assert_string_equal(ids_of(t, "a[a]a[a]b[a", 11), "4 6 4 7 1 4");
    wb_tokenizer_close(t);
    free(json);
}

static void a_word_may_be_as_long_as_the_file_says(void **state) {
    (void)state;
    char *json = replaced(small, ": 100", ": 3");
    wb_tokenizer *t = open_json(SCRATCH "/changed", json);
    assert_string_equal(ids_of(t,
                               "abb abbb a\xCC\x81"
                               "b\xCC\x81"
                               "b\xCC\x81",
                               18),
                        "4 5 5 1 4 5 5");
    wb_tokenizer_close(t);
    free(json);
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
    assert_ok(wb_folder_make(SCRATCH "/hostile"));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *json = replaced(small, cases[i].from, cases[i].to);
        put_text(SCRATCH "/hostile/tokenizer.json", json);
        refuse(SCRATCH "/hostile", cases[i].message);
        free(json);
    }
    put_bytes(SCRATCH "/hostile/tokenizer.json", "[]", 2);
    refuse(SCRATCH "/hostile", "is no JSON object");
    for (size_t bytes = 0; bytes < strlen(small); bytes += 7) {
        put_bytes(SCRATCH "/hostile/tokenizer.json", small, bytes);
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
    wb_tokenizer_close(open_json(SCRATCH "/changed", good));
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        char *json = replaced(good, changes[i][0], changes[i][1]);
        put_text(SCRATCH "/hostile/tokenizer.json", json);
        refuse(SCRATCH "/hostile", "post-processor");
        free(json);
    }
    char *json = replaced(good, "\"SpecialToken\": {\"id\": \"[SEP]\"",
                          "\"SpecialToken\": {\"id\": \"[PEP]\"");
    put_text(SCRATCH "/hostile/tokenizer.json", json);
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
        put_bytes(path, text, strlen(head) + cases[i].bytes);
        refuse(path, cases[i].message);
    }
    memset(text, 'x', sizeof(text));
    memcpy(text, head, strlen(head));
    put_bytes(path, text, strlen(head) + 1025);
    refuse(path, "1025 bytes; at most 1024");
    for (size_t i = 0; i < 4; i++) { /* all but one */
        char *const without = strdup(head), message[32];
        assert_non_null(without);
        (void)snprintf(message, sizeof(message), "%.5s is missing", head + 6 * i);
        without[6 * i] = '<';
        put_text(path, without);
        refuse(path, message);
        free(without);
    }
    put_bytes(path, "", 0);
    refuse(path, "is missing");
    refuse(SCRATCH "/nowhere.txt", "cannot open");
    assert_ok(wb_folder_make(SCRATCH "/empty"));
    refuse(SCRATCH "/empty", "neither tokenizer.json nor vocab.txt");
}

/* One token too many, and more bytes of tokens than a trie has units. */
static void too_large_vocabularies_are_refused(void **state) {
    (void)state;
    static const char path[] = SCRATCH "/large.txt";
    enum { LINES = 1 << 20, LONG = 1000, MANY_LONG = 9000 };
    char *text = malloc((size_t)MANY_LONG * (LONG + 1));
    assert_non_null(text);
    for (size_t i = 0; i < LINES; i++) {
        memcpy(text + 2 * i, "a\n", 2);
    }
    put_bytes(path, text, 2 * (size_t)LINES);
    refuse(path, "1048576 tokens; there must be fewer than 1048576");
    size_t at = (size_t)snprintf(text, 32, "[PAD]\n[UNK]\n[CLS]\n[SEP]\n");
    for (int i = 0; i < MANY_LONG - 4; i++) {
        at += (size_t)sprintf(text + at, "%05d", i);
        memset(text + at, 'a', LONG - 5);
        at += LONG - 5;
        text[at++] = '\n';
    }
    put_bytes(path, text, at);
    refuse(path, "needs more than 8388608 trie units; use one with fewer or shorter tokens");
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
    put_text(SCRATCH "/whole.txt", text);
    assert_ok(wb_tokenizer_open(&t, SCRATCH "/whole.txt"));
    assert_string_equal(ids_of(t, "a ab a", 6), "4 1 4");
    wb_tokenizer_close(t);
}

/* Without "added_tokens" no token is cut out of the text: "[sep]" is three words. Nor is [MASK]
 * needed, and then none is exported. */
static void no_token_needs_to_be_an_added_one(void **state) {
    (void)state;
    char *json = replaced(small, "\"added_tokens\": [", "\"others\": [");
    wb_tokenizer *t = open_json(SCRATCH "/changed", json);
    assert_string_equal(ids_of(t, "a[SEP]a", 7), "4 1 1 1 4");
    char *map;
    size_t bytes;
    assert_ok(wb_folder_make(SCRATCH "/maskless"));
    assert_ok(wb_tokenizer_export(t, SCRATCH "/maskless"));
    assert_ok(wb_file_read(SCRATCH "/maskless/special_tokens_map.json", CAP, &map, &bytes));
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
    put_text(SCRATCH "/crlf.txt", text);
    assert_ok(wb_tokenizer_open(&t, SCRATCH "/crlf.txt"));
    assert_int_equal(wb_tokenizer_vocabulary(t), 6);
    assert_string_equal(ids_of(t, "ab", 2), "4 5");
    wb_tokenizer_close(t);
}

static void the_config_next_to_a_vocabulary_counts(void **state) {
    const fixture *f = *state;
    static const char cased[] = "{\"do_lower_case\": false, \"strip_accents\": null}";
    wb_tokenizer *t;
    assert_ok(wb_folder_make(SCRATCH "/cased"));
    assert_ok(wb_file_copy(VOCABULARY, SCRATCH "/cased/vocab.txt"));
    assert_ok(wb_tokenizer_open(&t, SCRATCH "/cased"));
    char expected[1024];
    (void)strcpy(expected, ids_of(f->tokenizer, "Caf\xC3\xA9", 5));
    assert_string_equal(ids_of(t, "Caf\xC3\xA9", 5), expected);
    wb_tokenizer_close(t);
    put_text(SCRATCH "/cased/tokenizer_config.json", cased);
    assert_ok(wb_tokenizer_open(&t, SCRATCH "/cased"));
    assert_string_equal(ids_of(t, "Cafe\xCC\x81", 6), "100");
    wb_tokenizer_close(t);
    static const char *const refused[][2] = {
        {"[]", "is no JSON object"},
        {"{\"do_lower_case\": 1}", "\"do_lower_case\" is an integer"},
        {"{\"strip_accents\": \"yes\"}", "\"strip_accents\" is a string"},
        {"{\"tokenize_chinese_chars\": {}}", "\"tokenize_chinese_chars\" is an object"},
    };
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        put_text(SCRATCH "/cased/tokenizer_config.json", refused[i][0]);
        refuse(SCRATCH "/cased", refused[i][1]);
    }
    assert_ok(wb_folder_remove(SCRATCH "/cased"));
}

static void an_exported_folder_opens_the_same_and_is_copied_verbatim(void **state) {
    const fixture *f = *state;
    static const char *const names[] = {"tokenizer.json", "vocab.txt", "tokenizer_config.json",
                                        "special_tokens_map.json"};
    static int32_t ours[MANY], theirs[MANY];
    wb_tokenizer *t;
    assert_ok(wb_folder_make(SCRATCH "/one"));
    assert_ok(wb_folder_make(SCRATCH "/two"));
    assert_ok(wb_tokenizer_export(f->tokenizer, SCRATCH "/one"));
    assert_ok(wb_tokenizer_open(&t, SCRATCH "/one"));
    assert_ok(wb_tokenizer_export(t, SCRATCH "/two"));
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
        assert_ok(wb_path_join(path, SCRATCH "/one", "%s", names[i]));
        assert_ok(wb_file_read(path, CAP, &one, &bytes_one));
        assert_ok(wb_path_join(path, SCRATCH "/two", "%s", names[i]));
        assert_ok(wb_file_read(path, CAP, &two, &bytes_two));
        assert_int_equal(bytes_one, bytes_two);
        assert_memory_equal(one, two, bytes_one);
        free(one);
        free(two);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_small_tokenizer_json_is_read),
        cmocka_unit_test(added_tokens_may_follow_the_vocabulary),
        cmocka_unit_test(a_word_may_be_as_long_as_the_file_says),
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
    return cmocka_run_group_tests(tests, set_up, drop_fixture);
}
