/* widebatch halt: asks the run of a folder to stop with a good checkpoint. */
#include "commands.h"
#include "run_folder.h"
#include "run_life.h"

const wb_flag wb_halt_flags[] = {{0}};
const int wb_halt_flag_count = 0;

static wb_status halt(const wb_arguments *arguments) {
    wb_status status = WB_OK;
    char holder[512];
    const char *const run = arguments->positional;
    WB_CHECK(run, WB_ERR_USAGE, "halt which run? its folder is needed");
    WB_CHECK(wb_path_is_folder(run), WB_ERR_USAGE, "%.3000s: no such folder", run);
    WB_TRY(wb_run_folder_holder(run, holder, sizeof(holder)));
    if (holder[0] == '\0') {
        (void)printf("no run holds %s: nothing to halt\n", run);
        goto done;
    }
    WB_TRY(wb_run_life_halt(run));
    (void)printf("asked the run in %s to stop (%s): it saves after its step and exits with 75; a "
                 "job made by submit then ends. The same command continues it.\n",
                 run, holder);
done:
    return status;
}

wb_status wb_command_halt(const wb_arguments *arguments, wb_comm *comm) {
    return wb_agree(comm, wb_comm_rank(comm) == 0 ? halt(arguments) : WB_OK);
}
