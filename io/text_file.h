/* A JSONL file of texts (BEIR corpus.jsonl and queries.jsonl, Tevatron corpus): opening reads it
 * once, checks every line, and keeps where each line begins (8 bytes) and an index from id to row
 * (8-byte slots, at most half full). Texts are read when asked for, from the file or, where it is
 * no longer than 32 MiB, from a copy in memory.
 *
 * A line is an object with an id (`_id`, `docid`, `query_id` or `id`; a string or an integer), a
 * text (`text`, `query` or `query_text`) and maybe a `title`. The full text is title + ' ' + text,
 * or just the text where the title is missing, null or empty. Other members are passed over.
 * Empty lines are skipped: rows count the others. */
#ifndef WB_TEXT_FILE_H
#define WB_TEXT_FILE_H

#include "interner.h"
#include "status.h"

#include <stdint.h>

typedef struct wb_text_file wb_text_file;

/* Storage of one text, reused from read to read; start with {0}. Not shared between threads. */
typedef struct wb_text {
    char *id;     /* NUL-terminated, owned */
    char *text;   /* the full text, valid UTF-8 without NUL, NUL-terminated, owned */
    size_t bytes; /* of text */
    size_t id_capacity, text_capacity;
    char *line; /* the line as it stands in the file, owned */
    size_t line_capacity;
} wb_text;

/* Local. Frees the storage; the text can be used again afterwards. */
void wb_text_clear(wb_text *text);

/* Local. Opens and checks the whole file. Errors: WB_ERR_INPUT with file:line for a line that is
 * too long (16 MiB), no JSON object, holds NUL or invalid UTF-8, lacks id or text, has one of the
 * wrong type, an id with blanks (TREC files cannot hold it) or an id that another line has (both
 * lines are named); WB_ERR_MEMORY. */
wb_status wb_text_file_open(wb_text_file **file, const char *path);

/* Local. The same, and in the same pass finds ids: rows [ids->count] is filled with the row of each
 * of `ids`, -1 where there is none. */
wb_status wb_text_file_open_finding(wb_text_file **file, const char *path, const wb_interner *ids,
                                    int64_t *rows);
void wb_text_file_close(wb_text_file *file);

/* Local. The path it was opened with; borrowed from `file`. */
const char *wb_text_file_path(const wb_text_file *file);

int64_t wb_text_file_rows(const wb_text_file *file);

/* Local. Byte offset of a row, row in [0, rows]; row == rows gives the file size: for splitting a
 * file into parts of like bytes. */
int64_t wb_text_file_offset(const wb_text_file *file, int64_t row);

/* Local. *row is the row of `id`, -1 if there is none. Usable from several threads.
 * Errors: WB_ERR_INPUT where the file cannot be read any more; WB_ERR_MEMORY. */
wb_status wb_text_file_find(const wb_text_file *file, const char *id, int64_t *row);

/* Local. As wb_text_file_find, and fills `text` with the row found, in the same read. */
wb_status wb_text_file_fetch(const wb_text_file *file, const char *id, int64_t *row, wb_text *text);

/* Local. Fills `text` with a row, row in [0, rows). Usable from several threads with a `text` of
 * their own. Errors: WB_ERR_INPUT where the line is no longer what was checked; WB_ERR_MEMORY. */
wb_status wb_text_file_read(const wb_text_file *file, int64_t row, wb_text *text);

#endif
