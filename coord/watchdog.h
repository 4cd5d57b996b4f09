/* A thread beside each rank that ends a run in which some rank is stuck.
 *
 * It looks at the rank's time table, and makes no MPI call. A rank that has been in one phase for a
 * while, whichever it is, begins to write RUN/watch/rank-R: step, phase, since when, how many
 * collective calls it has begun; and it touches RUN/watch/question, upon which all ranks do so.
 * Whoever reaches a limit reads these notes. A rank without a fresh note does not answer: it is
 * stopped, or its machine is gone. If all answer, those that have begun the fewest collective calls
 * are the ones the others wait for; where these are most ranks, the others may have left a call
 * out. The finding goes to RUN/stuck.txt and stderr, once, and the process ends with code 10;
 * mpirun or srun -K end the rest.
 *
 * A rank that does not answer may be waited for during `patience` seconds, times what the phase may
 * take (timetable.h), the first step included. If all answer, `patience` or ten median steps are
 * allowed, times likewise. In the first step who waits allows each part `patience` or ten times
 * what it took itself until then; who works has ten times the patience: a rank that is stuck looks
 * like one whose first step is slow. An evaluation may take for ever: its parts have `patience`,
 * and who has long finished its own share waits on as long as the ranks behind it answer and go on.
 * The time in which a whole job is stopped, as Slurm suspends it, does not count.
 */
#ifndef WB_WATCHDOG_H
#define WB_WATCHDOG_H

#include "comm.h"
#include "timetable.h"

typedef struct wb_watchdog wb_watchdog;

/* Collective. Begins to watch; removes what an earlier life has noted. *watchdog is NULL where
 * patience is 0. `time` and `comm` are borrowed until it is stopped.
 * Errors: WB_ERR_DISK, WB_ERR_MEMORY. */
wb_status wb_watchdog_start(wb_watchdog **watchdog, const char *run_folder, double patience,
                            const wb_timetable *time, wb_comm *comm);

/* Local. NULL-safe. */
void wb_watchdog_stop(wb_watchdog *watchdog);

/* Local. Step number `step` took `seconds`. NULL-safe. */
void wb_watchdog_step(wb_watchdog *watchdog, int64_t step, double seconds);

/* What a rank's note says. */
typedef struct wb_watch_note {
    bool fresh;
    int64_t step; /* the last one done */
    int64_t calls;
    double seconds; /* in the phase */
    char phase[32], host[64];
} wb_watch_note;

/* Local. The finding from the notes of all ranks, in one sentence without its end. */
void wb_watchdog_judge(char *text, size_t bytes, const wb_watch_note *notes, int world);

#endif
