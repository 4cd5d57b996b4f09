/* The life of a run: why it may end before its last step, and how all ranks come to know.
 *
 * A signal may reach one rank only, clocks differ, and a request to halt is a file that rank 0
 * looks for. So each rank brings what it knows to the agreement at the end of a step, and all stop
 * there together, save, and leave with code 75: the same command continues. An evaluation, which
 * may take longer than a job has left, is left between two of its parts, and made anew by who
 * continues.
 *
 * Handlers do nothing but note the signal. A second signal changes nothing: what is being saved is
 * saved. SIGCONT is never a stop: mpirun sends it before SIGTERM, and after a pause.
 */
#ifndef WB_RUN_LIFE_H
#define WB_RUN_LIFE_H

#include "comm.h"
#include "files.h"

/* Why a run stops; a signal is its own number. In order of what is told where several hold. A rank
 * that failed in work of its own only makes the others leave it. */
enum { WB_STOP_NONE = 0, WB_STOP_LIMIT = 1000, WB_STOP_HALT, WB_STOP_FAILED };

typedef struct wb_run_life {
    wb_comm *comm; /* borrowed */
    char halt_path[WB_PATH];
    double deadline;  /* of wb_now; INFINITY: none */
    double room;      /* seconds that the last save will take, as far as is known */
    double step_time; /* of the longest step so far */
    double looked;    /* when rank 0 last looked for a request to halt */
    int stop;         /* what the ranks agreed on */
} wb_run_life;

/* Local. From now on USR1, TERM and INT ask the run to stop. To be called before MPI is
 * initialised, since an early signal would end the rank, and again after it, since MPI sets
 * handlers too. */
void wb_run_life_catch_signals(void);

/* Local. Removes a request to halt that is older than this life: by who has just taken run.lock,
 * since requests are for who holds it. Errors: WB_ERR_USAGE, WB_ERR_DISK. */
wb_status wb_run_life_forget_halt(const char *run_folder);

/* Local. Begins to watch over a run that may take max_time seconds from `began` (of wb_now) on; 0:
 * until SLURM_JOB_END_TIME, or for ever. save_seconds: what a checkpoint is expected to take.
 * Error: WB_ERR_USAGE. */
wb_status wb_run_life_start(wb_run_life *life, const char *run_folder, double began,
                            double max_time, double save_seconds, wb_comm *comm);

/* Local. What the last save or step took: the longest ones count. */
void wb_run_life_saved(wb_run_life *life, double seconds);
void wb_run_life_stepped(wb_run_life *life, double seconds);

/* Collective. Ends in wb_agree(status); afterwards life->stop says on every rank whether to stop.
 */
wb_status wb_run_life_agree(wb_run_life *life, wb_status status);

/* Local. Between parts of work that each rank does on its own: *leaves where the ranks have agreed
 * to leave it, which they do some parts after one of them has a reason. Waits for nobody.
 * wb_run_life_rejoin ends such work on all ranks. Error: WB_ERR_MPI. */
wb_status wb_run_life_look(wb_run_life *life, bool *leaves);

/* Collective. This rank's part of such work is done, left, or has failed. Ends in wb_agree(status);
 * afterwards life->stop says on every rank whether the work was left. */
wb_status wb_run_life_rejoin(wb_run_life *life, wb_status status);

/* Local. "the time limit", "signal USR1", … Borrowed. */
const char *wb_run_life_reason(const wb_run_life *life);

/* Local. WB_STOPPED, with a message that says where the run stands. */
wb_status wb_run_life_stopped(const wb_run_life *life, int64_t done, int64_t total);

/* Local. Asks the run that holds the folder to stop. Errors: WB_ERR_USAGE, WB_ERR_DISK. */
wb_status wb_run_life_halt(const char *run_folder);

#endif
