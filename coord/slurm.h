/* Slurm's commands, called without a shell. */
#ifndef WB_SLURM_H
#define WB_SLURM_H

#include "status.h"

/* Local. Runs words[0] with the environment that this program was started with: MPI, and the choice
 * of kernels for this processor, have added to ours what would confuse a job elsewhere.
 *   words     ends with NULL; words[0] is looked for in PATH
 *   output    filled with what it wrote to stdout, and to stderr if `errors_too`; cut at `bytes`
 *   code      filled with its exit code, 128 + signal
 * Error: WB_ERR_USAGE where there is no such command; WB_ERR_INTERNAL. */
wb_status wb_slurm_call(const char *const *words, bool errors_too, char *output, size_t bytes,
                        int *code);

/* Local. Whether Slurm knows for certain that a job runs no more: it has ended, or was never heard
 * of. False where Slurm cannot be asked. */
bool wb_slurm_job_is_gone(const char *job);

#endif
