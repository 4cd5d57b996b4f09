/* From rows to tokens. */
#include "batch.h"

#include "token_block.h"

/* The rows that one rank reads. */
typedef struct row_source {
    const wb_data_set *data;
    const int64_t *rows;
    int64_t epoch, group, positives;
    uint64_t *keys, *positive_keys; /* filled; as in wb_batch */
    int64_t *positive_counts;       /* likewise */
} row_source;

static wb_status read_row(const void *context, int64_t i, wb_text *texts) {
    const row_source *from = context;
    return wb_data_set_read(from->data, from->rows[i], from->epoch, from->group - 1, texts, NULL);
}

static wb_status note_positives(const void *context, int64_t i) {
    const row_source *from = context;
    return wb_data_set_positive_keys(from->data, from->rows[i],
                                     from->positive_keys + i * from->positives,
                                     &from->positive_counts[i]);
}

static wb_status name_row(const void *context, int64_t i, uint64_t *names) {
    const row_source *from = context;
    return wb_data_set_name_texts(from->data, from->rows[i], from->epoch, from->group - 1, names);
}

static wb_token_source source_of(const wb_batch_shape *shape, const wb_model *model,
                                 const row_source *rows) {
    return (wb_token_source){.read = read_row,
                             .name = name_row,
                             .note = shape->positives > 0 ? note_positives : NULL,
                             .context = rows,
                             .model = model,
                             .cache = shape->cache,
                             .keys = rows ? rows->keys : NULL,
                             .group = shape->group,
                             .first = WB_QUERY,
                             .first_tokens = shape->query_tokens,
                             .other_tokens = shape->passage_tokens};
}

size_t wb_batch_bytes(const wb_batch_shape *shape, int64_t n) {
    const wb_token_source source = source_of(shape, NULL, NULL);
    return wb_token_block_bytes(&source, n) +
           wb_arena_rounded((size_t)(n * (1 + shape->group)) * sizeof(uint32_t)) +
           wb_arena_rounded((size_t)(n * (1 + shape->group)) * sizeof(uint64_t)) +
           wb_arena_rounded((size_t)(n * shape->positives) * sizeof(uint64_t)) +
           wb_arena_rounded((size_t)n * sizeof(int64_t));
}

static wb_status take_keys(row_source *from, int64_t n, wb_arena *arena) {
    wb_status status = WB_OK;
    void *block = NULL;
    WB_TRY(wb_arena_take(arena, (size_t)(n * (1 + from->group)) * sizeof(uint64_t), &block));
    from->keys = block;
    WB_TRY(wb_arena_take(arena, (size_t)(n * from->positives) * sizeof(uint64_t), &block));
    from->positive_keys = block;
    WB_TRY(wb_arena_int64s(arena, n, &from->positive_counts));
done:
    return status;
}

wb_status wb_batch_read(wb_batch *batch, const wb_data_set *data, const wb_model *model,
                        const wb_batch_shape *shape, const int64_t *rows, int64_t epoch, int64_t B,
                        int64_t first, int64_t n, wb_arena *arena) {
    wb_status status = WB_OK;
    row_source from = {.data = data,
                       .rows = rows,
                       .epoch = epoch,
                       .group = shape->group,
                       .positives = shape->positives};
    const int64_t group = shape->group;
    void *block = NULL;
    *batch = (wb_batch){.first = first, .n = n, .group = group};
    WB_TRY(take_keys(&from, n, arena));
    const wb_token_source source = source_of(shape, model, &from);
    WB_TRY(wb_token_block_read(&batch->packed, &source, n, arena));
    WB_TRY(wb_arena_take(arena, (size_t)batch->packed.n * sizeof(uint32_t), &block));
    uint32_t *examples = block;
    for (int64_t i = 0; i < n; i++) {
        examples[i] = (uint32_t)(first + i);
        for (int64_t k = 0; k < group; k++) {
            examples[n + i * group + k] = (uint32_t)(B + (first + i) * group + k);
        }
    }
    batch->examples = examples;
    batch->keys = from.keys;
    batch->positive_keys = from.positive_keys;
    batch->positive_counts = from.positive_counts;
done:
    return status;
}
