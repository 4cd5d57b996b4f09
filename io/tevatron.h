/* Tevatron training files: a query and its passages a line; see data_set.h for the two forms. */
#ifndef WB_TEVATRON_H
#define WB_TEVATRON_H

#include "files.h"
#include "text_file.h"

typedef struct wb_tevatron {
    char path[WB_PATH];
    int file;
    wb_text_file *corpus; /* where lines name documents by id, else NULL */
    int64_t rows, capacity;
    int64_t *begins, *ends; /* [rows], bytes of each row's line in the file */
    int64_t *counts;        /* [rows, 2], positives and negatives of each row */
    int64_t dropped;        /* lines without positives */
    int64_t negatives;      /* the fewest of any row */
    int64_t most_negatives; /* the most of any row */
    int64_t positives;      /* likewise */
} wb_tevatron;

/* Local. Opens and checks a whole file. Errors: WB_ERR_INPUT with file:line; WB_ERR_MEMORY. */
wb_status wb_tevatron_open(wb_tevatron *set, const char *path);
void wb_tevatron_close(wb_tevatron *set);

/* Local. As wb_data_set_rows_below. */
int64_t wb_tevatron_rows_below(const wb_tevatron *set, int64_t negatives);

/* Local. As wb_data_set_read, without the keys. */
wb_status wb_tevatron_read(const wb_tevatron *set, int64_t row, int64_t draw, int64_t negatives,
                           wb_text *texts);

/* Local. As wb_data_set_name_texts. */
wb_status wb_tevatron_name_texts(const wb_tevatron *set, int64_t row, int64_t draw,
                                 int64_t negatives, uint64_t *names);

/* Local. As wb_data_set_positive_keys. */
wb_status wb_tevatron_positive_keys(const wb_tevatron *set, int64_t row, uint64_t *keys,
                                    int64_t *count);

#endif
