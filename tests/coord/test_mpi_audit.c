/* Steps that are audited: damage on one rank is found, on all ranks and before the parameters
 * change, and the ranks that do not agree are named; without damage nobody is.
 *
 * The functions below stand in front of those that they are called after (ld --wrap) and flip a bit
 * of what these have made, on one rank. */
#include "audit.h"
#include "exchange.h"
#include "hash.h"
#include "machine.h"
#include "product.h"
#include "rng.h"
#include "step.h"
#include "tiny_run.h"

typedef enum place {
    NOWHERE,
    GATHERED,
    REPRESENTATIONS,
    LOSSES,
    FIRST_WALK,
    SECOND_WALK,
    GRADIENTS,
    SUM,
    PLACES
} place;

static const char *const place_names[] = {
    [NOWHERE] = "nowhere",
    [GATHERED] = "gathered representations",
    [REPRESENTATIONS] = "representations",
    [LOSSES] = "losses",
    [FIRST_WALK] = "gradients of representations",
    [SECOND_WALK] = "gradients of representations",
    [GRADIENTS] = "gradients",
    [SUM] = "the sum",
};
enum { WIDTH = 16 }; /* of tiny_make's model */

static wb_comm *comm;
static struct {
    place where;
    int rank;
    int64_t countdown; /* calls before the one that is hurt */
    uint64_t draw;
    const wb_trainer *trainer;
    int64_t floats;          /* of the gradients */
    int64_t first, n, group; /* the slot's queries, passages of each */
    bool unlike;             /* each rank has another processor */
} harm;

/* Whether this call is the one. */
static bool is_now(place where) {
    return harm.where == where && harm.rank == wb_comm_rank(comm) && harm.countdown-- == 0;
}

static void flip(void *values, int64_t bytes) {
    const uint64_t bit = harm.draw % ((uint64_t)bytes * 8);
    char *const byte = (char *)values + bit / 8;
    *byte = (char)(*byte ^ 1 << (bit % 8));
}

wb_status __real_wb_gather_window(wb_comm *ranks, void *window, const int64_t *firsts,
                                  int64_t begin, int64_t end, size_t row_bytes);
wb_status __wrap_wb_gather_window(wb_comm *ranks, void *window, const int64_t *firsts,
                                  int64_t begin, int64_t end, size_t row_bytes) {
    const wb_status status = __real_wb_gather_window(ranks, window, firsts, begin, end, row_bytes);
    if (is_now(GATHERED)) {
        flip(window, (end - begin) * (int64_t)row_bytes);
    }
    return status;
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
    if (is_now(REPRESENTATIONS)) {
        flip(reps, chunk->n * WIDTH * (int64_t)sizeof(*reps));
    }
    return status;
}

/* What ranks tell each other of their queries, as its owner tells it. */
wb_status __real_wb_gather_rows(wb_comm *ranks, void *all, const void *mine, const int64_t *firsts,
                                size_t row_bytes);
wb_status __wrap_wb_gather_rows(wb_comm *ranks, void *all, const void *mine, const int64_t *firsts,
                                size_t row_bytes) {
    if (row_bytes == sizeof(wb_infonce_row) && is_now(LOSSES)) {
        flip((wb_infonce_row *)all + harm.first, harm.n * (int64_t)row_bytes);
    }
    return __real_wb_gather_rows(ranks, all, mine, firsts, row_bytes);
}

/* Of queries, whose gradients the second walk leaves alone: it might round the bit away. */
wb_status __real_wb_infonce_settle(wb_infonce_part *part, float *dq, float *dp);
wb_status __wrap_wb_infonce_settle(wb_infonce_part *part, float *dq, float *dp) {
    const wb_status status = __real_wb_infonce_settle(part, dq, dp);
    if (is_now(FIRST_WALK)) {
        flip(dq, harm.n * WIDTH * (int64_t)sizeof(*dq));
    }
    return status;
}

