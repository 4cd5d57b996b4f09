/* metrics.jsonl over stdio and jansson. */
#include "metrics_log.h"

#include "files.h"
#include "json.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SCHEMA = 1 };

struct wb_metrics_log {
    char path[WB_PATH];
    FILE *file;
};

/* *step: that of a complete line, or -1 for anything else. */
static wb_status step_of_line(int64_t *step, const char *line, size_t bytes, const char *path) {
    wb_status status = WB_OK;
    json_t *root = NULL;
    *step = -1;
    if (line[bytes - 1] != '\n') {
        return WB_OK;
    }
    WB_TRY(wb_json_parse(&root, line, bytes, path, 1));
    WB_TRY(wb_json_integer(root, "step", true, 0, INT64_MAX, path, step));
done:
    json_decref(root);
    if (status == WB_ERR_INPUT) {
        *step = -1;
        wb_error_clear();
    }
    return status == WB_ERR_INPUT ? WB_OK : status;
}

static wb_status check_first_line(const char *line, size_t bytes, const char *path) {
    wb_status status = WB_OK;
    json_t *root = NULL;
    int64_t schema = 0;
    WB_TRY(wb_json_parse(&root, line, bytes, path, 1));
    WB_TRY(wb_json_integer(root, "schema", true, SCHEMA, SCHEMA, path, &schema));
done:
    json_decref(root);
    return status;
}

/* *keep: bytes up to the first line that is of a later step, or is no line of this log. 0 where not
 * even the first line was finished. */
static wb_status measure(const wb_metrics_log *log, int64_t keep_steps, int64_t *keep) {
    wb_status status = WB_OK;
    char *line = NULL;
    size_t capacity = 0;
    *keep = 0;
    for (;;) {
        const ssize_t bytes = getline(&line, &capacity, log->file);
        WB_CHECK(bytes > 0 || feof(log->file) || errno != ENOMEM, WB_ERR_MEMORY,
                 "%s: no memory for a line", log->path);
        if (bytes <= 0) {
            break;
        }
        if (*keep == 0) {
            if (line[bytes - 1] != '\n' && line[0] == '{') {
                break;
            }
            WB_TRY(check_first_line(line, (size_t)bytes, log->path));
        } else {
            int64_t step = 0;
            WB_TRY(step_of_line(&step, line, (size_t)bytes, log->path));
            if (step < 0 || step > keep_steps) {
                break;
            }
        }
        *keep += bytes;
    }
    WB_CHECK(!ferror(log->file), WB_ERR_DISK, "%s: cannot read: %s", log->path, strerror(errno));
done:
    free(line);
    return status;
}

/* Takes over `line` (NULL: could not be built). */
static wb_status append(wb_metrics_log *log, json_t *line) {
    wb_status status = WB_OK;
    char *text = NULL;
    WB_TRY(wb_json_text(&text, line, JSON_REAL_PRECISION(12), log->path));
    WB_CHECK(fputs(text, log->file) >= 0 && fputc('\n', log->file) != EOF && fflush(log->file) == 0,
             WB_ERR_DISK, "%s: cannot write: %s", log->path, strerror(errno));
done:
    free(text);
    json_decref(line);
    return status;
}

/* The first `keep` bytes of the log as a new file of the same name, open at its end. */
static wb_status begin_again(wb_metrics_log *log, int64_t keep) {
    wb_status status = WB_OK;
    enum { BLOCK = 1 << 16 };
    wb_draft draft = WB_DRAFT_NONE;
    char *block = malloc(BLOCK);
    WB_CHECK(block, WB_ERR_MEMORY, "%s: no memory to copy it", log->path);
    WB_TRY(wb_draft_begin(&draft, log->path));
    for (int64_t at = 0; at < keep; at += BLOCK) {
        const size_t bytes = keep - at < BLOCK ? (size_t)(keep - at) : BLOCK;
        WB_TRY(wb_file_read_at(fileno(log->file), log->path, at, block, bytes));
        WB_TRY(wb_draft_append(&draft, block, bytes));
    }
    WB_TRY(wb_draft_commit(&draft));
    (void)fclose(log->file);
    log->file = fopen(log->path, "ae");
    WB_CHECK(log->file, WB_ERR_DISK, "%s: cannot open: %s", log->path, strerror(errno));
done:
    wb_draft_discard(&draft);
    free(block);
    return status;
}

wb_status wb_metrics_log_open(wb_metrics_log **result, const char *path, int64_t keep_steps) {
    wb_status status = WB_OK;
    int64_t keep = 0;
    int file = -1;
    wb_metrics_log *log = calloc(1, sizeof(*log));
    WB_CHECK(log, WB_ERR_MEMORY, "%s: no memory to open it", path);
    WB_CHECK(strlen(path) < WB_PATH, WB_ERR_USAGE, "path too long: %.200s…", path);
    (void)snprintf(log->path, WB_PATH, "%s", path);
    file = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    WB_CHECK(file >= 0, WB_ERR_DISK, "%s: cannot open: %s", path, strerror(errno));
    log->file = fdopen(file, "r+");
    WB_CHECK(log->file, WB_ERR_MEMORY, "%s: no memory to open it", path);
    file = -1;
    WB_TRY(measure(log, keep_steps, &keep));
    WB_TRY(begin_again(log, keep));
    if (keep == 0) {
        WB_TRY(append(
            log, json_pack("{s: i, s: s}", "schema", SCHEMA, "writer", "widebatch " WB_VERSION)));
    }
    *result = log;
    return WB_OK;
done:
    if (file >= 0) {
        (void)close(file);
    }
    if (log && log->file) {
        (void)fclose(log->file);
    }
    free(log);
    return status;
}

wb_status wb_metrics_log_step(wb_metrics_log *log, int64_t step, const wb_metric *metrics,
                              int64_t count) {
    wb_status status = WB_OK;
    json_t *line = json_pack("{s: I}", "step", (json_int_t)step);
    for (int64_t i = 0; i < count; i++) {
        json_t *value = metrics[i].is_integer         ? json_integer(metrics[i].integer)
                        : isfinite(metrics[i].number) ? json_real(metrics[i].number)
                                                      : json_null();
        WB_CHECK(json_object_set_new(line, metrics[i].key, value) == 0, WB_ERR_MEMORY,
                 "%s: no memory for a line", log->path);
    }
    WB_TRY(append(log, json_incref(line)));
done:
    json_decref(line);
    return status;
}

wb_status wb_metrics_log_close(wb_metrics_log *log) {
    wb_status status = WB_OK;
    if (!log) {
        return WB_OK;
    }
    const bool synced = fflush(log->file) == 0 && fsync(fileno(log->file)) == 0;
    const bool closed = fclose(log->file) == 0;
    WB_CHECK(synced && closed, WB_ERR_DISK, "%s: cannot close: %s", log->path, strerror(errno));
done:
    free(log);
    return status;
}
