/* How far a run is: a bar on a terminal, a plain line now and then everywhere else. */
#ifndef WB_PROGRESS_H
#define WB_PROGRESS_H

#include "step.h"

typedef struct wb_progress {
    int64_t total, first; /* steps of the run, and where this process began */
    int64_t batch;        /* queries a step */
    double started, last_bar, last_line;
    int64_t pairs, tokens; /* since this process began */
} wb_progress;

/* Local. `done` steps lie behind. */
void wb_progress_start(wb_progress *progress, int64_t done, int64_t total, int64_t batch);

/* Local. Step number `step` (from 1) is done. Lines at most every 10 s, and for the first and last
 * step. */
void wb_progress_step(wb_progress *progress, int64_t step, const wb_step_report *report);

#endif
