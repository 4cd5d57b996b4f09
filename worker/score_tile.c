/* Two products at most, and what is left out. */
#include "score_tile.h"

#include "candidates.h"
#include "threads.h"
#include "tile_product.h"
#include "units.h"

enum { MATRIX = WB_INFONCE_TILE * WB_INFONCE_TILE };

/* Matrices of a tile: scores, and similarities where a guide tells them. */
static int64_t matrices_of(const wb_infonce *loss) {
    return loss->guide_width > 0 ? 2 : 1;
}

/* What a thread needs for a tile. */
static int64_t scratch_floats(const wb_infonce *loss) {
    return matrices_of(loss) * MATRIX + WB_INFONCE_TILE * (loss->width + loss->guide_width);
}

size_t wb_infonce_scratch_bytes(const wb_infonce *loss) {
    return wb_arena_rounded(wb_float_bytes((int64_t)wb_threads() * scratch_floats(loss)));
}

wb_status wb_score_scratch(float **scratch, const wb_infonce *loss, wb_arena *arena) {
    return wb_arena_floats(arena, (int64_t)wb_threads() * scratch_floats(loss), scratch);
}

int64_t wb_score_own(int64_t n) {
    enum { STEP = 64 };
    const int64_t share = (n + wb_threads() - 1) / wb_threads();
    const int64_t whole = (share + STEP - 1) / STEP * STEP;
    return whole < STEP ? STEP : whole > WB_INFONCE_TILE ? WB_INFONCE_TILE : whole;
}

static void turn(float *turned, const wb_score_vectors *of, wb_score_span items) {
    wb_tile_transpose(turned, items.count, wb_score_vector(of, items.first), of->apart, items.count,
                      of->width);
}

wb_score_tile wb_score_tile_begin(float *scratch, const wb_score_side *own, wb_score_span items,
                                  bool own_rows, const wb_infonce *loss) {
    float *const scores = scratch + wb_thread() * scratch_floats(loss);
    float *const turned = scores + matrices_of(loss) * MATRIX;
    const wb_score_tile tile = {.scratch = scores,
                                .similarities = loss->guide_width > 0 ? scores + MATRIX : NULL,
                                .turned = turned,
                                .turned_guide = turned + WB_INFONCE_TILE * loss->width,
                                .own_rows = own_rows,
                                .own = items};
    turn(tile.turned, &own->reps, items);
    if (tile.similarities) {
        turn(tile.turned_guide, &own->guide, items);
    }
    return tile;
}

void wb_score_tile_meet(wb_score_tile *tile, wb_score_span passing) {
    tile->passing = passing;
    tile->scores = tile->scratch;
    tile->apart = tile->own.count;
}

/* to = alpha x turned, a line for each passing vector. */
static void multiply(float *to, const wb_score_tile *tile, const wb_score_vectors *passing,
                     const float *turned, float alpha) {
    wb_tile_product(to, tile->apart, false, alpha, wb_score_vector(passing, tile->passing.first),
                    passing->apart, 1, turned, tile->own.count, tile->passing.count,
                    tile->own.count, passing->width);
}

void wb_score_tile_fill(const wb_score_tile *tile, const wb_score_term *term,
                        const wb_score_walk *walk) {
    const wb_score_side *passing = wb_score_passing_side(tile, term);
    multiply(tile->scores, tile, &passing->reps, tile->turned,
             (float)(1.0 / walk->loss->temperature));
    if (tile->similarities) {
        multiply(tile->similarities, tile, &passing->guide, tile->turned_guide, 1.0f);
    }
    wb_candidates_keep(tile, term, walk);
}
