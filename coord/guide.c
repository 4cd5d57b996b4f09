/* A model of its own beside the one that is trained. */
#include "guide.h"

#include "files.h"
#include "retrieval.h"

#include <string.h>

/* How the guide is opened: as any model folder, with unit vectors and without dropout. */
static wb_status describe(wb_config *config, const char *folder) {
    wb_status status = WB_OK;
    wb_origins *origins = NULL;
    WB_TRY(wb_options_defaults(config, &origins));
    WB_TRY(wb_options_set(config, origins, "model.path", folder, "loss.filter_model"));
done:
    wb_origins_destroy(origins);
    return status;
}

static wb_status check(const wb_config *config) {
    wb_status status = WB_OK;
    const char *const folder = config->loss_filter_model;
    WB_CHECK(strcmp(config->loss_filter, "none") != 0, WB_ERR_CONFIG,
             "loss.filter_model = %s, but loss.filter = none; choose absolute or relative", folder);
    WB_CHECK(wb_path_is_folder(folder), WB_ERR_CONFIG, "loss.filter_model = %s: no such folder",
             folder);
done:
    return status;
}

wb_status wb_guide_open(wb_trainer *t) {
    wb_status status = WB_OK;
    wb_config config;
    const char *const folder = t->config->loss_filter_model;
    if (folder[0] == '\0') {
        return WB_OK;
    }
    WB_TRY_ALL(t->comm, check(t->config));
    WB_TRY_ALL(t->comm, describe(&config, folder));
    WB_TRY(wb_model_open(&t->guide, &config, t->comm));
    wb_model_log(&t->guide, "guide");
    /* texts are cut where the guide's own positions end */
    WB_TRY_ALL(t->comm, wb_token_cache_create(&t->guide_tokens, t->config->memory_tokens));
    t->guide_shape = (wb_batch_shape){.group = t->shape.group, .cache = t->guide_tokens};
    WB_TRY_ALL(t->comm, wb_model_max_tokens(&t->guide, 0, "loss.filter_model",
                                            &t->guide_shape.query_tokens));
    t->guide_shape.passage_tokens = t->guide_shape.query_tokens;
done:
    return status;
}

wb_status wb_guide_encode(wb_slot *slot, wb_trainer *t, const wb_batch_rows *batch, int64_t draw) {
    wb_status status = WB_OK;
    const int64_t first = slot->batch.first, n = slot->batch.n;
    wb_batch texts;
    WB_TRY(wb_arena_floats(t->step_arena, slot->batch.packed.n * t->guide.folder.spec.hidden,
                           &slot->guide_reps));
    const size_t mark = wb_arena_mark(t->step_arena);
    WB_TRY(wb_batch_read(&texts, t->data, &t->guide, &t->guide_shape, batch->rows + first, draw,
                         batch->B, first, n, t->step_arena));
    const wb_encode_plan plan = {.what = "loss.filter_model",
                                 .budget_setting = "memory.budget=",
                                 .chunk_setting = "memory.chunk_tokens=",
                                 .texts = texts.packed.n,
                                 .max_tokens = wb_packed_longest(&texts.packed),
                                 .chunk_tokens = t->config->memory_chunk_tokens};
    const wb_meanwhile meanwhile = {.time = &t->time};
    WB_TRY(wb_encode_check_room(&t->guide, &plan, t->chunk_arena));
    WB_TRY(wb_encode_packed(slot->guide_reps, &t->guide, &texts.packed,
                            t->config->memory_chunk_tokens, &meanwhile, t->chunk_arena));
    wb_arena_release(t->step_arena, mark);
done:
    return status;
}
