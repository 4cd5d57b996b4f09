/* What judgements (qrels.h) and runs (trec_run.h) have in common: rows of query, document and a
 * value, one pair of query and document a file. Rows are 16 bytes, and names are kept once: files
 * of many million lines fit into little more memory than they take on disk. */
#ifndef WB_TREC_ROWS_H
#define WB_TREC_ROWS_H

#include "interner.h"
#include "lines.h"
#include "status.h"

typedef struct wb_trec_row {
    uint32_t query, docid; /* numbers in the interners */
    uint32_t line;         /* in the file, from 1, for messages */
    union {
        int32_t judgement; /* above 0 is relevant */
        float score;
    };
} wb_trec_row;

typedef struct wb_trec_rows {
    wb_interner queries, docids; /* in order of first appearance; own all strings */
    wb_trec_row *rows;           /* [count], those of one query together, in file order */
    int64_t count, capacity;
    int64_t *first; /* [queries.count + 1]: rows of query i are [first[i], first[i + 1]) */
} wb_trec_rows;

/* Local. The document of a row. */
static inline const char *wb_trec_rows_docid(const wb_trec_rows *rows, int64_t row) {
    return rows->docids.strings[rows->rows[row].docid];
}

/* Local. Reads a whole file into `rows`, which is overwritten; wb_trec_rows_clear frees it. `line`
 * is called for each line that is not blank, with `context`, and adds its row or none. Errors:
 * those of `line`; WB_ERR_INPUT for a pair of query and document that is there twice, naming both
 * lines, or where there are no rows; WB_ERR_MEMORY. */
typedef wb_status wb_trec_line(wb_trec_rows *rows, wb_lines *lines, void *context);
wb_status wb_trec_rows_read(wb_trec_rows *rows, const char *path, wb_trec_line *line,
                            void *context);

/* Local. Appends a row for the line last handed out; the value of *row is the caller's to fill.
 * Errors: WB_ERR_INPUT beyond line 2^32, WB_ERR_MEMORY. */
wb_status wb_trec_rows_add(wb_trec_rows *rows, const wb_lines *lines, const char *query,
                           const char *docid, wb_trec_row **row);

void wb_trec_rows_clear(wb_trec_rows *rows);

#endif
