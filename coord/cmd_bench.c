/* widebatch bench: real training steps, and between them the matrix rate of the same cores; after
 * them what else bounds a step: memory and the all-reduce.
 *
 * The two are interleaved, so that a machine whose speed drifts drifts for both: what is quoted is
 * the ratio. The parameters change as in training; nothing is written.
 */
#include "commands.h"
#include "config_file.h"
#include "exchange.h"
#include "gemm.h"
#include "log.h"
#include "memory.h"
#include "product.h"
#include "roofline.h"
#include "step.h"
#include "threads.h"
#include "units.h"

#include <stdlib.h>

enum { SET, STEPS, KEEP };
const wb_flag wb_bench_flags[] = {
    [SET] = {"set", WB_FLAG_REPEATED, "KEY=VALUE", NULL, "set a key; wins over the file"},
    [STEPS] = {"steps", WB_FLAG_OPTIONAL, "N", "5", "steps to measure, after one to warm up"},
    [KEEP] = {"keep-less", WB_FLAG_SWITCH, NULL, NULL,
              "between them, steps that keep half and hardly any of the activations"},
};
const int wb_bench_flag_count = sizeof(wb_bench_flags) / sizeof(wb_bench_flags[0]);

/* One pair of measurements, over all ranks. */
typedef struct sample {
    double seconds;   /* of a step */
    double rate;      /* floating-point operations a second, sgemm alone */
    double own_rate;  /* likewise, of the products that the step is made of */
    double achieved;  /* likewise, of the step's useful products */
    double performed; /* likewise, with what was encoded twice */
    double tokens;    /* a second */
    double kept;      /* share of the tokens whose activations were kept */
} sample;

/* Shares of the activations that are asked to be kept, all of them first. */
static const double shares[] = {1.0, 0.5, 0.0};
enum { SHARES = sizeof(shares) / sizeof(shares[0]) };

typedef struct bench {
    wb_trainer trainer;
    float *scratch;          /* of products */
    sample *samples[SHARES]; /* [steps] */
    wb_chunk_memory memory;  /* of the step before, all kept */
    size_t expected, peak;   /* the most that a rank was expected to take, and took */
    wb_roofline roofline;
    int64_t gradient_floats; /* most that a step added up */
    int64_t steps;
    int share_count;
} bench;

static int by_share(const void *a, const void *b) {
    const sample *x = a, *y = b;
    const double left = x->achieved / x->rate, right = y->achieved / y->rate;
    return left < right ? -1 : (left > right ? 1 : 0);
}

/* The product that dominates: chunk tokens against the widest layer; a plain square for static. */
typedef struct shape {
    int64_t m, n, k;
} shape;

static shape shape_of(const wb_encoder_spec *spec) {
    return (shape){
        .m = 2048, .n = spec->intermediate > 0 ? spec->intermediate : 2048, .k = spec->hidden};
}

static size_t scratch_bytes(const bench *b) {
    const shape s = shape_of(&b->trainer.model.folder.spec);
    return wb_float_bytes((s.m + s.n) * s.k + s.m * s.n);
}

/* By BLAS, and as the step computes it; all ranks are busy at once, as in a step. */
static wb_status measure_rates(double rates[2], bench *b) {
    const wb_encoder_spec *spec = &b->trainer.model.folder.spec;
    const shape s = shape_of(spec);
    rates[0] = wb_gemm_rate(s.m, s.n, s.k, 0.3, b->scratch);
    rates[1] = wb_product_rate(spec->precision, s.m, s.n, s.k, 0.3, b->scratch);
    return wb_reduce_sums(b->trainer.comm, rates, 2);
}

/* A step between two measurements of the rates, with a part of the activations' memory taken away
 * so that about `share` of them is kept. */
