/* Rows of a skipped step, for people who look for the one that is at fault. */
#include "skipped.h"

#include "files.h"
#include "log.h"

#include <stdlib.h>

static wb_status print_rows(wb_trainer *t, FILE *out) {
    wb_status status = WB_OK;
    wb_text texts[2] = {0};
    wb_batch_rows batch;
    WB_TRY(wb_batch_plan_step(&batch, &t->plan, t->done));
    const int64_t draw = wb_draw_of(t, batch.epoch);
    for (int64_t i = 0; i < batch.B; i++) {
        WB_TRY(wb_data_set_read(t->data, batch.rows[i], draw, 0, texts, NULL));
        (void)fprintf(out, "%lld\t%s\t%s\n", (long long)batch.rows[i], texts[0].id, texts[1].id);
    }
done:
    wb_text_clear(&texts[0]);
    wb_text_clear(&texts[1]);
    return status;
}

wb_status wb_skipped_note(wb_trainer *t, const char *why) {
    wb_status status = WB_OK;
    char folder[WB_PATH], path[WB_PATH];
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    WB_CHECK(out, WB_ERR_MEMORY, "no memory for the rows of a step");
    (void)fprintf(out, "# %s\n# row, its query, its passage\n", why);
    WB_TRY(wb_memstream_close(out, print_rows(t, out), "the rows of a step"));
    WB_TRY(wb_path_join(folder, t->config->run_dir, "skipped"));
    WB_TRY(wb_folder_make(folder));
    WB_TRY(wb_path_join(path, folder, "step-%lld.txt", (long long)t->done + 1));
    WB_TRY(wb_file_write(path, text, bytes));
    wb_log(WB_LOG_RUN, "NOTE: step %lld is skipped: %s; its rows are in %s", (long long)t->done + 1,
           why, path);
done:
    free(text);
    return status;
}
