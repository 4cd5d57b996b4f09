/* Limits of control groups and of Slurm, and what /proc says. */
#include "memory.h"

#include "exchange.h"
#include "hash.h"
#include "units.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

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

typedef struct group_limit {
    size_t bytes;     /* SIZE_MAX: none */
    char group[1024]; /* whose it is */
} group_limit;

/* The tightest limit of this process's control groups (version 2; or version 1), from its own up to
 * the root; of equal ones the one that more processes share. */
static group_limit control_group_limit(void) {
    char line[1024], path[1200];
    group_limit tightest = {.bytes = SIZE_MAX};
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
            if (found != SIZE_MAX && found <= tightest.bytes) {
                tightest.bytes = found;
                (void)snprintf(tightest.group, sizeof(tightest.group), "%s", group);
            }
        }
    }
    if (file) {
        (void)fclose(file);
    }
    return tightest;
}

/* A number in the environment, SIZE_MAX where there is none or it is 0, Slurm's word for all. */
static size_t named_number(const char *name) {
    const char *const text = getenv(name);
    const unsigned long long number = text ? strtoull(text, NULL, 10) : 0;
    return number > 0 && number < SIZE_MAX >> 20 ? (size_t)number : SIZE_MAX;
}

/* What Slurm gave the job on this node: --mem, or --mem-per-cpu for each of its processors; MiB.
 * Not every cluster enforces it by a control group, but each accounts for it. */
static size_t slurm_limit(void) {
    const size_t node = named_number("SLURM_MEM_PER_NODE");
    const size_t cpu = named_number("SLURM_MEM_PER_CPU");
    const size_t cpus = named_number("SLURM_CPUS_ON_NODE");
    if (node != SIZE_MAX) {
        return node << 20;
    }
    return cpu != SIZE_MAX && cpus != SIZE_MAX && cpus < (SIZE_MAX >> 20) / cpu ? cpu * cpus << 20
                                                                                : SIZE_MAX;
}

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

static size_t status_bytes(const char *name) {
    const size_t kib = read_number("/proc/self/status", name);
    return kib == SIZE_MAX ? 0 : kib * 1024;
}

/* Address space that this process may still take. */
static size_t room_left(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
        return SIZE_MAX;
    }
    const size_t taken = status_bytes("VmSize:");
    return limit.rlim_cur > taken ? (size_t)limit.rlim_cur - taken : 0;
}

/* Swap counts: who has it may want to use it. */
static size_t machine_memory(void) {
    const size_t memory = read_number("/proc/meminfo", "MemTotal:");
    const size_t swap = read_number("/proc/meminfo", "SwapTotal:");
    return memory == SIZE_MAX ? SIZE_MAX : 1024 * (memory + (swap == SIZE_MAX ? 0 : swap));
}

size_t wb_memory_allowed(void) {
    return smaller(control_group_limit().bytes, machine_memory());
}

/* The same for ranks that share what they may take. */
static uint64_t name_of_memory(void) {
    char name[1200];
    const group_limit group = control_group_limit();
    const bool is_group = group.bytes < machine_memory();
    (void)snprintf(name, sizeof(name), "%s %s", wb_host().text, is_group ? group.group : "");
    return wb_hash(name, strlen(name));
}

wb_status wb_memory_sharers(int *ranks, wb_comm *comm) {
    wb_status status = WB_OK;
    const int world = wb_comm_world(comm);
    const uint64_t mine = name_of_memory();
    uint64_t *names = calloc((size_t)world, sizeof(*names));
    int64_t *firsts = calloc((size_t)world + 1, sizeof(*firsts));
    WB_TRY_ALL(comm,
               names && firsts ? WB_OK : WB_ERROR(WB_ERR_MEMORY, "no memory for %d ranks", world));
    for (int rank = 0; rank <= world; rank++) {
        firsts[rank] = rank;
    }
    WB_TRY(wb_gather_rows(comm, names, &mine, firsts, sizeof(mine)));
    *ranks = 0;
    for (int rank = 0; rank < world; rank++) {
        *ranks += names[rank] == mine ? 1 : 0;
    }
done:
    free(names);
    free(firsts);
    return status;
}

/* Of what is resident, that which no other process shares; and what MPI and libraries share. */
size_t wb_memory_of_ranks(int ranks, size_t each, size_t once) {
    const size_t shared = (size_t)32 << 20;
    return (size_t)ranks * (status_bytes("RssAnon:") + shared + each) + once;
}

wb_status wb_memory_check_ranks(int ranks, size_t each, size_t once) {
    const size_t needed = wb_memory_of_ranks(ranks, each, once), allowed = wb_memory_allowed();
    return needed <= allowed
               ? WB_OK
               : WB_ERROR(WB_ERR_MEMORY,
                          "%d rank%s on this host need%s at least %s, and may take %s: run fewer "
                          "ranks on a host, ask for more memory (Slurm: --mem), or choose a "
                          "smaller model or optimizer",
                          ranks, ranks > 1 ? "s" : "", ranks > 1 ? "" : "s",
                          wb_bytes_text(needed).text, wb_bytes_text(allowed).text);
}

wb_status wb_memory_check_room(size_t needed) {
    const size_t left = room_left();
    return left >= needed
               ? WB_OK
               : WB_ERROR(WB_ERR_MEMORY,
                          "ulimit -v leaves %s of address space, libraries and files may need %s; "
                          "raise it, or try a smaller memory.budget",
                          wb_bytes_text(left).text, wb_bytes_text(needed).text);
}

size_t wb_memory_budget(int local_ranks, size_t reserved) {
    const size_t kib = read_number("/proc/meminfo", "MemAvailable:");
    size_t usable = kib == SIZE_MAX ? (size_t)4 << 30 : kib * 1024;
    usable = smaller(usable, smaller(control_group_limit().bytes, slurm_limit()));
    const size_t least = (size_t)64 << 20, room = room_left();
    const size_t share = smaller(usable / 2 / (size_t)local_ranks,
                                 room > WB_MEMORY_TO_RUN ? room - WB_MEMORY_TO_RUN : 0);
    return share > reserved + least ? share - reserved : least;
}

size_t wb_memory_now(void) {
    return status_bytes("VmRSS:");
}

size_t wb_memory_peak(void) {
    return status_bytes("VmHWM:");
}
