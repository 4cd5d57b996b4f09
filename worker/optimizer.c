/* AdamW, SGD and their schedules. */
#include "optimizer.h"

#include <math.h>

int wb_optimizer_slots(wb_optimizer_kind kind) {
    return kind == WB_OPTIMIZER_ADAMW ? 2 : 0;
}

const char *wb_optimizer_slot_name(wb_optimizer_kind kind, int slot) {
    static const char *const adamw[] = {"adamw.m", "adamw.v"};
    return kind == WB_OPTIMIZER_ADAMW ? adamw[slot] : NULL;
}

double wb_optimizer_rate(const wb_optimizer *optimizer, int64_t step) {
    const double warmup = (double)optimizer->warmup_steps;
    const double total = (double)optimizer->total_steps;
    if (step < optimizer->warmup_steps) {
        return optimizer->lr * (double)(step + 1) / warmup;
    }
    if (optimizer->schedule == WB_SCHEDULE_CONSTANT || total <= warmup) {
        return optimizer->lr;
    }
    const double left = fmax(0.0, (total - (double)step) / (total - warmup));
    const double share =
        optimizer->schedule == WB_SCHEDULE_LINEAR ? left : 0.5 * (1.0 - cos(M_PI * left));
    return optimizer->lr * share;
}

double wb_gradient_norm(const float *grads, int64_t count) {
    enum { BLOCKS = 1024 };
    double sums[BLOCKS];
#pragma omp parallel for schedule(static)
    for (int64_t block = 0; block < BLOCKS; block++) {
        double sum = 0.0;
        const int64_t first = block * (count / BLOCKS);
        const int64_t end = block == BLOCKS - 1 ? count : first + count / BLOCKS;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = first; i < end; i++) {
            sum += (double)grads[i] * (double)grads[i];
        }
        sums[block] = sum;
    }
    double total = 0.0;
    for (int block = 0; block < BLOCKS; block++) {
        total += sums[block];
    }
    return sqrt(total);
}

typedef struct adamw_rates {
    float keep; /* 1 - rate * weight_decay */
    float step; /* rate / (1 - beta1^t) */
    float root; /* 1 / sqrt(1 - beta2^t) */
    float beta1, beta2, eps, scale;
} adamw_rates;

static void adamw_update(float *restrict p, float *restrict m, float *restrict v,
                         const float *restrict g, int64_t count, const adamw_rates *rates) {
    const adamw_rates r = *rates;
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) {
        const float gradient = g[i] * r.scale;
        m[i] += (1.0f - r.beta1) * (gradient - m[i]);
        v[i] = r.beta2 * v[i] + (1.0f - r.beta2) * gradient * gradient;
        p[i] = p[i] * r.keep - r.step * m[i] / (sqrtf(v[i]) * r.root + r.eps);
    }
}

static void sgd_update(float *restrict p, const float *restrict g, int64_t count, float keep,
                       float step) {
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) {
        p[i] = p[i] * keep - step * g[i];
    }
}

void wb_optimizer_update(const wb_optimizer *optimizer, float *params,
                         float *const slots[WB_OPTIMIZER_SLOTS], const float *grads, double scale,
                         int64_t step, const wb_tensor_table *table) {
    const double rate = wb_optimizer_rate(optimizer, step);
    const double t = (double)(step + 1);
    adamw_rates rates = {.step = (float)(rate / (1.0 - pow(optimizer->beta1, t))),
                         .root = (float)(1.0 / sqrt(1.0 - pow(optimizer->beta2, t))),
                         .beta1 = (float)optimizer->beta1,
                         .beta2 = (float)optimizer->beta2,
                         .eps = (float)optimizer->eps,
                         .scale = (float)scale};
    for (int64_t i = 0; i < table->length; i++) {
        const wb_tensor *tensor = &table->tensors[i];
        const int64_t at = tensor->offset;
        rates.keep = tensor->decay ? (float)(1.0 - rate * optimizer->weight_decay) : 1.0f;
        if (optimizer->kind == WB_OPTIMIZER_ADAMW) {
            adamw_update(params + at, slots[0] + at, slots[1] + at, grads + at, tensor->count,
                         &rates);
        } else {
            sgd_update(params + at, grads + at, tensor->count, rates.keep, (float)(rate * scale));
        }
    }
}
