/* The rows of the word table that a batch touches: the others' gradients are zeros, and nobody
 * adds, keeps or sends them. Arrays of gradients are laid out as the tensor table says of a
 * vocabulary of these rows only:
 *
 *     compact   | row 1 | row 3 | ... | row 0 | row 7 | ... | all other parameters |
 *                 early                 late
 *     expanded  | row 0 | row 1 |  0  | row 3 |  0  |  ...  | all other parameters |
 *
 * Late rows are those that a rank's last chunk touches: the early ones are complete before that
 * chunk's backward pass begins.
 */
#ifndef WB_TABLE_ROWS_H
#define WB_TABLE_ROWS_H

#include "packed.h"

#include <stddef.h>
#include <stdint.h>

typedef struct wb_table_rows {
    int64_t V, H;         /* of the whole table */
    int64_t count, early; /* rows touched, and those of them that come first */
    const int32_t *place; /* [V], of each token's row among them; -1: not touched */
} wb_table_rows;

enum { WB_ROW_UNTOUCHED = 0, WB_ROW_EARLY = 1, WB_ROW_LATE = 2 };

/* Local. marks [V]: `mark` for each token of the sequences that has a lesser one. */
void wb_table_rows_mark(uint8_t *marks, const wb_packed *packed, uint8_t mark);

/* Local. Numbers the marked tokens. place [V] filled, borrowed by *rows. */
void wb_table_rows_number(wb_table_rows *rows, int32_t *place, const uint8_t *marks, int64_t V,
                          int64_t H);

/* Local. Elements of a compact array, where `total` are expanded. */
int64_t wb_table_rows_elements(const wb_table_rows *rows, int64_t total);

/* Local. A token's row of a compact array, NULL where it is not touched. */
static inline const float *wb_table_row(const float *compact, const wb_table_rows *rows,
                                        int64_t token) {
    const int64_t place = rows->place[token];
    return place >= 0 ? compact + place * rows->H : NULL;
}

/* Local. expanded [total] filled from a compact array. */
void wb_table_rows_expand(float *expanded, const float *compact, const wb_table_rows *rows,
                          int64_t total);

#endif
