/* metrics.jsonl: one JSON object a step, for plots, pandas and people.
 *
 *     {"schema": 1, "writer": "widebatch 0.1.0"}
 *     {"step": 1, "loss_nats": 3.2, "tokens": 51234, …}
 *
 * Steps ascend. When a run continues from step k, the lines after k are taken back, so the log of a
 * broken run reads like that of an unbroken one. They are taken back by putting a new file in the
 * place of the old: an earlier life of the run that was cut off, and goes on for a while, then
 * writes to no file that anybody reads.
 */
#ifndef WB_METRICS_LOG_H
#define WB_METRICS_LOG_H

#include "status.h"

#include <stdint.h>

typedef struct wb_metrics_log wb_metrics_log;

typedef struct wb_metric {
    const char *key; /* with its unit, e.g. step_seconds */
    bool is_integer;
    int64_t integer; /* where is_integer */
    double number;   /* otherwise; one that is not finite is written as null */
} wb_metric;

static inline wb_metric wb_metric_integer(const char *key, int64_t value) {
    return (wb_metric){.key = key, .is_integer = true, .integer = value};
}

static inline wb_metric wb_metric_number(const char *key, double value) {
    return (wb_metric){.key = key, .number = value};
}

/* Local. Opens or begins the log and keeps its lines of steps 1 … keep_steps; what follows, and a
 * last line that was not finished, is cut off. Errors: WB_ERR_INPUT where `path` is another kind of
 * file or of another schema; WB_ERR_DISK. */
wb_status wb_metrics_log_open(wb_metrics_log **log, const char *path, int64_t keep_steps);

/* Local. Appends one line and hands it to the system. Errors: WB_ERR_DISK, WB_ERR_MEMORY. */
wb_status wb_metrics_log_step(wb_metrics_log *log, int64_t step, const wb_metric *metrics,
                              int64_t count);

/* Local. Flushes to disk and closes; frees the log also on error. NULL-safe. Error: WB_ERR_DISK. */
wb_status wb_metrics_log_close(wb_metrics_log *log);

#endif
