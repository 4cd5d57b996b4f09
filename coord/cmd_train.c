/* widebatch train: a run from its configuration to its export, or what is left of it. */
#include "card.h"
#include "commands.h"
#include "config_file.h"
#include "evaluations.h"
#include "exchange.h"
#include "files.h"
#include "log.h"
#include "metrics_log.h"
#include "progress.h"
#include "run_folder.h"
#include "run_life.h"
#include "saver.h"
#include "skipped.h"
#include "slurm.h"
#include "step.h"
#include "units.h"
#include "watchdog.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SET, DRY_RUN, PRINT_CONFIG, ALLOW_CHANGE };
const wb_flag wb_train_flags[] = {
    [SET] = {"set", WB_FLAG_REPEATED, "KEY=VALUE", NULL, "set a key; wins over the file"},
    [DRY_RUN] = {"dry-run", WB_FLAG_SWITCH, NULL, NULL,
                 "check everything, print the plan, train nothing"},
    [PRINT_CONFIG] = {"print-config", WB_FLAG_SWITCH, NULL, NULL,
                      "print the effective configuration with the origin of each value"},
    [ALLOW_CHANGE] = {"allow-change", WB_FLAG_OPTIONAL, "KEYS", NULL,
                      "go on with other values of these keys than the run began with, as "
                      "optimizer.lr,loss.margin"},
};
const int wb_train_flag_count = sizeof(wb_train_flags) / sizeof(wb_train_flags[0]);

void wb_train_help(FILE *out) {
    wb_config defaults;
    wb_origins *origins = NULL;
    if (wb_options_defaults(&defaults, &origins) == WB_OK) {
        (void)fputs("\nKeys of a configuration, with their defaults, as a file would say them:\n\n",
                    out);
        wb_options_write(&defaults, NULL, out);
    }
    wb_origins_destroy(origins);
}

/* A run in progress: what train owns beside the trainer. */
typedef struct run {
    wb_config config;
    wb_origins *origins;
    const char *allowed; /* keys that may have changed, or NULL */
    wb_comm *comm;
    wb_trainer trainer;
    wb_run_folder *folder;   /* rank 0 */
    wb_metrics_log *metrics; /* rank 0 */
    wb_saver *saver;         /* rank 0 */
    wb_run_life life;
    wb_watchdog *watchdog;
    int64_t nonfinite; /* steps skipped in a row */
    double began;      /* this process */
    int64_t saved;     /* step of the newest checkpoint; 0 needs none */
    wb_evaluations evaluations;
} run;

/* ---- Configuration and folder
 * ------------------------------------------------------------------------------ */

static wb_status write_config(const run *r) {
    wb_status status = WB_OK;
    char *yaml = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&yaml, &bytes);
    WB_CHECK(out, WB_ERR_MEMORY, "no memory for config.yaml");
    wb_options_write(&r->config, r->origins, out);
    WB_TRY(wb_memstream_close(out, WB_OK, "config.yaml"));
    WB_TRY(wb_run_folder_write_config(r->folder, yaml));
done:
    free(yaml);
    return status;
}

/* Where a life begins in log.txt. */
static void note_life(const run *r, const wb_run_owner *owner) {
    char date[64] = "", line[1024];
    struct tm utc;
    const int world = wb_comm_world(r->comm);
    const time_t now = time(NULL);
    (void)strftime(date, sizeof(date), "%F %T UTC", gmtime_r(&now, &utc));
    (void)snprintf(line, sizeof(line),
                   "---- %s: widebatch " WB_VERSION ", %d rank%s, host %s, pid %d%s%s", date, world,
                   world > 1 ? "s" : "", wb_host().text, (int)getpid(), owner->job ? ", job " : "",
                   owner->job ? owner->job : "");
    wb_log_file_only(line);
}

/* Rank 0 owns the folder: lock, log, metrics. An export that is not ours is found here, not after
 * the training. */
