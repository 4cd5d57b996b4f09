/* verify holds on a model that is right, whatever the terms of the loss, and says so by its status.
 */
#include "commands.h"
#include "log.h"
#include "product.h"
#include "tiny_run.h"

static wb_comm *comm;

static wb_status verify(const tiny_run *run, const char *rows, const char *const *assignments,
                        int count) {
    static char model[700], data[700];
    wb_arguments arguments = {.values = {[1] = rows}};
    (void)snprintf(model, sizeof(model), "model.path=%s", run->model);
    (void)snprintf(data, sizeof(data), "data.train=%s", run->beir);
    arguments.repeated[arguments.repeats++] = model;
    arguments.repeated[arguments.repeats++] = data;
    arguments.repeated[arguments.repeats++] = "data.max_query_tokens=16";
    arguments.repeated[arguments.repeats++] = "data.max_passage_tokens=32";
    for (int i = 0; i < count; i++) {
        arguments.repeated[arguments.repeats++] = assignments[i];
    }
    wb_error_clear();
    const wb_status status = wb_command_verify(&arguments, comm);
    wb_log_init(wb_comm_rank(comm), WB_LOG_RUN);
    return status;
}

static void every_check_holds_with_the_plain_loss(void **state) {
    (void)state;
    const tiny_run run = tiny_make(comm, "verify");
    expect_ok(verify(&run, "12", (const char *[]){"memory.chunk_tokens=60"}, 1));
}

static void every_check_holds_in_bf16(void **state) {
    (void)state;
    const tiny_run run = tiny_make(comm, "verify-bf16");
    if (wb_product_has_bf16()) {
        expect_ok(verify(&run, "12",
                         (const char *[]){"memory.chunk_tokens=60", "model.precision=bf16"}, 2));
    } else {
        expect_error(verify(&run, "12", (const char *[]){"model.precision=bf16"}, 1), WB_ERR_CONFIG,
                     "no bf16 products");
    }
}

static void every_check_holds_with_other_terms_optimizer_and_mode(void **state) {
    (void)state;
    const tiny_run run = tiny_make(comm, "verify-terms");
    expect_ok(verify(&run, "12",
                     (const char *[]){"loss.symmetric=true", "loss.learn_temperature=true",
                                      "loss.widths=16,8", "loss.width_weights=1,0.5",
                                      "optimizer.name=sgd", "optimizer.lr=1e-3"},
                     6));
}

static void every_check_holds_with_windows_a_guide_and_planned_batches(void **state) {
    (void)state;
    const tiny_run run = tiny_make(comm, "verify-wide");
    char data[700], guide[700];
    (void)snprintf(data, sizeof(data), "data.train=%s", run.wide);
    (void)snprintf(guide, sizeof(guide), "loss.filter_model=%s", run.guide);
    expect_ok(verify(&run, "300",
                     (const char *[]){data, guide, "batch.size=300", "loss.filter=relative",
                                      "loss.filter_margin=0.05", "batch.no_duplicates=true"},
                     6));
}

static void a_missing_model_is_one_error_of_all_ranks(void **state) {
    (void)state;
    tiny_run run = tiny_make(comm, "verify-none");
    (void)snprintf(run.model, sizeof(run.model), "%s/nothing", run.folder);
    expect_error(verify(&run, "12", NULL, 0), WB_ERR_CONFIG, "no such folder");
}

int main(int argc, char **argv) {
    expect_ok(wb_comm_create(&comm, &argc, &argv));
    expect_ok(wb_io_init());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_check_holds_with_the_plain_loss),
        cmocka_unit_test(every_check_holds_in_bf16),
        cmocka_unit_test(every_check_holds_with_other_terms_optimizer_and_mode),
        cmocka_unit_test(every_check_holds_with_windows_a_guide_and_planned_batches),
        cmocka_unit_test(a_missing_model_is_one_error_of_all_ranks),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    wb_comm_destroy(comm);
    return failed;
}
