/* widebatch inspect: what a checkpoint or a model holds. */
#include "checkpoint.h"
#include "commands.h"

const wb_flag wb_inspect_flags[] = {{0}};
const int wb_inspect_flag_count = 0;

static wb_status inspect(const wb_arguments *arguments) {
    wb_status status = WB_OK;
    WB_CHECK(arguments->positional, WB_ERR_USAGE,
             "inspect what? a run folder, a checkpoint, a model folder or a .safetensors file");
    WB_TRY(wb_checkpoint_describe(arguments->positional, stdout));
    WB_CHECK(fflush(stdout) == 0, WB_ERR_DISK, "cannot write to standard output");
done:
    return status;
}

wb_status wb_command_inspect(const wb_arguments *arguments, wb_comm *comm) {
    return wb_agree(comm, wb_comm_rank(comm) == 0 ? inspect(arguments) : WB_OK);
}