static wb_status measure_step(sample *result, bench *b, double share) {
    wb_status status = WB_OK;
    wb_trainer *t = &b->trainer;
    double before[2], after[2];
    wb_step_report report;
    void *blocked;
    const size_t mark = wb_arena_mark(t->chunk_arena), left = wb_arena_left(t->chunk_arena);
    const double spread = (double)(b->memory.needed - b->memory.least);
    const size_t leave = b->memory.least + b->memory.least / 8 + (size_t)(share * spread);
    WB_TRY(measure_rates(before, b));
    if (share < 1.0 && leave < left) {
        WB_TRY_ALL(t->comm, wb_arena_take(t->chunk_arena, left - leave, &blocked));
    }
    const double began = wb_now();
    WB_TRY(wb_step_run(t, &report));
    const double seconds = wb_now() - began;
    wb_arena_release(t->chunk_arena, mark);
    WB_TRY(measure_rates(after, b));
    if (share == 1.0) {
        const size_t expected =
            wb_trainer_expected_peak(t, report.memory.needed, report.gradient_floats) +
            scratch_bytes(b);
        b->memory = report.memory;
        b->gradient_floats = report.gradient_floats > b->gradient_floats ? report.gradient_floats
                                                                         : b->gradient_floats;
        b->expected = expected > b->expected ? expected : b->expected;
    }
    *result = (sample){.seconds = seconds,
                       .rate = (before[0] + after[0]) / 2.0,
                       .own_rate = (before[1] + after[1]) / 2.0,
                       .achieved = report.flops / seconds,
                       .performed = (report.flops + report.extra_flops) / seconds,
                       .tokens = (double)report.tokens / seconds,
                       .kept = (double)report.kept_tokens / (double)report.tokens};
done:
    wb_arena_release(t->chunk_arena, mark);
    return status;
}

static wb_status measure(bench *b) {
    wb_status status = WB_OK;
    sample warm;
    WB_TRY(measure_step(&warm, b, 1.0));
    wb_timetable_start(&b->trainer.time); /* of the measured steps alone */
    for (int64_t i = 0; i < b->steps; i++) {
        for (int j = 0; j < b->share_count; j++) {
            WB_TRY(measure_step(&b->samples[j][i], b, shares[j]));
        }
    }
    for (int j = 0; j < b->share_count; j++) {
        qsort(b->samples[j], (size_t)b->steps, sizeof(sample), by_share);
    }
    wb_timetable_enter(&b->trainer.time, WB_PHASE_OTHER);
    b->peak = wb_memory_peak();
    WB_TRY(
        wb_roofline_measure(&b->roofline, b->trainer.comm, b->trainer.grads, b->gradient_floats));
done:
    return status;
}

static wb_status take_memory(bench *b) {
    b->scratch = malloc(scratch_bytes(b));
    bool taken = b->scratch != NULL;
    for (int j = 0; j < b->share_count; j++) {
        b->samples[j] = calloc((size_t)b->steps, sizeof(sample));
        taken = taken && b->samples[j];
    }
    return taken ? WB_OK
                 : WB_ERROR(WB_ERR_MEMORY, "no memory for %lld samples", (long long)b->steps);
}

static void print(const sample *s, int64_t steps, const wb_trainer *t) {
    const sample *m = &s[steps / 2];
    const wb_precision precision = t->model.folder.spec.precision;
    (void)printf("steps        %lld of %lld queries, on %d ranks of %d threads\n", (long long)steps,
                 (long long)t->plan.rule.size, wb_comm_world(t->comm), wb_threads());
    (void)printf("step         %.3f s (median by share)\n", m->seconds);
    (void)printf("pairs/s      %.1f\n", (double)t->plan.rule.size / m->seconds);
    (void)printf("tokens/s     %.0f real tokens, no padding\n", m->tokens);
    (void)printf("matrix rate  %.1f GFLOP/s (sgemm, all ranks at once)\n", m->rate * 1e-9);
    (void)printf("own rate     %.1f GFLOP/s (%s: %s)\n", m->own_rate * 1e-9,
                 precision == WB_BF16 ? "bf16" : "fp32", wb_product_library(precision));
    (void)printf("achieved     %.1f GFLOP/s over the whole step, %.1f with recomputation\n",
                 m->achieved * 1e-9, m->performed * 1e-9);
    (void)printf(
        "share        %.1f %% of the matrix rate (%.1f to %.1f), %.1f %% with recomputation\n",
        100.0 * m->achieved / m->rate, 100.0 * s[0].achieved / s[0].rate,
        100.0 * s[steps - 1].achieved / s[steps - 1].rate, 100.0 * m->performed / m->rate);
    (void)fflush(stdout);
}

