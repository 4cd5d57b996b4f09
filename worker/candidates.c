/* Partners, equal texts, known answers, and what the filter finds too similar. */
#include "candidates.h"

#include "vector_math.h"

static wb_score_span rows_of(const wb_score_tile *tile) {
    return tile->own_rows ? tile->own : tile->passing;
}

static wb_score_span columns_of(const wb_score_tile *tile) {
    return tile->own_rows ? tile->passing : tile->own;
}

/* From a row to the next in a tile's matrices, and from a column to the next. */
static int64_t row_step(const wb_score_tile *tile) {
    return tile->own_rows ? 1 : tile->apart;
}

static int64_t column_step(const wb_score_tile *tile) {
    return tile->own_rows ? tile->apart : 1;
}

static void leave_out(const wb_score_tile *tile, int64_t row, int64_t column) {
    const int64_t i = row - rows_of(tile).first, j = column - columns_of(tile).first;
    tile->scores[i * row_step(tile) + j * column_step(tile)] = -INFINITY;
}

static void leave_out_partners(const wb_score_tile *tile, const wb_score_term *term) {
    const wb_score_span rows = rows_of(tile), columns = columns_of(tile);
    for (int64_t row = rows.first; row < rows.first + rows.count; row++) {
        const int64_t partner = row * term->partner;
        if (partner >= columns.first && partner < columns.first + columns.count) {
            leave_out(tile, row, partner);
        }
    }
}

static void leave_out_equal_texts(const wb_score_tile *tile, const wb_score_term *term) {
    const wb_score_side *own = wb_score_own_side(tile, term);
    const wb_score_side *passing = wb_score_passing_side(tile, term);
    uint64_t keys[WB_INFONCE_TILE];
    for (int64_t i = 0; i < tile->own.count; i++) {
        keys[i] = own->keys[(tile->own.first + i) * own->keys_apart];
    }
    for (int64_t j = 0; j < tile->passing.count; j++) {
        const uint64_t key = passing->keys[(tile->passing.first + j) * passing->keys_apart];
        float *line = tile->scores + j * tile->apart;
#pragma omp simd
        for (int64_t i = 0; i < tile->own.count; i++) {
            line[i] = keys[i] == key ? -INFINITY : line[i];
        }
    }
}

/* A query does not compete for the passage `known`, nor for others of the same text. */
static void leave_out_known(const wb_score_tile *tile, const wb_score_term *term, int64_t query,
                            int64_t known) {
    const bool by_row = wb_score_of_queries(&term->columns);
    const wb_score_side *side = by_row ? &term->rows : &term->columns;
    const wb_score_span items = by_row ? rows_of(tile) : columns_of(tile);
    for (int64_t item = items.first; item < items.first + items.count; item++) {
        const int64_t passage = item * side->passages_apart;
        if (passage == known || (side->keys && side->keys[passage] == side->keys[known])) {
            leave_out(tile, by_row ? item : query, by_row ? query : item);
        }
    }
}

/* Of a term with passages: its other side are queries, or positives that stand for them. */
static void leave_out_all_known(const wb_score_tile *tile, const wb_score_term *term,
                                const wb_infonce_batch *batch) {
    const wb_score_span queries =
        wb_score_of_queries(&term->columns) ? columns_of(tile) : rows_of(tile);
    for (int64_t query = queries.first; query < queries.first + queries.count; query++) {
        for (int64_t k = batch->known_firsts[query]; k < batch->known_firsts[query + 1]; k++) {
            leave_out_known(tile, term, query, batch->known[k]);
        }
    }
}

static double exact_dot(const float *a, const float *b, int64_t n) {
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) {
        sum += (double)a[i] * (double)b[i];
    }
    return sum;
}

double wb_candidates_limit(const wb_infonce *loss, const wb_infonce_block *own, int64_t i) {
    const bool guided = loss->guide_width > 0;
    const int64_t g = loss->group, d = guided ? loss->guide_width : loss->width;
    const float *const q = guided ? own->guide_q : own->q, *const p =
                                                               guided ? own->guide_p : own->p;
    if (loss->filter == WB_FILTER_NONE) {
        return INFINITY;
    }
    const double similarity = exact_dot(q + i * d, p + i * g * d, d);
    const double margin = loss->filter_margin;
    return similarity - (loss->filter == WB_FILTER_RELATIVE ? fabs(similarity) * margin : margin);
}

/* The vectors by which the filter compares. */
static const wb_score_vectors *compared(const wb_score_side *side) {
    return side->guide.width > 0 ? &side->guide : &side->reps;
}

/* Both walks must decide alike, though their products are rounded differently: near the limit one
 * in double decides, which is the same from both sides. */
static void leave_out_similar(const wb_score_tile *tile, const wb_score_term *term,
                              const wb_score_walk *walk) {
    const wb_score_span rows = rows_of(tile), columns = columns_of(tile);
    const int64_t down = row_step(tile), across = column_step(tile);
    const wb_score_vectors *xs = compared(&term->rows), *ys = compared(&term->columns);
    const float *const similarities = tile->similarities ? tile->similarities : tile->scores;
    const double unit = tile->similarities ? 1.0 : walk->loss->temperature;
    const int64_t d = xs->width;
    const double rounding = 1e-7 * (double)(d + 16);
    double lengths[WB_INFONCE_TILE];
    for (int64_t j = 0; j < columns.count; j++) {
        const float *y = wb_score_vector(ys, columns.first + j);
        lengths[j] = sqrt((double)wb_dot(y, y, d));
    }
    for (int64_t i = 0; i < rows.count; i++) {
        const float *x = wb_score_vector(xs, rows.first + i);
        const double limit = walk->batch->rows[rows.first + i].limit;
        const double doubt = rounding * sqrt((double)wb_dot(x, x, d));
        for (int64_t j = 0; j < columns.count; j++) {
            const int64_t place = i * down + j * across;
            const double beyond = (double)similarities[place] * unit - limit;
            if (beyond < -doubt * lengths[j]) {
                continue;
            }
            const float *y = wb_score_vector(ys, columns.first + j);
            if (beyond > doubt * lengths[j] || exact_dot(x, y, d) > limit) {
                tile->scores[place] = -INFINITY;
            }
        }
    }
}

void wb_candidates_keep(const wb_score_tile *tile, const wb_score_term *term,
                        const wb_score_walk *walk) {
    const bool between_queries =
        wb_score_of_queries(&term->rows) && wb_score_of_queries(&term->columns);
    leave_out_partners(tile, term);
    if (term->rows.keys) {
        leave_out_equal_texts(tile, term);
    }
    if (walk->batch->known_firsts && !between_queries) {
        leave_out_all_known(tile, term, walk->batch);
    }
    if (walk->loss->filter != WB_FILTER_NONE) {
        leave_out_similar(tile, term, walk);
    }
}
