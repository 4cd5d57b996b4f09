/* Opening a run: model, data, plan, memory. */
#include "trainer.h"

#include "audit.h"
#include "chunk_plan.h"
#include "contrast.h"
#include "exchange.h"
#include "guide.h"
#include "hash.h"
#include "log.h"
#include "machine.h"
#include "memory.h"
#include "same_sum.h"
#include "slot.h"
#include "threads.h"
#include "units.h"

#include <math.h>
#include <string.h>

enum { USUAL_NEGATIVES = 7 }; /* Tevatron's group of 8 */

static int64_t usual_negatives(int64_t available) {
    return available < USUAL_NEGATIVES ? available : USUAL_NEGATIVES;
}

static int64_t hard_negatives(const wb_config *config, const wb_data_set *data) {
    return config->data_hard_negatives >= 0 ? config->data_hard_negatives
                                            : usual_negatives(wb_data_set_negatives(data));
}

static wb_status check_negatives(const wb_config *config, const wb_data_set *data,
                                 int64_t negatives) {
    wb_status status = WB_OK;
    const long long fewest = (long long)wb_data_set_negatives(data);
    WB_CHECK(negatives <= fewest || wb_data_set_most_negatives(data) > 0, WB_ERR_CONFIG,
             "data.hard_negatives = %lld, but %s has none: BEIR folders bring none, a Tevatron "
             "file may",
             (long long)negatives, config->data_train);
    WB_CHECK(negatives <= fewest, WB_ERR_CONFIG,
             "data.hard_negatives = %lld, but %lld of the %lld rows of %s have fewer, one of them "
             "only %lld; choose fewer, or take those rows out of the file",
             (long long)negatives, (long long)wb_data_set_rows_below(data, negatives),
             (long long)wb_data_set_rows(data), config->data_train, fewest);
done:
    return status;
}

/* Where no query has a second positive, or nobody asks, none are looked up. */
static int64_t positives_to_read(const wb_config *config, const wb_data_set *data) {
    const bool asked =
        strcmp(config->loss_duplicates, "mask") == 0 || strcmp(config->loss_positives, "all") == 0;
    const int64_t most = wb_data_set_most_positives(data);
    return asked && most > 1 ? most : 0;
}

wb_status wb_trainer_check_paths(const wb_config *config) {
    wb_status status = WB_OK;
    WB_TRY(wb_model_check_path(config));
    WB_CHECK(config->data_train[0] != '\0', WB_ERR_CONFIG,
             "data.train is not set; it names a BEIR folder or a Tevatron JSONL file");
    WB_CHECK(config->data_eval_every == 0 || config->data_eval[0] != '\0', WB_ERR_CONFIG,
             "data.eval_every = %lld, but data.eval is not set; it names the BEIR folder to "
             "evaluate on",
             (long long)config->data_eval_every);
done:
    return status;
}

static bool is_on(const char *choice) {
    return strcmp(choice, "true") == 0;
}

static wb_status open_data(wb_trainer *t) {
    wb_status status = WB_OK;
    const wb_config *config = t->config;
    WB_TRY(wb_data_set_open(&t->data, config->data_train, config->data_split));
    const int64_t negatives = hard_negatives(config, t->data);
    WB_TRY(check_negatives(config, t->data, negatives));
    t->shape.group = 1 + negatives;
    WB_TRY(wb_model_max_tokens(&t->model, config->data_max_query_tokens, "data.max_query_tokens",
                               &t->shape.query_tokens));
    WB_TRY(wb_model_max_tokens(&t->model, config->data_max_passage_tokens,
                               "data.max_passage_tokens", &t->shape.passage_tokens));
    t->shape.positives = positives_to_read(config, t->data);
    WB_TRY(wb_token_cache_create(&t->tokens, config->memory_tokens));
    t->shape.cache = t->tokens;
done:
    return status;
}

