/* Marking, numbering and expanding rows. */
#include "table_rows.h"

#include "units.h"

#include <string.h>

void wb_table_rows_mark(uint8_t *marks, const wb_packed *packed) {
    for (int64_t t = packed->offsets[0]; t < packed->offsets[packed->n]; t++) {
        marks[packed->ids[t]] = 1;
    }
}

void wb_table_rows_number(wb_table_rows *rows, int32_t *place, const uint8_t *marks, int64_t V) {
    *rows = (wb_table_rows){.place = place};
    for (int64_t token = 0; token < V; token++) {
        place[token] = marks[token] ? (int32_t)rows->count++ : -1;
    }
}

int64_t wb_table_rows_elements(const wb_table_rows *rows, int64_t V, int64_t H, int64_t total) {
    return total - (V - rows->count) * H;
}

/* From the end on, so that nothing is overwritten before it has moved. */
void wb_table_rows_expand(float *values, const wb_table_rows *rows, int64_t V, int64_t H,
                          int64_t total) {
    memmove(values + V * H, values + rows->count * H, wb_float_bytes(total - V * H));
    for (int64_t token = V - 1; token >= 0; token--) {
        const int64_t from = rows->place[token];
        if (from < 0) {
            memset(values + token * H, 0, wb_float_bytes(H));
        } else if (from < token) {
            memcpy(values + token * H, values + from * H, wb_float_bytes(H));
        }
    }
}
