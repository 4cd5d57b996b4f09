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

static double squares(const float *values, int64_t count) {
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; i++) {
        sum += (double)values[i] * (double)values[i];
    }
    return sum;
}

enum { NORM_BLOCKS = 1024 };

/* Sums of blocks [NORM_BLOCKS], of `count` items each but for the rest. */
static int64_t block_begin(int64_t count, int64_t block) {
    return block == NORM_BLOCKS ? count : block * (count / NORM_BLOCKS);
}

static void squares_of_rows(double *sums, const float *grads, const wb_table_rows *rows) {
#pragma omp parallel for schedule(static)
    for (int64_t block = 0; block < NORM_BLOCKS; block++) {
        sums[block] = 0.0;
        for (int64_t token = block_begin(rows->V, block); token < block_begin(rows->V, block + 1);
             token++) {
            const float *row = wb_table_row(grads, rows, token);
            sums[block] += row ? squares(row, rows->H) : 0.0;
        }
    }
}

static void squares_of_others(double *sums, const float *grads, int64_t count) {
#pragma omp parallel for schedule(static)
    for (int64_t block = 0; block < NORM_BLOCKS; block++) {
        const int64_t begin = block_begin(count, block);
        sums[block] = squares(grads + begin, block_begin(count, block + 1) - begin);
    }
}

double wb_gradient_norm(const float *grads, const wb_table_rows *rows, int64_t count) {
    double of_rows[NORM_BLOCKS] = {0}, of_others[NORM_BLOCKS], total = 0.0;
    const int64_t first = rows ? rows->count * rows->H : 0;
    if (rows) {
        squares_of_rows(of_rows, grads, rows);
    }
    squares_of_others(of_others, grads + first, count - first);
    for (int block = 0; block < NORM_BLOCKS; block++) {
        total += of_rows[block] + of_others[block];
    }
    return sqrt(total);
}

typedef struct update_rates {
    float keep; /* 1 - rate * weight_decay */
    float step; /* rate / (1 - beta1^t); of sgd: rate * scale */
    float root; /* 1 / sqrt(1 - beta2^t) */
    float beta1, beta2, eps, scale;
} update_rates;

enum { ROW = 1024 }; /* elements updated at once */
static const float zeros[ROW];

/* One tensor of the flat arrays, of which piece [i, i + n) is updated at a time. */
typedef struct target {
    float *p, *m, *v; /* m and v: NULL for sgd */
    update_rates rates;
} target;

static void update_piece(const target *to, int64_t at, const float *restrict g, int64_t n) {
    const update_rates r = to->rates;
    float *restrict p = to->p + at;
    if (!to->m) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            p[i] = p[i] * r.keep - r.step * g[i];
        }
        return;
    }
    float *restrict m = to->m + at, *restrict v = to->v + at;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const float gradient = g[i] * r.scale;
        m[i] += (1.0f - r.beta1) * (gradient - m[i]);
        v[i] = r.beta2 * v[i] + (1.0f - r.beta2) * gradient * gradient;
        p[i] = p[i] * r.keep - r.step * m[i] / (sqrtf(v[i]) * r.root + r.eps);
    }
}

/* g is NULL where it would be zeros. */
static void update_run(const target *to, int64_t at, const float *g, int64_t count) {
    for (int64_t done = 0; done < count; done += ROW) {
        const int64_t n = count - done < ROW ? count - done : ROW;
        update_piece(to, at + done, g ? g + done : zeros, n);
    }
}

static void update_rows(const target *to, const float *grads, const wb_table_rows *rows) {
#pragma omp parallel for schedule(static)
    for (int64_t token = 0; token < rows->V; token++) {
        update_run(to, token * rows->H, wb_table_row(grads, rows, token), rows->H);
    }
}

static void update_all(const target *to, const float *g, int64_t count) {
#pragma omp parallel for schedule(static)
    for (int64_t at = 0; at < count; at += ROW) {
        update_run(to, at, g + at, count - at < ROW ? count - at : ROW);
    }
}

void wb_optimizer_update(const wb_optimizer *optimizer, float *params,
                         float *const slots[WB_OPTIMIZER_SLOTS], const float *grads,
                         const wb_table_rows *rows, double scale, int64_t step,
                         const wb_tensor_table *table) {
    const bool is_adamw = optimizer->kind == WB_OPTIMIZER_ADAMW;
    const double rate = wb_optimizer_rate(optimizer, step);
    const double t = (double)(step + 1);
    update_rates rates = {
        .step = (float)(is_adamw ? rate / (1.0 - pow(optimizer->beta1, t)) : rate * scale),
        .root = (float)(1.0 / sqrt(1.0 - pow(optimizer->beta2, t))),
        .beta1 = (float)optimizer->beta1,
        .beta2 = (float)optimizer->beta2,
        .eps = (float)optimizer->eps,
        .scale = (float)scale};
    const int64_t left_out = rows ? (rows->V - rows->count) * rows->H : 0;
    for (int64_t i = 0; i < table->length; i++) {
        const wb_tensor *tensor = &table->tensors[i];
        const int64_t at = tensor->offset;
        rates.keep = tensor->decay ? (float)(1.0 - rate * optimizer->weight_decay) : 1.0f;
        const target to = {.p = params + at,
                           .m = is_adamw ? slots[0] + at : NULL,
                           .v = is_adamw ? slots[1] + at : NULL,
                           .rates = rates};
        if (i == 0 && rows) {
            update_rows(&to, grads, rows);
        } else {
            update_all(&to, grads + at - left_out, tensor->count);
        }
    }
}
