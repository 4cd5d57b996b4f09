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
    size_t peak;         /* bytes of the chunk arena that the plan needs */
} wb_chunk_plan;

/* Local. Errors: WB_ERR_MEMORY where not even one chunk fits `budget`, with the size needed. */
wb_status wb_chunk_plan_make(wb_chunk_plan *plan, const wb_encoder *encoder,
                             const wb_packed *packed, int64_t chunk_tokens, size_t budget,
                             wb_arena *arena);

/* Local. What a rank may use for activations when memory.budget is 0: half of the memory that is
 * free or that its control group allows, shared by the ranks of this host, less `reserved`. */
size_t wb_memory_budget(int local_ranks, size_t reserved);

#endif
