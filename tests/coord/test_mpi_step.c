/* GradCache over ranks, chunks and budgets against one big batch, with dropout on.
 *
 * The reference is the textbook form: the whole batch in one chunk on every rank, a loss in double
 * with a matrix of all scores, one backward pass. Only encoder and masks are shared with the step.
 */
#include "chunk_plan.h"
#include "exchange.h"
#include "guide.h"
#include "plain_loss.h"
#include "step.h"
#include "tiny_run.h"
#include "units.h"

#ifdef _OPENMP
#include <omp.h>
#endif

static wb_comm *comm;

/* What the loss is of a whole batch, masks found by comparing everything with everything. */
typedef struct textbook {
    plain_terms terms;
    uint64_t *keys; /* [B (1 + group)], owned: queries, then passages */
    float *guide;   /* owned: representations of a guide, or NULL */
    int64_t *known; /* owned: firsts, then passages */
} textbook;

static void list_known(textbook *book, const wb_trainer *t, const wb_batch *batch) {
    const int64_t B = batch->n, N = B * batch->group, most = t->shape.positives;
    const uint64_t *const keys = book->keys + B;
    book->known = calloc((size_t)(B + 1 + B * N), sizeof(*book->known));
    int64_t *const firsts = book->known, *const known = firsts + B + 1;
    for (int64_t i = 0; i < B; i++) {
        firsts[i + 1] = firsts[i];
        for (int64_t j = 0; j < N; j++) {
            bool knows = false;
            for (int64_t k = 0; k < batch->positive_counts[i]; k++) {
                knows = knows || batch->positive_keys[i * most + k] == keys[j];
            }
            for (int64_t before = 0; before < j; before++) {
                knows = knows && keys[before] != keys[j];
            }
            if (knows && keys[j] != keys[i * batch->group]) {
                known[firsts[i + 1]++] = j;
            }
        }
    }
    book->terms.known_firsts = firsts;
    book->terms.known = known;
}

static textbook write_textbook(const wb_trainer *t, const wb_batch *batch) {
    const wb_config *config = t->config;
    const int64_t B = batch->n, group = batch->group;
    textbook book = {.terms = {.B = B,
                               .group = group,
                               .d = t->model.folder.spec.hidden,
                               .tau = wb_model_temperature(&t->model, config),
                               .margin = config->loss_margin,
                               .filter = (int)wb_loss_of(t).filter,
                               .filter_margin = config->loss_filter_margin,
                               .symmetric = strcmp(config->loss_symmetric, "true") == 0,
                               .query_query = strcmp(config->loss_query_query, "true") == 0,
                               .passage_passage = strcmp(config->loss_passage_passage, "true") == 0,
                               .all_positives = strcmp(config->loss_positives, "all") == 0}};
    book.keys = malloc((size_t)(B * (1 + group)) * sizeof(*book.keys));
    for (int64_t i = 0; i < B * (1 + group); i++) {
        const int64_t row = i / (1 + group), k = i % (1 + group);
        book.keys[k == 0 ? row : B + row * group + k - 1] = batch->keys[i];
    }
    const bool masks = strcmp(config->loss_duplicates, "mask") == 0;
    if (masks) {
        book.terms.query_keys = book.keys;
        book.terms.passage_keys = book.keys + B;
    }
    if (t->shape.positives > 0) {
        list_known(&book, t, batch);
    }
    return book;
}

/* As the step should: cut, made unit length again, the loss of that, and the chain rule back. */
static double loss_at_width(double *dreps, const double *reps, const wb_trainer *t,
                            plain_terms terms, int64_t width, double weight) {
    const int64_t d = terms.d, rows = terms.B * (1 + terms.group);
    double *cut = calloc((size_t)(rows * width), sizeof(*cut));
    double *dcut = malloc((size_t)(rows * width) * sizeof(*dcut));
    double *norms = malloc((size_t)rows * sizeof(*norms));
    for (int64_t i = 0; i < rows; i++) {
        double squares = 0.0;
        for (int64_t k = 0; k < width; k++) {
            squares += reps[i * d + k] * reps[i * d + k];
        }
        norms[i] = t->model.folder.spec.normalize ? sqrt(squares) : 1.0;
        for (int64_t k = 0; k < width; k++) {
            cut[i * width + k] = reps[i * d + k] / norms[i];
        }
    }
    terms.d = width; /* a guide stays as wide as it is */
    const double loss = plain_loss(NULL, dcut, cut, &terms);
    for (int64_t i = 0; i < rows; i++) {
        const double *y = cut + i * width, *dy = dcut + i * width;
        double along = 0.0;
        for (int64_t k = 0; k < width && t->model.folder.spec.normalize; k++) {
            along += y[k] * dy[k];
        }
        for (int64_t k = 0; k < width; k++) {
            dreps[i * d + k] += weight * (dy[k] - along * y[k]) / norms[i];
        }
    }
    free(cut);
    free(dcut);
    free(norms);
    return weight * loss;
}

