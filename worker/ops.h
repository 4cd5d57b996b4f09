/* The operations that encoders and losses are written in. This header is the device: the cpu_*.c
 * files implement it, another device would implement it anew, and nothing else would change.
 *
 * Letters: T tokens of a chunk (all sequences end to end), H width, h heads. The gradient of x is
 * dx. Outputs come first, then inputs, then sizes. Everything here is Local, cannot fail, borrows
 * its arrays for the call, and gives the same bits for any number of threads. "filled" arrays are
 * overwritten, "added to" arrays accumulate. Arrays of wb_numbers may be bf16 (activations, copies
 * of weights, gradients that enter a product), all of a call alike; sums, statistics, softmax and
 * the gradients of parameters are fp32.
 */
#ifndef WB_OPS_H
#define WB_OPS_H

#include "numbers.h"
#include "packed.h"
#include "rng.h"
#include "table_rows.h"

#include <stdbool.h>
#include <stdint.h>

/* ---- Chunks and dropout -----------------------------------------------------------------------
 */

/* What a token is, by row of a chunk's matrices. */
typedef struct wb_chunk {
    wb_packed packed;
    const uint32_t
        *examples; /* [n], number of each sequence in the global batch: names its masks */
    const uint32_t *sequences; /* [T], which sequence of the chunk a row belongs to */
    const uint32_t *positions; /* [T], where in it */
} wb_chunk;

/* Masks are a function of (seed, step, example, site, position): nothing is stored, and a second
 * encoding or a backward pass draws them again. A probability of 0 draws nothing. */
typedef struct wb_dropout {
    uint64_t seed;
    uint32_t step;
    float probability; /* of a zero, in [0, 1), in steps of 2^-16 */
    uint32_t site;     /* which layer and place */
} wb_dropout;

enum { WB_DROPOUT_GROUP = 128 }; /* elements whose mask is drawn at once */

/* mask[i] is 0 or 1 / (1 - probability), for one group of a row: filled. `group` numbers the groups
 * of an example at this site. */
void wb_dropout_mask(float mask[WB_DROPOUT_GROUP], const wb_dropout *dropout, uint32_t example,
                     uint64_t group);

/* x [T, H] is multiplied by its mask in place; forward and backward are the same. */
void wb_dropout_apply(wb_numbers x, const wb_chunk *chunk, const wb_dropout *dropout, int64_t H);

/* ---- Linear: y = x wᵀ + b ----------------------------------------------------------------------
 */

/* y [rows, out] filled; x [rows, in], w [out, in], b [out] */
void wb_linear_forward(wb_numbers y, wb_numbers x, wb_numbers w, const float *b, int64_t rows,
                       int64_t in, int64_t out);

/* dx [rows, in] filled (added to where `add_dx`; fp32 then); dy [rows, out], w [out, in] */
void wb_linear_backward_input(wb_numbers dx, bool add_dx, wb_numbers dy, wb_numbers w, int64_t rows,
                              int64_t in, int64_t out);

/* dw [out, in], db [out] added to; dy [rows, out], x [rows, in] */
void wb_linear_backward_weights(float *dw, float *db, wb_numbers dy, wb_numbers x, int64_t rows,
                                int64_t in, int64_t out);

/* ---- GELU (exact, by the normal distribution; Hendrycks & Gimpel 2016)
 * --------------------------- */

/* y [count] filled; x [count] */
void wb_gelu_forward(wb_numbers y, wb_numbers x, int64_t count);

/* dx [count] filled, may be dy; y [count] filled with the forward value again; dy, x [count] */
void wb_gelu_backward(wb_numbers dx, wb_numbers y, wb_numbers dy, wb_numbers x, int64_t count);

/* ---- Layer norm of a sum: y = norm(residual + dropout(x))
 * ------------------------------------------ */

typedef struct wb_norm {
    const float *weight, *bias; /* [H] */
    float eps;
} wb_norm;

enum { WB_WIDEST_ROW = 4096 }; /* the most H may be where rows are bf16 */

/* y [T, H], mean [T], rstd [T] filled; x [T, H] in, the sum out; residual [T, H] or none. The
 * norm is that of the sum as it is kept, so that backward sees what forward saw.
 * Source: Ba et al. 2016. */
void wb_add_norm_forward(wb_numbers y, float *mean, float *rstd, wb_numbers x, wb_numbers residual,
                         const wb_norm *norm, const wb_chunk *chunk, const wb_dropout *dropout,
                         int64_t H);

