/* What a tokenizer is, as its files say: tokens, rules and special tokens, checked. Read from
 * tokenizer.json or vocab.txt, built into a tokenizer (tokenizer.c), written for others to load. */
#ifndef WB_TOKENIZER_SPEC_H
#define WB_TOKENIZER_SPEC_H

#include "files.h"
#include "unicode_text.h"
#include "wordpiece.h"

enum { WB_WORD_CHARS_MOST = 1000 };

typedef struct wb_tokenizer_spec {
    char source[WB_PATH]; /* the path it was read from */
    bool is_folder;
    char *storage;    /* bytes of all tokens, each with a NUL behind it */
    wb_token *tokens; /* [vocabulary], by id */
    int64_t vocabulary;
    int64_t pieces;  /* the first of them, which words are made of; more are only added tokens */
    wb_token *added; /* [added_count], cut out of the text before all else; bytes in storage too */
    int64_t added_count;
    wb_unicode_rules rules;
    char prefix[64];    /* of a token that continues a word */
    int64_t word_chars; /* a word with more characters is unknown */
    int32_t unknown, cls, sep, pad;
    int32_t mask; /* -1 if there is none */
} wb_tokenizer_spec;

/* Local. Errors: as wb_tokenizer_open, but for equal tokens, which the trie finds. */
wb_status wb_tokenizer_spec_read(wb_tokenizer_spec *spec, const char *path);
void wb_tokenizer_spec_clear(wb_tokenizer_spec *spec);

/* Local. As wb_tokenizer_export. */
wb_status wb_tokenizer_spec_write(const wb_tokenizer_spec *spec, const char *folder);

#endif
