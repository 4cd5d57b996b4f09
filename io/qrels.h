/* Relevance judgements: BEIR tab-separated files with the header `query-id corpus-id score`, or
 * TREC's four columns `query iteration document relevance`, told apart by the first line. */
#ifndef WB_QRELS_H
#define WB_QRELS_H

#include "trec_rows.h"

/* Local. Reads a whole file into `qrels`, which is overwritten; wb_trec_rows_clear frees it.
 * Errors: WB_ERR_INPUT with file:line for a line with another number of columns, a score that is
 * no integer of 32 bits, NUL or invalid UTF-8, or a pair of query and document that an earlier line
 * judged (both lines are named); also for a file without judgements. WB_ERR_MEMORY. */
wb_status wb_qrels_read(wb_trec_rows *qrels, const char *path);

#endif