static wb_status open_folder(run *r) {
    wb_status status = WB_OK;
    char notice[512], path[WB_PATH];
    const char *const restart = getenv("SLURM_RESTART_COUNT");
    const wb_run_owner owner = {.job = getenv("SLURM_JOB_ID"),
                                .restart = restart ? strtoll(restart, NULL, 10) : 0,
                                .job_is_gone = wb_slurm_job_is_gone};
    WB_TRY(wb_run_folder_open(&r->folder, r->config.run_dir, &owner, notice, sizeof(notice)));
    WB_TRY(wb_path_join(path, r->config.run_dir, "export"));
    WB_TRY(wb_model_folder_check_place(path));
    WB_TRY(wb_run_life_forget_halt(r->config.run_dir));
    WB_TRY(wb_path_join(path, r->config.run_dir, "log.txt"));
    WB_TRY(wb_log_open(path));
    note_life(r, &owner);
    if (notice[0] != '\0') {
        wb_log(WB_LOG_RUN, "NOTE: %s", notice);
    }
    WB_TRY(wb_config_check_continues(&r->config, r->config.run_dir, r->allowed));
done:
    return status;
}

/* ---- Checkpoints
 * -------------------------------------------------------------------------------------------- */

static wb_status compare_ranks(run *r) {
    wb_status status = WB_OK;
    wb_timetable_enter(&r->trainer.time, WB_PHASE_COMPARE);
    WB_TRY(wb_trainer_check_same(&r->trainer));
    wb_timetable_enter(&r->trainer.time, WB_PHASE_OTHER);
done:
    return status;
}

/* The last checkpoint says that the run is finished. What was exported when it was shorter must be
 * gone by then, or a run that is cut off before it exports would be taken for whole. */
static wb_status drop_export(const run *r) {
    wb_status status = WB_OK;
    char path[WB_PATH];
    WB_TRY(wb_path_join(path, r->config.run_dir, "export"));
    WB_TRY(wb_folder_withdraw(path));
done:
    return status;
}

static wb_status begin_to_save(run *r) {
    wb_status status = WB_OK;
    const wb_checkpoint state = wb_trainer_checkpoint(&r->trainer);
    if (state.finished) {
        WB_TRY(drop_export(r));
    }
    WB_TRY(wb_saver_begin(r->saver, &state));
done:
    return status;
}

/* Begins a checkpoint of what all ranks agree on; it is written beside the next steps. */
static wb_status save(run *r) {
    wb_status status = WB_OK;
    WB_TRY(compare_ranks(r));
    wb_timetable_enter(&r->trainer.time, WB_PHASE_CHECKPOINT);
    WB_TRY_ALL(r->comm, wb_comm_rank(r->comm) == 0 ? begin_to_save(r) : WB_OK);
    wb_timetable_enter(&r->trainer.time, WB_PHASE_OTHER);
    r->saved = r->trainer.done;
done:
    return status;
}

/* Where nothing follows that the checkpoint could be written beside. */
static wb_status wait_until_saved(run *r) {
    wb_status status = WB_OK;
    wb_timetable_enter(&r->trainer.time, WB_PHASE_CHECKPOINT);
    WB_TRY_ALL(r->comm, wb_comm_rank(r->comm) == 0 ? wb_saver_wait(r->saver) : WB_OK);
    wb_timetable_enter(&r->trainer.time, WB_PHASE_OTHER);
done:
    return status;
}

static wb_status read_checkpoint(run *r, int64_t *step) {
    wb_status status = WB_OK;
    wb_checkpoint state = wb_trainer_checkpoint(&r->trainer);
    bool found = false;
    char rejected[4096] = "";
    WB_TRY(
        wb_checkpoint_read_newest(r->config.run_dir, &state, &found, rejected, sizeof(rejected)));
    if (rejected[0] != '\0') {
        wb_log(WB_LOG_RUN, "NOTE: checkpoints passed over:\n%s", rejected);
    }
    *step = found ? state.step : 0;
    if (found && state.total_steps != r->trainer.optimizer.total_steps) {
        wb_log(WB_LOG_RUN,
               "NOTE: %lld steps instead of %lld: from here on the learning rate is that of a run "
               "of so many",
               (long long)r->trainer.optimizer.total_steps, (long long)state.total_steps);
    }
done:
    return status;
}

/* Rank 0 reads the newest checkpoint, all ranks receive it. */
static wb_status resume(run *r) {
    wb_status status = WB_OK;
    wb_trainer *t = &r->trainer;
    int64_t step = 0;
    WB_TRY_ALL(r->comm, wb_comm_rank(r->comm) == 0 ? read_checkpoint(r, &step) : WB_OK);
    WB_TRY(wb_trainer_resume(t, step));
    r->saved = t->done;
    if (t->done > 0) {
        wb_log(WB_LOG_RUN, "continuing %s after step %lld of %lld", r->config.run_dir,
               (long long)t->done, (long long)t->optimizer.total_steps);
    }
done:
    return status;
}

