/* What the tests of the tokenizer share: bert-base-uncased, the lines of the fixtures, which
 * tests/reference/make_tokenizer.py makes, and files with a word changed. */
#ifndef WB_TOKENIZER_CHECKS_H
#define WB_TOKENIZER_CHECKS_H

#include "io_checks.h"
#include "tokenizer.h"

#define VOCABULARY WB_TEST_DATA "/../../configs/vocab/bert-base-uncased-vocab.txt"
#define CAP        ((size_t)32 << 20)

enum { MANY = 4096 }; /* more tokens than a line has */

typedef struct fixture {
    wb_tokenizer *tokenizer; /* bert-base-uncased */
    char *lines;
    size_t bytes;
} fixture;

/* As set_up, once `scratch` holds nothing, also of a test that failed. */
static inline int make_fixture(void **state, const char *scratch) {
    fixture *f = calloc(1, sizeof(*f));
    *state = f;
    assert_ok(wb_folder_remove(scratch));
    assert_ok(wb_folder_make(scratch));
    assert_ok(wb_tokenizer_open(&f->tokenizer, VOCABULARY));
    assert_ok(wb_file_read(WB_TEST_DATA "/tokenizer/lines.txt", CAP, &f->lines, &f->bytes));
    return 0;
}

static inline int drop_fixture(void **state) {
    fixture *f = *state;
    wb_tokenizer_close(f->tokenizer);
    free(f->lines);
    free(f);
    return 0;
}

static inline int64_t encode(const wb_tokenizer *t, const char *text, size_t bytes, int64_t most,
                             int32_t *ids) {
    int64_t count = -1;
    assert_ok(wb_tokenizer_encode(t, text, bytes, true, most, ids, &count));
    return count;
}

/* Ids of a literal text, as one string without specials. */
static inline const char *ids_of(const wb_tokenizer *t, const char *text, size_t bytes) {
    static char out[1024];
    int32_t ids[64];
    int64_t count = 0;
    assert_ok(wb_tokenizer_encode(t, text, bytes, false, 64, ids, &count));
    out[0] = '\0';
    for (int64_t i = 0; i < count; i++) {
        (void)snprintf(out + strlen(out), 16, i > 0 ? " %d" : "%d", ids[i]);
    }
    return out;
}

/* lines.txt holds NUL bytes: lengths come from memchr. */
static inline size_t next_text(const fixture *f, size_t *at, const char **line) {
    *line = f->lines + *at;
    const char *end = memchr(*line, '\n', f->bytes - *at);
    assert_non_null(end);
    *at += (size_t)(end - *line) + 1;
    return (size_t)(end - *line);
}

/* `text` with its first `from` replaced; the caller frees it. */
static inline char *replaced(const char *text, const char *from, const char *to) {
    const char *place = strstr(text, from);
    if (!place) {
        fail_msg("\"%s\" is not there", from);
    }
    char *result = malloc(strlen(text) + strlen(to) + 1);
    assert_non_null(result);
    (void)sprintf(result, "%.*s%s%s", (int)(place - text), text, to, place + strlen(from));
    return result;
}

/* The tokenizer of a folder that has this tokenizer.json only. */
static inline wb_tokenizer *open_json(const char *folder, const char *json) {
    wb_tokenizer *tokenizer;
    char path[WB_PATH];
    assert_ok(wb_folder_make(folder));
    assert_ok(wb_path_join(path, folder, "tokenizer.json"));
    put_text(path, json);
    assert_ok(wb_tokenizer_open(&tokenizer, folder));
    return tokenizer;
}

#endif
