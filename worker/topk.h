/* Exact search: the k best rows of a matrix for each query, over tiles, never a matrix of all
 * scores. */
#ifndef WB_TOPK_H
#define WB_TOPK_H

#include "arena.h"

typedef struct wb_hit {
    float score;
    int32_t zero; /* where padding would be: ranks send hits, and no byte without a value */
    int64_t row;  /* of the whole corpus */
} wb_hit;

/* Local. True if a ranks before b: higher score, then lower row. A total order, so that the result
 * does not depend on tiles or ranks. */
static inline bool wb_hit_before(wb_hit a, wb_hit b) {
    return a.score > b.score || (a.score == b.score && a.row < b.row);
}

/* Local. Folds a block of rows into each query's heap.
 *   hits [n, k], counts [n]   updated: the best so far (a heap, worst first); counts begin at 0
 *   queries [n, d], rows [m, d]; rows[0] is row `first` of the corpus
 * Error: WB_ERR_MEMORY. */
wb_status wb_topk_fold(wb_hit *hits, int64_t *counts, const float *queries, const float *rows,
                       int64_t n, int64_t m, int64_t d, int64_t k, int64_t first, wb_arena *arena);

/* Local. What it takes of the arena. */
size_t wb_topk_bytes(void);

/* Local. Adds one hit to one query's heap of at most k. */
void wb_topk_add(wb_hit *heap, int64_t *count, int64_t k, wb_hit hit);

/* Local. Turns a heap of `count` hits into a list, best first. */
void wb_topk_sort(wb_hit *heap, int64_t count);

#endif