/* ---- Export
 * ---------------------------------------------------------------------------------------------- */

static wb_status export_model(const run *r) {
    wb_status status = WB_OK;
    const wb_trainer *t = &r->trainer;
    const wb_evaluations *e = &r->evaluations;
    char out[WB_PATH];
    WB_TRY(wb_path_join(out, r->config.run_dir, "export"));
    const wb_card_run told = {.name = r->config.run_dir,
                              .steps = t->done,
                              .before = e->has_before ? &e->before : NULL,
                              .after = e->has_after ? &e->after : NULL};
    status = wb_card_export(&t->model, &r->config, &told, out);
    if (status != WB_OK) {
        char why[2048];
        (void)snprintf(why, sizeof(why),
                       "%.1800s; all steps are done and saved: start the same command again to "
                       "export, or widebatch export into another folder",
                       wb_error_message());
        wb_error_replace(why);
        goto done;
    }
    wb_log(WB_LOG_RUN, "exported %s: load it with SentenceTransformer(\"%s\")", out, out);
done:
    return status;
}

/* ---- The run
 * -----------------------------------------------------------------------------------------------------
 */

static wb_status log_metrics(run *r, const wb_step_report *report, double seconds) {
    const wb_metric metrics[] = {
        wb_metric_integer("queries", report->queries),
        wb_metric_number("loss_nats", report->loss),
        wb_metric_integer("filtered_rows", report->filtered_rows),
        wb_metric_number("temperature", report->temperature),
        wb_metric_number("learning_rate", report->rate),
        wb_metric_number("gradient_norm", report->gradient_norm),
        wb_metric_integer("tokens", report->tokens),
        wb_metric_integer("kept_tokens", report->kept_tokens),
        wb_metric_number("step_seconds", seconds),
        wb_metric_number("pairs_per_second", (double)report->queries / seconds),
        wb_metric_number("tokens_per_second", (double)report->tokens / seconds),
    };
    return wb_metrics_log_step(r->metrics, r->trainer.done, metrics,
                               sizeof(metrics) / sizeof(metrics[0]));
}

/* Where the ranks agreed to stop, they save what is not saved and leave with WB_STOPPED. */
static wb_status stop_if_agreed(run *r) {
    wb_status status = WB_OK;
    const wb_trainer *t = &r->trainer;
    if (r->life.stop == WB_STOP_NONE) {
        goto done;
    }
    wb_log(WB_LOG_RUN, "stopping after step %lld: %s", (long long)t->done,
           wb_run_life_reason(&r->life));
    if (t->done > r->saved) {
        WB_TRY(save(r));
    }
    WB_TRY(wait_until_saved(r));
    WB_TRY(wb_run_life_stopped(&r->life, t->done, t->optimizer.total_steps));
done:
    return status;
}

/* Between the parts of a run that are not steps. */
static wb_status stop_if_asked(run *r) {
    wb_status status = WB_OK;
    WB_TRY(wb_run_life_agree(&r->life, WB_OK));
    WB_TRY(stop_if_agreed(r));
done:
    return status;
}

/* An evaluation where one is due; it may be left for a reason to stop. */
static wb_status evaluate(run *r) {
    wb_status status = WB_OK;
    WB_TRY(wb_evaluations_run(&r->evaluations));
    WB_TRY(stop_if_agreed(r));
done:
    return status;
}

/* A step whose loss or gradient is not finite changes nothing. It counts as done, since the same
 * batch would end the same way; too many in a row end the run, without another checkpoint. */
static wb_status skip_step(run *r, wb_step_report *report) {
    wb_status status = WB_OK;
    char why[1024];
    (void)snprintf(why, sizeof(why), "%s", wb_error_message());
    wb_error_clear();
    WB_TRY(compare_ranks(r)); /* damage on one rank reaches the loss of all */
    WB_TRY_ALL(r->comm, wb_comm_rank(r->comm) == 0 ? wb_skipped_note(&r->trainer, why) : WB_OK);
    r->trainer.done++;
    r->nonfinite++;
    *report = (wb_step_report){.loss = NAN, .gradient_norm = NAN};
    WB_CHECK(r->nonfinite < r->config.run_max_nonfinite, WB_ERR_NUMERIC,
             "%lld steps in a row were not finite, the last one: %s; parameters are those of step "
             "%lld; a smaller optimizer.lr or a larger loss.temperature may help",
             (long long)r->nonfinite, why, (long long)(r->trainer.done - r->nonfinite));
done:
    return status;
}

