/* Marking, numbering and expanding rows. */
#include "table_rows.h"

#include "units.h"

#include <string.h>

void wb_table_rows_mark(uint8_t *marks, const wb_packed *packed, uint8_t mark) {
    /* threads may meet at a token, with the same mark */
#pragma omp parallel for schedule(static)
    for (int64_t t = packed->offsets[0]; t < packed->offsets[packed->n]; t++) {
        uint8_t *const of_token = &marks[packed->ids[t]];
        uint8_t before;
#pragma omp atomic read
        before = *of_token;
        if (before < mark) {
#pragma omp atomic write
            *of_token = mark;
        }
    }
}

void wb_table_rows_number(wb_table_rows *rows, int32_t *place, const uint8_t *marks, int64_t V,
                          int64_t H) {
    *rows = (wb_table_rows){.V = V, .H = H, .place = place};
    for (int64_t token = 0; token < V; token++) {
        place[token] = marks[token] == WB_ROW_EARLY ? (int32_t)rows->count++ : -1;
    }
    rows->early = rows->count;
    for (int64_t token = 0; token < V; token++) {
        place[token] = marks[token] == WB_ROW_LATE ? (int32_t)rows->count++ : place[token];
    }
}

int64_t wb_table_rows_elements(const wb_table_rows *rows, int64_t total) {
    return total - (rows->V - rows->count) * rows->H;
}

void wb_table_rows_expand(float *expanded, const float *compact, const wb_table_rows *rows,
                          int64_t total) {
    const int64_t V = rows->V, H = rows->H;
#pragma omp parallel for schedule(static)
    for (int64_t token = 0; token < V; token++) {
        const float *row = wb_table_row(compact, rows, token);
        if (row) {
            memcpy(expanded + token * H, row, wb_float_bytes(H));
        } else {
            memset(expanded + token * H, 0, wb_float_bytes(H));
        }
    }
    memcpy(expanded + V * H, compact + rows->count * H, wb_float_bytes(total - V * H));
}
