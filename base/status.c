/* Status codes and the kept error of each thread. */
#include "status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct wb_error {
    char message[2048];
    char backtrace[4096];
} wb_error;

static _Thread_local wb_error kept;

static const struct {
    int exit_code;
    const char *meaning;
} status_table[WB_STATUS_COUNT] = {
#define WB_STATUS_ROW(name, exit_code, meaning) {exit_code, meaning},
    WB_STATUS_TABLE(WB_STATUS_ROW)
#undef WB_STATUS_ROW
};

int wb_status_exit_code(wb_status status) {
    return status < WB_STATUS_COUNT ? status_table[status].exit_code : 1;
}

const char *wb_status_meaning(wb_status status) {
    return status < WB_STATUS_COUNT ? status_table[status].meaning : "unknown status";
}

static void append_place(const char *what, const char *file, int line) {
    const char *slash = strrchr(file, '/');
    const size_t used = strlen(kept.backtrace);
    (void)snprintf(kept.backtrace + used, sizeof(kept.backtrace) - used, "  %s (%s:%d)\n", what,
                   slash ? slash + 1 : file, line);
}

wb_status wb_error_set(wb_status status, const char *file, int line, const char *format, ...) {
    if (kept.message[0] != '\0') {
        return status;
    }
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(kept.message, sizeof(kept.message), format, arguments);
    va_end(arguments);
    append_place("found", file, line);
    return status;
}

wb_status wb_error_trace(wb_status status, const char *expression, const char *file, int line) {
    append_place(expression, file, line);
    return status;
}

const char *wb_error_message(void) {
    return kept.message;
}

const char *wb_error_backtrace(void) {
    return kept.backtrace;
}

void wb_error_replace(const char *message) {
    (void)snprintf(kept.message, sizeof(kept.message), "%s", message);
}

void wb_error_clear(void) {
    kept.message[0] = '\0';
    kept.backtrace[0] = '\0';
}

_Noreturn void wb_assert_failed(const char *condition, const char *file, int line,
                                const char *format, ...) {
    (void)fprintf(stderr, "widebatch: assertion failed: %s (%s:%d): ", condition, file, line);
    va_list arguments;
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fputc('\n', stderr);
    abort();
}
