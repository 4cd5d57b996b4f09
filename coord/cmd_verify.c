/* widebatch verify: the exactness contract, on the user's own model, data and machine.
 *
 * The same first steps are run in many layouts - chunks, budgets, numbers of ranks, stopped and
 * continued - and their gradients and parameters compared with the first; one gradient is compared
 * with a forward pass in double precision. The batch is cut down to a few rows: what is proved does
 * not depend on its size, the time does.
 */
#include "checkpoint.h"
#include "commands.h"
#include "config_file.h"
#include "exchange.h"
#include "files.h"
#include "log.h"
#include "reference64.h"
#include "rng.h"
#include "step.h"
#include "threads.h"
#include "units.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SET, ROWS };
const wb_flag wb_verify_flags[] = {
    [SET] = {"set", WB_FLAG_REPEATED, "KEY=VALUE", NULL, "set a key; wins over the file"},
    [ROWS] = {"rows", WB_FLAG_OPTIONAL, "N", "16", "largest batch that is run"},
};
const int wb_verify_flag_count = sizeof(wb_verify_flags) / sizeof(wb_verify_flags[0]);

enum { STEPS = 3, DIRECTIONS = 3, SMALL_BATCH = 4 };

/* What two layouts may differ by, and the gradient and the loss from 64 bits: DESIGN's contract in
 * fp32. In bf16 about a dozen numbers of a layer are rounded by up to 2^-8 of themselves, which
 * leaves some hundredths of a gradient; between layouts only those differ whose sums, taken in
 * another order, fall to the other side of a rounding. */
typedef struct tolerance {
    double layouts, double_precision;
} tolerance;
static const tolerance tolerances[] = {[WB_FP32] = {1e-6, 1e-5}, [WB_BF16] = {1e-3, 5e-2}};

/* One layout's result: owned arrays of `total` floats. */
typedef struct outcome {
    int64_t total;
    float *grads;  /* of the first step */
    float *params; /* after the last */
    double loss;   /* of the first step */
    double reductions;
    wb_chunk_memory memory; /* the most of any step of this rank */
    wb_precision precision;
} outcome;

typedef struct verification {
    wb_comm *comm;
    wb_config config;
    wb_origins *origins;
    outcome base;
    char scratch[WB_PATH]; /* folder for checkpoints; rank 0 */
    int checks, failures;
} verification;

/* ---- The table
 * ------------------------------------------------------------------------------------------- */

static void row(verification *v, const char *what, double measured, double allowed,
                const char *unit) {
    const bool holds = measured <= allowed; /* false for NaN */
    v->checks++;
    v->failures += holds ? 0 : 1;
    if (wb_comm_rank(v->comm) == 0) {
        char text[32];
        (void)snprintf(text, sizeof(text), measured == 0.0 ? "same bits" : "%.2e", measured);
        if (unit[0] != '\0') {
            (void)snprintf(text, sizeof(text), "%g", measured);
        }
        (void)printf("%-46s %12s %10g %s%s\n", what, text, allowed, holds ? "ok" : "FAILED", unit);
        (void)fflush(stdout);
    }
}

static double relative_difference(const float *a, const float *b, int64_t count) {
    double difference = 0.0, size = 0.0;
    for (int64_t i = 0; i < count; i++) {
        const double d = (double)a[i] - (double)b[i];
        difference += d * d;
        size += (double)b[i] * (double)b[i];
    }
    return size > 0.0 ? sqrt(difference / size) : difference;
}

static const tolerance *allowed(const verification *v) {
    return &tolerances[v->base.precision];
}

/* The larger of the differences of gradients and parameters. */
static double difference(const outcome *a, const outcome *b) {
    const double grads = relative_difference(a->grads, b->grads, a->total);
    const double params = relative_difference(a->params, b->params, a->total);
    return grads > params || isnan(grads) ? grads : params;
}

/* ---- Layouts
 * --------------------------------------------------------------------------------------------- */

static void free_outcome(outcome *o) {
    free(o->grads);
    free(o->params);
    *o = (outcome){0};
}

static wb_status take_outcome(outcome *o, int64_t total) {
    o->total = total;
    o->grads = malloc(wb_float_bytes(total));
    o->params = malloc(wb_float_bytes(total));
    return o->grads && o->params
               ? WB_OK
               : WB_ERROR(WB_ERR_MEMORY, "no memory for two copies of the parameters");
}

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

