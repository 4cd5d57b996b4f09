/* What the loss scores, without a score: its terms, each a matrix of rows against columns, and the
 * sides that these are made of.
 *
 * A term's rows are a block's queries, or the positives that stand for them; its columns are
 * queries or passages of another block. A softmax runs along the rows of all terms of its
 * direction. Which terms a loss has stands in one list in score_terms.c; what a walk reads and
 * needs room for follows from it.
 */
#ifndef WB_SCORE_TERMS_H
#define WB_SCORE_TERMS_H

#include "infonce.h"

/* Vectors of items first .., each so far from the next. */
typedef struct wb_score_vectors {
    const float *x; /* of item `first`; NULL: there are none */
    int64_t first, apart, width;
} wb_score_vectors;

/* One side of a term, or the part of it in memory: items first .. first + count. */
typedef struct wb_score_side {
    int64_t first, count;
    wb_score_vectors reps, guide;
    const uint64_t *keys; /* of item 0, or NULL */
    int64_t keys_apart;
    int64_t passages_apart; /* item i is passage i * this; 0: items are queries */
} wb_score_side;

typedef enum wb_score_direction {
    WB_TO_PASSAGES,
    WB_TO_QUERIES,
    WB_SCORE_DIRECTIONS
} wb_score_direction;

typedef struct wb_score_term {
    wb_score_direction along;
    wb_score_side rows, columns;
    int64_t partner; /* row i's, its positive or itself, is column i * this: no candidate */
    const wb_infonce_kept *kept; /* where its scores are kept from walk to walk, or NULL */
} wb_score_term;

enum { WB_SCORE_TERMS = 4 };

/* One block meets another: the terms between the rows of one and the columns of the other. */
typedef struct wb_score_walk {
    const wb_infonce *loss;
    const wb_infonce_batch *batch;
    wb_score_term terms[WB_SCORE_TERMS]; /* the first, which every loss has: queries and passages */
    int count;
} wb_score_walk;

/* Local. All arguments are borrowed. */
wb_score_walk wb_score_walk_of(const wb_infonce *loss, const wb_infonce_batch *batch,
                               const wb_infonce_block *rows, const wb_infonce_block *columns);

/* Local. How many terms a loss has, and in how many directions. */
int wb_score_terms(const wb_infonce *loss);
int wb_score_directions(const wb_infonce *loss);

/* Items first .. first + count of a side. */
typedef struct wb_score_span {
    int64_t first, count;
} wb_score_span;

/* Local. At most `most` items of a side from item `at` on. */
static inline wb_score_span wb_score_span_of(const wb_score_side *side, int64_t at, int64_t most) {
    const int64_t left = side->first + side->count - at;
    return (wb_score_span){at, left < most ? left : most};
}

static inline bool wb_score_of_queries(const wb_score_side *side) {
    return side->passages_apart == 0;
}

static inline const float *wb_score_vector(const wb_score_vectors *of, int64_t item) {
    return of->x + (item - of->first) * of->apart;
}

#endif
