/* Commands called with words, as a command line would, but in this process. */
#ifndef WB_COMMANDS_IN_PROCESS_H
#define WB_COMMANDS_IN_PROCESS_H

#include "commands.h"
#include "log.h"

#include <stdint.h>
#include <string.h>

static const wb_command commands[] = {
#define ROW(name, positional, summary)                                                             \
    {#name, positional, summary, wb_##name##_flags, 0, wb_command_##name, NULL, NULL},
    WB_COMMAND_TABLE(ROW)
#undef ROW
};
static const int *const flag_counts[] = {
#define ROW(name, positional, summary) &wb_##name##_flag_count,
    WB_COMMAND_TABLE(ROW)
#undef ROW
};

/* Collective on `ranks`; a rank outside of it (NULL) has nothing to do. The first word is the
 * command's name, the last is NULL. */
static inline wb_status run_words(wb_comm *ranks, const char *const *words) {
    char *argv[64];
    int argc = 0;
    for (; words[argc + 1]; argc++) {
        argv[argc] = (char *)(uintptr_t)words[argc + 1];
    }
    wb_error_clear();
    for (size_t i = 0; ranks && i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(commands[i].name, words[0]) == 0) {
            wb_arguments arguments;
            wb_status status = wb_arguments_parse(&arguments, commands[i].flags, *flag_counts[i],
                                                  commands[i].positional, argc, argv);
            status = status == WB_OK ? commands[i].run(&arguments, ranks) : status;
            (void)wb_log_open(NULL);
            return status;
        }
    }
    return ranks ? WB_ERROR(WB_ERR_USAGE, "no command %s", words[0]) : WB_OK;
}
#define RUN(ranks, ...) run_words(ranks, (const char *const[]){__VA_ARGS__, NULL})

#endif