static double loss_at_all_widths(float *dreps, const float *reps, const wb_trainer *t,
                                 const plain_terms *terms) {
    const int64_t count = terms->B * (1 + terms->group) * terms->d;
    double loss = 0.0;
    if (t->widths.count == 0) {
        return plain_loss_of_floats(NULL, dreps, reps, terms);
    }
    double *reps64 = calloc((size_t)count, sizeof(*reps64));
    double *dreps64 = calloc((size_t)count, sizeof(*dreps64));
    for (int64_t i = 0; i < count; i++) {
        reps64[i] = (double)reps[i];
    }
    for (int64_t k = 0; k < t->widths.count; k++) {
        loss +=
            loss_at_width(dreps64, reps64, t, *terms, t->widths.widths[k], t->widths.weights[k]);
    }
    for (int64_t i = 0; i < count; i++) {
        dreps[i] = (float)dreps64[i];
    }
    free(reps64);
    free(dreps64);
    return loss;
}

/* The derivative by log(1 / temperature), as a central difference; dreps is scratch. */
static float slope(float *dreps, const float *reps, const wb_trainer *t, plain_terms terms) {
    const double tau = terms.tau, h = 1e-5;
    terms.tau = tau * exp(-h);
    const double above = loss_at_all_widths(dreps, reps, t, &terms);
    terms.tau = tau * exp(h);
    const double below = loss_at_all_widths(dreps, reps, t, &terms);
    return (float)((above - below) / (2.0 * h));
}

/* The guide's representations of a whole batch, in one go. */
static void ask_guide(textbook *book, wb_trainer *t, const wb_batch *batch,
                      const wb_batch_rows *rows) {
    wb_slot all = {.batch = *batch};
    const size_t mark = wb_arena_mark(t->step_arena);
    const int64_t width = t->guide.folder.spec.hidden;
    const size_t bytes = (size_t)(batch->packed.n * width) * sizeof(float);
    expect_ok(wb_guide_encode(&all, t, rows, wb_draw_of(t, rows->epoch)));
    book->guide = malloc(bytes);
    memcpy(book->guide, all.guide_reps, bytes);
    wb_arena_release(t->step_arena, mark);
    book->terms.guide = book->guide;
    book->terms.guide_width = width;
}

/* grads [total] owned by the caller. */
static float *reference(wb_trainer *t, double *loss) {
    const int64_t d = t->model.folder.spec.hidden;
    const wb_pass pass = {
        .active = true, .seed = (uint64_t)t->config->run_seed, .step = (uint32_t)t->done};
    wb_arena *arena;
    wb_batch batch;
    wb_batch_rows rows;
    wb_tape *tape;
    expect_ok(wb_arena_create(&arena, "reference", (size_t)256 << 20));
    expect_ok(wb_batch_plan_step(&rows, &t->plan, t->done));
    const int64_t B = rows.B;
    expect_ok(wb_batch_read(&batch, t->data, &t->model, &t->shape, rows.rows, rows.epoch, B, 0, B,
                            arena));
    float *reps = malloc((size_t)(batch.packed.n * d) * sizeof(*reps));
    float *dreps = malloc((size_t)(batch.packed.n * d) * sizeof(*dreps));
    float *grads = calloc((size_t)t->model.table.total, sizeof(*grads));
    expect_ok(wb_encoder_forward(t->model.encoder, reps, &tape, t->model.params, &batch.packed,
                                 batch.examples, &pass, arena));
    textbook book = write_textbook(t, &batch);
    if (t->guide.encoder) {
        ask_guide(&book, t, &batch, &rows);
    }
    if (t->model.log_scale) {
        grads[t->model.log_scale - t->model.params] = slope(dreps, reps, t, book.terms);
    }
    *loss = loss_at_all_widths(dreps, reps, t, &book.terms);
    expect_ok(wb_encoder_backward(t->model.encoder, grads, NULL, t->model.params, tape, dreps, NULL,
                                  arena));
    free(reps);
    free(dreps);
    free(book.keys);
    free(book.known);
    free(book.guide);
    wb_arena_destroy(arena);
    return grads;
}