static wb_optimizer make_optimizer(const wb_config *config, int64_t steps) {
    wb_optimizer o = {
        .kind = strcmp(config->optimizer_name, "sgd") == 0 ? WB_OPTIMIZER_SGD : WB_OPTIMIZER_ADAMW,
        .schedule = WB_SCHEDULE_LINEAR,
        .lr = config->optimizer_lr,
        .weight_decay = config->optimizer_weight_decay,
        .beta1 = 0.9,
        .beta2 = 0.999,
        .eps = 1e-8,
        .total_steps = steps,
    };
    if (strcmp(config->optimizer_schedule, "cosine") == 0) {
        o.schedule = WB_SCHEDULE_COSINE;
    } else if (strcmp(config->optimizer_schedule, "constant") == 0) {
        o.schedule = WB_SCHEDULE_CONSTANT;
    }
    const double warmup = config->optimizer_warmup;
    o.warmup_steps = (int64_t)ceil(warmup < 1.0 ? warmup * (double)o.total_steps : warmup);
    return o;
}

static wb_status plan_batches(wb_trainer *t) {
    wb_status status = WB_OK;
    const wb_config *config = t->config;
    const bool no_duplicates = is_on(config->batch_no_duplicates);
    if (no_duplicates) {
        WB_TRY(wb_row_texts_read(&t->texts, t->data, t->comm));
    }
    const wb_batch_rule rule = {.seed = (uint64_t)config->run_seed,
                                .rows = wb_data_set_rows(t->data),
                                .size = config->batch_size,
                                .keeps_tails = !is_on(config->batch_drop_last),
                                .texts = no_duplicates ? &t->texts : NULL};
    int64_t steps = config->batch_steps;
    WB_TRY_ALL(t->comm, wb_batch_plan_create(&t->plan, &rule));
    if (steps == 0) {
        WB_TRY_ALL(t->comm, wb_batch_plan_steps(&steps, &t->plan, config->batch_epochs));
    }
    t->optimizer = make_optimizer(config, steps);
done:
    return status;
}
/* Whether slot sums meet in a tree. It costs two passes over the parameters a slot: 2 to 3 % of a
 * transformer's step, half of a static encoder's. */
static bool adds_in_order(const wb_trainer *t) {
    const char *const mode = t->config->reduce_mode;
    return strcmp(mode, "ordered") == 0 ||
           (strcmp(mode, "auto") == 0 && t->model.folder.spec.kind == WB_ENCODER_BERT);
}

/* reduce.slots, raised to a power of two and to the number of ranks. */
static int64_t slots_of(const wb_config *config, int world) {
    int64_t slots = 1;
    while (slots < config->reduce_slots || slots < world) {
        slots *= 2;
    }
    return slots;
}

static wb_filter filter_of(const wb_config *config) {
    if (strcmp(config->loss_filter, "none") == 0) {
        return WB_FILTER_NONE;
    }
    return strcmp(config->loss_filter, "absolute") == 0 ? WB_FILTER_ABSOLUTE : WB_FILTER_RELATIVE;
}

wb_infonce wb_loss_of(const wb_trainer *t) {
    const wb_config *config = t->config;
    return (wb_infonce){.batch = config->batch_size,
                        .group = t->shape.group,
                        .width = t->model.folder.spec.hidden,
                        .temperature = wb_model_temperature(&t->model, config),
                        .margin = config->loss_margin,
                        .filter = filter_of(config),
                        .filter_margin = config->loss_filter_margin,
                        .guide_width = t->guide.encoder ? t->guide.folder.spec.hidden : 0,
                        .symmetric = is_on(config->loss_symmetric),
                        .query_query = is_on(config->loss_query_query),
                        .passage_passage = is_on(config->loss_passage_passage),
                        .all_positives = strcmp(config->loss_positives, "all") == 0};
}

int64_t wb_draw_of(const wb_trainer *t, int64_t epoch) {
    return strcmp(t->config->data_draw, "fixed") == 0 ? 0 : epoch;
}

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

/* The loss is done with its part when an audit takes its own. gradient_floats: of a slot. */
static size_t step_bytes(const wb_trainer *t, int64_t gradient_floats) {
    const int64_t d = t->model.folder.spec.hidden;
    const int world = wb_comm_world(t->comm);
    const int64_t own_slots = (t->slot_total + world - 1) / world;
    const int64_t n = own_slots * wb_slot_most_rows(t), group = t->shape.group;
    const int64_t guide = t->guide.encoder ? t->guide.folder.spec.hidden : 0;
    const size_t mine =
        2 * wb_float_bytes(n * (1 + group) * (d + 4)) + wb_float_bytes(n * (1 + group) * guide);
    const size_t guided = guide > 0 ? wb_batch_bytes(&t->guide_shape, wb_slot_most_rows(t)) : 0;
    const size_t touched = (size_t)t->model.folder.spec.vocabulary;
    const size_t slack = ((size_t)1 << 20) + (size_t)t->slot_total * 4096; /* tables */
    const size_t audit = t->audits ? wb_audit_bytes(t, adds_in_order(t) ? 0 : gradient_floats) : 0;
    const size_t prepared = t->audits ? wb_audit_prepared_bytes(t) : 0;
    return wb_batch_bytes(&t->shape, n) + mine + guided + touched + prepared + slack +
           larger(wb_contrast_bytes(t, n, own_slots), audit);
}