/* Rank 0 writes the step's line, and hears how the checkpoint that is being written fares. */
static wb_status look_after_files(run *r, const wb_step_report *report, double seconds) {
    wb_status status = WB_OK;
    if (wb_comm_rank(r->comm) == 0) {
        WB_TRY(log_metrics(r, report, seconds));
        WB_TRY(wb_saver_poll(r->saver));
        wb_run_life_saved(&r->life, wb_saver_longest(r->saver));
    }
done:
    return status;
}

/* A step and its line in the metrics; the ranks then agree whether to go on. */
static wb_status train_step(run *r, wb_step_report *report) {
    wb_status status = WB_OK;
    wb_trainer *t = &r->trainer;
    const double began = wb_now();
    status = wb_step_run(t, report);
    if (status == WB_ERR_NUMERIC) {
        WB_TRY(skip_step(r, report));
    } else {
        WB_TRY(status);
        r->nonfinite = 0;
    }
    if (r->config.run_check_every > 0 && t->done % r->config.run_check_every == 0) {
        WB_TRY(compare_ranks(r));
    }
    const double seconds = wb_now() - began;
    wb_run_life_stepped(&r->life, seconds);
    wb_watchdog_step(r->watchdog, t->done, seconds);
    WB_TRY(wb_run_life_agree(&r->life, look_after_files(r, report, seconds)));
done:
    return status;
}

static wb_status train_steps(run *r) {
    wb_status status = WB_OK;
    wb_trainer *t = &r->trainer;
    const int64_t total = t->optimizer.total_steps, every = r->config.checkpoint_every;
    wb_progress progress;
    wb_progress_start(&progress, t->done, total, r->config.batch_size);
    while (t->done < total) {
        wb_step_report report;
        WB_TRY(train_step(r, &report));
        wb_progress_step(&progress, t->done, &report);
        if (t->done == total || (every > 0 && t->done % every == 0)) {
            WB_TRY(save(r));
        }
        WB_TRY(stop_if_agreed(r));
        if (t->done < total) {
            WB_TRY(evaluate(r));
        }
    }
    WB_TRY(wait_until_saved(r));
done:
    return status;
}

/* A checkpoint is expected to be written at 50 MB/s until one was. */
static wb_status start_life(run *r) {
    const wb_trainer *t = &r->trainer;
    const int64_t arrays = 1 + wb_optimizer_slots(t->optimizer.kind);
    const double save_seconds = (double)wb_float_bytes(arrays * t->model.table.total) / 50e6;
    return wb_run_life_start(&r->life, r->config.run_dir, r->began, r->config.run_max_time,
                             save_seconds, r->comm);
}

static wb_status open_outputs(run *r) {
    wb_status status = WB_OK;
    char path[WB_PATH];
    WB_TRY(wb_path_join(path, r->config.run_dir, "metrics.jsonl"));
    WB_TRY(wb_metrics_log_open(&r->metrics, path, r->trainer.done));
    WB_TRY(write_config(r));
    const wb_checkpoint form = wb_trainer_checkpoint(&r->trainer);
    WB_TRY(wb_saver_create(&r->saver, r->folder, &r->config, &form));
done:
    return status;
}

static bool is_exported(const run *r) {
    char path[WB_PATH];
    return wb_path_join(path, r->config.run_dir, "export/modules.json") == WB_OK &&
           wb_path_is_file(path);
}

/* Steps and evaluations are watched; what rank 0 then does alone takes as long as it takes. */
static void stop_watching(run *r) {
    wb_watchdog_stop(r->watchdog);
    r->watchdog = NULL;
}

static wb_status finish(run *r) {
    wb_status status = WB_OK;
    WB_TRY(evaluate(r));
    WB_TRY(stop_if_asked(r));
    stop_watching(r);
    WB_TRY_ALL(r->comm, wb_comm_rank(r->comm) == 0 ? export_model(r) : WB_OK);
    WB_TRY(wb_timetable_log(&r->trainer.time, r->comm));
    wb_evaluations_log_gain(&r->evaluations);
done:
    return status;
}

