/* Words found in one look, among others that lie close. */
#include "io_checks.h"
#include "known_words.h"

static wb_ascii_word word_of(const char *text, unsigned char case_bit) {
    char padded[WB_ASCII_WORD] = {0};
    memcpy(padded, text, strlen(text) < sizeof(padded) ? strlen(text) : sizeof(padded));
    return wb_ascii_word_of(padded, case_bit);
}

static void a_word_ends_where_letters_and_digits_do(void **state) {
    (void)state;
    for (int byte = 1; byte < 256; byte++) {
        const bool is_letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
        const bool is_word = is_letter || (byte >= '0' && byte <= '9');
        for (int at = 0; at < WB_ASCII_WORD; at++) {
            char text[WB_ASCII_WORD + 1] = "aB3dEf7hIjKlMnOp", small[] = "ab3def7hijklmnop";
            text[at] = (char)byte;
            small[at] = (char)(is_letter ? byte | 0x20 : byte);
            const wb_ascii_word folded = word_of(text, 0x20), same = word_of(text, 0);
            const int length = is_word ? WB_ASCII_WORD : at;
            char bytes[WB_ASCII_WORD] = {0};
            assert_int_equal(folded.length, length);
            assert_int_equal(same.length, length);
            memcpy(bytes, small, (size_t)length);
            assert_memory_equal(folded.bytes, bytes, sizeof(bytes));
            memcpy(bytes, text, (size_t)length);
            assert_memory_equal(same.bytes, bytes, sizeof(bytes));
        }
    }
}

static void only_words_that_are_there_are_found(void **state) {
    (void)state;
    static const char *const texts[] = {
        "internal",     "internally", "internalized", "a",   "b", "c",
        "internalizes", "##ly",       "caf\xC3\xA9",  "a-b", "0"};
    static const char *const strangers[] = {"internalize", "internalizer", "d", "intern", "1", "A"};
    enum {
        COUNT = sizeof(texts) / sizeof(*texts),
        OTHERS = sizeof(strangers) / sizeof(*strangers)
    };
    wb_token tokens[COUNT];
    wb_known_words words;
    for (int i = 0; i < COUNT; i++) {
        tokens[i] =
            (wb_token){.text = texts[i], .bytes = (uint32_t)strlen(texts[i]), .id = 100 + i};
    }
    for (int count = 0; count <= COUNT; count++) { /* the fewer there are, the closer they lie */
        assert_ok(wb_known_words_build(&words, tokens, count));
        for (int i = 0; i < COUNT; i++) {
            const wb_ascii_word word = word_of(texts[i], 0);
            const bool is_word = word.length == (int)strlen(texts[i]);
            if (is_word) {
                assert_int_equal(wb_known_words_find(&words, &word), i < count ? 100 + i : -1);
            }
        }
        for (int i = 0; i < OTHERS; i++) {
            const wb_ascii_word word = word_of(strangers[i], 0);
            assert_int_equal(wb_known_words_find(&words, &word), -1);
        }
        wb_known_words_clear(&words);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_word_ends_where_letters_and_digits_do),
        cmocka_unit_test(only_words_that_are_there_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
