/* Relevance judgements: BEIR tab-separated files with the header `query-id corpus-id score`, or
 * TREC's four columns `query iteration document relevance`, told apart by the first line. */
#ifndef WB_QRELS_H
#define WB_QRELS_H

#include "interner.h"
#include "status.h"

#include <stdint.h>

typedef struct wb_qrels {
    char **queries; /* [query_count], distinct, in order of first appearance */
    int64_t query_count;
    int64_t *first;  /* [query_count + 1], rows of query i are [first[i], first[i + 1]) */
    int64_t rows;    /* judgements; those of one query are together, in file order */
    int64_t *query;  /* [rows], index in queries */
    char **docids;   /* [rows] */
    int64_t *scores; /* [rows]; above 0 is relevant */
    int64_t *lines;  /* [rows], line number in the file, for messages */
    wb_interner query_names, docid_names; /* own all strings */
} wb_qrels;

/* Local. Reads a whole file into `qrels`, which is overwritten; wb_qrels_clear frees it.
 * Errors: WB_ERR_INPUT with file:line for a line with another number of columns, a score that is
 * no integer, NUL or invalid UTF-8, or a pair of query and document that an earlier line judged
 * (both lines are named); also for a file without judgements. WB_ERR_MEMORY. */
wb_status wb_qrels_read(wb_qrels *qrels, const char *path);
void wb_qrels_clear(wb_qrels *qrels);

#endif
