/* A training run in memory: everything a step reads and writes. */
#ifndef WB_TRAINER_H
#define WB_TRAINER_H

#include "batch.h"
#include "batch_plan.h"
#include "checkpoint.h"
#include "comm.h"
#include "data_set.h"
#include "infonce.h"
#include "model.h"
#include "optimizer.h"
#include "options.h"
#include "ordered_sum.h"
#include "timetable.h"
#include "widths.h"

typedef struct wb_trainer {
    const wb_config *config; /* borrowed until the trainer is closed */
    wb_comm *comm;           /* borrowed likewise */
    wb_model model;
    wb_model guide;                        /* loss.filter_model; zeros without */
    wb_batch_shape guide_shape;            /* its tokens */
    wb_token_cache *tokens, *guide_tokens; /* owned; of the shapes */
    wb_data_set *data;
    wb_row_texts texts; /* where batch.no_duplicates asks for them */
    wb_batch_plan plan;
    wb_batch_shape shape;
    wb_widths widths;
    wb_optimizer optimizer;
    wb_timetable time;

    wb_arena *run_arena;   /* gradients and their sums | optimizer state */
    wb_arena *step_arena;  /* tokens | representations | cached gradients; reset each step */
    wb_arena *chunk_arena; /* activations, within memory.budget; reset each step */
    float *grads;          /* of the last step, compact: [total] at most */
    wb_table_rows rows;    /* how */
    int32_t *places;       /* [V], of `rows` */
    float *state[WB_OPTIMIZER_SLOTS]; /* [total] each */
    int64_t slot_total;               /* slots of the batch, a power of two */
    wb_ordered_sum *ordered;          /* owned; NULL where reduce.mode is fast */
    bool audits;                      /* as of run.audit_every */
    int64_t done;                     /* optimizer steps done */
    size_t program; /* bytes resident when all was open, beside the arrays above */
} wb_trainer;

/* Local. Checks that model and data are named, which is cheap: before a run folder is made.
 * Error: WB_ERR_CONFIG. */
wb_status wb_trainer_check_paths(const wb_config *config);

/* Collective. Opens model and data and reserves all memory of the run; the optimizer's state is
 * zero. Errors: WB_ERR_CONFIG, WB_ERR_INPUT, WB_ERR_MEMORY. */
wb_status wb_trainer_open(wb_trainer *trainer, const wb_config *config, wb_comm *comm);
void wb_trainer_close(wb_trainer *trainer);

/* Local. The loss as the configuration says. */
wb_infonce wb_loss_of(const wb_trainer *trainer);

/* Local. What chooses among a row's positives and negatives in an epoch (data.draw). */
int64_t wb_draw_of(const wb_trainer *trainer, int64_t epoch);

/* Local. The last step's gradient: grads [total] filled. */
void wb_trainer_gradient(const wb_trainer *trainer, float *grads);

/* Local. The run as a checkpoint holds it; arrays are borrowed from the trainer. */
wb_checkpoint wb_trainer_checkpoint(wb_trainer *trainer);

/* Collective. Rank 0 has read a checkpoint of `step` into its arrays: all ranks receive them and go
 * on after that step; at step 0 nothing moves. `step` is looked at on rank 0. Error: WB_ERR_MPI. */
wb_status wb_trainer_resume(wb_trainer *trainer, int64_t step);

/* Collective. Compares parameters and optimizer state of all ranks, bit by bit, through their sums.
 * Error: WB_ERR_DIVERGED, naming the ranks that differ from most; of two, nobody knows which. */
wb_status wb_trainer_check_same(const wb_trainer *trainer);

/* Local. Resident bytes that the run will need at most on this rank, when a step's activations take
 * `activations` and its gradients are `gradient_floats` long. */
size_t wb_trainer_expected_peak(const wb_trainer *trainer, size_t activations,
                                int64_t gradient_floats);

/* Collective. Logs what the run will do: rows, steps, shares, memory (--dry-run shows no more). */
wb_status wb_trainer_log_plan(wb_trainer *trainer);

#endif
