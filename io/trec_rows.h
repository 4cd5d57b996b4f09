/* What judgements and runs have in common: rows of query, document and a value, one pair of query
 * and document a file. */
#ifndef WB_TREC_ROWS_H
#define WB_TREC_ROWS_H

#include "interner.h"
#include "lines.h"
#include "status.h"

typedef struct wb_trec_row {
    int64_t query, docid; /* numbers in the interners */
    int64_t line;
    union {
        int64_t judgement;
        float score;
    };
} wb_trec_row;

typedef struct wb_trec_rows {
    wb_trec_row *rows; /* [count] */
    int64_t count, capacity;
    wb_interner queries, docids;
} wb_trec_rows;

/* Local. Appends a row for the line last handed out; the value of *row is the caller's to fill.
 * Error: WB_ERR_MEMORY. */
wb_status wb_trec_rows_add(wb_trec_rows *rows, const wb_lines *lines, const char *query,
                           const char *docid, wb_trec_row **row);

/* Local. Brings the rows of each query together, queries in order of first appearance, rows of one
 * in file order. *first [query count + 1] is allocated for the caller: rows of query i are
 * [first[i], first[i + 1]). Errors: WB_ERR_INPUT for a pair that is there twice, naming both lines,
 * or where there are no rows; WB_ERR_MEMORY. */
wb_status wb_trec_rows_group(wb_trec_rows *rows, const char *path, int64_t **first);

void wb_trec_rows_clear(wb_trec_rows *rows);

#endif
