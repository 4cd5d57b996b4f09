/* Which texts the training rows bring as query and positive: numbers, the same where texts are the
 * same. A batch without duplicates is planned from them. */
#ifndef WB_ROW_TEXTS_H
#define WB_ROW_TEXTS_H

#include "comm.h"
#include "data_set.h"

typedef struct wb_row_texts {
    int64_t rows, distinct;
    int64_t *firsts;  /* [rows + 1], owned */
    int64_t *numbers; /* row r has numbers[firsts[r]] .. numbers[firsts[r + 1] - 1]; owned */
} wb_row_texts;

/* Collective. Ranks read a share of the rows each and exchange what they find.
 * Errors: WB_ERR_INPUT, WB_ERR_MEMORY, WB_ERR_MPI. */
wb_status wb_row_texts_read(wb_row_texts *texts, const wb_data_set *data, wb_comm *comm);
void wb_row_texts_clear(wb_row_texts *texts);

#endif
