/* Sweeps: one run for each combination of values, each in a folder of its own.
 *
 *     --sweep optimizer.lr=1e-5,2e-5 --sweep loss.temperature=0.02,0.05
 *
 * are four runs; the last key changes fastest. Run 1 gets optimizer.lr=1e-5 and
 * loss.temperature=0.05, and stands in RUN_DIR/optimizer.lr=1e-5,loss.temperature=0.05.
 */
#ifndef WB_SWEEP_H
#define WB_SWEEP_H

#include "status.h"

#include <stdint.h>

enum { WB_SWEEP_KEYS = 4, WB_SWEEP_VALUES = 64, WB_SWEEP_TEXT = 1024, WB_SWEEP_RUNS = 1000 };

typedef struct wb_sweep {
    struct {
        char text[WB_SWEEP_TEXT]; /* KEY, then its values, each with a NUL */
        const char *values[WB_SWEEP_VALUES];
        int count;
    } keys[WB_SWEEP_KEYS];
    int key_count;
    int64_t runs; /* 0: no sweep */
} wb_sweep;

/* Local. Adds "KEY=VALUE,VALUE…"; where there is a semicolon, it separates the values instead.
 * `sweep` begins as {0} and is not copied afterwards. Error: WB_ERR_USAGE. */
wb_status wb_sweep_add(wb_sweep *sweep, const char *text);

/* Local. One run.
 *   assignments [key_count]   filled with "key=value"
 *   name                      filled with all of them, as a name of a folder
 * Error: WB_ERR_USAGE where the name is too long. */
wb_status wb_sweep_run(const wb_sweep *sweep, int64_t number,
                       char assignments[WB_SWEEP_KEYS][WB_SWEEP_TEXT], char name[WB_SWEEP_TEXT]);

/* Local. Checks that no two runs share a folder. Error: WB_ERR_USAGE. */
wb_status wb_sweep_check(const wb_sweep *sweep);

#endif