static wb_status run_steps(outcome *o, wb_trainer *t, int64_t until) {
    wb_status status = WB_OK;
    while (t->done < until) {
        wb_step_report report;
        const int64_t reductions = wb_comm_reductions(t->comm);
        WB_TRY(wb_step_run(t, &report));
        if (t->done == 1) {
            wb_trainer_gradient(t, o->grads);
            o->loss = report.loss;
            o->reductions = (double)(wb_comm_reductions(t->comm) - reductions);
        }
        o->memory.needed = larger(o->memory.needed, report.memory.needed);
        o->memory.least = larger(o->memory.least, report.memory.least);
    }
done:
    return status;
}

/* Collective on `comm`. */
static wb_status run_layout(outcome *o, const wb_config *config, wb_comm *comm) {
    wb_status status = WB_OK;
    wb_trainer t = {0};
    *o = (outcome){0};
    WB_TRY(wb_trainer_open(&t, config, comm));
    o->precision = t.model.folder.spec.precision;
    WB_TRY_ALL(comm, take_outcome(o, t.model.table.total));
    WB_TRY(run_steps(o, &t, STEPS));
    memcpy(o->params, t.model.params, wb_float_bytes(o->total));
done:
    wb_trainer_close(&t);
    return status;
}

static wb_status compare_layout(verification *v, const wb_config *config, const char *what) {
    wb_status status = WB_OK;
    outcome o = {0};
    WB_TRY(run_layout(&o, config, v->comm));
    row(v, what, difference(&o, &v->base), allowed(v)->layouts, "");
done:
    free_outcome(&o);
    return status;
}

static wb_status check_chunks(verification *v) {
    wb_status status = WB_OK;
    wb_config config = v->config;
    config.memory_chunk_tokens = 1 << 30;
    WB_TRY(compare_layout(v, &config, "one chunk for each slot"));
    config.memory_chunk_tokens = 1;
    WB_TRY(compare_layout(v, &config, "a chunk for each text"));
done:
    return status;
}

static wb_status check_budgets(verification *v) {
    wb_status status = WB_OK;
    wb_config config = v->config;
    const double own[] = {(double)v->base.memory.least, (double)v->base.memory.needed};
    double lowest[2], mean[2], most[2];
    WB_TRY(wb_reduce_spread(v->comm, lowest, mean, most, own, 2));
    config.memory_budget = (size_t)((most[0] + most[1]) / 2.0);
    WB_TRY(compare_layout(v, &config, "half of the activations kept"));
    config.memory_budget = (size_t)(most[0] * 1.125);
    WB_TRY(compare_layout(v, &config, "hardly any kept: encoded again, same dropout"));
done:
    return status;
}

/* Only a batch beyond one tile of the loss can pass by in windows. */
static wb_status check_windows(verification *v) {
    wb_status status = WB_OK;
    wb_config config = v->config;
    if (config.batch_size <= WB_INFONCE_TILE) {
        return WB_OK;
    }
    config.memory_gather = 0;
    WB_TRY(compare_layout(v, &config, "representations in windows, not gathered"));
done:
    return status;
}

static wb_status check_ranks(verification *v) {
    wb_status status = WB_OK;
    for (int ranks = 1; ranks < wb_comm_world(v->comm); ranks++) {
        wb_comm *part = NULL;
        outcome o = {0};
        double measured = 0.0;
        char what[64];
        WB_TRY(wb_comm_first(&part, v->comm, ranks));
        if (part) {
            status = run_layout(&o, &v->config, part);
            measured = status == WB_OK ? difference(&o, &v->base) : 0.0;
        }
        free_outcome(&o);
        wb_comm_destroy(part);
        WB_TRY_ALL(v->comm, status);
        (void)snprintf(what, sizeof(what), "%d rank%s instead of %d", ranks, ranks > 1 ? "s" : "",
                       wb_comm_world(v->comm));
        row(v, what, measured, allowed(v)->layouts, "");
    }
done:
    return status;
}

/* ---- Stop and resume
 * --------------------------------------------------------------------------------------- */

