/* Greedy chunks, and a budget for their tapes. */
#include "chunk_plan.h"

#include "units.h"

static int64_t cut(int64_t *firsts, const wb_packed *packed, int64_t chunk_tokens) {
    int64_t chunks = 0, start = 0;
    firsts[0] = 0;
    for (int64_t i = 1; i < packed->n; i++) {
        if (packed->offsets[i + 1] - packed->offsets[start] > chunk_tokens) {
            firsts[++chunks] = i;
            start = i;
        }
    }
    if (packed->n > 0) {
        firsts[++chunks] = packed->n;
    }
    return chunks;
}

static wb_encoder_memory chunk_memory(const wb_chunk_plan *plan, const wb_encoder *encoder,
                                      const wb_packed *packed, int64_t chunk) {
    const int64_t n = plan->firsts[chunk + 1] - plan->firsts[chunk];
    const wb_packed part = wb_packed_slice(packed, plan->firsts[chunk], n);
    return wb_encoder_bytes(encoder, wb_packed_tokens(&part), n);
}

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

wb_status wb_chunk_plan_cut(wb_chunk_plan *plan, const wb_packed *packed, int64_t chunk_tokens,
                            wb_arena *arena) {
    wb_status status = WB_OK;
    *plan = (wb_chunk_plan){0};
    WB_TRY(wb_arena_int64s(arena, packed->n + 1, &plan->firsts));
    plan->chunks = cut(plan->firsts, packed, chunk_tokens);
done:
    return status;
}

/* Bytes that decide: of all tapes, of a backward pass beside them, and of one chunk by itself. */
typedef struct demand {
    size_t tapes, working, lone;
} demand;

static demand demand_of(const wb_chunk_plan *plans, const wb_packed *const *packed, int64_t count,
                        const wb_encoder *encoder) {
    demand all = {0};
    for (int64_t p = 0; p < count; p++) {
        for (int64_t i = 0; i < plans[p].chunks; i++) {
            const wb_encoder_memory m = chunk_memory(&plans[p], encoder, packed[p], i);
            all.tapes += m.tape;
            all.working = larger(all.working, m.backward);
            all.lone = larger(all.lone, larger(m.forward, m.tape + m.backward));
        }
    }
    return all;
}

wb_status wb_chunk_plan_keep(wb_chunk_plan *plans, const wb_packed *const *packed, int64_t count,
                             const wb_encoder *encoder, size_t budget, wb_chunk_memory *memory) {
    wb_status status = WB_OK;
    const demand all = demand_of(plans, packed, count, encoder);
    WB_CHECK(all.lone <= budget, WB_ERR_MEMORY,
             "memory.budget of %s is too small: one chunk needs %s; lower memory.chunk_tokens or "
             "raise the budget",
             wb_bytes_text(budget).text, wb_bytes_text(all.lone).text);
    const bool keeps_all = all.tapes + all.working <= budget;
    size_t kept = 0;
    bool full = false;
    for (int64_t p = 0; p < count; p++) {
        wb_chunk_plan *plan = &plans[p];
        for (plan->kept = 0; plan->kept < plan->chunks && !full; plan->kept++) {
            const size_t tape = chunk_memory(plan, encoder, packed[p], plan->kept).tape;
            if (!keeps_all && kept + tape + all.lone > budget) {
                full = true;
                break;
            }
            kept += tape;
        }
        const wb_packed kept_part = wb_packed_slice(packed[p], 0, plan->firsts[plan->kept]);
        plan->kept_tokens = wb_packed_tokens(&kept_part);
    }
    memory->needed = keeps_all ? all.tapes + all.working : kept + all.lone;
    memory->least = all.lone;
done:
    return status;
}
