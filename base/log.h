/* What a run says to people: rank 0 speaks on stderr and, once a run folder is open, in its
 * log.txt. Levels are named by how often a line may appear.
 */
#ifndef WB_LOG_H
#define WB_LOG_H

#include "status.h"

typedef enum wb_log_level {
    WB_LOG_QUIET, /* errors only, which do not pass through here */
    WB_LOG_RUN,   /* a few lines a run */
    WB_LOG_STEP,  /* a line every few steps */
    WB_LOG_CHUNK, /* many lines a step: for debugging */
} wb_log_level;

/* Local. Ranks other than 0 stay silent. */
void wb_log_init(int rank, wb_log_level level);

/* Local. Also appends to `path` from now on; NULL closes it. Error: WB_ERR_DISK. */
wb_status wb_log_open(const char *path);

/* Local. One line, without its newline. A progress bar on screen is wiped first. */
void wb_log(wb_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Local. One line for log.txt alone, if it is open. */
void wb_log_file_only(const char *line);

/* Local. Draws a line over the last bar (stderr is a terminal), or nothing; never in log.txt. */
void wb_log_bar(const char *text);

/* Local. True where wb_log_bar draws: rank 0 with stderr on a terminal. */
bool wb_log_has_bar(void);

#endif
