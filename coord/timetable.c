/* The time table and its advice. */
#include "timetable.h"

#include "exchange.h"
#include "log.h"
#include "units.h"

static const struct {
    const char *name;
    double patience;
} phases[] = {
#define PHASE_ROW(name, text, patience) {text, patience},
    WB_PHASE_TABLE(PHASE_ROW)
#undef PHASE_ROW
};

const char *wb_phase_name(wb_phase phase) {
    return phases[phase].name;
}

double wb_phase_patience(wb_phase phase) {
    return phases[phase].patience;
}

void wb_timetable_start(wb_timetable *table) {
    *table = (wb_timetable){.current = WB_PHASE_OTHER, .since = wb_now()};
}

void wb_timetable_enter(wb_timetable *table, wb_phase phase) {
    const double now = wb_now();
    table->seconds[table->current] += now - table->since;
    table->current = phase;
    table->since = now;
}

void wb_timetable_go_on(wb_timetable *table) {
    if (table) {
        wb_timetable_enter(table, table->current);
    }
}

static void log_notes(const double *mean, const double *most, double total, int world) {
    const double work = mean[WB_PHASE_ENCODE] + mean[WB_PHASE_BACKWARD];
    const double worst = most[WB_PHASE_ENCODE] + most[WB_PHASE_BACKWARD];
    const double exchange = mean[WB_PHASE_GATHER] + mean[WB_PHASE_REDUCE];
    if (world > 1 && worst > 1.25 * work) {
        wb_log(WB_LOG_RUN, "NOTE: one rank computes %.0f %% longer than the mean; the others wait",
               100.0 * (worst / work - 1.0));
    }
    if (exchange > 0.3 * total) {
        wb_log(WB_LOG_RUN,
               "NOTE: ranks spend %.0f %% of the time on exchange: a larger batch.size "
               "makes steps fewer",
               100.0 * exchange / total);
    }
    if (mean[WB_PHASE_READ] > 0.1 * total) {
        wb_log(WB_LOG_RUN, "NOTE: reading and tokenizing takes %.0f %% of the time",
               100.0 * mean[WB_PHASE_READ] / total);
    }
    if (mean[WB_PHASE_CHECKPOINT] > 0.05 * total) {
        wb_log(WB_LOG_RUN, "NOTE: checkpoints take %.0f %% of the time: raise checkpoint.every",
               100.0 * mean[WB_PHASE_CHECKPOINT] / total);
    }
}

wb_status wb_timetable_log(wb_timetable *table, wb_comm *comm) {
    wb_status status = WB_OK;
    double least[WB_PHASES], mean[WB_PHASES], most[WB_PHASES], total = 0.0;
    wb_timetable_enter(table, WB_PHASE_OTHER);
    WB_TRY(wb_reduce_spread(comm, least, mean, most, table->seconds, WB_PHASES));
    for (int i = 0; i < WB_PHASES; i++) {
        total += mean[i];
    }
    const int world = wb_comm_world(comm);
    wb_log(WB_LOG_RUN, "%-16s %10s %10s %10s %7s", world > 1 ? "seconds by phase" : "phase",
           "least", "mean", "most", "share");
    for (int i = 0; i < WB_PHASES; i++) {
        if (most[i] >= 0.005) {
            wb_log(WB_LOG_RUN, "%-16s %10.2f %10.2f %10.2f %6.1f%%", phases[i].name, least[i],
                   mean[i], most[i], 100.0 * mean[i] / total);
        }
    }
    wb_log(WB_LOG_RUN, "%-16s %10s %10.2f", "total", "", total);
    log_notes(mean, most, total, world);
done:
    return status;
}
