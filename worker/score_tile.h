/* A tile: part of a term's scores, in one thread's memory.
 *
 * In both walks the own side, rows in the first and columns in the second, lies along a tile's
 * lines, and what passes by makes the lines:
 *
 *                  own items
 *               .-------------.
 *     passing   | . . . . . . |   own item i and passing item j meet at
 *     items     | . . . . . . |   (j - passing.first) * apart + i - own.first
 *               '-------------'
 *
 * so that the own vectors are turned once for all that pass by. There are at most WB_INFONCE_TILE
 * of either: scores and both operands stay in a second-level cache of 1 MiB for d = 384.
 */
#ifndef WB_SCORE_TILE_H
#define WB_SCORE_TILE_H

#include "score_terms.h"

typedef struct wb_score_tile {
    float *scores;       /* over tau; -infinity for what does not compete */
    float *similarities; /* of the guide, likewise; NULL: scores times tau are */
    int64_t apart;       /* a line and the next */
    bool own_rows;       /* own items are rows; else columns */
    wb_score_span own, passing;
    float *scratch;      /* room for one matrix; scores, unless they lie elsewhere */
    float *turned;       /* [d, own.count], own vectors as columns */
    float *turned_guide; /* likewise of the guide's */
} wb_score_tile;

/* Local. Memory for a tile of each thread. Error: WB_ERR_MEMORY. */
wb_status wb_score_scratch(float **scratch, const wb_infonce *loss, wb_arena *arena);

/* Local. Own items of a tile where n are shared among threads: each gets some, in whole vector
 * registers. */
int64_t wb_score_own(int64_t n);

/* Local. This thread's tile, of own items that it turns, against nothing yet. */
wb_score_tile wb_score_tile_begin(float *scratch, const wb_score_side *own, wb_score_span items,
                                  bool own_rows, const wb_infonce *loss);

/* Local. Items pass by: room for their scores is in the scratch. */
void wb_score_tile_meet(wb_score_tile *tile, wb_score_span passing);

/* Local. Fills scores of one term. */
void wb_score_tile_fill(const wb_score_tile *tile, const wb_score_term *term,
                        const wb_score_walk *walk);

static inline const wb_score_side *wb_score_own_side(const wb_score_tile *tile,
                                                     const wb_score_term *term) {
    return tile->own_rows ? &term->rows : &term->columns;
}

static inline const wb_score_side *wb_score_passing_side(const wb_score_tile *tile,
                                                         const wb_score_term *term) {
    return tile->own_rows ? &term->columns : &term->rows;
}

#endif