static wb_status run_all(run *r) {
    wb_status status = WB_OK;
    wb_trainer *t = &r->trainer;
    const bool speaks = wb_comm_rank(r->comm) == 0;
    int exported = 0;
    WB_TRY_ALL(r->comm, wb_trainer_check_paths(&r->config));
    WB_TRY_ALL(r->comm, speaks ? open_folder(r) : WB_OK);
    WB_TRY(wb_trainer_open(t, &r->config, r->comm));
    WB_TRY(resume(r));
    exported = speaks && is_exported(r);
    WB_TRY(wb_broadcast(r->comm, &exported, (int64_t)sizeof(exported)));
    if (t->done >= t->optimizer.total_steps && exported) {
        wb_log(WB_LOG_RUN,
               "%s is finished: %lld steps are done and exported; raise batch.steps or "
               "batch.epochs to go on, or choose another run.dir",
               r->config.run_dir, (long long)t->done);
        goto done;
    }
    WB_TRY(wb_trainer_log_plan(t));
    WB_TRY_ALL(r->comm, speaks ? open_outputs(r) : WB_OK);
    WB_TRY_ALL(r->comm, start_life(r));
    WB_TRY(wb_evaluations_open(&r->evaluations, t, &r->life));
    WB_TRY(stop_if_asked(r));
    WB_TRY(wb_watchdog_start(&r->watchdog, r->config.run_dir, r->config.run_watchdog, &t->time,
                             r->comm));
    if (t->done < t->optimizer.total_steps) {
        WB_TRY(evaluate(r));
        WB_TRY(stop_if_asked(r));
    }
    WB_TRY(wb_evaluations_check(&r->evaluations));
    WB_TRY(train_steps(r));
    WB_TRY(finish(r));
done:
    stop_watching(r);
    return status;
}

/* What the first step would keep and the most memory that a rank would then take. */
static wb_status log_first_step(wb_trainer *t) {
    wb_status status = WB_OK;
    wb_step_report plan;
    double least, mean, most;
    WB_TRY(wb_step_plan(t, &plan));
    const double own =
        (double)wb_trainer_expected_peak(t, plan.memory.needed, plan.gradient_floats);
    WB_TRY(wb_reduce_spread(t->comm, &least, &mean, &most, &own, 1));
    const wb_text_number peak = wb_bytes_text((size_t)most);
    if (plan.kept_tokens == plan.tokens) {
        wb_log(WB_LOG_RUN, "first step: %s tokens, all activations kept; peak memory %s a rank",
               wb_count_text(plan.tokens).text, peak.text);
        goto done;
    }
    wb_log(WB_LOG_RUN,
           "first step: %s tokens, activations of %.0f %% kept, the others encoded twice: %.2f of "
           "the cost of keeping all; peak memory %s a rank",
           wb_count_text(plan.tokens).text, 100.0 * (double)plan.kept_tokens / (double)plan.tokens,
           (plan.flops + plan.extra_flops) / plan.flops, peak.text);
done:
    return status;
}

/* Opens all that a run would open and lays one step's plan, but makes no folder. */
static wb_status dry_run(run *r) {
    wb_status status = WB_OK;
    WB_TRY_ALL(r->comm,
               wb_comm_rank(r->comm) == 0 ? wb_run_folder_check_place(r->config.run_dir) : WB_OK);
    WB_TRY(wb_trainer_open(&r->trainer, &r->config, r->comm));
    WB_TRY(wb_trainer_log_plan(&r->trainer));
    WB_TRY(log_first_step(&r->trainer));
    r->evaluations.trainer = &r->trainer;
    WB_TRY(wb_evaluations_check(&r->evaluations));
    wb_log(WB_LOG_RUN, "dry run: nothing was written");
done:
    return status;
}

wb_status wb_command_train(const wb_arguments *arguments, wb_comm *comm) {
    wb_status status = WB_OK;
    run r = {.comm = comm, .began = wb_now(), .allowed = arguments->values[ALLOW_CHANGE]};
    WB_TRY_ALL(comm, wb_config_read(&r.config, &r.origins, arguments->positional,
                                    arguments->repeated, arguments->repeats));
    if (arguments->values[PRINT_CONFIG]) {
        if (wb_comm_rank(comm) == 0) {
            wb_options_write(&r.config, r.origins, stdout);
        }
    } else if (arguments->values[DRY_RUN]) {
        WB_TRY(dry_run(&r));
    } else {
        WB_TRY(run_all(&r));
    }
done:
    wb_saver_destroy(r.saver);
    if (r.metrics) {
        const wb_status closed = wb_metrics_log_close(r.metrics);
        status = status == WB_OK ? closed : status;
    }
    wb_run_folder_close(r.folder);
    wb_evaluations_close(&r.evaluations);
    wb_trainer_close(&r.trainer);
    wb_origins_destroy(r.origins);
    return status;
}