/* The optimizer's state. */
static size_t state_bytes(const wb_trainer *t) {
    return (size_t)wb_optimizer_slots(t->optimizer.kind) *
           wb_arena_rounded(wb_float_bytes(t->model.table.total));
}

/* What rank 0 copies for a checkpoint. */
static size_t copy_bytes(const wb_trainer *t) {
    const size_t one = wb_arena_rounded(wb_float_bytes(t->model.table.total));
    return wb_comm_rank(t->comm) == 0 ? one + state_bytes(t) : 0;
}

static wb_status reserve(wb_trainer *t) {
    wb_status status = WB_OK;
    const int64_t total = t->model.table.total;
    const int arrays = wb_optimizer_slots(t->optimizer.kind);
    const size_t one = wb_arena_rounded(wb_float_bytes(total));
    const bool ordered = adds_in_order(t);
    t->slot_total = slots_of(t->config, wb_comm_world(t->comm));
    const size_t sums = ordered ? wb_ordered_sum_bytes(t->comm, t->slot_total, total) : 0;
    const int64_t V = t->model.folder.spec.vocabulary;
    const size_t places = wb_arena_rounded((size_t)V * sizeof(int32_t));
    const size_t state = state_bytes(t);
    WB_TRY(wb_memory_check_ranks(t->model.sharers, state, copy_bytes(t)));
    WB_TRY(wb_arena_create(&t->run_arena, "run", one + state + places + sums));
    WB_TRY(wb_arena_floats(t->run_arena, total, &t->grads));
    WB_TRY(wb_arena_int32s(t->run_arena, V, &t->places));
    for (int i = 0; i < arrays; i++) {
        WB_TRY(wb_arena_floats(t->run_arena, total, &t->state[i]));
        memset(t->state[i], 0, wb_float_bytes(total));
    }
    if (ordered) {
        WB_TRY(wb_ordered_sum_create(&t->ordered, t->comm, t->slot_total, total, t->run_arena));
    }
    const size_t step = step_bytes(t, total);
    WB_TRY(wb_arena_create(&t->step_arena, "step", step));
    const size_t save = 2 * copy_bytes(t); /* and its file in memory */
    const size_t budget =
        t->config->memory_budget > 0
            ? t->config->memory_budget
            : wb_memory_budget(wb_comm_local_world(t->comm), 2 * one + state + sums + step + save);
    WB_TRY(wb_arena_create(&t->chunk_arena, "chunk", budget));
done:
    return status;
}

/* What is resident now beside parameters and optimizer state, which were written to. */
static void note_program(wb_trainer *t) {
    const size_t one = wb_float_bytes(t->model.table.total), now = wb_memory_now();
    const size_t arrays = (size_t)(1 + wb_optimizer_slots(t->optimizer.kind)) * one;
    t->program = now > arrays ? now - arrays : 0;
}

wb_status wb_trainer_open(wb_trainer *t, const wb_config *config, wb_comm *comm) {
    wb_status status = WB_OK;
    *t = (wb_trainer){.config = config, .comm = comm};
    wb_timetable_start(&t->time);
    WB_TRY_ALL(comm, wb_trainer_check_paths(config));
    WB_TRY(wb_model_open(&t->model, config, comm));
    wb_model_log(&t->model, "model");
    WB_TRY_ALL(comm, wb_widths_read(&t->widths, config->loss_widths, config->loss_width_weights,
                                    t->model.folder.spec.hidden));
    WB_TRY_ALL(comm, open_data(t));
    WB_TRY(plan_batches(t));
    WB_TRY(wb_guide_open(t));
    WB_TRY(wb_audit_open(t));
    WB_TRY_ALL(comm, reserve(t));
    WB_TRY_ALL(comm, wb_memory_check_room(WB_MEMORY_TO_RUN));
    note_program(t);
done:
    return status;
}

