/* manifest.json of a generation: its facts, whose file holds each part, and every sum.
 *
 * A part is one tensor of one array (parameters, or optimizer state). A part that has not changed
 * since an older generation is not written again: the manifest names the step whose state.h5 holds
 * it, and the sums of that file too, so that a generation is verified with all that it leans on.
 */
#ifndef WB_CHECKPOINT_MANIFEST_H
#define WB_CHECKPOINT_MANIFEST_H

#include "checkpoint.h"
#include "files.h"
#include "json.h"

enum { WB_CHECKPOINT_ARRAYS = 1 + WB_CHECKPOINT_SLOTS };

/* state.h5 of generation `step`. */
typedef struct wb_manifest_file {
    int64_t step, bytes;
    uint64_t sum;
} wb_manifest_file;

typedef struct wb_manifest {
    wb_checkpoint facts; /* the numbers only */
    int64_t total;       /* values of an array */
    int64_t tensors, arrays;
    const char *array_names[WB_CHECKPOINT_ARRAYS]; /* borrowed from root */
    const char **tensor_names;                     /* [tensors], likewise; owned list */
    int64_t *holders;                              /* [arrays, tensors], steps; owned */
    uint64_t *sums;                                /* [arrays, tensors], of the values; owned */
    wb_manifest_file *files; /* [file_count], its own first, then those it leans on; owned */
    int64_t file_count;
    json_t *root; /* owned */
} wb_manifest;

/* Local. Reads and checks `folder`/manifest.json. To be cleared also on error.
 * Errors: WB_ERR_INPUT, WB_ERR_MEMORY. */
wb_status wb_manifest_read(wb_manifest *manifest, const char *folder);
void wb_manifest_clear(wb_manifest *manifest);

/* Local. Writes the manifest of `state`, of whose parts and files the others tell, to
 * `folder`/manifest.json. Errors: WB_ERR_DISK, WB_ERR_MEMORY. */
wb_status wb_manifest_write(const char *folder, const wb_checkpoint *state, const int64_t *holders,
                            const uint64_t *sums, const wb_manifest_file *files,
                            int64_t file_count);

/* Local. The step in the name of a generation, or -1 for any other name. */
int64_t wb_manifest_step_of(const char *name);

/* Local. The path of the file that holds parts of the generation in `folder`: its own, or that of
 * the generation `step` beside it. Error: WB_ERR_USAGE. */
wb_status wb_manifest_file_path(char path[WB_PATH], const wb_manifest *manifest, const char *folder,
                                int64_t step);

/* Local. Arrays of a state: parameters, then slots. */
static inline int64_t wb_checkpoint_arrays(const wb_checkpoint *state) {
    return 1 + state->slots;
}

static inline const char *wb_checkpoint_array_name(const wb_checkpoint *state, int64_t i) {
    return i == 0 ? "parameters" : state->slot_names[i - 1];
}

static inline float *wb_checkpoint_array(const wb_checkpoint *state, int64_t i) {
    return i == 0 ? state->values : state->slot_values[i - 1];
}

#endif
