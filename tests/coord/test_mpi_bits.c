/* The same bits for any number of ranks: a run of the first k ranks against a run of all. */
#include "chunk_plan.h"
#include "hash.h"
#include "product.h"
#include "step.h"
#include "tiny_run.h"

static wb_comm *comm;

enum { STEPS = 10 };

/* Parameters and losses of a run on some ranks: hashes, the same on each of them. */
typedef struct outcome {
    uint64_t params, state;
    double losses[STEPS], norms[STEPS];
} outcome;

/* `batch.steps` steps, at most STEPS. */
static outcome run_steps(wb_comm *ranks, const tiny_run *run, const char *const *assignments,
                         int count) {
    const wb_config config = tiny_config(run, assignments, count);
    wb_trainer t;
    outcome out = {0};
    expect_ok(wb_trainer_open(&t, &config, ranks));
    for (int i = 0; i < STEPS && i < t.optimizer.total_steps; i++) {
        wb_step_report report;
        expect_ok(wb_step_run(&t, &report));
        out.losses[i] = report.loss;
        out.norms[i] = report.gradient_norm;
    }
    const size_t bytes = (size_t)t.model.table.total * sizeof(float);
    out.params = wb_hash(t.model.params, bytes);
    out.state = wb_hash(t.state[0], bytes) ^ wb_hash(t.state[1], bytes);
    wb_trainer_close(&t);
    return out;
}

/* More rows than a tile of the loss. */
static void name_wide(char assignment[700], const tiny_run *run) {
    (void)snprintf(assignment, 700, "data.train=%s", run->wide);
}

static void check(const char *const *given, int count) {
    const tiny_run run = tiny_make(comm, "bits");
    const char *assignments[24];
    char wide[700], guide[700];
    name_wide(wide, &run);
    (void)snprintf(guide, sizeof(guide), "loss.filter_model=%s", run.guide);
    for (int i = 0; i < count; i++) {
        const bool guided = strcmp(given[i], "loss.filter_model") == 0;
        const bool widened = strcmp(given[i], "data.train") == 0;
        assignments[i] = guided ? guide : (widened ? wide : given[i]);
    }
    const outcome all = run_steps(comm, &run, assignments, count);
    for (int ranks = 1; ranks < wb_comm_world(comm); ranks++) {
        wb_comm *part;
        expect_ok(wb_comm_first(&part, comm, ranks));
        if (part) {
            const outcome some = run_steps(part, &run, assignments, count);
            for (int i = 0; i < STEPS; i++) {
                assert_true(some.losses[i] == all.losses[i]);
                assert_true(some.norms[i] == all.norms[i]);
            }
            assert_true(some.params == all.params);
            assert_true(some.state == all.state);
            wb_comm_destroy(part);
        }
        expect_ok(wb_agree(comm, WB_OK));
    }
}

static void ten_steps_with_dropout_give_the_same_bits_on_any_number_of_ranks(void **state) {
    (void)state;
    check((const char *[]){"batch.size=16", "optimizer.lr=1e-3"}, 2);
    check((const char *[]){"batch.size=13", "memory.chunk_tokens=30", "optimizer.lr=1e-3"}, 3);
}

static void bf16_gives_the_same_bits_on_any_number_of_ranks(void **state) {
    (void)state;
    if (!wb_product_has_bf16()) {
        skip();
    }
    check((const char *[]){"batch.size=13", "memory.chunk_tokens=30", "optimizer.lr=1e-3",
                           "model.precision=bf16"},
          4);
}

static void terms_of_the_loss_give_the_same_bits_on_any_number_of_ranks(void **state) {
    (void)state;
    check((const char *[]){"data.split=many", "batch.size=40", "optimizer.lr=1e-3"}, 3);
    check((const char *[]){"data.split=many", "batch.size=27", "optimizer.lr=1e-3",
                           "loss.positives=all"},
          4);
    check((const char *[]){"data.split=many", "batch.size=27", "optimizer.lr=1e-3",
                           "loss.margin=0.1", "loss.symmetric=true", "loss.query_query=true",
                           "loss.passage_passage=true"},
          7);
    check((const char *[]){"batch.size=13", "optimizer.lr=1e-3", "loss.widths=16,5",
                           "loss.learn_temperature=true"},
          4);
    check((const char *[]){"batch.size=13", "optimizer.lr=1e-3", "loss.filter=absolute"}, 3);
}

static void windows_give_the_bits_of_a_gather_on_any_number_of_ranks(void **state) {
    (void)state;
    const tiny_run run = tiny_make(comm, "windows");
    char wide[700];
    name_wide(wide, &run);
    const char *const whole[] = {wide, "batch.size=600", "batch.steps=2"};
    const char *const windows[] = {wide, "batch.size=600", "batch.steps=2", "memory.gather=1"};
    const outcome a = run_steps(comm, &run, whole, 3), b = run_steps(comm, &run, windows, 4);
    assert_true(a.params == b.params && a.state == b.state);
    check((const char *[]){"data.train", "batch.size=300", "memory.gather=1",
                           "loss.filter=absolute", "loss.filter_model", "loss.symmetric=true"},
          6);
}

static void planned_batches_give_the_same_bits_on_any_number_of_ranks(void **state) {
    (void)state;
    check((const char *[]){"data.train", "batch.size=70", "batch.no_duplicates=true"}, 3);
    check((const char *[]){"data.split=many", "batch.size=17", "batch.drop_last=false",
                           "data.draw=fixed"},
          4);
}

static void the_bits_do_not_depend_on_what_is_kept(void **state) {
    (void)state;
    const tiny_run run = tiny_make(comm, "kept");
    const char *const much[] = {"batch.size=16", "memory.chunk_tokens=40"};
    const char *const little[] = {"batch.size=16", "memory.chunk_tokens=40", "memory.budget=170K"};
    const outcome a = run_steps(comm, &run, much, 2), b = run_steps(comm, &run, little, 3);
    assert_true(a.params == b.params && a.state == b.state);
}

static void slots_without_rows_take_no_part(void **state) {
    (void)state;
    check((const char *[]){"batch.size=3", "optimizer.lr=1e-3"}, 2);
    check((const char *[]){"batch.size=5", "reduce.slots=64", "optimizer.lr=1e-3"}, 3);
}

int main(int argc, char **argv) {
    expect_ok(wb_comm_create(&comm, &argc, &argv));
    expect_ok(wb_io_init());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_steps_with_dropout_give_the_same_bits_on_any_number_of_ranks),
        cmocka_unit_test(bf16_gives_the_same_bits_on_any_number_of_ranks),
        cmocka_unit_test(terms_of_the_loss_give_the_same_bits_on_any_number_of_ranks),
        cmocka_unit_test(windows_give_the_bits_of_a_gather_on_any_number_of_ranks),
        cmocka_unit_test(planned_batches_give_the_same_bits_on_any_number_of_ranks),
        cmocka_unit_test(the_bits_do_not_depend_on_what_is_kept),
        cmocka_unit_test(slots_without_rows_take_no_part),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    wb_comm_destroy(comm);
    return failed;
}
