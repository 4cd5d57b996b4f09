/* widebatch env: everything a bug report should say about the machine. */
#include "commands.h"
#include "machine.h"

const wb_flag wb_env_flags[] = {{0}};
const int wb_env_flag_count = 0;

wb_status wb_command_env(const wb_arguments *arguments, wb_comm *comm) {
    (void)arguments;
    if (wb_comm_rank(comm) == 0) {
        wb_machine_print_version(stdout);
        wb_machine_print(stdout);
        (void)printf("ranks       %d, of which %d share this host's memory\n", wb_comm_world(comm),
                     wb_comm_local_world(comm));
    }
    return WB_OK;
}
