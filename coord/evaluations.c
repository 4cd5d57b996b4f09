/* When a run is evaluated, and what is left of it. */
#include "evaluations.h"

#include "exchange.h"
#include "files.h"
#include "log.h"
#include "retrieval.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- Results
 * -------------------------------------------------------------------------------------------- */

static wb_status result_path(char path[WB_PATH], const wb_trainer *t, int64_t step,
                             const char *ending) {
    return wb_path_join(path, t->config->run_dir, "eval/step-%lld.%s", (long long)step, ending);
}

/* The first line of a file of measures: what was evaluated on. */
typedef struct data_line {
    char text[2 * WB_OPTION_TEXT + 32];
} data_line;

static data_line data_of(const wb_config *config) {
    data_line line;
    (void)snprintf(line.text, sizeof(line.text), "%-22s\tall\t%s %s\n", "data", config->data_eval,
                   config->data_eval_split);
    return line;
}

static wb_status write_measures(const wb_measures *measures, const wb_trainer *t) {
    wb_status status = WB_OK;
    char path[WB_PATH], *text = NULL;
    size_t bytes = 0;
    WB_TRY(result_path(path, t, t->done, "txt"));
    FILE *out = open_memstream(&text, &bytes);
    WB_CHECK(out, WB_ERR_MEMORY, "no memory for %s", path);
    (void)fputs(data_of(t->config).text, out);
    wb_measures_print(measures, out);
    WB_TRY(wb_memstream_close(out, WB_OK, path));
    WB_TRY(wb_file_write(path, text, bytes));
done:
    free(text);
    return status;
}

/* What an earlier life has measured after `step`. *found is false where it has not, or not on this
 * data. */
static wb_status read_measures(wb_measures *measures, bool *found, const wb_trainer *t,
                               int64_t step) {
    enum { MOST = 1 << 16 };
    wb_status status = WB_OK;
    const data_line data = data_of(t->config);
    const size_t data_bytes = strlen(data.text);
    char path[WB_PATH], *text = NULL;
    size_t bytes = 0;
    *found = false;
    WB_TRY(result_path(path, t, step, "txt"));
    if (!wb_path_is_file(path)) {
        goto done;
    }
    WB_TRY(wb_file_read(path, MOST, &text, &bytes));
    *found =
        strncmp(text, data.text, data_bytes) == 0 && wb_measures_parse(measures, text + data_bytes);
done:
    free(text);
    return status;
}

/* Of a step after the last one done; of all steps, where none is done. Whole or begun (.tmp). */
static bool is_stale(const char *name, int64_t done) {
    long long step;
    char ending[5];
    return sscanf(name, "step-%lld.%4s", &step, ending) == 2 && (step > done || done == 0) &&
           (strncmp(ending, "txt", 3) == 0 || strcmp(ending, "trec") == 0);
}

static wb_status forget_stale(const wb_trainer *t) {
    wb_status status = WB_OK;
    char folder[WB_PATH], path[WB_PATH];
    const char *name = NULL;
    DIR *listing = NULL;
    WB_TRY(wb_path_join(folder, t->config->run_dir, "eval"));
    listing = opendir(folder);
    WB_CHECK(listing || errno == ENOENT, WB_ERR_DISK, "%s: cannot list it: %s", folder,
             strerror(errno));
    while (listing) {
        WB_TRY(wb_folder_next(listing, folder, &name));
        if (!name) {
            break;
        }
        if (is_stale(name, t->done)) {
            WB_TRY(wb_path_join(path, folder, "%s", name));
            WB_CHECK(unlink(path) == 0, WB_ERR_DISK, "%s: cannot remove it: %s", path,
                     strerror(errno));
        }
    }
done:
    if (listing) {
        (void)closedir(listing);
    }
    return status;
}

static bool is_last(const wb_trainer *t) {
    return t->done >= t->optimizer.total_steps;
}

static void keep(wb_evaluations *e, const wb_measures *measures, int64_t step) {
    const wb_trainer *t = e->trainer;
    if (step == 0) {
        e->before = *measures;
        e->has_before = true;
    }
    if (step == t->done) {
        e->evaluated = step;
    }
    if (step == t->done && is_last(t)) {
        e->after = *measures;
        e->has_after = true;
    }
}

/* Rank 0 looks for what an earlier life has left. */
static wb_status look_for_results(wb_evaluations *e) {
    wb_status status = WB_OK;
    const wb_trainer *t = e->trainer;
    const int64_t steps[] = {0, t->done};
    wb_measures measures;
    bool found;
    WB_TRY(forget_stale(t));
    for (int i = 0; i < 2; i++) {
        WB_TRY(read_measures(&measures, &found, t, steps[i]));
        if (found) {
            keep(e, &measures, steps[i]);
        }
    }
done:
    return status;
}