/* y [T, H] filled: forward's y again, bit for bit, from what it kept */
void wb_norm_again(wb_numbers y, wb_numbers sum, const float *mean, const float *rstd,
                   const wb_norm *norm, int64_t T, int64_t H);

/* dsum [T, H] filled (the gradient of the residual too); dx [T, H] filled unless none;
 * dweight, dbias [H] added to; partial [2 * WB_ROW_BLOCKS, H] scratch; sum is x of the forward */
enum { WB_ROW_BLOCKS = 16 };
void wb_add_norm_backward(float *dsum, wb_numbers dx, float *dweight, float *dbias, float *partial,
                          const float *dy, wb_numbers sum, const float *mean, const float *rstd,
                          const wb_norm *norm, const wb_chunk *chunk, const wb_dropout *dropout,
                          int64_t H);

/* ---- Attention over packed sequences
 * -------------------------------------------------------------- */

/* Floats of scratch that the two calls below need, for sequences of at most `longest` tokens and
 * heads of width D = H / h. */
int64_t wb_attention_scratch(int64_t longest, int64_t D);

/* y [T, H], lse [h, T] filled; qkv [T, 3 H] holds query, key and value side by side.
 * Softmax runs over the tokens of a row's own sequence; probabilities pass through dropout.
 * Source: Vaswani et al. 2017; log-sum-exp kept instead of probabilities as in Dao et al. 2022. */
void wb_attention_forward(wb_numbers y, float *lse, wb_numbers qkv, const wb_chunk *chunk,
                          const wb_dropout *dropout, int64_t heads, int64_t H, float *scratch);

/* dqkv [T, 3 H] filled; dy, y [T, H], qkv and lse as in the forward */
void wb_attention_backward(wb_numbers dqkv, const float *dy, wb_numbers y, const float *lse,
                           wb_numbers qkv, const wb_chunk *chunk, const wb_dropout *dropout,
                           int64_t heads, int64_t H, float *scratch);

/* ---- Embedding tables
 * -------------------------------------------------------------------------------- */

/* y [T, H] filled: words[id] + positions[place] + types[0]; the last two tables may be NULL */
void wb_embed_forward(wb_numbers y, const float *words, const float *positions, const float *types,
                      const wb_chunk *chunk, int64_t H);

/* dwords, dpositions [.., H], dtypes [H] (row 0) added to; the last two may be NULL. dwords holds
 * `rows` of the table, all of them where it is NULL */
void wb_embed_backward(float *dwords, const wb_table_rows *rows, float *dpositions, float *dtypes,
                       const float *dy, const wb_chunk *chunk, int64_t H);

/* ---- Pooling: one row per sequence
 * ---------------------------------------------------------------------- */

/* y [n, H] filled with each sequence's mean row, or zeros where it has no token; x [T, H] */
void wb_mean_pool_forward(float *y, wb_numbers x, const wb_packed *packed, int64_t H);
void wb_mean_pool_backward(float *dx, const float *dy, const wb_packed *packed, int64_t H);

/* y [n, H] filled with each sequence's first row; dx [T, H] filled */
void wb_first_pool_forward(float *y, wb_numbers x, const wb_packed *packed, int64_t H);
void wb_first_pool_backward(float *dx, const float *dy, const wb_packed *packed, int64_t H);

/* Static encoders, without a [T, H] matrix between. A bag lists a sequence's tokens with how often
 * they come, most of them once. */
typedef struct wb_bag_item {
    int32_t row; /* WB_BAG_END: the list has ended before its room has */
    float factor;
} wb_bag_item;
enum { WB_BAG_END = -1 };

/* y [n, H] filled with the mean of table rows; items [T] filled with each sequence's bag, at the
 * place of its first token */
void wb_embedding_bag_forward(float *y, wb_bag_item *items, const float *words,
                              const wb_packed *packed, int64_t H);

/* items of the forward; room [T] and ends [wb_embedding_bag_ends of the rows of dwords]: scratch */
void wb_embedding_bag_backward(float *dwords, const wb_table_rows *rows, const float *dy,
                               const wb_bag_item *items, const wb_packed *packed, int64_t V,
                               int64_t H, wb_bag_item *room, int64_t *ends);
int64_t wb_embedding_bag_ends(int64_t rows);

/* y [n, H] filled: x / max(|x|, 1e-12), may be x; norms [n] filled with |x| */
void wb_normalize_forward(float *y, float *norms, const float *x, int64_t n, int64_t H);

/* dx [n, H] filled, may be dy; y and norms of the forward */
void wb_normalize_backward(float *dx, const float *dy, const float *y, const float *norms,
                           int64_t n, int64_t H);

#endif
