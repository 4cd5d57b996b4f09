/* Updates of all parameters in one fused pass over the flat arrays. */
#ifndef WB_OPTIMIZER_H
#define WB_OPTIMIZER_H

#include "table_rows.h"
#include "tensor.h"

typedef enum wb_optimizer_kind { WB_OPTIMIZER_ADAMW, WB_OPTIMIZER_SGD } wb_optimizer_kind;
typedef enum wb_schedule {
    WB_SCHEDULE_LINEAR,
    WB_SCHEDULE_COSINE,
    WB_SCHEDULE_CONSTANT
} wb_schedule;

enum { WB_OPTIMIZER_SLOTS = 2 };

typedef struct wb_optimizer {
    wb_optimizer_kind kind;
    wb_schedule schedule;
    double lr;           /* peak learning rate */
    double weight_decay; /* decoupled; on tensors whose `decay` is set */
    double beta1, beta2, eps;
    int64_t warmup_steps, total_steps;
} wb_optimizer;

/* Local. Flat arrays of state that the kind keeps beside the parameters: 2 for adamw, 0 for sgd;
 * their names for checkpoints. */
int wb_optimizer_slots(wb_optimizer_kind kind);
const char *wb_optimizer_slot_name(wb_optimizer_kind kind, int slot);

/* Local. Learning rate of a step, counted from 0: rises to the peak over the warm-up (reached at
 * its last step), then falls to 0 just after the last step (linear, cosine) or stays. */
double wb_optimizer_rate(const wb_optimizer *optimizer, int64_t step);

/* Local. Euclidean norm of grads [count], summed in double in a fixed order: that of the tokens,
 * where `rows` says that the array is compact. */
double wb_gradient_norm(const float *grads, const wb_table_rows *rows, int64_t count);

/* Local. One update with gradients multiplied by `scale` (clipping).
 *   params, slots[i] [total]  updated in place; slots begin as zeros
 *   grads [total]             borrowed; compact where `rows` is not NULL: the first tensor is the
 *                             table
 *   step                      counted from 0: bias correction uses step + 1
 * Source: Loshchilov & Hutter 2019 (adamw, as in PyTorch); sgd is p -= rate * g, decayed likewise.
 */
void wb_optimizer_update(const wb_optimizer *optimizer, float *params,
                         float *const slots[WB_OPTIMIZER_SLOTS], const float *grads,
                         const wb_table_rows *rows, double scale, int64_t step,
                         const wb_tensor_table *table);

#endif
