/* Signals, limits and requests. */
#include "run_life.h"

#include "units.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t caught;

static void note_signal(int number) {
    caught = number;
}

void wb_run_life_catch_signals(void) {
    static const int numbers[] = {SIGUSR1, SIGTERM, SIGINT};
    struct sigaction action = {.sa_handler = note_signal, .sa_flags = SA_RESTART};
    (void)sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        (void)sigaction(numbers[i], &action, NULL);
    }
}

/* Seconds until the job's end, or INFINITY where nobody says. */
static double job_seconds(void) {
    const char *const text = getenv("SLURM_JOB_END_TIME");
    char *end = NULL;
    const long long at = text ? strtoll(text, &end, 10) : 0;
    return text && end != text && *end == '\0' && at > 0 ? (double)at - (double)time(NULL)
                                                         : INFINITY;
}

wb_status wb_run_life_forget_halt(const char *run_folder) {
    wb_status status = WB_OK;
    char path[WB_PATH];
    WB_TRY(wb_path_join(path, run_folder, "halt"));
    WB_CHECK(unlink(path) == 0 || errno == ENOENT, WB_ERR_DISK, "%s: cannot remove it: %s", path,
             strerror(errno));
done:
    return status;
}

wb_status wb_run_life_start(wb_run_life *life, const char *run_folder, double began,
                            double max_time, double save_seconds, wb_comm *comm) {
    wb_status status = WB_OK;
    const double now = wb_now();
    *life = (wb_run_life){.comm = comm,
                          .deadline = max_time > 0.0 ? began + max_time : now + job_seconds(),
                          .room = save_seconds,
                          .looked = now};
    WB_TRY(wb_path_join(life->halt_path, run_folder, "halt"));
done:
    return status;
}

void wb_run_life_saved(wb_run_life *life, double seconds) {
    life->room = fmax(life->room, seconds);
}

void wb_run_life_stepped(wb_run_life *life, double seconds) {
    life->step_time = fmax(life->step_time, seconds);
}

/* On rank 0, at most ten times a second: shared file systems answer slowly. */
static bool halt_is_asked(wb_run_life *life) {
    const double now = wb_now();
    if (wb_comm_rank(life->comm) != 0 || now - life->looked < 0.1) {
        return false;
    }
    life->looked = now;
    return wb_path_is_file(life->halt_path);
}

/* Whether another step might end too late to save after it: both may take longer than ever. */
static bool limit_is_near(const wb_run_life *life) {
    return wb_comm_rank(life->comm) == 0 &&
           wb_now() + 1.5 * life->step_time + 2.0 * life->room > life->deadline;
}

/* As far as this rank knows. */
static int reason_to_stop(void *context) {
    wb_run_life *life = context;
    return halt_is_asked(life) ? WB_STOP_HALT : limit_is_near(life) ? WB_STOP_LIMIT : caught;
}

static int reason_of_failed(void *context) {
    (void)context;
    return WB_STOP_FAILED;
}

wb_status wb_run_life_agree(wb_run_life *life, wb_status mine) {
    int stop = reason_to_stop(life);
    const wb_status status = wb_agree_most(life->comm, mine, &stop);
    life->stop = stop > life->stop ? stop : life->stop;
    return status;
}

wb_status wb_run_life_look(wb_run_life *life, bool *leaves) {
    int most = 0;
    const wb_status status = wb_look(life->comm, reason_to_stop(life), &most);
    *leaves = most > 0;
    return status;
}

wb_status wb_run_life_rejoin(wb_run_life *life, wb_status mine) {
    wb_status status = WB_OK;
    int most = 0;
    WB_TRY(wb_leave(life->comm, mine == WB_OK ? reason_to_stop : reason_of_failed, life, &most));
    WB_TRY(wb_agree(life->comm, mine));
    life->stop = most > life->stop ? most : life->stop;
done:
    return status;
}

const char *wb_run_life_reason(const wb_run_life *life) {
    switch (life->stop) {
    case WB_STOP_LIMIT:
        return "the time limit is near";
    case WB_STOP_HALT:
        return "widebatch halt";
    case SIGUSR1:
        return "signal USR1";
    case SIGTERM:
        return "signal TERM";
    default:
        return "signal INT";
    }
}

wb_status wb_run_life_stopped(const wb_run_life *life, int64_t done, int64_t total) {
    caught = 0;
    return WB_ERROR(WB_STOPPED,
                    "stopped after step %lld of %lld (%s); all of it is saved: the same command "
                    "continues",
                    (long long)done, (long long)total, wb_run_life_reason(life));
}

wb_status wb_run_life_halt(const char *run_folder) {
    wb_status status = WB_OK;
    char path[WB_PATH];
    WB_TRY(wb_path_join(path, run_folder, "halt"));
    WB_TRY(wb_file_write(path, "halt\n", 5));
done:
    return status;
}