static void check_steps(const char *const *assignments, int count, const char *what) {
    const tiny_run run = tiny_make(comm, "step");
    char tevatron[700], guide[700];
    const bool many = strcmp(assignments[0], "data.split=many") == 0;
    const bool wide = strcmp(assignments[0], "data.split=wide") == 0; /* no BEIR folder */
    (void)snprintf(tevatron, sizeof(tevatron), "data.train=%s",
                   wide ? run.wide : (many ? run.many : run.tevatron));
    (void)snprintf(guide, sizeof(guide), "loss.filter_model=%s", run.guide);
    for (int hard = wide ? 1 : 0; hard < 2; hard++) {
        const char *all[24];
        int used = 0;
        for (; used < count; used++) {
            const bool guided = strcmp(assignments[used], "loss.filter_model") == 0;
            all[used] = guided ? guide : assignments[used];
        }
        if (hard) {
            all[used++] = tevatron;
        }
        const wb_config config = tiny_config(&run, all, used);
        wb_trainer t;
        expect_ok(wb_trainer_open(&t, &config, comm));
        assert_int_equal(t.shape.group, hard ? 3 : 1);
        for (int step = 0; step < (wide ? 1 : 3); step++) {
            double loss;
            float *wanted = reference(&t, &loss);
            wb_step_report report;
            expect_ok(wb_step_run(&t, &report));
            if (!(fabs(report.loss - loss) <= 1e-5 * fabs(loss))) {
                fail_msg("%s: loss %.9g, wanted %.9g", what, report.loss, loss);
            }
            /* the exactness contract, DESIGN section 3 */
            const int64_t total = wb_encoder_table(t.model.encoder)->total;
            float *grads = malloc((size_t)t.model.table.total * sizeof(*grads));
            wb_trainer_gradient(&t, grads);
            expect_relative(grads, wanted, total, 1e-5, what);
            if (t.model.log_scale) {
                /* the difference of scores up to 20, in single precision */
                expect_close(grads + total, wanted + total, 1, 5e-6, what);
            }
            free(grads);
            free(wanted);
        }
        wb_trainer_close(&t);
    }
}

static void gradient_cache_equals_one_big_batch(void **state) {
    (void)state;
    check_steps((const char *[]){"batch.size=16"}, 1, "all kept");
    check_steps((const char *[]){"batch.size=16", "memory.chunk_tokens=20"}, 2, "small chunks");
    check_steps((const char *[]){"batch.size=13", "memory.chunk_tokens=50"}, 2, "uneven shares");
    check_steps((const char *[]){"batch.size=16", "model.pooling=cls", "model.normalize=false",
                                 "loss.temperature=5"},
                4, "raw first token");
}

static void what_is_encoded_again_repeats_its_dropout(void **state) {
    (void)state;
    check_steps((const char *[]){"batch.size=16", "memory.chunk_tokens=40", "memory.budget=160K",
                                 "model.dropout=0.3"},
                4, "nothing or little kept");
}

static void masks_and_positives_reach_across_ranks(void **state) {
    (void)state;
    check_steps((const char *[]){"data.split=many", "batch.size=40"}, 2, "masked");
    check_steps((const char *[]){"data.split=many", "batch.size=40", "loss.positives=all"}, 3,
                "all positives");
    check_steps((const char *[]){"data.split=many", "batch.size=27", "loss.duplicates=keep"}, 3,
                "kept duplicates");
    check_steps((const char *[]){"data.split=many", "batch.size=27", "loss.duplicates=keep",
                                 "loss.positives=all"},
                4, "kept duplicates, all positives");
}

