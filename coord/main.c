/* The program: one command, one message, one exit code. */
#include "commands.h"
#include "io_library.h"
#include "log.h"
#include "machine.h"
#include "memory.h"
#include "run_life.h"

#include <stdlib.h>
#include <string.h>

static const wb_command *find_command(const char *name) {
    static wb_command commands[] = {
#define COMMAND_ROW(name, positional, summary)                                                     \
    {#name, positional, summary, wb_##name##_flags, 0, wb_command_##name, NULL, NULL},
        WB_COMMAND_TABLE(COMMAND_ROW)
#undef COMMAND_ROW
    };
    static const int *const counts[] = {
#define COMMAND_COUNT(name, positional, summary) &wb_##name##_flag_count,
        WB_COMMAND_TABLE(COMMAND_COUNT)
#undef COMMAND_COUNT
    };
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(commands[i].name, name) == 0) {
            commands[i].flag_count = *counts[i];
            if (strcmp(name, "train") == 0) {
                commands[i].more_help = wb_train_help;
                commands[i].catch_signals = wb_run_life_catch_signals;
            }
            return &commands[i];
        }
    }
    return NULL;
}

static void print_help(FILE *out) {
    (void)fputs(
        "widebatch trains dense retrievers with contrastive batches as wide as the cluster.\n"
        "\n"
        "usage: widebatch COMMAND [flags]        (under mpirun or srun for several ranks)\n"
        "\n",
        out);
#define COMMAND_LINE(name, positional, summary) (void)fprintf(out, "  %-10s %s\n", #name, summary);
    WB_COMMAND_TABLE(COMMAND_LINE)
#undef COMMAND_LINE
    (void)fputs(
        "\n"
        "widebatch COMMAND --help describes a command. OMP_NUM_THREADS sets the threads of a "
        "rank.\n"
        "Exit codes:\n",
        out);
#define STATUS_LINE(name, code, meaning) (void)fprintf(out, "  %3d  %s\n", code, meaning);
    WB_STATUS_TABLE(STATUS_LINE)
#undef STATUS_LINE
}

static void print_command_help(const wb_command *command) {
    (void)printf("usage: widebatch %s%s%s%s\n\n%s\n", command->name, command->positional ? " " : "",
                 command->positional ? command->positional : "",
                 command->flag_count > 0 ? " [flags]" : "", command->summary);
    if (command->flag_count > 0) {
        (void)fputc('\n', stdout);
    }
    wb_arguments_help(command->flags, command->flag_count, stdout);
    if (command->more_help) {
        command->more_help(stdout);
    }
}

static bool is_help(const char *argument) {
    return strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0;
}

/* Before a "--": what follows it is another program's. */
static bool asks_for_help(int argc, char **argv) {
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (is_help(argv[i])) {
            return true;
        }
    }
    return false;
}

static wb_status no_command(const char *wrong) {
#define COMMAND_NAME(name, positional, summary) " " #name
    static const char names[] = WB_COMMAND_TABLE(COMMAND_NAME);
#undef COMMAND_NAME
    return WB_ERROR(WB_ERR_USAGE, "unknown command %.100s; there are%s; --help describes them",
                    wrong, names);
}

/* One message for all ranks, on rank 0. */
static int report(wb_status status, int rank) {
    if (status != WB_OK && rank == 0) {
        char line[4096];
        (void)snprintf(line, sizeof(line), "widebatch: %s%s",
                       status == WB_STOPPED ? "" : "error: ", wb_error_message());
        wb_log_bar("");
        (void)fprintf(stderr, "%s\n", line);
        wb_log_file_only(line);
        if (getenv("WIDEBATCH_TRACE")) {
            (void)fprintf(stderr, "%s", wb_error_backtrace());
        }
    }
    return wb_status_exit_code(status);
}

/* Where MPI has not begun: the launcher's word. */
static bool is_first_rank(void) {
    const char *const names[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID"};
    const char *rank = NULL;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && !rank; i++) {
        rank = getenv(names[i]);
    }
    return !rank || strcmp(rank, "0") == 0;
}

static int run_command(const wb_command *command, int argc, char **argv) {
    wb_comm *comm = NULL;
    wb_arguments arguments;
    const wb_status room = wb_memory_check_room(WB_MEMORY_TO_START);
    if (room != WB_OK) {
        return report(room, is_first_rank() ? 0 : 1);
    }
    if (command->catch_signals) {
        command->catch_signals();
    }
    wb_status status = wb_comm_create(&comm, &argc, &argv);
    if (status != WB_OK) {
        return report(status, 0);
    }
    if (command->catch_signals) {
        command->catch_signals();
    }
    const int rank = wb_comm_rank(comm);
    wb_log_init(rank, WB_LOG_RUN);
    status = wb_io_init();
    if (status == WB_OK) {
        status = wb_arguments_parse(&arguments, command->flags, command->flag_count,
                                    command->positional, argc - 2, argv + 2);
    }
    if (status == WB_OK) {
        status = command->run(&arguments, comm);
    }
    if (status == WB_ERR_MPI || status == WB_ERR_INTERNAL) {
        (void)report(status, 0); /* the others may be waiting in another call */
        wb_comm_abort(wb_status_exit_code(status));
    }
    const int code = report(status, rank);
    (void)wb_log_open(NULL);
    wb_comm_destroy(comm);
    return code;
}

/* Ends a program that cannot begin: the kept message once, though every rank comes here. */
static int refuse(wb_status status, int argc, char **argv) {
    wb_comm *comm = NULL;
    const int rank = wb_comm_create(&comm, &argc, &argv) == WB_OK ? wb_comm_rank(comm) : 0;
    const int code = report(status, rank);
    wb_comm_destroy(comm);
    return code;
}

int main(int argc, char **argv) {
    if (wb_machine_check() != WB_OK) {
        return refuse(WB_ERR_USAGE, argc, argv);
    }
    wb_machine_choose_kernels(argv);
    if (argc > 2 && strcmp(argv[1], "help") == 0) { /* help COMMAND: COMMAND --help */
        argv[1] = argv[2];
        static char help[] = "--help";
        argv[2] = help;
    }
    if (argc < 2 || is_help(argv[1]) || strcmp(argv[1], "help") == 0) {
        print_help(argc < 2 ? stderr : stdout);
        return argc < 2 ? wb_status_exit_code(WB_ERR_USAGE) : 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        wb_machine_print_version(stdout);
        return 0;
    }
    const wb_command *command = find_command(argv[1]);
    if (!command) {
        return refuse(no_command(argv[1]), argc, argv);
    }
    if (asks_for_help(argc - 2, argv + 2)) {
        print_command_help(command);
        return 0;
    }
    return run_command(command, argc, argv);
}
