/* widebatch bench: real training steps, and between them the matrix rate of the same cores.
 *
 * The two are interleaved, so that a machine whose speed drifts drifts for both: what is quoted is
 * the ratio. The parameters change as in training; nothing is written.
 */
#include "commands.h"
#include "config_file.h"
#include "exchange.h"
#include "gemm.h"
#include "log.h"
#include "product.h"
#include "step.h"
#include "units.h"

#include <stdlib.h>

enum { SET, STEPS };
const wb_flag wb_bench_flags[] = {
    [SET] = {"set", WB_FLAG_REPEATED, "KEY=VALUE", NULL, "set a key; wins over the file"},
    [STEPS] = {"steps", WB_FLAG_OPTIONAL, "N", "5", "steps to measure, after one to warm up"},
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
} sample;

static int by_share(const void *a, const void *b) {
    const sample *x = a, *y = b;
    const double left = x->achieved / x->rate, right = y->achieved / y->rate;
    return left < right ? -1 : (left > right ? 1 : 0);
}

/* The product that dominates: chunk tokens against the widest layer; a plain square for static. By
 * BLAS, and as the step computes it. */
static wb_status measure_rates(double rates[2], wb_trainer *t, float *scratch) {
    const wb_encoder_spec *spec = &t->model.folder.spec;
    const int64_t m = 2048, k = spec->hidden;
    const int64_t n = spec->intermediate > 0 ? spec->intermediate : 2048;
    rates[0] = wb_gemm_rate(m, n, k, 0.3, scratch);
    rates[1] = wb_product_rate(spec->precision, m, n, k, 0.3, scratch);
    return wb_reduce_sums(t->comm, rates, 2); /* all ranks are busy at once, as in a step */
}

static wb_status measure(sample *samples, int64_t steps, wb_trainer *t) {
    wb_status status = WB_OK;
    const wb_encoder_spec *spec = &t->model.folder.spec;
    const int64_t n = spec->intermediate > 0 ? spec->intermediate : 2048;
    float *scratch = malloc(wb_float_bytes((2048 + n) * spec->hidden + 2048 * n));
    WB_TRY_ALL(t->comm, scratch ? WB_OK : WB_ERROR(WB_ERR_MEMORY, "no memory for two matrices"));
    for (int64_t i = -1; i < steps; i++) {
        double before[2], after[2];
        wb_step_report report;
        WB_TRY(measure_rates(before, t, scratch));
        const double began = wb_now();
        WB_TRY(wb_step_run(t, &report));
        const double seconds = wb_now() - began;
        WB_TRY(measure_rates(after, t, scratch));
        if (i >= 0) {
            samples[i] = (sample){.seconds = seconds,
                                  .rate = (before[0] + after[0]) / 2.0,
                                  .own_rate = (before[1] + after[1]) / 2.0,
                                  .achieved = report.flops / seconds,
                                  .performed = (report.flops + report.extra_flops) / seconds,
                                  .tokens = (double)report.tokens / seconds};
        }
    }
done:
    free(scratch);
    return status;
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

wb_status wb_command_bench(const wb_arguments *arguments, wb_comm *comm) {
    wb_status status = WB_OK;
    wb_config config;
    wb_origins *origins = NULL;
    wb_trainer trainer = {0};
    sample *samples = NULL;
    int64_t steps = 0;
    WB_TRY_ALL(comm, wb_argument_count("steps", arguments->values[STEPS], 1, 100000, &steps));
    WB_TRY_ALL(comm, wb_config_read(&config, &origins, arguments->positional, arguments->repeated,
                                    arguments->repeats));
    WB_TRY(wb_trainer_open(&trainer, &config, comm));
    WB_TRY(wb_trainer_log_plan(&trainer));
    samples = calloc((size_t)steps, sizeof(*samples));
    WB_TRY_ALL(comm, samples
                         ? WB_OK
                         : WB_ERROR(WB_ERR_MEMORY, "no memory for %lld samples", (long long)steps));
    WB_TRY(measure(samples, steps, &trainer));
    qsort(samples, (size_t)steps, sizeof(*samples), by_share);
    if (wb_comm_rank(comm) == 0) {
        print(samples, steps, &trainer);
    }
    WB_TRY(wb_timetable_log(&trainer.time, comm));
done:
    free(samples);
    wb_trainer_close(&trainer);
    wb_origins_destroy(origins);
    return status;
}
