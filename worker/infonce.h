/* The contrastive loss over tiles: no matrix of all scores, no gradient exchanged.
 *
 * The batch has B queries and N = B * group passages; query i's positive is passage i * group, the
 * other passages of its group are its hard negatives, and every passage of the batch is scored:
 *
 *     loss = 1/B sum_i [ log sum_j exp(q_i p_j / tau) - q_i p_pos(i) / tau ]
 *
 * The sum over j runs over the positive and the candidates. No candidate is a passage whose text
 * equals the positive's (where text keys are given), nor another known positive of the query; with
 * all_positives the latter stand beside the positive instead, and the row's loss is the mean over
 * them of -log softmax. Other terms are other pairs of rows and columns in the same walk:
 *
 *     query_query      q_i q_j in the same sum, j != i, texts different
 *     passage_passage  p_pos(i) p_j in the same sum, j a candidate of query i
 *     symmetric        a softmax of p_pos(i) over all queries j of which pos(i) is a candidate, and
 *                      q_i; the row's loss is the mean of both directions
 *     filter           candidates more similar than query i and its positive, less the filter's
 *                      margin, are none; so where a row has no candidate left, it has no loss
 *     margin           taken from the scores q_i p_pos(i) of positives, before the temperature
 *
 * A rank holds its own rows and everybody's representations. Two walks over tiles follow:
 *   1. its rows against all columns: log-sum-exp and the rows' gradients (running maximum);
 *   2. after ranks exchanged a few numbers per query: all rows against its columns, transposed.
 * Each rank does its share of the work and no more. The sums run over tiles of the global batch in
 * order, so that they do not depend on who computes them.
 * Source: van den Oord et al. 2018, eq. 4; running maximum as in Milakov & Gimelshein 2018.
 */
#ifndef WB_INFONCE_H
#define WB_INFONCE_H

#include "arena.h"

/* Candidates with a similarity above s are left out, s0 that of the query and its positive. */
typedef enum wb_filter {
    WB_FILTER_NONE,
    WB_FILTER_ABSOLUTE, /* s = s0 - filter_margin */
    WB_FILTER_RELATIVE  /* s = s0 - |s0| filter_margin */
} wb_filter;

/* What the loss is; 0 leaves a term out. */
typedef struct wb_infonce {
    int64_t batch;      /* B, over all ranks */
    int64_t group;      /* passages per query: 1 positive, then its hard negatives */
    int64_t width;      /* d */
    double temperature; /* tau > 0, no unit */
    double margin;      /* of positives */
    bool all_positives; /* known passages are positives too */
    bool symmetric, query_query, passage_passage;
    wb_filter filter;
    double filter_margin;
} wb_infonce;

/* What the loss is taken of: all ranks' rows, borrowed. */
typedef struct wb_infonce_batch {
    const float *q, *p;           /* [B, d], [N, d] */
    const uint64_t *query_keys;   /* [B], equal where texts are; NULL: equal texts compete */
    const uint64_t *passage_keys; /* [N], likewise */
    const int64_t *known_firsts;  /* [B + 1], query i knows known[known_firsts[i] ..); or NULL */
    const int64_t *known;         /* other passages known to answer it, ascending, texts distinct */
} wb_infonce_batch;

/* What the first walk finds of a query and the second needs of all: floats only. */
typedef struct wb_infonce_row {
    float loss;   /* the batch's loss is the mean of these, in nats */
    float lse[2]; /* log-sum-exp of the query's scores; of its positive's over queries */
    float slope;  /* derivative of the loss by log(1 / tau) */
    float alone;  /* 1 where no candidate of the query is left, else 0 */
} wb_infonce_row;

/* Local. First walk, for queries first .. first + n of the batch and their passages.
 *   rows [n], dq [n, d], dp [n group, d]   filled; gradients lack what the second walk adds
 * Errors: WB_ERR_NUMERIC if a loss is not finite (naming the first such query); WB_ERR_MEMORY. */
wb_status wb_infonce_rows(wb_infonce_row *rows, float *dq, float *dp, const wb_infonce_batch *batch,
                          int64_t first, int64_t n, const wb_infonce *loss, wb_arena *arena);

/* Local. Second walk, for the same queries and passages.
 *   dq [n, d], dp [n group, d]   added to: now gradients of the batch's loss
 *   rows [B]                     of all queries, from the first walk
 * Error: WB_ERR_MEMORY. */
wb_status wb_infonce_columns(float *dq, float *dp, const wb_infonce_row *rows,
                             const wb_infonce_batch *batch, int64_t first, int64_t n,
                             const wb_infonce *loss, wb_arena *arena);

/* Local. Arena bytes that either walk takes. */
size_t wb_infonce_bytes(const wb_infonce *loss);

#endif
