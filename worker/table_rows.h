/* The rows of the word table that a batch touches: the others' gradients are zeros, and nobody
 * adds, keeps or sends them. While a step adds gradients up, its arrays are laid out as the tensor
 * table says of a vocabulary of these rows only; afterwards they are expanded.
 *
 *     compact   | row 0 | row 1 | ... | all other parameters |
 *     expanded  |   0   | row 0 |  0  |  0  | row 1 |  ...  | all other parameters |
 */
#ifndef WB_TABLE_ROWS_H
#define WB_TABLE_ROWS_H

#include "packed.h"

#include <stdint.h>

typedef struct wb_table_rows {
    int64_t count;        /* rows, at most V */
    const int32_t *place; /* [V], of each token's row among them, ascending; -1: not touched */
} wb_table_rows;

/* Local. marks [V]: 1 for each token of the sequences, others stay. */
void wb_table_rows_mark(uint8_t *marks, const wb_packed *packed);

/* Local. Numbers the marked tokens. place [V] filled, borrowed by *rows. */
void wb_table_rows_number(wb_table_rows *rows, int32_t *place, const uint8_t *marks, int64_t V);

/* Local. Elements of a compact array, where `total` are expanded. */
int64_t wb_table_rows_elements(const wb_table_rows *rows, int64_t V, int64_t H, int64_t total);

/* Local. Expands a compact array in place. values [total]. */
void wb_table_rows_expand(float *values, const wb_table_rows *rows, int64_t V, int64_t H,
                          int64_t total);

#endif