static void every_term_of_the_loss_reaches_across_ranks(void **state) {
    (void)state;
    check_steps((const char *[]){"data.split=many", "batch.size=27", "loss.margin=0.2"}, 3,
                "margin");
    check_steps((const char *[]){"data.split=many", "batch.size=27", "loss.symmetric=true"}, 3,
                "symmetric");
    check_steps((const char *[]){"data.split=many", "batch.size=27", "loss.query_query=true"}, 3,
                "queries against queries");
    check_steps((const char *[]){"data.split=many", "batch.size=27", "loss.passage_passage=true"},
                3, "passages against passages");
    check_steps((const char *[]){"data.split=many", "batch.size=40", "loss.margin=0.1",
                                 "loss.symmetric=true", "loss.query_query=true",
                                 "loss.passage_passage=true", "loss.positives=all"},
                7, "all terms");
}

static void every_width_counts_with_its_weight(void **state) {
    (void)state;
    check_steps((const char *[]){"batch.size=13", "loss.widths=16,5,9",
                                 "loss.width_weights=1,0.5,2", "memory.chunk_tokens=50"},
                4, "three widths");
    check_steps((const char *[]){"data.split=many", "batch.size=27", "loss.widths=7",
                                 "loss.symmetric=true", "model.normalize=false",
                                 "loss.temperature=5"},
                6, "one width, any length");
}

static void a_learned_temperature_has_its_gradient_once(void **state) {
    (void)state;
    check_steps((const char *[]){"batch.size=13", "loss.learn_temperature=true",
                                 "optimizer.lr=0.01", "memory.chunk_tokens=50"},
                4, "learned temperature");
    check_steps((const char *[]){"data.split=many", "batch.size=27", "loss.learn_temperature=true",
                                 "loss.margin=0.1", "loss.symmetric=true", "loss.query_query=true",
                                 "loss.passage_passage=true", "loss.positives=all",
                                 "loss.widths=16,5", "reduce.mode=fast"},
                10, "learned temperature of all terms");
}

static void the_learned_temperature_stays_at_a_hundredth_or_above(void **state) {
    (void)state;
    const tiny_run run = tiny_make(comm, "clamp");
    wb_trainer t;
    wb_step_report report;
    const char *const low[] = {"loss.learn_temperature=true", "loss.temperature=0.009"};
    wb_config config = tiny_config(&run, low, 2);
    expect_error(wb_trainer_open(&t, &config, comm), WB_ERR_CONFIG,
                 "loss.temperature = 0.009; at least 0.01 is allowed where it is learned");
    wb_trainer_close(&t);
    const char *const high[] = {
        "loss.learn_temperature=true", "loss.temperature=0.011", "optimizer.lr=1", "batch.size=4",
        "optimizer.schedule=constant", "optimizer.warmup=0"};
    config = tiny_config(&run, high, 6);
    expect_ok(wb_trainer_open(&t, &config, comm));
    *t.model.log_scale = 9.0f; /* as an update might leave it */
    wb_model_clamp_temperature(&t.model);
    expect_ok(wb_step_run(&t, &report));
    assert_true(fabs(report.temperature - 0.01) < 1e-8); /* a float's log */
    assert_true(*t.model.log_scale <= (float)log(100.0));
    wb_trainer_close(&t);
}

static void false_negatives_are_filtered_alike_on_all_ranks(void **state) {
    (void)state;
    check_steps((const char *[]){"batch.size=13", "loss.filter=absolute", "memory.chunk_tokens=50"},
                3, "absolute");
    check_steps((const char *[]){"data.split=many", "batch.size=40", "loss.filter=relative",
                                 "loss.filter_margin=0.05", "loss.symmetric=true",
                                 "loss.query_query=true", "loss.passage_passage=true",
                                 "loss.positives=all", "loss.widths=16,5"},
                9, "relative");
}

static void a_guide_decides_which_candidates_are_too_similar(void **state) {
    (void)state;
    check_steps((const char *[]){"batch.size=13", "loss.filter=absolute", "loss.filter_model",
                                 "memory.chunk_tokens=50"},
                4, "guide, absolute");
    check_steps((const char *[]){"data.split=many", "batch.size=40", "loss.filter=relative",
                                 "loss.filter_margin=0.05", "loss.filter_model",
                                 "loss.symmetric=true", "loss.query_query=true",
                                 "loss.passage_passage=true", "loss.widths=16,5"},
                9, "guide, relative");
}

