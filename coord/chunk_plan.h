/* How a rank cuts its sequences into chunks, and which chunks' activations it keeps.
 *
 * A chunk is a run of whole sequences of at most memory.chunk_tokens tokens (a longer sequence is a
 * chunk of its own). Tapes are kept from the first chunk on while the budget lasts; the other
 * chunks are encoded a second time before their backward pass. A share r of tokens kept costs
 * (4 - r) / 3 of training without a cache.
 */
#ifndef WB_CHUNK_PLAN_H
#define WB_CHUNK_PLAN_H

#include "arena.h"
#include "encoder.h"

typedef struct wb_chunk_plan {
    int64_t chunks;
    int64_t *firsts;     /* [chunks + 1], first sequence of each chunk; in the caller's arena */
    int64_t kept;        /* chunks 0 .. kept - 1 keep their tapes */
    int64_t kept_tokens; /* their tokens */
} wb_chunk_plan;

/* Local. Cuts `packed` into chunks; nothing is kept yet. Error: WB_ERR_MEMORY. */
wb_status wb_chunk_plan_cut(wb_chunk_plan *plan, const wb_packed *packed, int64_t chunk_tokens,
                            wb_arena *arena);

/* Bytes of the chunk arena: what the plans together need, and the least they could do with. */
typedef struct wb_chunk_memory {
    size_t needed, least;
} wb_chunk_memory;

/* Local. Decides for several plans, encoded one after the other, which chunks are kept within
 * `budget` together: the first ones. Error: WB_ERR_MEMORY where not even one chunk fits, with the
 * size needed. */
wb_status wb_chunk_plan_keep(wb_chunk_plan *plans, const wb_packed *const *packed, int64_t count,
                             const wb_encoder *encoder, size_t budget, wb_chunk_memory *memory);

#endif
