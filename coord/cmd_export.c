/* widebatch export: a run's newest checkpoint as a sentence-transformers folder. */
#include "card.h"
#include "checkpoint.h"
#include "commands.h"
#include "config_file.h"
#include "files.h"
#include "log.h"
#include "model.h"

#include <stdlib.h>
#include <string.h>

enum { RUN, OUTPUT };
const wb_flag wb_export_flags[] = {
    [RUN] = {"run", WB_FLAG_REQUIRED, "RUN_DIR", NULL, "run folder with checkpoints"},
    [OUTPUT] = {"output", WB_FLAG_REQUIRED, "DIR", NULL, "folder to write"},
};
const int wb_export_flag_count = sizeof(wb_export_flags) / sizeof(wb_export_flags[0]);

static wb_status read_parameters(wb_model *model, const wb_config *config, const char *run,
                                 int64_t *step) {
    wb_status status = WB_OK;
    wb_checkpoint state = {.table = &model->table,
                           .values = model->params,
                           .config_hash = wb_options_fixed_hash(config)};
    bool found = false;
    char rejected[4096] = "";
    WB_TRY(wb_checkpoint_read_newest(run, &state, &found, rejected, sizeof(rejected)));
    if (rejected[0] != '\0') {
        wb_log(WB_LOG_RUN, "NOTE: checkpoints passed over:\n%s", rejected);
    }
    WB_CHECK(found, WB_ERR_INPUT, "%s has no checkpoint yet", run);
    *step = state.step;
done:
    return status;
}

wb_status wb_command_export(const wb_arguments *arguments, wb_comm *comm) {
    wb_status status = WB_OK;
    const char *const run = arguments->values[RUN], *const out = arguments->values[OUTPUT];
    const bool acts = wb_comm_rank(comm) == 0;
    wb_config config;
    wb_origins *origins = NULL;
    wb_model model = {0};
    int64_t step = 0;
    char path[WB_PATH];
    WB_TRY_ALL(comm, wb_path_join(path, run, "config.yaml"));
    WB_TRY_ALL(
        comm, wb_path_is_file(path)
                  ? WB_OK
                  : WB_ERROR(WB_ERR_USAGE, "%s: is no run's folder: no config.yaml is there", run));
    WB_TRY_ALL(comm, wb_config_read(&config, &origins, path, NULL, 0));
    WB_TRY(wb_model_open(&model, &config, comm));
    WB_TRY_ALL(comm, acts ? read_parameters(&model, &config, run, &step) : WB_OK);
    const wb_card_run told = {.name = out, .steps = step};
    WB_TRY_ALL(comm, acts ? wb_card_export(&model, &config, &told, out) : WB_OK);
    wb_log(WB_LOG_RUN, "exported step %lld to %s", (long long)step, out);
done:
    wb_model_close(&model);
    wb_origins_destroy(origins);
    return status;
}