static void representations_that_pass_by_in_windows_give_the_same_loss(void **state) {
    (void)state;
    check_steps((const char *[]){"data.split=wide", "batch.size=600", "memory.gather=1"}, 3,
                "windows");
    check_steps((const char *[]){"data.split=wide", "batch.size=531", "memory.gather=1",
                                 "loss.symmetric=true", "loss.query_query=true",
                                 "loss.passage_passage=true", "loss.positives=all",
                                 "loss.filter=relative", "loss.filter_model", "loss.widths=16,7",
                                 "loss.learn_temperature=true"},
                11, "windows, all terms");
}

/* Batches, chunks, budgets, slots and terms drawn from the seed. */
static void random_layouts_equal_one_big_batch(void **state) {
    (void)state;
    static const char *const choices[][3] = {
        {"loss.symmetric=false", "loss.symmetric=true", "loss.symmetric=true"},
        {"loss.query_query=false", "loss.query_query=true", "loss.query_query=false"},
        {"loss.passage_passage=false", "loss.passage_passage=true", "loss.passage_passage=false"},
        {"loss.positives=one", "loss.positives=all", "loss.positives=one"},
        {"loss.duplicates=mask", "loss.duplicates=keep", "loss.duplicates=mask"},
        {"loss.widths=", "loss.widths=16,6", "loss.widths="},
        {"reduce.mode=ordered", "reduce.mode=fast", "reduce.mode=ordered"},
        {"memory.budget=64M", "memory.budget=260K", "memory.budget=400K"}};
    enum { CHOICES = sizeof(choices) / sizeof(choices[0]) };
    const int rounds = getenv("WB_TEST_LONG") && getenv("WB_TEST_LONG")[0] == '1' ? 100 : 4;
    uint64_t seed = test_seed();
    expect_ok(wb_broadcast(comm, &seed, (int64_t)sizeof(seed)));
    for (int i = 0; i < rounds; i++) {
        const wb_rng_key key = {
            .seed = seed, .example = (uint32_t)i, .site = wb_rng_site(WB_RNG_TEST, 5)};
        char size[64], chunk[64], slots[64], what[256];
        const char *all[4 + CHOICES] = {"data.split=many", size, chunk, slots};
        (void)snprintf(size, sizeof(size), "batch.size=%d", 2 + (int)wb_rng_below(39, key, 0));
        (void)snprintf(chunk, sizeof(chunk), "memory.chunk_tokens=%d",
                       1 + (int)wb_rng_below(120, key, 1));
        (void)snprintf(slots, sizeof(slots), "reduce.slots=%d", 1 + (int)wb_rng_below(40, key, 2));
        for (uint32_t k = 0; k < CHOICES; k++) {
            all[4 + k] = choices[k][wb_rng_below(3, key, 3 + k)];
        }
        (void)snprintf(what, sizeof(what), "round %d: %s %s %s", i, size, chunk, slots);
        check_steps(all, 4 + CHOICES, what);
    }
}

static void rows_without_negatives_change_nothing_and_are_counted(void **state) {
    (void)state;
    const tiny_run run = tiny_make(comm, "alone");
    const char *const assignments[] = {"batch.size=13", "loss.filter=absolute",
                                       "loss.filter_margin=3", "optimizer.weight_decay=0"};
    const wb_config config = tiny_config(&run, assignments, 4);
    wb_trainer t;
    wb_step_report report;
    expect_ok(wb_trainer_open(&t, &config, comm));
    expect_ok(wb_step_run(&t, &report));
    assert_int_equal(report.filtered_rows, 13);
    assert_true(report.loss == 0.0 && report.gradient_norm == 0.0);
    wb_trainer_close(&t);
}

#ifdef _OPENMP
/* parameters after three steps, owned by the caller */
static float *parameters_after(const tiny_run *run, const char *const *assignments, int count,
                               int threads, int64_t *total) {
    const wb_config config = tiny_config(run, assignments, count);
    wb_trainer t;
    wb_step_report report;
    omp_set_num_threads(threads);
    expect_ok(wb_trainer_open(&t, &config, comm));
    for (int i = 0; i < 3; i++) {
        expect_ok(wb_step_run(&t, &report));
    }
    *total = t.model.table.total;
    float *const copy = malloc(wb_float_bytes(*total));
    memcpy(copy, t.model.params, wb_float_bytes(*total));
    wb_trainer_close(&t);
    return copy;
}

