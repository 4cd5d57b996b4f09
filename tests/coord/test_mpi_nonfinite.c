/* Values that are not finite, wherever they come from: all ranks learn of it in the same step, and
 * nothing has changed. A run of such steps and its exit code: commands/check-life.
 *
 * The functions below stand in front of those that they are called after (ld --wrap) and harm what
 * these have made, on one rank. */
#include "exchange.h"
#include "ordered_sum.h"
#include "rng.h"
#include "step.h"
#include "tiny_run.h"

#include <float.h>

typedef enum place { NOWHERE, WEIGHTS, REPRESENTATIONS, GRADIENT, REDUCED, PLACES } place;

static const char *const place_names[] = {"nowhere", "weights", "representations", "gradient",
                                          "reduced gradient"};
static const float harms[] = {NAN, INFINITY, -INFINITY, 1e38f};
enum { HARMS = 4 };

static wb_comm *comm;
static struct {
    place where;
    float value;
    uint32_t draw;
    int rank;
    float *reduced; /* the trainer's gradients */
} harm;

static bool is_here(place where) {
    return harm.where == where && harm.rank == wb_comm_rank(comm);
}

wb_status __real_wb_encoder_forward(const wb_encoder *encoder, float *reps, wb_tape **tape,
                                    const float *params, const wb_packed *chunk,
                                    const uint32_t *examples, const wb_pass *pass, wb_arena *arena);
wb_status __wrap_wb_encoder_forward(const wb_encoder *encoder, float *reps, wb_tape **tape,
                                    const float *params, const wb_packed *chunk,
                                    const uint32_t *examples, const wb_pass *pass,
                                    wb_arena *arena) {
    const wb_status status =
        __real_wb_encoder_forward(encoder, reps, tape, params, chunk, examples, pass, arena);
    if (is_here(REPRESENTATIONS)) {
        reps[harm.draw % 16] = harm.value;
    }
    return status;
}

wb_status __real_wb_encoder_backward(const wb_encoder *encoder, float *grads,
                                     const wb_table_rows *rows, const float *params, wb_tape *tape,
                                     const float *dreps, const wb_backward_listener *listener,
                                     wb_arena *arena);
wb_status __wrap_wb_encoder_backward(const wb_encoder *encoder, float *grads,
                                     const wb_table_rows *rows, const float *params, wb_tape *tape,
                                     const float *dreps, const wb_backward_listener *listener,
                                     wb_arena *arena) {
    const wb_status status =
        __real_wb_encoder_backward(encoder, grads, rows, params, tape, dreps, listener, arena);
    if (is_here(GRADIENT)) {
        grads[harm.draw % 500] = harm.value;
    }
    return status;
}

wb_status __real_wb_ordered_sum_finish(wb_ordered_sum *sum);
wb_status __wrap_wb_ordered_sum_finish(wb_ordered_sum *sum) {
    const wb_status status = __real_wb_ordered_sum_finish(sum);
    if (is_here(REDUCED)) {
        harm.reduced[harm.draw % 500] = harm.value;
    }
    return status;
}

wb_status __real_wb_reduce_floats(wb_comm *ranks, float *values, int64_t count);
wb_status __wrap_wb_reduce_floats(wb_comm *ranks, float *values, int64_t count) {
    const wb_status status = __real_wb_reduce_floats(ranks, values, count);
    if (is_here(REDUCED) && values == harm.reduced) {
        values[harm.draw % 500] = harm.value;
    }
    return status;
}

/* One step with the harm in place. A value of 1e38 may pass, as long as all stays finite; weights
 * are harmed on all ranks, since damage on one is another fault (test_mpi_divergence). */
static void step_with(wb_trainer *t, const char *what) {
    const size_t bytes = (size_t)t->model.table.total * sizeof(float);
    const wb_rng_key key = {.seed = 5, .site = wb_rng_site(WB_RNG_TEST, 0)};
    float *const before = malloc(3 * bytes);
    float *const weight =
        &t->model.params[wb_rng_below((uint64_t)t->model.table.total, key, harm.draw)];
    const float good = *weight;
    double seen[3];
    wb_step_report report;
    if (harm.where == WEIGHTS) {
        *weight = harm.value;
    }
    memcpy(before, t->model.params, bytes);
    memcpy((char *)before + bytes, t->state[0], bytes);
    memcpy((char *)before + 2 * bytes, t->state[1], bytes);
    wb_error_clear();
    const wb_status status = wb_step_run(t, &report);
    const double code = status;
    expect_ok(wb_reduce_spread(comm, &seen[0], &seen[1], &seen[2], &code, 1));
    if (seen[0] < seen[2]) {
        fail_msg("%s: statuses from %g to %g", what, seen[0], seen[2]);
    }
    if (status == WB_OK) {
        for (int64_t i = 0; i < t->model.table.total; i++) {
            if (!isfinite(t->model.params[i])) {
                fail_msg("%s: parameter %lld is %g after the step", what, (long long)i,
                         (double)t->model.params[i]);
            }
        }
    } else if (status != WB_ERR_NUMERIC || memcmp(before, t->model.params, bytes) != 0 ||
               memcmp((char *)before + bytes, t->state[0], bytes) != 0 ||
               memcmp((char *)before + 2 * bytes, t->state[1], bytes) != 0) {
        fail_msg("%s: status %d, or something has changed: %s", what, (int)status,
                 wb_error_message());
    }
    if (status == WB_OK && !isfinite(harm.value)) {
        fail_msg("%s: not found", what);
    }
    *weight = harm.where == WEIGHTS ? good : *weight;
    harm.where = NOWHERE;
    free(before);
}

/* A reduced gradient of 1e38 on one rank is left out: it is finite, and the ranks differ, which is
 * another fault. */
static void harm_everywhere(wb_trainer *t, const char *mode) {
    for (int where = WEIGHTS; where < PLACES; where++) {
        for (uint32_t i = 0; i < 2 * HARMS; i++) {
            char what[128];
            harm.where = (place)where;
            harm.value = harms[i % HARMS];
            harm.draw = 37 * i + 11 * (uint32_t)where;
            harm.rank = (int)i % wb_comm_world(comm);
            harm.reduced = t->grads;
            (void)snprintf(what, sizeof(what), "%g in the %s of rank %d, %s", (double)harm.value,
                           place_names[where], harm.rank, mode);
            if (!(where == REDUCED && isfinite(harm.value))) {
                step_with(t, what);
                expect_ok(wb_trainer_check_same(t));
            }
        }
    }
}

static void all_ranks_skip_the_step_and_nothing_changes(void **state) {
    (void)state;
    static const char *const modes[] = {"reduce.mode=ordered", "reduce.mode=fast"};
    const tiny_run run = tiny_make(comm, "nonfinite");
    for (int mode = 0; mode < 2; mode++) {
        const char *const assignments[] = {"batch.size=8", modes[mode]};
        const wb_config config = tiny_config(&run, assignments, 2);
        wb_trainer t;
        wb_step_report report;
        expect_ok(wb_trainer_open(&t, &config, comm));
        expect_ok(wb_step_run(&t, &report));
        harm_everywhere(&t, modes[mode]);
        expect_ok(wb_step_run(&t, &report)); /* as if nothing had been */
        wb_trainer_close(&t);
    }
}

int main(int argc, char **argv) {
    expect_ok(wb_comm_create(&comm, &argc, &argv));
    expect_ok(wb_io_init());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_ranks_skip_the_step_and_nothing_changes),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    wb_comm_destroy(comm);
    return failed;
}
