/* Checkpoints: generations of a run's whole state, whole on disk or not there.
 *
 *     run/checkpoints/step-1200/state.h5        /parameters/NAME, /SLOT/NAME: one dataset a tensor
 *                              /manifest.json   step, seed, whose state.h5 holds each tensor, sums
 *     run/checkpoints/step-1200.LIFE.tmp/       being written: not a checkpoint yet
 *     run/checkpoints/latest -> step-1200       for people; resuming does not need it
 *
 * state.h5 is built in memory, so the disk sees one plain write. Order on disk: state.h5, then
 * manifest.json, fsync of both and of the folder, rename to step-N, fsync of the parent. A kill at
 * any moment leaves the older generations and at most a .tmp folder. Nothing is read before the
 * manifest's sum of the whole file has matched. Nothing depends on the number of ranks.
 */
#ifndef WB_CHECKPOINT_H
#define WB_CHECKPOINT_H

#include "status.h"
#include "tensor.h"

#include <stdint.h>
#include <stdio.h>

enum { WB_CHECKPOINT_SLOTS = 2 };

typedef struct wb_checkpoint {
    int64_t step;         /* optimizer steps done */
    int64_t total_steps;  /* steps of the whole run */
    int64_t rows;         /* training rows seen so far */
    uint64_t seed;        /* run.seed */
    uint64_t config_hash; /* of what must not change between start and resume */
    bool finished;        /* the run is done */
    const wb_tensor_table *table;
    float *values; /* [table->total], parameters */
    int64_t slots; /* optimizer state arrays, at most WB_CHECKPOINT_SLOTS */
    const char *slot_names[WB_CHECKPOINT_SLOTS]; /* e.g. adamw.m, adamw.v */
    float *slot_values[WB_CHECKPOINT_SLOTS];     /* [table->total] each */
} wb_checkpoint;

/* Local: one rank calls it, with the whole state. Writes generation step-STEP of `run_folder` with
 * all its parts; an older one of that name is replaced, others stay. A run that writes many keeps a
 * wb_checkpoint_writer. Errors: WB_ERR_DISK (nothing older is touched), WB_ERR_MEMORY. */
wb_status wb_checkpoint_write(const char *run_folder, const wb_checkpoint *state);

/* Local. Reads the newest generation that verifies, walking back over those that do not.
 *   state      table, config_hash, slots, slot_names and the arrays are set by the caller; arrays
 *              and the other members are filled
 *   found      false: there are no checkpoints, and `state` is as it was
 *   rejected   filled with one line for each generation passed over, and why; may be ""
 * Errors: WB_ERR_CHECKPOINT where there are checkpoints and none verifies, or where the newest good
 * one belongs to another config_hash or other tensors. The arrays are then undefined. */
wb_status wb_checkpoint_read_newest(const char *run_folder, wb_checkpoint *state, bool *found,
                                    char *rejected, size_t rejected_bytes);

/* Local. Removes leftovers (.tmp) and generations that are not kept. Kept are the `keep` (>= 2)
 * newest, counted from the newest that is read back and verifies; a second one that verifies; one
 * that verifies and shares no file with the newest; what these lean on; damaged ones before them.
 * The one of step `verified` was read back a moment ago and is not read again; -1: there is none.
 * Errors: WB_ERR_CHECKPOINT where none verifies (none is removed), WB_ERR_DISK. */
wb_status wb_checkpoint_prune(const char *run_folder, int64_t keep, int64_t verified);

/* Local. Size and sum of every file that a generation leans on against its manifest.
 * Error: WB_ERR_CHECKPOINT. */
wb_status wb_checkpoint_verify(const char *step_folder);

/* Local. The same of one whose own file was read back while it was written: that must be there, and
 * of its length. */
wb_status wb_checkpoint_verify_written(const char *step_folder);

/* Local. Facts of the manifest of the newest generation, unverified: for questions such as "is
 * this run finished?". found is false where there is none that can be read. `facts` gets step,
 * total_steps, rows, seed, config_hash and finished. */
wb_status wb_checkpoint_peek(const char *run_folder, wb_checkpoint *facts, bool *found);

/* Local. Prints for people what `path` holds: one generation, a run folder's newest, a model folder
 * or a .safetensors file; facts, then a table of tensors. Errors: WB_ERR_INPUT, WB_ERR_CHECKPOINT.
 */
wb_status wb_checkpoint_describe(const char *path, FILE *out);

#endif
