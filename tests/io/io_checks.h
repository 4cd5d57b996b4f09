/* What the tests of io share: statuses that show their message, files made from bytes. */
#ifndef WB_IO_CHECKS_H
#define WB_IO_CHECKS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "files.h"
#include "metrics_log.h"
#include "status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define assert_ok(call)                                                                            \
    do {                                                                                           \
        wb_error_clear();                                                                          \
        const wb_status ok_status = (call);                                                        \
        if (ok_status != WB_OK) {                                                                  \
            fail_msg("%s: %s", #call, wb_error_message());                                         \
        }                                                                                          \
    } while (0)

/* The call fails with `code` and a message that contains `part`. */
#define assert_refused(call, code, part)                                                           \
    do {                                                                                           \
        wb_error_clear();                                                                          \
        const wb_status refused_status = (call);                                                   \
        if (refused_status != (code) || !strstr(wb_error_message(), (part))) {                     \
            fail_msg("%s: status %d, expected %d; message \"%s\", expected \"%s\"", #call,         \
                     (int)refused_status, (int)(code), wb_error_message(), (part));                \
        }                                                                                          \
        wb_error_clear();                                                                          \
    } while (0)

/* A fresh, empty folder of this program and test under the scratch folder. */
static inline void scratch_folder(char path[WB_PATH], const char *program, const char *test) {
    assert_ok(wb_path_join(path, WB_TEST_SCRATCH, "%s-%s", program, test));
    assert_ok(wb_folder_remove(path));
    assert_ok(wb_folder_make(path));
}

static inline void put_bytes(const char *path, const void *data, size_t bytes) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

static inline void put_text(const char *path, const char *text) {
    put_bytes(path, text, strlen(text));
}

/* A metrics log that keeps what it has up to step `keep`, and gets steps `first` to `last`. */
static inline wb_status log_steps(const char *path, int64_t keep, int64_t first, int64_t last) {
    wb_status status = WB_OK;
    wb_metrics_log *log = NULL;
    WB_TRY(wb_metrics_log_open(&log, path, keep));
    for (int64_t step = first; step <= last; step++) {
        const wb_metric metrics[] = {wb_metric_number("loss_nats", 1.0 / (double)step),
                                     wb_metric_integer("tokens", step * 1000)};
        WB_TRY(wb_metrics_log_step(log, step, metrics, 2));
    }
done:
    if (status != WB_OK) {
        (void)wb_metrics_log_close(log);
        return status;
    }
    return wb_metrics_log_close(log);
}

/* A whole file, with a NUL behind it. Free it. */
static inline char *get_bytes(const char *path, size_t *bytes) {
    char *data = NULL;
    size_t size = 0;
    assert_ok(wb_file_read(path, (size_t)1 << 30, &data, &size));
    if (bytes) {
        *bytes = size;
    }
    return data;
}

#endif
