/* Writing generations of a run, one after the other.
 *
 * A writer remembers what it has written: parts (checkpoint_manifest.h) that have not changed since
 * are not written again. Its first generation, and every full_every-th, holds all parts, so that
 * none leans on files far back.
 *
 * Two lives of one job can run at once: a node that is cut off goes on for a while. So what is
 * being written stands under a name of its own, step-N.LIFE.tmp, and before it is renamed to step-N
 * the writer asks whether this life still is the run's.
 */
#ifndef WB_CHECKPOINT_WRITER_H
#define WB_CHECKPOINT_WRITER_H

#include "checkpoint.h"

typedef struct wb_checkpoint_writer wb_checkpoint_writer;

typedef struct wb_checkpoint_writing {
    const char *run_folder;
    const char *life;                        /* names this life in file names */
    int64_t keep;                            /* newest generations kept, at least 2 */
    int64_t full_every;                      /* 1: all parts each time */
    wb_status (*may_publish)(void *context); /* an error: nothing is published; NULL: always */
    void *context;
} wb_checkpoint_writing;

/* Local: one rank. Texts are copied. Errors: WB_ERR_MEMORY, WB_ERR_USAGE. */
wb_status wb_checkpoint_writer_create(wb_checkpoint_writer **writer,
                                      const wb_checkpoint_writing *how);
void wb_checkpoint_writer_destroy(wb_checkpoint_writer *writer);

/* Local. Writes generation step-STEP; one of that name is replaced. Reads it back, then removes
 * those that are no longer kept. The table must be the same each time.
 * Errors: WB_ERR_DISK (nothing older is touched), WB_ERR_MEMORY, WB_ERR_CHECKPOINT where what was
 * written does not verify, what may_publish says. */
wb_status wb_checkpoint_writer_write(wb_checkpoint_writer *writer, const wb_checkpoint *state);

#endif
