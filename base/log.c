/* Log lines and the one progress bar that shares the terminal with them. */
#include "log.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int log_rank;
static wb_log_level log_level = WB_LOG_RUN;
static FILE *log_file;
static bool bar_on_screen;

void wb_log_init(int rank, wb_log_level level) {
    log_rank = rank;
    log_level = level;
}

wb_status wb_log_open(const char *path) {
    if (log_file) {
        (void)fclose(log_file);
        log_file = NULL;
    }
    if (!path || log_rank != 0) {
        return WB_OK;
    }
    log_file = fopen(path, "a");
    if (!log_file) {
        return WB_ERROR(WB_ERR_DISK, "%s: cannot open for appending: %s", path, strerror(errno));
    }
    return WB_OK;
}

static void wipe_bar(void) {
    if (bar_on_screen) {
        (void)fputs("\r\033[K", stderr);
        bar_on_screen = false;
    }
}

void wb_log_file_only(const char *line) {
    if (log_file) {
        (void)fprintf(log_file, "%s\n", line);
        (void)fflush(log_file);
    }
}

void wb_log(wb_log_level level, const char *format, ...) {
    if (log_rank != 0 || level > log_level) {
        return;
    }
    char line[4096];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    wipe_bar();
    (void)fprintf(stderr, "%s\n", line);
    wb_log_file_only(line);
}

bool wb_log_has_bar(void) {
    return log_rank == 0 && log_level >= WB_LOG_RUN && isatty(STDERR_FILENO);
}

void wb_log_bar(const char *text) {
    if (!wb_log_has_bar()) {
        return;
    }
    struct winsize screen;
    const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &screen) == 0 && screen.ws_col > 1;
    /* a longer one would break into lines, of which only the last is wiped */
    (void)fprintf(stderr, "\r\033[K%.*s", known ? screen.ws_col - 1 : INT_MAX, text);
    (void)fflush(stderr);
    bar_on_screen = text[0] != '\0';
}
