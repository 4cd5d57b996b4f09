/* Memory by lifetime.
 *
 * An arena reserves address space once and hands it out front to back; pages become real when
 * they are first touched. Nothing is freed one by one: a caller takes a mark, uses what it needs
 * and goes back to the mark.
 *
 *     |<---- used ---->|<------- free -------------------------->|
 *     [ a ][ b ][ c    ]                                         limit
 *           ^mark taken here: wb_arena_release frees b and c
 *
 * Blocks start on cache lines. Under AddressSanitizer and valgrind what is not handed out is
 * poisoned, to valgrind what is handed out has no value yet.
 */
#ifndef WB_ARENA_H
#define WB_ARENA_H

#include "numbers.h"
#include "status.h"

#include <stdint.h>

typedef struct wb_arena wb_arena;

/* Local. `name` appears in messages; `limit` is the most bytes it may ever hold.
 * Errors: WB_ERR_MEMORY where the address space cannot be reserved. */
wb_status wb_arena_create(wb_arena **arena, const char *name, size_t limit);
void wb_arena_destroy(wb_arena *arena);

/* Local. `bytes` of memory, not cleared, on a 64-byte boundary; owned by the arena.
 * Errors: WB_ERR_MEMORY beyond the limit, naming the arena and both sizes. */
wb_status wb_arena_take(wb_arena *arena, size_t bytes, void **block);

/* Local. The same for `count` floats, int32_t or int64_t. */
wb_status wb_arena_floats(wb_arena *arena, int64_t count, float **block);
wb_status wb_arena_int32s(wb_arena *arena, int64_t count, int32_t **block);
wb_status wb_arena_int64s(wb_arena *arena, int64_t count, int64_t **block);

/* Local. The same for `count` numbers of a precision. */
wb_status wb_arena_numbers(wb_arena *arena, int64_t count, wb_precision precision,
                           wb_numbers *block);

size_t wb_arena_mark(const wb_arena *arena);
void wb_arena_release(wb_arena *arena, size_t mark);

/* Local. Bytes that can still be taken, and the most that were ever in use at once. */
size_t wb_arena_left(const wb_arena *arena);
size_t wb_arena_peak(const wb_arena *arena);

/* Local. What `bytes` takes up with its alignment: for plans made before anything is taken. */
size_t wb_arena_rounded(size_t bytes);

#endif