static void any_number_of_threads_gives_the_same_bits(void **state) {
    (void)state;
    const tiny_run run = tiny_make(comm, "threads");
    const int before = omp_get_max_threads();
    char vocabulary[700];
    (void)snprintf(vocabulary, sizeof(vocabulary), "model.path=%s/vocab.txt", run.model);
    const char *const runs[][5] = {
        {"batch.size=13", "batch.steps=3", "memory.chunk_tokens=70", "reduce.mode=ordered",
         "loss.symmetric=true"},
        {"batch.size=13", "batch.steps=3", vocabulary, "model.encoder=static", "model.width=24"}};
    for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
        int64_t total;
        float *const one = parameters_after(&run, runs[i], 5, 1, &total);
        for (int threads = 2; threads <= 4; threads++) {
            float *const several = parameters_after(&run, runs[i], 5, threads, &total);
            assert_memory_equal(several, one, wb_float_bytes(total));
            free(several);
        }
        free(one);
    }
    omp_set_num_threads(before);
}
#endif

static void a_rank_without_rows_takes_part(void **state) {
    (void)state;
    check_steps((const char *[]){"batch.size=2"}, 1, "two rows");
}

static void a_budget_below_one_chunk_is_refused_on_all_ranks(void **state) {
    (void)state;
    const tiny_run run = tiny_make(comm, "budget");
    const char *const assignments[] = {"batch.size=16", "memory.budget=10K"};
    const wb_config config = tiny_config(&run, assignments, 2);
    wb_trainer t;
    wb_step_report report;
    expect_ok(wb_trainer_open(&t, &config, comm));
    expect_error(wb_step_run(&t, &report), WB_ERR_MEMORY, "memory.budget");
    wb_trainer_close(&t);
}

static void a_loss_that_is_not_finite_stops_all_ranks_with_parameters_unchanged(void **state) {
    (void)state;
    const tiny_run run = tiny_make(comm, "nan");
    const char *const assignments[] = {"batch.size=8"};
    const wb_config config = tiny_config(&run, assignments, 1);
    wb_trainer t;
    wb_step_report report;
    expect_ok(wb_trainer_open(&t, &config, comm));
    const int64_t total = wb_encoder_table(t.model.encoder)->total;
    if (wb_comm_rank(comm) == wb_comm_world(comm) - 1) {
        t.model.params[total - 1] = NAN; /* a bias of the top layer norm */
    }
    float *before = malloc((size_t)total * sizeof(*before));
    memcpy(before, t.model.params, (size_t)total * sizeof(*before));
    expect_error(wb_step_run(&t, &report), WB_ERR_NUMERIC, "the loss of query");
    assert_memory_equal(before, t.model.params, (size_t)total * sizeof(*before));
    assert_int_equal(t.done, 0);
    free(before);
    wb_trainer_close(&t);
}

int main(int argc, char **argv) {
    expect_ok(wb_comm_create(&comm, &argc, &argv));
    expect_ok(wb_io_init());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradient_cache_equals_one_big_batch),
        cmocka_unit_test(what_is_encoded_again_repeats_its_dropout),
        cmocka_unit_test(masks_and_positives_reach_across_ranks),
        cmocka_unit_test(every_term_of_the_loss_reaches_across_ranks),
        cmocka_unit_test(every_width_counts_with_its_weight),
        cmocka_unit_test(a_learned_temperature_has_its_gradient_once),
        cmocka_unit_test(the_learned_temperature_stays_at_a_hundredth_or_above),
        cmocka_unit_test(false_negatives_are_filtered_alike_on_all_ranks),
        cmocka_unit_test(a_guide_decides_which_candidates_are_too_similar),
        cmocka_unit_test(representations_that_pass_by_in_windows_give_the_same_loss),
        cmocka_unit_test(random_layouts_equal_one_big_batch),
        cmocka_unit_test(rows_without_negatives_change_nothing_and_are_counted),
#ifdef _OPENMP
        cmocka_unit_test(any_number_of_threads_gives_the_same_bits),
#endif
        cmocka_unit_test(a_rank_without_rows_takes_part),
        cmocka_unit_test(a_budget_below_one_chunk_is_refused_on_all_ranks),
        cmocka_unit_test(a_loss_that_is_not_finite_stops_all_ranks_with_parameters_unchanged),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    wb_comm_destroy(comm);
    return failed;
}