static wb_status write_state(verification *v, wb_trainer *t) {
    wb_status status = WB_OK;
    const char *const folder = getenv("TMPDIR");
    WB_TRY(
        wb_path_join(v->scratch, folder ? folder : "/tmp", "widebatch-verify-%d", (int)getpid()));
    WB_TRY(wb_folder_make(v->scratch));
    const wb_checkpoint state = wb_trainer_checkpoint(t);
    WB_TRY(wb_checkpoint_write(v->scratch, &state));
done:
    return status;
}

static wb_status read_state(verification *v, wb_trainer *t, int64_t *step) {
    wb_status status = WB_OK;
    wb_checkpoint state = wb_trainer_checkpoint(t);
    bool found = false;
    char rejected[1024] = "";
    WB_TRY(wb_checkpoint_read_newest(v->scratch, &state, &found, rejected, sizeof(rejected)));
    WB_CHECK(found, WB_ERR_CHECKPOINT, "%s: the checkpoint just written is not there", v->scratch);
    *step = state.step;
done:
    return status;
}

static wb_status check_resume(verification *v) {
    wb_status status = WB_OK;
    wb_trainer t = {0};
    outcome o = {0};
    const bool acts = wb_comm_rank(v->comm) == 0;
    const int64_t stop = 1 + v->config.run_seed % (STEPS - 1);
    int64_t step = 0;
    char what[64];
    (void)snprintf(what, sizeof(what), "stopped after step %lld, continued from disk",
                   (long long)stop);
    WB_TRY(wb_trainer_open(&t, &v->config, v->comm));
    WB_TRY_ALL(v->comm, take_outcome(&o, t.model.table.total));
    WB_TRY(run_steps(&o, &t, stop));
    WB_TRY_ALL(v->comm, acts ? write_state(v, &t) : WB_OK);
    wb_trainer_close(&t);
    WB_TRY(wb_trainer_open(&t, &v->config, v->comm));
    WB_TRY_ALL(v->comm, acts ? read_state(v, &t, &step) : WB_OK);
    WB_TRY(wb_trainer_resume(&t, step));
    WB_TRY(run_steps(&o, &t, STEPS));
    memcpy(o.params, t.model.params, wb_float_bytes(o.total));
    row(v, what, difference(&o, &v->base), 0.0, "");
done:
    if (v->scratch[0] != '\0') {
        (void)wb_folder_remove(v->scratch);
    }
    free_outcome(&o);
    wb_trainer_close(&t);
    return status;
}

/* ---- Double precision
 * ---------------------------------------------------------------------------------------- */

/* The plain loss of a batch's representations [B (1 + group), d], in double. */
static double loss64(const double *reps, int64_t B, int64_t group, int64_t d, double tau) {
    const double *passages = reps + B * d;
    double loss = 0.0;
    for (int64_t i = 0; i < B; i++) {
        double sum = 0.0, positive = 0.0, most = -INFINITY;
        for (int pass = 0; pass < 2; pass++) {
            for (int64_t j = 0; j < B * group; j++) {
                double score = 0.0;
                for (int64_t k = 0; k < d; k++) {
                    score += reps[i * d + k] * passages[j * d + k] / tau;
                }
                most = pass == 0 ? fmax(most, score) : most;
                sum += pass == 1 ? exp(score - most) : 0.0;
                positive = j == i * group ? score : positive;
            }
        }
        loss += (most + log(sum) - positive) / (double)B;
    }
    return loss;
}

/* A small batch, read once, and its loss anywhere near the parameters. */
typedef struct small_batch {
    wb_trainer t;
    wb_arena *arena;
    wb_batch batch;
    wb_pass pass;
    float *params; /* [total], before the step */
    float *grads;  /* of the step */
    double *reps;  /* [B (1 + group), d] */
} small_batch;

static wb_status loss_at(double *loss, small_batch *s, const float *direction, double step) {
    const int64_t B = s->t.config->batch_size, group = s->t.shape.group;
    const wb_encoder_spec *spec = &s->t.model.folder.spec;
    const wb_status status = wb_reference64_forward(spec, s->reps, s->params, direction, step,
                                                    &s->batch.packed, s->batch.examples, &s->pass);
    if (status == WB_OK) {
        *loss = loss64(s->reps, B, group, spec->hidden, s->t.config->loss_temperature);
    }
    return status;
}

