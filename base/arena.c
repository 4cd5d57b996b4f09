/* Arenas over reserved address space. */
#include "arena.h"

#include "memcheck.h"
#include "units.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define WB_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WB_ASAN 1
#endif
#endif
#ifdef WB_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(address, bytes)   __asan_poison_memory_region((address), (bytes))
#define UNPOISON(address, bytes) __asan_unpoison_memory_region((address), (bytes))
#else
/* To valgrind, fresh pages are zeros that somebody wrote, and used ones hold their last values. */
#define POISON   WB_MEMORY_IS_NOBODYS
#define UNPOISON WB_MEMORY_IS_UNSET
#endif

enum { ALIGNMENT = 64 };

struct wb_arena {
    char *start;
    size_t used, limit, peak; /* bytes */
    char name[32];
};

size_t wb_arena_rounded(size_t bytes) {
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

wb_status wb_arena_create(wb_arena **arena, const char *name, size_t limit) {
    wb_arena *made = calloc(1, sizeof(*made));
    if (!made) {
        return WB_ERROR(WB_ERR_MEMORY, "no memory for the %s arena's record", name);
    }
    (void)strncpy(made->name, name, sizeof(made->name) - 1);
    made->limit = wb_arena_rounded(limit > 0 ? limit : ALIGNMENT);
    made->start = mmap(NULL, made->limit, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (made->start == MAP_FAILED) {
        const int why = errno;
        free(made);
        return WB_ERROR(WB_ERR_MEMORY,
                        "cannot reserve %s for the %s arena: %s; try a smaller "
                        "memory.budget or a larger limit (ulimit -v, --mem)",
                        wb_bytes_text(limit).text, name, strerror(why));
    }
    (void)madvise(made->start, made->limit, MADV_HUGEPAGE);
    POISON(made->start, made->limit);
    *arena = made;
    return WB_OK;
}

void wb_arena_destroy(wb_arena *arena) {
    if (arena) {
        UNPOISON(arena->start, arena->limit);
        (void)munmap(arena->start, arena->limit);
        free(arena);
    }
}

wb_status wb_arena_take(wb_arena *arena, size_t bytes, void **block) {
    const size_t left = arena->limit - arena->used;
    if (bytes > left || wb_arena_rounded(bytes) > left) {
        return WB_ERROR(WB_ERR_MEMORY, "the %s arena holds %s and %s are in use: no room for %s",
                        arena->name, wb_bytes_text(arena->limit).text,
                        wb_bytes_text(arena->used).text, wb_bytes_text(bytes).text);
    }
    *block = arena->start + arena->used;
    UNPOISON(*block, bytes);
    arena->used += wb_arena_rounded(bytes);
    if (arena->used > arena->peak) {
        arena->peak = arena->used;
    }
    return WB_OK;
}

static wb_status take_array(wb_arena *arena, int64_t count, int64_t size, void **block) {
    int64_t bytes;
    if (!wb_multiply(count, size, &bytes)) {
        return WB_ERROR(WB_ERR_MEMORY, "the %s arena was asked for %lld elements of %lld bytes",
                        arena->name, (long long)count, (long long)size);
    }
    return wb_arena_take(arena, (size_t)bytes, block);
}

wb_status wb_arena_floats(wb_arena *arena, int64_t count, float **block) {
    void *taken = NULL;
    const wb_status status = take_array(arena, count, (int64_t)sizeof(float), &taken);
    *block = taken;
    return status;
}

wb_status wb_arena_int32s(wb_arena *arena, int64_t count, int32_t **block) {
    void *taken = NULL;
    const wb_status status = take_array(arena, count, (int64_t)sizeof(int32_t), &taken);
    *block = taken;
    return status;
}

wb_status wb_arena_int64s(wb_arena *arena, int64_t count, int64_t **block) {
    void *taken = NULL;
    const wb_status status = take_array(arena, count, (int64_t)sizeof(int64_t), &taken);
    *block = taken;
    return status;
}

wb_status wb_arena_numbers(wb_arena *arena, int64_t count, wb_precision precision,
                           wb_numbers *block) {
    void *taken = NULL;
    const wb_status status =
        take_array(arena, count, (int64_t)wb_number_bytes(precision, 1), &taken);
    *block = precision == WB_BF16 ? (wb_numbers){.bf16 = taken} : (wb_numbers){.fp32 = taken};
    return status;
}

size_t wb_arena_mark(const wb_arena *arena) {
    return arena->used;
}

void wb_arena_release(wb_arena *arena, size_t mark) {
    WB_ASSERT(mark <= arena->used, "%s arena: mark %zu, used %zu", arena->name, mark, arena->used);
    POISON(arena->start + mark, arena->used - mark);
    arena->used = mark;
}

size_t wb_arena_left(const wb_arena *arena) {
    return arena->limit - arena->used;
}

size_t wb_arena_peak(const wb_arena *arena) {
    return arena->peak;
}
