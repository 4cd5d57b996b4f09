/* state.h5 of a checkpoint: the values of all tensors, as a file image and back. */
#ifndef WB_CHECKPOINT_STATE_H
#define WB_CHECKPOINT_STATE_H

#include "checkpoint.h"
#include "status.h"

typedef struct wb_state_image {
    void *bytes; /* owned by who asked for it: free */
    size_t size; /* of the file, at the beginning of the block */
} wb_state_image;

/* Local. An upper bound on the bytes of an image: whole chunks, and what HDF5 adds. */
size_t wb_state_bytes(const wb_checkpoint *state);

/* Local. Builds the file in memory; `path` appears in messages only. into->bytes is to be freed
 * also on error. Errors: WB_ERR_MEMORY, WB_ERR_INTERNAL. */
wb_status wb_state_build(wb_state_image *into, const wb_checkpoint *state, const char *path);

/* Local. Fills the arrays of `state` with the tensors of its table from the file `path`, which must
 * have been verified. Error: WB_ERR_CHECKPOINT naming the tensor. */
wb_status wb_state_read(wb_checkpoint *state, const char *path);

#endif
