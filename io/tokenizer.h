/* WordPiece, as BERT models use it: the same ids as Hugging Face's `tokenizers` for any text.
 *
 *     text -> special tokens cut out -> cleaned, accents stripped, lower-cased (unicode_text.h)
 *          -> words and single punctuation marks -> longest pieces of the vocabulary
 *
 * One walk over the text does all of it, a word at a time, and stops when enough tokens are there:
 * the cost is bounded by the tokens asked for plus what is dropped between them. */
#ifndef WB_TOKENIZER_H
#define WB_TOKENIZER_H

#include "status.h"

#include <stdint.h>

typedef struct wb_tokenizer wb_tokenizer;

/* Local. Opens a folder (tokenizer.json if there is one, else vocab.txt and, where present, the
 * do_lower_case, strip_accents and tokenize_chinese_chars of tokenizer_config.json) or a
 * vocabulary file with a token a line.
 * Errors: WB_ERR_INPUT for a file over 32 MiB, anything but BERT's normaliser, pre-tokeniser and
 * WordPiece (never ignored, since ids would differ), ids that are not 0 .. n - 1 below 2^22,
 * duplicates, tokens over 1 kB, NUL or invalid UTF-8, missing [UNK], [CLS], [SEP] or [PAD];
 * WB_ERR_MEMORY. */
wb_status wb_tokenizer_open(wb_tokenizer **tokenizer, const char *path);
void wb_tokenizer_close(wb_tokenizer *tokenizer);

/* Local. Number of tokens: ids are in [0, vocabulary). */
int64_t wb_tokenizer_vocabulary(const wb_tokenizer *tokenizer);

/* Local. Fills ids[max_tokens] with the first tokens of a text and *count with their number. With
 * `specials`, [CLS] before and [SEP] behind are among the max_tokens. Each byte that is not part of
 * valid UTF-8 counts as U+FFFD, which is dropped. Thread-safe; allocates nothing.
 * Error: WB_ERR_USAGE where max_tokens has no room for the specials. */
wb_status wb_tokenizer_encode(const wb_tokenizer *tokenizer, const char *text, size_t bytes,
                              bool specials, int64_t max_tokens, int32_t *ids, int64_t *count);

/* Local. Writes tokenizer.json, vocab.txt, tokenizer_config.json and special_tokens_map.json into
 * an existing folder, so that transformers and sentence-transformers load it. Files of the folder
 * it was opened from are copied as they are; what is missing is generated.
 * Errors: WB_ERR_DISK, WB_ERR_INPUT, WB_ERR_MEMORY. */
wb_status wb_tokenizer_export(const wb_tokenizer *tokenizer, const char *folder);

#endif