/* The derivative along a direction of length 1, by a central difference of fourth order. */
static wb_status slope_along(double *slope, small_batch *s, const float *direction) {
    static const double places[] = {-2.0, -1.0, 1.0, 2.0};
    static const double weights[] = {1.0 / 12.0, -8.0 / 12.0, 8.0 / 12.0, -1.0 / 12.0};
    const double h = 1e-3;
    *slope = 0.0;
    for (int i = 0; i < 4; i++) {
        double loss = 0.0;
        const wb_status status = loss_at(&loss, s, direction, places[i] * h);
        if (status != WB_OK) {
            return status;
        }
        *slope += weights[i] * loss / h;
    }
    return WB_OK;
}

static wb_status open_small(small_batch *s, const wb_config *config, wb_comm *comm) {
    wb_status status = WB_OK;
    wb_batch_rows rows;
    WB_TRY(wb_trainer_open(&s->t, config, comm));
    const int64_t total = wb_encoder_table(s->t.model.encoder)->total, B = config->batch_size;
    const int64_t sequences = B * (1 + s->t.shape.group);
    WB_TRY_ALL(comm, wb_batch_plan_step(&rows, &s->t.plan, 0));
    s->pass = (wb_pass){.active = true, .seed = (uint64_t)config->run_seed};
    WB_TRY_ALL(comm, wb_arena_create(&s->arena, "verify",
                                     wb_batch_bytes(&s->t.shape, B) + ((size_t)1 << 20)));
    WB_TRY_ALL(comm, wb_batch_read(&s->batch, s->t.data, &s->t.model, &s->t.shape, rows.rows,
                                   rows.epoch, B, 0, B, s->arena));
    s->params = malloc(wb_float_bytes(total));
    s->grads = malloc(wb_float_bytes(s->t.model.table.total));
    s->reps = malloc((size_t)(sequences * s->t.model.folder.spec.hidden) * sizeof(double));
    WB_TRY_ALL(comm, s->params && s->grads && s->reps
                         ? WB_OK
                         : WB_ERROR(WB_ERR_MEMORY, "no memory for a copy of the parameters"));
    memcpy(s->params, s->t.model.params, wb_float_bytes(total));
done:
    return status;
}

/* direction [total]: the gradient for number 0, else random signs; of length 1. */
static void draw_direction(float *direction, const float *grads, double norm, int64_t total,
                           uint32_t number, uint64_t seed) {
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < total; i++) {
        const wb_rng_key key = {.seed = seed,
                                .example = number,
                                .step = (uint32_t)(i >> 32),
                                .site = wb_rng_site(WB_RNG_VERIFY, 0)};
        direction[i] = number == 0 ? (float)((double)grads[i] / norm)
                                   : (wb_rng_below(2, key, (uint32_t)i) == 0 ? 1.0f : -1.0f) /
                                         (float)sqrt((double)total);
    }
}

/* Squares of the errors of the slopes along the gradient and along random directions. For random
 * directions the mean square times `total` estimates the square of the whole error. */
static wb_status measure_directions(double squares[2], small_batch *s, double norm) {
    wb_status status = WB_OK;
    const int64_t total = wb_encoder_table(s->t.model.encoder)->total;
    const int world = wb_comm_world(s->t.comm), rank = wb_comm_rank(s->t.comm);
    float *direction = malloc(wb_float_bytes(total));
    WB_CHECK(direction, WB_ERR_MEMORY, "no memory for a direction");
    for (uint32_t number = (uint32_t)rank; number <= DIRECTIONS; number += (uint32_t)world) {
        double slope = 0.0, own = 0.0;
        draw_direction(direction, s->grads, norm, total, number, (uint64_t)s->t.config->run_seed);
        for (int64_t i = 0; i < total; i++) {
            own += (double)s->grads[i] * (double)direction[i];
        }
        WB_TRY(slope_along(&slope, s, direction));
        squares[number == 0 ? 0 : 1] += (slope - own) * (slope - own);
    }
done:
    free(direction);
    return status;
}

