/* TREC run files: `query Q0 document rank score tag`, one retrieved document a line. Written
 * durably (a temporary name, fsync, rename), with scores that read back as the same float. */
#ifndef WB_TREC_RUN_H
#define WB_TREC_RUN_H

#include "trec_rows.h"

typedef struct wb_trec_run_writer wb_trec_run_writer;

/* Local. Begins path.tmp. `tag` names the run in column 6.
 * Errors: WB_ERR_USAGE for a tag that is empty or has blanks; WB_ERR_DISK, WB_ERR_MEMORY. */
wb_status wb_trec_run_create(wb_trec_run_writer **writer, const char *path, const char *tag);

/* Local. Appends a line; `rank` counts from 1.
 * Errors: WB_ERR_NUMERIC for a score that is not finite; WB_ERR_INPUT for ids that are empty or
 * have blanks; WB_ERR_DISK. */
wb_status wb_trec_run_add(wb_trec_run_writer *writer, const char *query, const char *docid,
                          int64_t rank, float score);

/* Local. Makes the file appear under its name, whole, and frees the writer in any case.
 * Error: WB_ERR_DISK; the file that was there before, if any, is then still there. */
wb_status wb_trec_run_commit(wb_trec_run_writer *writer);

/* Local. Removes what was written and frees the writer (NULL-safe). */
void wb_trec_run_discard(wb_trec_run_writer *writer);

/* Local. Reads a whole file into `run`, which is overwritten; wb_trec_rows_clear frees it. Columns
 * are parted by any blanks; the rank column is not looked at: scores decide.
 * Errors: WB_ERR_INPUT with file:line for another number of columns, a score that is no number or
 * no finite float, NUL or invalid UTF-8, or a document that the query already has (both lines are
 * named). WB_ERR_MEMORY. */
wb_status wb_trec_run_read(wb_trec_rows *run, const char *path);

#endif
