/* Encoders: text as tokens in, one representation per sequence out, and the way back.
 *
 * An encoder owns no numbers but, in bf16, a copy of its matrices. Parameters and gradients are
 * flat arrays laid out by its tensor table; what a backward pass needs is a tape in the caller's
 * arena. So a chunk can be encoded with its tape kept, or encoded without and once more later: the
 * same function with the same masks.
 */
#ifndef WB_ENCODER_H
#define WB_ENCODER_H

#include "arena.h"
#include "encoder_spec.h"
#include "packed.h"
#include "table_rows.h"
#include "tensor.h"

typedef struct wb_encoder wb_encoder;
typedef struct wb_tape wb_tape; /* what one forward pass keeps for its backward pass */

/* Randomness of one pass: none where `active` is false (evaluation). */
typedef struct wb_pass {
    bool active;
    uint64_t seed; /* run.seed */
    uint32_t step; /* optimizer step */
} wb_pass;

/* Local. Errors: WB_ERR_CONFIG where the numbers of the spec do not fit together, or where the
 * processor or the build cannot compute in its precision. */
wb_status wb_encoder_create(wb_encoder **encoder, const wb_encoder_spec *spec);
void wb_encoder_destroy(wb_encoder *encoder);

/* Local. Names, shapes and offsets of the parameters. Borrowed from the encoder. */
const wb_tensor_table *wb_encoder_table(const wb_encoder *encoder);

/* Local. First values: normal(0, 0.02) for BERT, normal(0, 1 / sqrt(H)) for static tables, 1 and 0
 * for layer norms and biases; a function of the seed only. params [total] filled. */
void wb_encoder_init(const wb_encoder *encoder, float *params, uint64_t seed);

/* Local. In bf16: copies the matrices of `params`, which the calls below then use. To be called
 * after every change of the parameters; in fp32 there is nothing to do. */
void wb_encoder_convert(wb_encoder *encoder, const float *params);

/* Local. Arena bytes for a chunk of this many tokens and sequences: what a forward pass without a
 * tape takes while it runs, what one with a tape leaves, and what a backward pass takes beside the
 * tape while it runs, which is no less than the forward pass that made the tape took. */
typedef struct wb_encoder_memory {
    size_t forward, tape, backward;
} wb_encoder_memory;
wb_encoder_memory wb_encoder_bytes(const wb_encoder *encoder, int64_t tokens, int64_t sequences);

/* Local. Tokens of a chunk where `wanted` are asked for: many times as many where a kind keeps next
 * to nothing of a token, and short chunks cost more than they hold. */
int64_t wb_encoder_chunk_tokens(const wb_encoder *encoder, int64_t wanted);

/* Local. Encodes a chunk.
 *   reps [n, H]       filled
 *   tape              where not NULL: filled, lives in `arena` until the caller's mark is released
 *   params [total]    borrowed, by the tape too, and not to change before its backward pass
 *   chunk             ids within the vocabulary, sequences within `positions`; borrowed, by the
 * tape too examples [n]      number of each sequence in the global batch; borrowed, by the tape too
 * Without a tape everything taken from `arena` is given back. Error: WB_ERR_MEMORY. */
wb_status wb_encoder_forward(const wb_encoder *encoder, float *reps, wb_tape **tape,
                             const float *params, const wb_packed *chunk, const uint32_t *examples,
                             const wb_pass *pass, wb_arena *arena);

/* Called between the kernels of a backward pass: elements `from` ... of its gradients have all that
 * the pass adds to them. */
typedef struct wb_backward_listener {
    void (*settled)(void *context, int64_t from);
    void *context;
} wb_backward_listener;

/* Local. dreps [n, H] is the loss's gradient of each representation; grads is added to: [total], or
 * compact where `rows`, among them all of the chunk's, is not NULL. `listener` may be NULL.
 * Error: WB_ERR_MEMORY. */
wb_status wb_encoder_backward(const wb_encoder *encoder, float *grads, const wb_table_rows *rows,
                              const float *params, wb_tape *tape, const float *dreps,
                              const wb_backward_listener *listener, wb_arena *arena);

/* Local. Floating-point operations of matrix products of one forward pass over these sequences. */
double wb_encoder_flops(const wb_encoder *encoder, const wb_packed *packed);

#endif
