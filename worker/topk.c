/* Blocked products and heaps. */
#include "topk.h"

#include "gemm.h"
#include "threads.h"
#include "units.h"

#include <stdlib.h>

/* So many queries share the packing of a tile of rows. */
enum { QUERIES = 512, ROWS = 256 };
enum { BLOCK = 64 }; /* scores compared at once */

/* Puts a hit in the place of the worst: those behind it move up. */
static void replace_worst(wb_hit *heap, int64_t count, wb_hit hit) {
    int64_t at = 0;
    for (int64_t child = 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && wb_hit_before(heap[child], heap[child + 1])) {
            child++;
        }
        if (!wb_hit_before(hit, heap[child])) {
            break;
        }
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = hit;
}

void wb_topk_add(wb_hit *heap, int64_t *count, int64_t k, wb_hit hit) {
    if (*count == k) {
        if (k > 0 && wb_hit_before(hit, heap[0])) {
            replace_worst(heap, k, hit);
        }
        return;
    }
    int64_t at = (*count)++;
    heap[at] = hit;
    while (at > 0 && wb_hit_before(heap[(at - 1) / 2], heap[at])) {
        const wb_hit swap = heap[at];
        heap[at] = heap[(at - 1) / 2];
        heap[(at - 1) / 2] = swap;
        at = (at - 1) / 2;
    }
}

static int compare_hits(const void *a, const void *b) {
    const wb_hit *x = a, *y = b;
    return wb_hit_before(*x, *y) ? -1 : (wb_hit_before(*y, *x) ? 1 : 0);
}

void wb_topk_sort(wb_hit *heap, int64_t count) {
    qsort(heap, (size_t)count, sizeof(*heap), compare_hits);
}

/* True where none of a block's scores reaches the limit. */
static bool all_below(const float *scores, float limit) {
    int reached = 0;
#pragma omp simd reduction(| : reached)
    for (int i = 0; i < BLOCK; i++) {
        reached |= scores[i] >= limit;
    }
    return !reached;
}

/* Scores of one query over a tile; most rows fail the first comparison, whole blocks at once. */
static void fold_scores(wb_hit *heap, int64_t *count, const float *scores, int64_t m, int64_t k,
                        int64_t first) {
    for (int64_t at = 0; at < m; at += BLOCK) {
        const int64_t end = m - at < BLOCK ? m : at + BLOCK;
        if (end - at == BLOCK && *count == k && all_below(scores + at, heap[0].score)) {
            continue;
        }
        for (int64_t j = at; j < end; j++) {
            if (*count < k || scores[j] >= heap[0].score) {
                wb_topk_add(heap, count, k, (wb_hit){.score = scores[j], .row = first + j});
            }
        }
    }
}

static void fold_tile(wb_hit *hits, int64_t *counts, const float *queries, const float *rows,
                      int64_t n, int64_t m, int64_t d, int64_t k, int64_t first, float *scores) {
    for (int64_t row = 0; row < m; row += ROWS) {
        const int64_t columns = m - row < ROWS ? m - row : ROWS;
        wb_gemm(scores, columns, queries, d, WB_PLAIN, rows + row * d, d, WB_TRANSPOSED, n, columns,
                d, 1.0f, 0.0f);
        for (int64_t i = 0; i < n; i++) {
            fold_scores(hits + i * k, &counts[i], scores + i * columns, columns, k, first + row);
        }
    }
}

static int64_t scores_at_once(void) {
    return (int64_t)wb_threads() * QUERIES * ROWS;
}

size_t wb_topk_bytes(void) {
    return wb_arena_rounded(wb_float_bytes(scores_at_once()));
}

wb_status wb_topk_fold(wb_hit *hits, int64_t *counts, const float *queries, const float *rows,
                       int64_t n, int64_t m, int64_t d, int64_t k, int64_t first, wb_arena *arena) {
    wb_status status = WB_OK;
    const size_t mark = wb_arena_mark(arena);
    float *scores;
    const int64_t share = n / wb_threads() + 1;
    const int64_t queries_at_once = share < QUERIES ? share : QUERIES;
    WB_TRY(wb_arena_floats(arena, scores_at_once(), &scores));
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = 0; i < n; i += queries_at_once) {
        float *mine = scores + (int64_t)wb_thread() * QUERIES * ROWS;
        fold_tile(hits + i * k, counts + i, queries + i * d, rows,
                  n - i < queries_at_once ? n - i : queries_at_once, m, d, k, first, mine);
    }
done:
    wb_arena_release(arena, mark);
    return status;
}
