/* Command lines: each command declares its flags in a table, from which parsing and --help follow.
 */
#ifndef WB_ARGUMENTS_H
#define WB_ARGUMENTS_H

#include "status.h"

#include <stdint.h>
#include <stdio.h>

typedef enum wb_flag_kind {
    WB_FLAG_SWITCH,   /* --dry-run */
    WB_FLAG_OPTIONAL, /* --k N, with a default */
    WB_FLAG_REQUIRED,
    WB_FLAG_REPEATED, /* --set key=value, any number of times */
    WB_FLAG_REST,     /* -- and all that follows it; its name is "" */
} wb_flag_kind;

typedef struct wb_flag {
    const char *name; /* without the dashes */
    wb_flag_kind kind;
    const char *metavar; /* what the value is called in --help */
    const char *value;   /* default, or NULL */
    const char *help;
} wb_flag;

enum { WB_MAX_FLAGS = 16, WB_MAX_REPEATS = 256 };

typedef struct wb_arguments {
    const char *values[WB_MAX_FLAGS]; /* by number of flag; a switch that is set is "" */
    const char *repeated[WB_MAX_REPEATS];
    int repeated_flag[WB_MAX_REPEATS]; /* whose value it is */
    int repeats;
    const char *positional;  /* or NULL */
    const char *const *rest; /* [rest_count], what follows -- */
    int rest_count;
} wb_arguments;

/* Local. Parses what follows the command's name. All strings are borrowed from argv.
 *   flags [count]; positional: what the one argument without dashes is called, or NULL for none
 * Error: WB_ERR_USAGE. */
wb_status wb_arguments_parse(wb_arguments *arguments, const wb_flag *flags, int count,
                             const char *positional, int argc, char **argv);

/* Local. Prints the flags for --help. */
void wb_arguments_help(const wb_flag *flags, int count, FILE *out);

/* Local. A flag's value as an integer within [least, most]. Error: WB_ERR_USAGE. */
wb_status wb_argument_count(const char *name, const char *value, int64_t least, int64_t most,
                            int64_t *number);

/* Local. Refuses an output that is the input: it would be replaced. Error: WB_ERR_USAGE. */
wb_status wb_argument_check_output(const char *output, const char *input);

#endif
