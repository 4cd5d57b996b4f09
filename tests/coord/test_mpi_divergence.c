/* Ranks that no longer hold the same: found, and the odd one named. */
#include "exchange.h"
#include "rng.h"
#include "step.h"
#include "tiny_run.h"

static wb_comm *comm;

static void ranks_that_trained_together_hold_the_same(void **state) {
    (void)state;
    static const char *const modes[] = {"reduce.mode=ordered", "reduce.mode=fast"};
    const tiny_run run = tiny_make(comm, "same");
    for (int i = 0; i < 2; i++) {
        const char *const assignments[] = {"batch.size=13", modes[i]};
        const wb_config config = tiny_config(&run, assignments, 2);
        wb_trainer t;
        wb_step_report report;
        expect_ok(wb_trainer_open(&t, &config, comm));
        for (int step = 0; step < 5; step++) {
            expect_ok(wb_step_run(&t, &report));
            expect_ok(wb_trainer_check_same(&t));
        }
        wb_trainer_close(&t);
    }
}

/* Parameters or either moment, any bit, any rank. */
static void one_flipped_bit_is_found_and_its_rank_named(void **state) {
    (void)state;
    const int rank = wb_comm_rank(comm), world = wb_comm_world(comm);
    const uint32_t flips = getenv("WB_TEST_LONG") && *getenv("WB_TEST_LONG") == '1' ? 500 : 60;
    const tiny_run run = tiny_make(comm, "flip");
    const char *const assignments[] = {"batch.size=8"};
    const wb_config config = tiny_config(&run, assignments, 1);
    uint64_t seed = test_seed();
    wb_trainer t;
    wb_step_report report;
    expect_ok(wb_trainer_open(&t, &config, comm));
    expect_ok(wb_step_run(&t, &report));
    expect_ok(wb_broadcast(comm, &seed, (int64_t)sizeof(seed)));
    float *const arrays[] = {t.model.params, t.state[0], t.state[1]};
    for (uint32_t i = 0; i < flips; i++) {
        const wb_rng_key key = {.seed = seed, .example = i, .site = wb_rng_site(WB_RNG_TEST, 0)};
        const int odd = (int)wb_rng_below((uint64_t)world, key, 0);
        const uint64_t bit = wb_rng_below((uint64_t)t.model.table.total * 32, key, 1);
        char *const byte = (char *)arrays[wb_rng_below(3, key, 2)] + bit / 8;
        *byte = (char)(*byte ^ (rank == odd ? 1 << (bit % 8) : 0));
        char wanted[64];
        (void)snprintf(wanted, sizeof(wanted), world > 2 ? "rank %d: host " : "host ", odd);
        if (world == 1) {
            expect_ok(wb_trainer_check_same(&t));
        } else {
            expect_error(wb_trainer_check_same(&t), WB_ERR_DIVERGED, wanted);
        }
        *byte = (char)(*byte ^ (rank == odd ? 1 << (bit % 8) : 0));
    }
    expect_ok(wb_trainer_check_same(&t));
    wb_trainer_close(&t);
}

static void a_rank_at_another_step_is_found(void **state) {
    (void)state;
    const tiny_run run = tiny_make(comm, "ahead");
    const char *const assignments[] = {"batch.size=8"};
    const wb_config config = tiny_config(&run, assignments, 1);
    wb_trainer t;
    expect_ok(wb_trainer_open(&t, &config, comm));
    t.done = wb_comm_rank(comm) == 0 ? 1 : 0;
    if (wb_comm_world(comm) > 1) {
        expect_error(wb_trainer_check_same(&t), WB_ERR_DIVERGED, "are not those of the other");
    }
    wb_trainer_close(&t);
}

int main(int argc, char **argv) {
    expect_ok(wb_comm_create(&comm, &argc, &argv));
    expect_ok(wb_io_init());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_that_trained_together_hold_the_same),
        cmocka_unit_test(one_flipped_bit_is_found_and_its_rank_named),
        cmocka_unit_test(a_rank_at_another_step_is_found),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    wb_comm_destroy(comm);
    return failed;
}
