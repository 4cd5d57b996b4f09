/* Where a score is kept. */
#include "kept_scores.h"

#include "units.h"

#include <string.h>

/* How far columns are from each other: not by a power of two, which caches map to few places. */
static int64_t columns_apart(int64_t rows) {
    enum { LINE = 16 };
    return rows + LINE;
}

size_t wb_infonce_kept_bytes(const wb_infonce *loss, int64_t n) {
    return wb_arena_rounded(wb_float_bytes(n * loss->group * columns_apart(n)));
}

wb_status wb_infonce_keep(wb_infonce_kept *kept, const wb_infonce *loss, int64_t first, int64_t n,
                          wb_arena *arena) {
    *kept = (wb_infonce_kept){.first = first,
                              .rows = n,
                              .first_column = first * loss->group,
                              .columns = n * loss->group,
                              .apart = columns_apart(n)};
    return wb_arena_floats(arena, kept->columns * kept->apart, &kept->scores);
}

static float *kept_at(const wb_infonce_kept *kept, int64_t row, int64_t column) {
    return kept->scores + (column - kept->first_column) * kept->apart + row - kept->first;
}

void wb_kept_scores_lend(const wb_infonce_kept *kept, wb_score_tile *tile) {
    const wb_score_span columns = tile->passing;
    if (kept && !tile->similarities && columns.first >= kept->first_column &&
        columns.first + columns.count <= kept->first_column + kept->columns) {
        tile->scores = kept_at(kept, tile->own.first, columns.first);
        tile->apart = kept->apart;
    }
}

void wb_kept_scores_take(const wb_infonce_kept *kept, const wb_score_tile *tile) {
    if (!kept || tile->scores != tile->scratch) {
        return;
    }
    for (int64_t j = 0; j < tile->passing.count; j++) {
        const int64_t column = tile->passing.first + j;
        if (column >= kept->first_column && column < kept->first_column + kept->columns) {
            memcpy(kept_at(kept, tile->own.first, column), tile->scores + j * tile->apart,
                   wb_float_bytes(tile->own.count));
        }
    }
}

const float *wb_kept_scores_find(const wb_infonce_kept *kept, const wb_score_tile *tile) {
    const wb_score_span rows = tile->passing;
    const bool has_all =
        kept && rows.first >= kept->first && rows.first + rows.count <= kept->first + kept->rows;
    return has_all ? kept_at(kept, rows.first, tile->own.first) : NULL;
}