void wb_trainer_close(wb_trainer *t) {
    wb_arena_destroy(t->chunk_arena);
    wb_arena_destroy(t->step_arena);
    wb_ordered_sum_destroy(t->ordered);
    wb_arena_destroy(t->run_arena);
    wb_batch_plan_destroy(&t->plan);
    wb_row_texts_clear(&t->texts);
    wb_token_cache_destroy(t->tokens);
    wb_token_cache_destroy(t->guide_tokens);
    wb_data_set_close(t->data);
    wb_model_close(&t->guide);
    wb_model_close(&t->model);
    *t = (wb_trainer){0};
}

/* A token takes four bytes, as many as it has letters on average. */
static size_t bytes_of_tokens(const wb_trainer *t) {
    const size_t all = (size_t)wb_data_set_bytes(t->data), most = t->config->memory_tokens;
    return (t->guide.encoder ? 2 : 1) * (all < most ? all : most);
}

size_t wb_trainer_expected_peak(const wb_trainer *t, size_t activations, int64_t gradient_floats) {
    const int64_t total = t->model.table.total;
    /* ends of gradients and slot sums, reserved for words that do not occur */
    size_t untouched = wb_float_bytes(total - gradient_floats);
    if (t->ordered) {
        untouched += wb_ordered_sum_bytes(t->comm, t->slot_total, total) -
                     wb_ordered_sum_bytes(t->comm, t->slot_total, gradient_floats);
    }
    return t->program + wb_float_bytes(total) + wb_arena_peak(t->run_arena) - untouched +
           step_bytes(t, gradient_floats) + bytes_of_tokens(t) + activations;
}

void wb_trainer_gradient(const wb_trainer *t, float *grads) {
    wb_table_rows_expand(grads, t->grads, &t->rows, t->model.table.total);
}

wb_checkpoint wb_trainer_checkpoint(wb_trainer *t) {
    wb_checkpoint state = {
        .step = t->done,
        .total_steps = t->optimizer.total_steps,
        .rows = t->done * t->plan.rule.size,
        .seed = (uint64_t)t->config->run_seed,
        .config_hash = wb_options_fixed_hash(t->config),
        .finished = t->done >= t->optimizer.total_steps,
        .table = &t->model.table,
        .values = t->model.params,
        .slots = wb_optimizer_slots(t->optimizer.kind),
    };
    for (int i = 0; i < state.slots; i++) {
        state.slot_names[i] = wb_optimizer_slot_name(t->optimizer.kind, i);
        state.slot_values[i] = t->state[i];
    }
    return state;
}

wb_status wb_trainer_resume(wb_trainer *t, int64_t step) {
    wb_status status = WB_OK;
    const int64_t bytes = (int64_t)wb_float_bytes(t->model.table.total);
    WB_TRY(wb_broadcast(t->comm, &step, (int64_t)sizeof(step)));
    t->done = step;
    if (step == 0) {
        goto done;
    }
    WB_TRY(wb_broadcast(t->comm, t->model.params, bytes));
    for (int i = 0; i < wb_optimizer_slots(t->optimizer.kind); i++) {
        WB_TRY(wb_broadcast(t->comm, t->state[i], bytes));
    }
    wb_encoder_convert(t->model.encoder, t->model.params);
done:
    return status;
}

/* One sum of all that ranks must have in common. */
static uint64_t sum_of_state(const wb_trainer *t) {
    const size_t bytes = wb_float_bytes(t->model.table.total);
    uint64_t sums[2 + WB_OPTIMIZER_SLOTS] = {(uint64_t)t->done, wb_hash(t->model.params, bytes)};
    for (int i = 0; i < wb_optimizer_slots(t->optimizer.kind); i++) {
        sums[2 + i] = wb_hash(t->state[i], bytes);
    }
    return wb_hash(sums, sizeof(sums));
}

wb_status wb_trainer_check_same(const wb_trainer *t) {
    char what[128];
    (void)snprintf(what, sizeof(what),
                   "after step %lld parameters or optimizer state are not those of the other ranks",
                   (long long)t->done);
    return wb_same_sum(t->comm, sum_of_state(t), what);
}