/* The double reference knows the plain loss alone; layouts are compared with all its terms. */
static void leave_plain_loss(wb_config *config) {
    (void)strcpy(config->loss_duplicates, "keep");
    (void)strcpy(config->loss_positives, "one");
    (void)strcpy(config->loss_learn_temperature, "false");
    (void)strcpy(config->loss_symmetric, "false");
    (void)strcpy(config->loss_query_query, "false");
    (void)strcpy(config->loss_passage_passage, "false");
    (void)strcpy(config->loss_filter, "none");
    config->loss_filter_model[0] = '\0';
    config->loss_widths[0] = config->loss_width_weights[0] = '\0';
    config->loss_margin = 0.0;
}

static wb_status check_double(verification *v) {
    wb_status status = WB_OK;
    wb_config config = v->config;
    small_batch s = {0};
    config.batch_size = config.batch_size < SMALL_BATCH ? config.batch_size : SMALL_BATCH;
    double squares[2] = {0.0, 0.0}, loss = 0.0;
    wb_step_report report;
    leave_plain_loss(&config);
    WB_TRY(open_small(&s, &config, v->comm));
    WB_TRY(wb_step_run(&s.t, &report));
    wb_trainer_gradient(&s.t, s.grads);
    WB_TRY_ALL(v->comm, loss_at(&loss, &s, NULL, 0.0));
    row(v, "plain loss in double precision", fabs(report.loss - loss) / fabs(loss),
        allowed(v)->double_precision, "");
    WB_TRY_ALL(v->comm, measure_directions(squares, &s, report.gradient_norm));
    WB_TRY(wb_reduce_sums(v->comm, squares, 2));
    const double total = (double)wb_encoder_table(s.t.model.encoder)->total;
    row(v, "its gradient in double precision, along itself",
        sqrt(squares[0]) / report.gradient_norm, allowed(v)->double_precision, "");
    row(v, "  whole error, estimated from random directions",
        sqrt(squares[1] / DIRECTIONS * total) / report.gradient_norm, allowed(v)->double_precision,
        "");
done:
    free(s.params);
    free(s.grads);
    free(s.reps);
    wb_arena_destroy(s.arena);
    wb_trainer_close(&s.t);
    return status;
}

/* ---- All of it
 * --------------------------------------------------------------------------------------------- */

static wb_status prepare(verification *v, const wb_arguments *arguments) {
    wb_status status = WB_OK;
    int64_t rows;
    WB_TRY(wb_argument_count("rows", arguments->values[ROWS], 2, INT32_MAX, &rows));
    WB_TRY(wb_config_read(&v->config, &v->origins, arguments->positional, arguments->repeated,
                          arguments->repeats));
    v->config.batch_size = v->config.batch_size < rows ? v->config.batch_size : rows;
    v->config.batch_steps = STEPS;
    v->config.optimizer_warmup = 0.0;
done:
    return status;
}

wb_status wb_command_verify(const wb_arguments *arguments, wb_comm *comm) {
    wb_status status = WB_OK;
    verification v = {.comm = comm};
    const double began = wb_now();
    WB_TRY_ALL(comm, prepare(&v, arguments));
    WB_TRY(run_layout(&v.base, &v.config, comm));
    wb_log_init(wb_comm_rank(comm), WB_LOG_QUIET); /* the model has been named once */
    if (wb_comm_rank(comm) == 0) {
        (void)printf("%lld queries, %d steps, dropout %s, %d ranks of %d threads\n\n"
                     "%-46s %12s %10s\n",
                     (long long)v.config.batch_size, STEPS,
                     v.config.model_dropout == 0.0 ? "off" : "on", wb_comm_world(comm),
                     wb_threads(), "relative difference", "measured", "allowed");
    }
    WB_TRY(check_chunks(&v));
    WB_TRY(check_budgets(&v));
    WB_TRY(check_windows(&v));
    WB_TRY(check_ranks(&v));
    WB_TRY(check_resume(&v));
    row(&v, "gradient reductions a step", v.base.reductions, 1.0, " (a count)");
    WB_TRY(check_double(&v));
    if (wb_comm_rank(comm) == 0) {
        (void)printf("\n%d of %d checks hold, in %s\n", v.checks - v.failures, v.checks,
                     wb_seconds_text(wb_now() - began).text);
    }
    WB_CHECK(v.failures == 0, WB_ERR_NUMERIC, "%d of %d checks failed", v.failures, v.checks);
done:
    free_outcome(&v.base);
    wb_origins_destroy(v.origins);
    return status;
}
