/* The folder of a run, and who may write in it.
 *
 *     runs/NAME/  config.yaml  metrics.jsonl  log.txt  run.lock
 *                 checkpoints/  eval/  export/
 *
 * run.lock is held with a lock of the kernel and says in plain JSON who holds it (job, restart,
 * host, pid, start of the process, last beat). The kernel's lock alone is not trusted: shared file
 * systems have granted it twice. A holder is known to be gone if it ran on this host and its
 * process is no more, if it was an earlier life of this very Slurm job, if `job_is_gone` says so,
 * or if the folder is a copy of the one it holds; then the folder is taken over. In any other case
 * it is in use.
 *
 * An earlier life whose node was cut off may still run, and hold the kernel's lock. The later life
 * then puts a run.lock of its own in the place of that file: the earlier one finds another file
 * there before it publishes anything, and stops.
 */
#ifndef WB_RUN_FOLDER_H
#define WB_RUN_FOLDER_H

#include "files.h"
#include "status.h"

#include <stdint.h>

typedef struct wb_run_folder wb_run_folder;

enum { WB_RUN_LIFE_NAME = 384 };

typedef enum wb_run_state {
    WB_RUN_EMPTY,      /* no configuration was ever written here */
    WB_RUN_UNFINISHED, /* started; to be continued */
    WB_RUN_FINISHED,   /* its newest checkpoint says the run is done */
} wb_run_state;

/* Who opens the folder. */
typedef struct wb_run_owner {
    const char *job;                      /* SLURM_JOB_ID, or NULL outside Slurm */
    int64_t restart;                      /* SLURM_RESTART_COUNT, 0 if none */
    bool (*job_is_gone)(const char *job); /* asks Slurm about another job; NULL: cannot be asked */
} wb_run_owner;

/* Local. Refuses a folder whose config.yaml is not a run's: it would be replaced. Errors:
 * WB_ERR_USAGE; WB_ERR_DISK. */
wb_status wb_run_folder_check_place(const char *path);

/* Local: one rank. Makes the folder and its subfolders (mode 0700) and takes the lock; a folder
 * taken over from a dead owner sets `notice`, otherwise "".
 * Errors: those of wb_run_folder_check_place; WB_ERR_IN_USE naming job, host, pid and last beat;
 * WB_ERR_DISK. */
wb_status wb_run_folder_open(wb_run_folder **run, const char *path, const wb_run_owner *owner,
                             char *notice, size_t notice_bytes);

/* Local. Gives the lock back. NULL-safe. */
void wb_run_folder_close(wb_run_folder *run);

/* Local. Says in run.lock that the owner is alive. Errors: WB_ERR_IN_USE where another job has
 * taken the folder over meanwhile (call it before a checkpoint is published); WB_ERR_DISK. */
wb_status wb_run_folder_beat(wb_run_folder *run);

/* Local. Who holds a folder, for people: "job 12, host a, pid 3, last seen 4 s ago"; "" where
 * nobody does. Needs no lock. Errors: WB_ERR_USAGE, WB_ERR_IN_USE where run.lock makes no sense. */
wb_status wb_run_folder_holder(const char *path, char *text, size_t bytes);

/* Local. A name for this life of the run, for file names: job and restart, else host and pid. */
void wb_run_folder_life(const wb_run_folder *run, char name[WB_RUN_LIFE_NAME]);

/* Local. The folder's path. Borrowed until it is closed. */
const char *wb_run_folder_path(const wb_run_folder *run);

/* Local. Writes config.yaml durably, below a line that tells whose it is. Error: WB_ERR_DISK. */
wb_status wb_run_folder_write_config(const wb_run_folder *run, const char *yaml);

/* Local. What a folder is; one that does not exist is empty. Needs no lock. */
wb_status wb_run_folder_state(const char *path, wb_run_state *state);

#endif