/* A row with few hard negatives takes them from all: that must not go unseen. */
static void note_unused_negatives(const wb_trainer *t) {
    const int64_t most = usual_negatives(wb_data_set_most_negatives(t->data));
    if (t->config->data_hard_negatives < 0 && t->shape.group - 1 < most) {
        wb_log(WB_LOG_RUN,
               "NOTE: each row takes as many hard negatives as the row with the fewest; %s of %s "
               "rows have fewer than %lld: without them data.hard_negatives could be more",
               wb_count_text(wb_data_set_rows_below(t->data, most)).text,
               wb_count_text(wb_data_set_rows(t->data)).text, (long long)most);
    }
}

/* Threads that share a processor wait for each other at every product. */
static void note_crowded(const wb_trainer *t) {
    const int threads = wb_threads(), bound = wb_processors();
    const int ranks = wb_comm_local_world(t->comm), processors = wb_machine_processors();
    if (threads > bound && bound < processors) {
        wb_log(WB_LOG_RUN,
               "NOTE: %d threads a rank, bound to %d of %d processors: have the launcher bind a "
               "rank to more (mpirun --bind-to none, srun --cpus-per-task=%d)",
               threads, bound, processors, threads);
    } else if (ranks * threads > processors) {
        wb_log(WB_LOG_RUN,
               "NOTE: %d rank%s of %d thread%s on the %d processors of one host: fewer are faster "
               "(OMP_NUM_THREADS)",
               ranks, ranks > 1 ? "s" : "", threads, threads > 1 ? "s" : "", processors);
    }
}

/* Where the ranks of this host may need more than they may take, though perhaps they do not: words
 * that do not occur have room, too. */
static void note_scarce_memory(const wb_trainer *t) {
    const size_t each = wb_arena_peak(t->run_arena) - state_bytes(t) +
                        step_bytes(t, t->model.table.total) + wb_arena_left(t->chunk_arena);
    const size_t needed = wb_memory_of_ranks(t->model.sharers, each, 2 * copy_bytes(t));
    const size_t allowed = wb_memory_allowed();
    if (needed > allowed) {
        wb_log(
            WB_LOG_RUN,
            "NOTE: the ranks of this host may need %s, and may take %s: if the system ends one "
            "(signal 9), run fewer ranks on a host, ask for more memory (Slurm: --mem), or set a "
            "smaller memory.budget",
            wb_bytes_text(needed).text, wb_bytes_text(allowed).text);
    }
}

wb_status wb_trainer_log_plan(wb_trainer *t) {
    const wb_config *config = t->config;
    const int world = wb_comm_world(t->comm);
    const int64_t dropped = wb_data_set_dropped(t->data);
    char without[64] = "";
    if (dropped > 0) {
        (void)snprintf(without, sizeof(without), " (%s without a positive left out)",
                       wb_count_text(dropped).text);
    }
    wb_log(WB_LOG_RUN, "data: %s training rows%s, %lld hard negatives each",
           wb_count_text(t->plan.rule.rows).text, without, (long long)t->shape.group - 1);
    wb_log(WB_LOG_RUN,
           "plan: %lld steps of %lld queries (%lld steps an epoch) on %d rank%s of %d thread%s",
           (long long)t->optimizer.total_steps, (long long)config->batch_size,
           (long long)t->plan.ends[0], world, world > 1 ? "s" : "", wb_threads(),
           wb_threads() > 1 ? "s" : "");
    note_unused_negatives(t);
    note_crowded(t);
    if (t->texts.rows > 0) {
        wb_log(WB_LOG_RUN, "no duplicates: %s distinct texts; %s rows of an epoch wait for another",
               wb_count_text(t->texts.distinct).text,
               wb_count_text(wb_batch_plan_waiting(&t->plan)).text);
    }
    const size_t one = wb_float_bytes(t->model.table.total);
    const size_t fixed = one + wb_arena_peak(t->run_arena);
    wb_log(WB_LOG_RUN,
           "memory a rank: %s for parameters, gradients and optimizer, up to %s for activations",
           wb_bytes_text(fixed).text, wb_bytes_text(wb_arena_left(t->chunk_arena)).text);
    note_scarce_memory(t);
    if (t->ordered && t->slot_total > t->config->reduce_slots) {
        wb_log(WB_LOG_RUN, "NOTE: reduce.slots is raised from %lld to %lld for %d ranks",
               (long long)t->config->reduce_slots, (long long)t->slot_total, world);
    }
    return WB_OK;
}