static void print_roofline(const wb_roofline *r) {
    (void)printf("memory       %.2f GB/s (triad, all ranks at once)\n", r->memory * 1e-9);
    if (r->reduce_seconds > 0.0) {
        (void)printf("all-reduce   %.3f GB/s (%s of gradients), %.1f us for one number\n",
                     (double)wb_float_bytes(r->reduce_floats) / r->reduce_seconds * 1e-9,
                     wb_bytes_text(wb_float_bytes(r->reduce_floats)).text,
                     r->latency_seconds * 1e6);
    }
}

/* Collective. Seconds of a step by phase, which the timetable rounds too far for a static encoder.
 */
static wb_status print_phases(const bench *b) {
    wb_status status = WB_OK;
    double least[WB_PHASES], mean[WB_PHASES], most[WB_PHASES];
    WB_TRY(
        wb_reduce_spread(b->trainer.comm, least, mean, most, b->trainer.time.seconds, WB_PHASES));
    if (wb_comm_rank(b->trainer.comm) == 0) {
        (void)printf("phases      ");
        for (int i = WB_PHASE_READ; i <= WB_PHASE_UPDATE; i++) {
            if (mean[i] > 0.0) {
                (void)printf("%s%s %.4f", i > WB_PHASE_READ ? ", " : " ",
                             i == WB_PHASE_READ ? "read" : wb_phase_name((wb_phase)i),
                             mean[i] / (double)(b->steps * b->share_count));
            }
        }
        (void)printf(" s (mean of a step)\n");
    }
done:
    return status;
}

/* What keeping less costs: time at the machine's rate for the same useful work. */
static void print_shares(const bench *b) {
    const sample *all = &b->samples[0][b->steps / 2];
    for (int j = 1; j < b->share_count; j++) {
        const sample *m = &b->samples[j][b->steps / 2];
        const double cost = all->achieved / all->rate / (m->achieved / m->rate);
        const double floor = (4.0 - m->kept) / (4.0 - all->kept);
        (void)printf(
            "keeping %2.0f %%  %.3f of the time of keeping %.0f %%; (4 - r) / 3 says %.3f\n",
            100.0 * m->kept, cost, 100.0 * all->kept, floor);
    }
}

/* Collective. */
static wb_status print_memory(const bench *b) {
    wb_status status = WB_OK;
    const double own[] = {(double)b->expected, (double)b->peak};
    double least[2], mean[2], most[2];
    WB_TRY(wb_reduce_spread(b->trainer.comm, least, mean, most, own, 2));
    if (wb_comm_rank(b->trainer.comm) == 0) {
        (void)printf("activations  %s a rank, %.0f %% kept\n", wb_bytes_text(b->memory.needed).text,
                     100.0 * b->samples[0][b->steps / 2].kept);
        (void)printf("peak memory  %s a rank, %s were planned: %.1f %%\n",
                     wb_bytes_text((size_t)most[1]).text, wb_bytes_text((size_t)most[0]).text,
                     100.0 * most[1] / most[0]);
        (void)fflush(stdout);
    }
done:
    return status;
}

wb_status wb_command_bench(const wb_arguments *arguments, wb_comm *comm) {
    wb_status status = WB_OK;
    wb_config config;
    wb_origins *origins = NULL;
    bench b = {.share_count = arguments->values[KEEP] ? SHARES : 1};
    WB_TRY_ALL(comm, wb_argument_count("steps", arguments->values[STEPS], 1, 100000, &b.steps));
    WB_TRY_ALL(comm, wb_config_read(&config, &origins, arguments->positional, arguments->repeated,
                                    arguments->repeats));
    WB_TRY(wb_trainer_open(&b.trainer, &config, comm));
    WB_TRY(wb_trainer_log_plan(&b.trainer));
    WB_TRY_ALL(comm, take_memory(&b));
    WB_TRY(measure(&b));
    if (wb_comm_rank(comm) == 0) {
        print(b.samples[0], b.steps, &b.trainer);
        print_roofline(&b.roofline);
        print_shares(&b);
    }
    WB_TRY(print_phases(&b));
    WB_TRY(print_memory(&b));
    WB_TRY(wb_timetable_log(&b.trainer.time, comm));
done:
    for (int j = 0; j < SHARES; j++) {
        free(b.samples[j]);
    }
    free(b.scratch);
    wb_trainer_close(&b.trainer);
    wb_origins_destroy(origins);
    return status;
}
