/* state.h5 of a checkpoint: the values of all tensors, as a file image and back. */
#ifndef WB_CHECKPOINT_STATE_H
#define WB_CHECKPOINT_STATE_H

#include "checkpoint.h"
#include "status.h"

/* A file in memory. The memory is kept for the next: to get new memory takes longer than to fill
 * it. */
typedef struct wb_state_image {
    void *bytes; /* owned; NULL before the first */
    size_t size; /* of the file */
    size_t room; /* at `bytes` */
} wb_state_image;

void wb_state_image_clear(wb_state_image *image);

/* The parts of a state, [arrays, tensors], stand in files of several generations: `holders` names
 * the step of each. These functions write or read the parts that one file holds. */

/* Local. An upper bound on the bytes of the image of step state->step: whole chunks, and what HDF5
 * adds. */
size_t wb_state_bytes(const wb_checkpoint *state, const int64_t *holders);

/* Local. Builds the file of step state->step in memory; `path` appears in messages only. `into` is
 * to be cleared also on error. Errors: WB_ERR_MEMORY, WB_ERR_INTERNAL. */
wb_status wb_state_build(wb_state_image *into, const wb_checkpoint *state, const int64_t *holders,
                         const char *path);

/* Local. Fills the arrays of `state` with the parts that the file `path`, which must have been
 * verified, holds as that of step `step`. Error: WB_ERR_CHECKPOINT naming the tensor. */
wb_status wb_state_read(wb_checkpoint *state, const int64_t *holders, int64_t step,
                        const char *path);

#endif
