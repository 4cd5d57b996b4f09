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
 *                      margin, are none; so where a row has no candidate left, it has no loss.
 *                      Similar is what the representations say, or those of a guide model
 *     margin           taken from the scores q_i p_pos(i) of positives, before the temperature
 *
 * A rank holds its own rows; everybody's pass by as blocks, one with the whole batch or windows of
 * it one after the other. Two walks over tiles follow:
 *   1. its rows against all columns: log-sum-exp and the rows' gradients (running maximum);
 *   2. after ranks exchanged a few numbers per query: all rows against its columns, transposed.
 * Each rank does its share of the work and no more: four products of the batch's scores and
 * vectors, or three where it keeps all scores from one walk to the other. Tiles begin at multiples
 * of WB_INFONCE_TILE queries and are added in the order of the batch: the bits depend neither on
 * who computes them nor on the windows. Source: van den Oord et al. 2018, eq. 4; running maximum as
 * in Milakov & Gimelshein 2018.
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
    int64_t guide_width; /* of the guide's vectors; 0: the filter compares q and p themselves */
} wb_infonce;

/* Windows begin and end at multiples of this many queries, or with the batch. */
enum { WB_INFONCE_TILE = 256 };

/* What every rank knows of every query: found by the rank that owns it, needed by all. */
typedef struct wb_infonce_row {
    double limit; /* similarity above which the filter leaves a candidate out */
    double slope; /* derivative of the loss by log(1 / tau) */
    float loss;   /* the batch's loss is the mean of these, in nats */
    float lse[2]; /* log-sum-exp of the query's scores; of its positive's over queries */
    float alone;  /* 1 where no candidate of the query is left, else 0 */
} wb_infonce_row;

/* Scores of a rank's queries and its own passages, kept from the first walk for the second, which
 * then does not multiply them again: the same bits, since a score is a sum in the order of d. */
typedef struct wb_infonce_kept {
    int64_t first, rows;           /* queries */
    int64_t first_column, columns; /* passages */
    int64_t apart;                 /* a column and the next */
    float *scores;                 /* [columns, apart] */
} wb_infonce_kept;

/* The batch without its vectors, borrowed. */
typedef struct wb_infonce_batch {
    const wb_infonce_kept *kept;  /* of this rank, shared by its parts; NULL: nothing is kept */
    wb_infonce_row *rows;         /* [B] */
    const uint64_t *query_keys;   /* [B], equal where texts are; NULL: equal texts compete */
    const uint64_t *passage_keys; /* [N], likewise */
    const int64_t *known_firsts;  /* [B + 1], query i knows known[known_firsts[i] ..); or NULL */
    const int64_t *known;         /* other passages known to answer it, ascending, texts distinct */
} wb_infonce_batch;

/* Queries first .. first + n of the batch with their passages, borrowed. */
typedef struct wb_infonce_block {
    int64_t first, n;
    const float *q, *p;             /* [n, d], [n group, d] */
    const float *guide_q, *guide_p; /* likewise of guide_width; where the guide filters */
} wb_infonce_block;

/* A rank's own block on its way through both walks; lives in the arena of wb_infonce_begin. */
typedef struct wb_infonce_part wb_infonce_part;

/* Which vectors of passing blocks a walk reads; the others may be NULL. */
typedef struct wb_infonce_sides {
    bool queries, passages;
} wb_infonce_sides;

wb_infonce_sides wb_infonce_first_walk(const wb_infonce *loss);
wb_infonce_sides wb_infonce_second_walk(const wb_infonce *loss);

/* Local. Takes room to keep scores in, of a rank's queries first .. first + n, n > 0.
 * Error: WB_ERR_MEMORY. */
wb_status wb_infonce_keep(wb_infonce_kept *kept, const wb_infonce *loss, int64_t first, int64_t n,
                          wb_arena *arena);

/* Local. Begins the first walk for one block; all arguments are borrowed until the last call on
 * *part. Fills the limits of its rows. Error: WB_ERR_MEMORY. */
wb_status wb_infonce_begin(wb_infonce_part **part, const wb_infonce *loss,
                           const wb_infonce_batch *batch, const wb_infonce_block *own,
                           wb_arena *arena);

/* Local. First walk: a block passes by. Blocks come in the order of the batch and cover it.
 * Error: WB_ERR_MEMORY. */
wb_status wb_infonce_meet(wb_infonce_part *part, const wb_infonce_block *block, wb_arena *arena);

/* Local. Ends the first walk: fills the rows of the part's queries.
 *   dq [n, d], dp [n group, d]   filled; gradients lack what the second walk adds
 * Error: WB_ERR_NUMERIC if a loss is not finite (naming the first such query). */
wb_status wb_infonce_settle(wb_infonce_part *part, float *dq, float *dp);

/* Local. Second walk, with the rows of all queries known: a block passes by, as in the first.
 *   dq [n, d], dp [n group, d]   added to: after all blocks gradients of the batch's loss
 * Error: WB_ERR_MEMORY. */
wb_status wb_infonce_answer(wb_infonce_part *part, float *dq, float *dp,
                            const wb_infonce_block *block, wb_arena *arena);

/* Local. Arena bytes: of a part of n queries that know at most `known` passages in all, and what a
 * call needs beside it while it runs. */
size_t wb_infonce_part_bytes(const wb_infonce *loss, int64_t n, int64_t known);
size_t wb_infonce_scratch_bytes(const wb_infonce *loss);

/* Local. Arena bytes of wb_infonce_keep. */
size_t wb_infonce_kept_bytes(const wb_infonce *loss, int64_t n);

#endif
