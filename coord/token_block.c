/* Reading and tokenizing in parallel. Every sequence first gets room for its longest form; then the
 * sequences move together and their lengths become offsets. */
#include "token_block.h"

#include "units.h"

#include <stdlib.h>
#include <string.h>

/* Where the tokens of a sequence go at first. */
static int64_t place_of(const wb_token_source *source, int64_t n, int64_t sequence) {
    return sequence < n ? sequence * source->first_tokens
                        : n * source->first_tokens + (sequence - n) * source->other_tokens;
}

size_t wb_token_block_bytes(const wb_token_source *source, int64_t n) {
    const int64_t sequences = n * (1 + source->group);
    return wb_arena_rounded((size_t)place_of(source, n, sequences) * sizeof(int32_t)) +
           wb_arena_rounded((size_t)(sequences + 1) * sizeof(int64_t));
}

/* Lengths go to offsets[sequence + 1]. */
static wb_status read_unit(int32_t *ids, int64_t *offsets, wb_text *texts,
                           const wb_token_source *source, int64_t i, int64_t n) {
    wb_status status = WB_OK;
    WB_TRY(source->read(source->context, i, texts));
    for (int64_t k = 0; k <= source->group; k++) {
        const int64_t sequence = k == 0 ? i : n + i * source->group + k - 1;
        const int64_t most = k == 0 ? source->first_tokens : source->other_tokens;
        WB_TRY(wb_tokenizer_encode(source->model->tokenizer, texts[k].text, texts[k].bytes,
                                   source->model->specials, most,
                                   ids + place_of(source, n, sequence), &offsets[sequence + 1]));
    }
done:
    return status;
}

/* Some units, by one thread with texts of its own. */
static wb_status read_units(int32_t *ids, int64_t *offsets, const wb_token_source *source,
                            int64_t from, int64_t to, int64_t n) {
    wb_status status = WB_OK;
    wb_text *texts = calloc((size_t)source->group + 1, sizeof(*texts));
    WB_CHECK(texts, WB_ERR_MEMORY, "no memory for %lld texts", (long long)source->group + 1);
    for (int64_t i = from; i < to; i++) {
        WB_TRY(read_unit(ids, offsets, texts, source, i, n));
    }
done:
    for (int64_t k = 0; texts && k <= source->group; k++) {
        wb_text_clear(&texts[k]);
    }
    free(texts);
    return status;
}

/* All units, in slices; the first failure in the order of units is the one reported. */
static wb_status read_all(int32_t *ids, int64_t *offsets, const wb_token_source *source,
                          int64_t n) {
    enum { SLICE = 32 };
    wb_status status = WB_OK;
    int64_t failed = n;
    char failure[2048] = "";
#pragma omp parallel for schedule(dynamic)
    for (int64_t from = 0; from < n; from += SLICE) {
        const wb_status part =
            read_units(ids, offsets, source, from, from + SLICE < n ? from + SLICE : n, n);
        if (part != WB_OK) {
#pragma omp critical(wb_token_block_failure)
            if (from < failed) {
                failed = from;
                status = part;
                (void)snprintf(failure, sizeof(failure), "%s", wb_error_message());
            }
            wb_error_clear();
        }
    }
    return status == WB_OK ? WB_OK : WB_ERROR(status, "%s", failure);
}

static void pack(int32_t *ids, int64_t *offsets, const wb_token_source *source, int64_t n) {
    offsets[0] = 0;
    for (int64_t sequence = 0; sequence < n * (1 + source->group); sequence++) {
        const int64_t length = offsets[sequence + 1];
        memmove(ids + offsets[sequence], ids + place_of(source, n, sequence),
                (size_t)length * sizeof(*ids));
        offsets[sequence + 1] = offsets[sequence] + length;
    }
}

wb_status wb_token_block_read(wb_packed *packed, const wb_token_source *source, int64_t n,
                              wb_arena *arena) {
    wb_status status = WB_OK;
    const int64_t sequences = n * (1 + source->group);
    int32_t *ids;
    int64_t *offsets;
    WB_TRY(wb_arena_int32s(arena, place_of(source, n, sequences), &ids));
    WB_TRY(wb_arena_int64s(arena, sequences + 1, &offsets));
    WB_TRY(read_all(ids, offsets, source, n));
    pack(ids, offsets, source, n);
    *packed = (wb_packed){.ids = ids, .offsets = offsets, .n = sequences};
done:
    return status;
}