wb_status wb_evaluations_open(wb_evaluations *e, wb_trainer *trainer, wb_run_life *life) {
    wb_status status = WB_OK;
    wb_comm *const comm = trainer->comm;
    *e = (wb_evaluations){.trainer = trainer, .life = life, .evaluated = -1};
    WB_TRY_ALL(comm, wb_token_cache_create(&e->tokens, trainer->config->memory_tokens));
    WB_TRY_ALL(comm, wb_comm_rank(comm) == 0 ? look_for_results(e) : WB_OK);
    WB_TRY(wb_broadcast(comm, &e->evaluated, (int64_t)sizeof(e->evaluated)));
done:
    return status;
}

void wb_evaluations_close(wb_evaluations *e) {
    wb_token_cache_destroy(e->tokens);
    e->tokens = NULL;
}

/* ---- Evaluating
 * ----------------------------------------------------------------------------------------- */

static bool is_due(const wb_evaluations *e) {
    const wb_trainer *t = e->trainer;
    const int64_t every = t->config->data_eval_every;
    const bool in_between = every > 0 && t->done % every == 0;
    return t->config->data_eval[0] != '\0' && t->done != e->evaluated &&
           (t->done == 0 || is_last(t) || in_between);
}

static wb_evaluation evaluation_of(const wb_evaluations *e, const char *run_path) {
    wb_trainer *t = e->trainer;
    return (wb_evaluation){.folder = t->config->data_eval,
                           .split = t->config->data_eval_split,
                           .run_path = run_path,
                           .query_tokens = t->shape.query_tokens,
                           .passage_tokens = t->shape.passage_tokens,
                           .chunk_tokens = t->config->memory_chunk_tokens,
                           .depth = 100,
                           .cache = e->tokens,
                           .meanwhile = {.time = &t->time, .life = e->life}};
}

static void log_measures(const wb_measures *measures, const wb_trainer *t) {
    char when[64];
    (void)snprintf(when, sizeof(when), "after step %lld", (long long)t->done);
    wb_log(WB_LOG_RUN, "%s: nDCG@10 %.4f  MRR@10 %.4f  Recall@100 %.4f  (%lld queries of %s)",
           t->done == 0 ? "before training"
           : is_last(t) ? "after training"
                        : when,
           measures->values[WB_MEASURE_ndcg_cut_10], measures->values[WB_MEASURE_mrr_10],
           measures->values[WB_MEASURE_recall_100], (long long)measures->queries,
           t->config->data_eval);
}

wb_status wb_evaluations_run(wb_evaluations *e) {
    wb_status status = WB_OK;
    wb_trainer *t = e->trainer;
    char run_path[WB_PATH];
    wb_measures measures;
    if (!is_due(e)) {
        goto done;
    }
    WB_TRY(result_path(run_path, t, t->done, "trec"));
    const wb_evaluation evaluation = evaluation_of(e, run_path);
    wb_timetable_enter(&t->time, WB_PHASE_EVALUATE);
    e->has_begun = true;
    WB_TRY(wb_evaluate(&measures, &t->model, &evaluation, t->comm, t->chunk_arena));
    if (e->life->stop == WB_STOP_NONE) {
        WB_TRY_ALL(t->comm, wb_comm_rank(t->comm) == 0 ? write_measures(&measures, t) : WB_OK);
        log_measures(&measures, t);
        keep(e, &measures, t->done);
    }
    wb_timetable_enter(&t->time, WB_PHASE_OTHER);
done:
    return status;
}

wb_status wb_evaluations_check(wb_evaluations *e) {
    wb_status status = WB_OK;
    const wb_trainer *t = e->trainer;
    if (t->config->data_eval[0] != '\0' && !e->has_begun) {
        const wb_evaluation evaluation = evaluation_of(e, NULL);
        WB_TRY(wb_evaluate_check(&t->model, &evaluation, t->comm, t->chunk_arena));
    }
done:
    return status;
}

void wb_evaluations_log_gain(const wb_evaluations *e) {
    if (!e->has_before || !e->has_after) {
        return;
    }
    wb_log(WB_LOG_RUN, "%-14s %10s %10s", "", "before", "after");
    for (int i = 0; i < WB_MEASURES_SHOWN; i++) {
        const wb_measure shown = wb_measures_shown[i];
        wb_log(WB_LOG_RUN, "%-14s %10.4f %10.4f", wb_measure_name(shown), e->before.values[shown],
               e->after.values[shown]);
    }
}
