/* Greedy chunks, and a budget for their tapes. */
#include "chunk_plan.h"

#include "units.h"

#include <stdio.h>
#include <string.h>

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

/* The number after `name` in a file of "name number" lines, or the first number where name is NULL;
 * SIZE_MAX where there is none ("max"). */
static size_t read_number(const char *path, const char *name) {
    char line[256];
    size_t found = SIZE_MAX;
    FILE *file = fopen(path, "r");
    while (file && found == SIZE_MAX && fgets(line, sizeof(line), file)) {
        unsigned long long number;
        if (name ? (strncmp(line, name, strlen(name)) == 0 &&
                    sscanf(line + strlen(name), " %llu", &number) == 1)
                 : sscanf(line, "%llu", &number) == 1) {
            found = (size_t)number;
        }
    }
    if (file) {
        (void)fclose(file);
    }
    return found;
}

/* The tightest limit of this process's control groups (version 2; or version 1), from its own up to
 * the root. */
static size_t control_group_limit(void) {
    char line[1024], path[1200];
    size_t limit = SIZE_MAX;
    FILE *file = fopen("/proc/self/cgroup", "r");
    while (file && fgets(line, sizeof(line), file)) {
        line[strcspn(line, "\n")] = '\0';
        const bool unified = strncmp(line, "0::", 3) == 0;
        char *const memory = strstr(line, ":memory:");
        if (!unified && !memory) {
            continue;
        }
        char *group = unified ? line + 3 : memory + 8;
        for (char *end = group + strlen(group); end; end = strrchr(group, '/')) {
            *end = '\0';
            (void)snprintf(path, sizeof(path), "/sys/fs/cgroup%s%s/%s", unified ? "" : "/memory",
                           group, unified ? "memory.max" : "memory.limit_in_bytes");
            const size_t found = read_number(path, NULL);
            limit = found < limit ? found : limit;
        }
    }
    if (file) {
        (void)fclose(file);
    }
    return limit;
}

size_t wb_memory_budget(int local_ranks, size_t reserved) {
    const size_t kib = read_number("/proc/meminfo", "MemAvailable:");
    size_t usable = kib == SIZE_MAX ? (size_t)4 << 30 : kib * 1024;
    const size_t limit = control_group_limit();
    usable = limit < usable ? limit : usable;
    const size_t share = usable / 2 / (size_t)local_ranks;
    const size_t least = (size_t)64 << 20;
    return share > reserved + least ? share - reserved : least;
}
