/* Checkpoints written beside training.
 *
 * wb_saver_begin copies the state in memory, which is all that a step waits for; a thread then
 * writes, reads back and publishes the copy, and makes no MPI call. While it runs, no other thread
 * may use HDF5. What it fails at is told by the next call here, so that ranks agree on it at the
 * end of a step.
 */
#ifndef WB_SAVER_H
#define WB_SAVER_H

#include "checkpoint.h"
#include "options.h"
#include "run_folder.h"

typedef struct wb_saver wb_saver;

/* Local: one rank. Takes memory for a copy of a state of this form. `folder` is borrowed.
 * Error: WB_ERR_MEMORY. */
wb_status wb_saver_create(wb_saver **saver, wb_run_folder *folder, const wb_config *config,
                          const wb_checkpoint *form);

/* Local. Waits for what is being written. NULL-safe. */
void wb_saver_destroy(wb_saver *saver);

/* Local. Begins to write a state, after what is being written. Errors: those of the write before,
 * as wb_checkpoint_writer_write; WB_ERR_MEMORY. */
wb_status wb_saver_begin(wb_saver *saver, const wb_checkpoint *state);

/* Local. The outcome of the last write: WB_OK while it goes on. */
wb_status wb_saver_poll(wb_saver *saver);

/* Local. The same, once it is over. */
wb_status wb_saver_wait(wb_saver *saver);

/* Local. Seconds that the longest write took, 0 before the first is over. */
double wb_saver_longest(const wb_saver *saver);

#endif