/* dp lies behind dq. */
wb_status __real_wb_infonce_answer(wb_infonce_part *part, float *dq, float *dp,
                                   const wb_infonce_block *block, wb_arena *arena);
wb_status __wrap_wb_infonce_answer(wb_infonce_part *part, float *dq, float *dp,
                                   const wb_infonce_block *block, wb_arena *arena) {
    const wb_status status = __real_wb_infonce_answer(part, dq, dp, block, arena);
    if (is_now(SECOND_WALK)) {
        flip(dq, harm.n * (1 + harm.group) * WIDTH * (int64_t)sizeof(*dq));
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
    if (is_now(GRADIENTS)) {
        flip(grads, wb_table_rows_elements(rows, harm.floats) * (int64_t)sizeof(*grads));
    }
    return status;
}

/* What is added up on one rank: sign, exponent or upper mantissa of the largest element. */
static void flip_largest(void) {
    float *const grads = harm.trainer->grads;
    const int64_t count = wb_table_rows_elements(&harm.trainer->rows, harm.floats);
    int64_t largest = 0;
    uint32_t bits;
    for (int64_t i = 1; i < count; i++) {
        largest = fabsf(grads[i]) > fabsf(grads[largest]) ? i : largest;
    }
    memcpy(&bits, &grads[largest], sizeof(bits));
    bits ^= 1U << (16 + harm.draw % 16);
    memcpy(&grads[largest], &bits, sizeof(bits));
}

wb_status __real_wb_reduce_floats(wb_comm *ranks, float *values, int64_t count);
wb_status __wrap_wb_reduce_floats(wb_comm *ranks, float *values, int64_t count) {
    const wb_status status = __real_wb_reduce_floats(ranks, values, count);
    if (is_now(SUM)) {
        flip_largest();
    }
    return status;
}

wb_status __real_wb_ordered_sum_finish(wb_ordered_sum *sum);
wb_status __wrap_wb_ordered_sum_finish(wb_ordered_sum *sum) {
    const wb_status status = __real_wb_ordered_sum_finish(sum);
    if (is_now(SUM)) {
        flip_largest();
    }
    return status;
}

uint64_t __real_wb_machine_kind(void);
uint64_t __wrap_wb_machine_kind(void) {
    return __real_wb_machine_kind() + (harm.unlike ? (uint64_t)wb_comm_rank(comm) : 0);
}

/* ---- Harm
 * -----------------------------------------------------------------------------------------------
 */

/* Lays the harm of number i: for what is computed again, on the owner or on who looks, in the slot
 * that will be drawn. Each slot is one chunk, and the one looked at comes last. Returns what the
 * message must say. */
static void lay_harm(char wanted[128], const wb_trainer *t, place where, uint64_t seed,
                     uint32_t i) {
    static const bool all_have_rows[WB_MAX_SLOTS] = {[0 ... 7] = true};
    const int world = wb_comm_world(comm);
    const wb_rng_key key = {
        .seed = seed, .example = i, .site = wb_rng_site(WB_RNG_TEST, (uint32_t)where)};
    wb_audit drawn;
    wb_audit_draw(&drawn, t, all_have_rows);
    harm.where = where;
    harm.draw = wb_rng_below(1u << 30, key, 0);
    harm.floats = t->model.table.total;
    harm.trainer = t;
    if (where == GATHERED) {
        harm.rank = (int)wb_rng_below((uint64_t)world, key, 1);
        harm.countdown = (int64_t)wb_rng_below(2, key, 2); /* queries or passages */
        (void)snprintf(wanted, 128, world > 2 ? "rank %d: host " : "host ", harm.rank);
        return;
    }
    if (where == SUM) {
        harm.rank = (int)wb_rng_below((uint64_t)world, key, 1);
        harm.countdown = 0;
        (void)snprintf(wanted, 128, "step %lld: rank %d on host ", (long long)t->done + 1,
                       harm.rank);
        return;
    }
    const bool hurts_owner = where == LOSSES || wb_rng_below(2, key, 1) == 0;
    harm.rank = hurts_owner ? drawn.owner : drawn.again;
    const int64_t first = wb_slot_share(t->slot_total, harm.rank, world);
    const int64_t end = wb_slot_share(t->slot_total, harm.rank + 1, world);
    harm.countdown = where == LOSSES ? 0 : hurts_owner ? drawn.number - first : end - first;
    harm.first = wb_slot_row(t->config->batch_size, t->slot_total, drawn.number);
    harm.n = wb_slot_row(t->config->batch_size, t->slot_total, drawn.number + 1) - harm.first;
    harm.group = t->shape.group;
    (void)snprintf(wanted, 128,
                   "step %lld: rank %d has other %s of slot %lld of the batch than "
                   "rank %d",
                   (long long)t->done + 1, drawn.owner, place_names[where], (long long)drawn.number,
                   drawn.again);
}

/* A flipped exponent may leave no finite loss, or norm, which is another way to be found. */
static bool is_found(const wb_trainer *t, place where, const char *wanted) {
    wb_trainer *const trainer = (wb_trainer *)t;
    wb_step_report report;
    const size_t bytes = (size_t)t->model.table.total * sizeof(float);
    const uint64_t before = wb_hash(t->model.params, bytes);
    const int64_t done = t->done;
    wb_error_clear();
    const wb_status status = wb_step_run(trainer, &report);
    const char *const message = wb_error_message();
    bool found = status == WB_ERR_DIVERGED && strstr(message, wanted);
    found = found || (status == WB_ERR_NUMERIC && (where == REPRESENTATIONS || where == SUM));
    if (!found || wb_hash(t->model.params, bytes) != before || t->done != done) {
        fail_msg("%s of rank %d, step %lld: status %d, \"%s\", wanted \"%s\"", place_names[where],
                 harm.rank, (long long)done + 1, (int)status, message, wanted);
    }
    wb_error_clear();
    return status == WB_ERR_DIVERGED;
}

static void one_flipped_bit_is_found_and_who_disagrees_is_named(void **state) {
    (void)state;
    static const char *const modes[] = {"reduce.mode=ordered", "reduce.mode=fast"};
    const uint32_t flips = getenv("WB_TEST_LONG") && *getenv("WB_TEST_LONG") == '1' ? 1000 : 35;
    const tiny_run run = tiny_make(comm, "audit");
    uint64_t seed = test_seed();
    expect_ok(wb_broadcast(comm, &seed, (int64_t)sizeof(seed)));
    for (int mode = 0; mode < 2 && wb_comm_world(comm) > 1; mode++) {
        const char *const assignments[] = {"batch.size=16", "batch.steps=1000", "run.audit_every=1",
                                           modes[mode]};
        const wb_config config = tiny_config(&run, assignments, 4);
        uint32_t not_finite = 0;
        wb_trainer t;
        expect_ok(wb_trainer_open(&t, &config, comm));
        for (uint32_t i = 0; i < flips; i++) {
            const place where = (place)(GATHERED + i % (PLACES - GATHERED));
            char wanted[128];
            t.done = i;
            lay_harm(wanted, &t, where, seed, i);
            not_finite += is_found(&t, where, wanted) ? 0 : 1;
            harm.where = NOWHERE;
        }
        wb_step_report report;
        expect_ok(wb_step_run(&t, &report)); /* as if nothing had been */
        if (wb_comm_rank(comm) == 0) {
            (void)printf("# %u flips in %s, %u of them left no finite loss\n", flips, modes[mode],
                         not_finite);
        }
        wb_trainer_close(&t);
    }
}

/* ---- No harm
 * -------------------------------------------------------------------------------------------- */

/* The parameters after some steps, audited after every so many. */
static uint64_t params_after(const tiny_run *run, const char *const *assignments, int count,
                             const char *every) {
    const char *all[16];
    memcpy(all, assignments, (size_t)count * sizeof(*all));
    all[count] = every;
    const wb_config config = tiny_config(run, all, count + 1);
    wb_trainer t;
    expect_ok(wb_trainer_open(&t, &config, comm));
    assert_int_equal(t.audits, wb_comm_world(comm) > 1 && config.run_audit_every > 0);
    for (int64_t i = 0; i < t.optimizer.total_steps; i++) {
        wb_step_report report;
        expect_ok(wb_step_run(&t, &report));
    }
    const uint64_t params = wb_hash(t.model.params, (size_t)t.model.table.total * sizeof(float));
    wb_trainer_close(&t);
    return params;
}

static void audited_steps_raise_no_alarm_and_change_no_bit(void **state) {
    (void)state;
    const tiny_run run = tiny_make(comm, "calm");
    char wide[700], many[700], tevatron[700], guide[700], vocabulary[700];
    (void)snprintf(wide, sizeof(wide), "data.train=%s", run.wide);
    (void)snprintf(many, sizeof(many), "data.train=%s", run.many);
    (void)snprintf(tevatron, sizeof(tevatron), "data.train=%s", run.tevatron);
    (void)snprintf(guide, sizeof(guide), "loss.filter_model=%s", run.guide);
    (void)snprintf(vocabulary, sizeof(vocabulary), "model.path=%s/vocab.txt", run.model);
    const char *const cases[][8] = {
        {"batch.size=16", "batch.steps=8"},
        {"batch.size=16", "batch.steps=4", "reduce.mode=fast"},
        {"batch.size=13", "memory.chunk_tokens=30", "batch.steps=3"},
        {"batch.size=16", "memory.chunk_tokens=40", "memory.budget=170K"},
        {"batch.size=3", "batch.steps=4"},
        {"batch.size=3", "batch.steps=4", "reduce.mode=fast"},
        {"batch.size=12", "loss.widths=16,5", "loss.learn_temperature=true"},
        {"batch.size=12", "loss.learn_temperature=true", "reduce.mode=fast"},
        {wide, "batch.size=280", "batch.steps=1", "memory.gather=1", "loss.filter=absolute", guide,
         "loss.symmetric=true"},
        {tevatron, "batch.size=8", "data.draw=fixed", "batch.steps=3"},
        {many, "batch.size=12", "loss.positives=all", "loss.query_query=true",
         "loss.passage_passage=true", "loss.learn_temperature=true"},
        {vocabulary, wide, "model.encoder=static", "model.width=24", "batch.size=280",
         "batch.steps=2"},
        {vocabulary, "model.encoder=static", "model.width=24", "batch.size=16", "batch.steps=4"},
        {vocabulary, "model.encoder=static", "model.width=24", "batch.size=16",
         "reduce.mode=ordered"},
        {"batch.size=16", wb_product_has_bf16() ? "model.precision=bf16" : "batch.steps=2"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int count = 0;
        while (count < 8 && cases[i][count]) {
            count++;
        }
        const uint64_t audited = params_after(&run, cases[i], count, "run.audit_every=1");
        const uint64_t plain = params_after(&run, cases[i], count, "run.audit_every=0");
        if (audited != plain) {
            fail_msg("case %zu: an audit has changed the parameters", i);
        }
    }
}

static void ranks_on_unlike_machines_do_not_audit(void **state) {
    (void)state;
    const tiny_run run = tiny_make(comm, "unlike");
    const char *const assignments[] = {"batch.size=8", "run.audit_every=1"};
    const wb_config config = tiny_config(&run, assignments, 2);
    wb_trainer t;
    harm.unlike = true;
    expect_ok(wb_trainer_open(&t, &config, comm));
    assert_false(t.audits);
    wb_trainer_close(&t);
    harm.unlike = false;
}

int main(int argc, char **argv) {
    expect_ok(wb_comm_create(&comm, &argc, &argv));
    expect_ok(wb_io_init());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_flipped_bit_is_found_and_who_disagrees_is_named),
        cmocka_unit_test(audited_steps_raise_no_alarm_and_change_no_bit),
        cmocka_unit_test(ranks_on_unlike_machines_do_not_audit),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    wb_comm_destroy(comm);
    return failed;
}
