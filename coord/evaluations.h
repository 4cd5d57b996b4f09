/* The evaluations of a run: before its first step, after every data.eval_every steps, and after the
 * last. Each leaves eval/step-N.trec, a run, and eval/step-N.txt: a line that names the data, and
 * the measures. What an earlier life has measured on the same data is not measured again.
 *
 * They may take long, so a request to stop is heard between their parts: the evaluation is left,
 * and made by who continues the run.
 */
#ifndef WB_EVALUATIONS_H
#define WB_EVALUATIONS_H

#include "measures.h"
#include "run_life.h"
#include "token_cache.h"
#include "trainer.h"

typedef struct wb_evaluations {
    wb_trainer *trainer;        /* borrowed */
    wb_run_life *life;          /* borrowed */
    wb_token_cache *tokens;     /* owned; of all evaluations */
    int64_t evaluated;          /* the last step after which there was one; -1 none */
    bool has_begun;             /* this process has opened the files of one */
    wb_measures before, after;  /* the first step's and the last one's */
    bool has_before, has_after; /* of an earlier life: rank 0 only */
} wb_evaluations;

/* Collective. Removes what an earlier life has left of steps that will be done again. `trainer` and
 * `life` are borrowed until it is closed. Errors: WB_ERR_MEMORY, WB_ERR_DISK. */
wb_status wb_evaluations_open(wb_evaluations *evaluations, wb_trainer *trainer, wb_run_life *life);
void wb_evaluations_close(wb_evaluations *evaluations);

/* Collective. Evaluates where that is due after the steps done so far; life->stop says where it was
 * left. */
wb_status wb_evaluations_run(wb_evaluations *evaluations);

/* Collective. What comes after hours of training must not fail then for what can be known now:
 * opens the files of an evaluation and checks that there is memory for it, unless one has begun.
 * Nothing without data.eval. */
wb_status wb_evaluations_check(wb_evaluations *evaluations);

/* Local. Logs the first and the last one beside each other, where there are both. */
void wb_evaluations_log_gain(const wb_evaluations *evaluations);

#endif
