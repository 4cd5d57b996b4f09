/* The script of a Slurm job: slurm/job.sh with its places filled in. What a place stands for is
 * told there and in slurm/README.md.
 *
 * The script is complete: all options of sbatch stand in it, quoted as sbatch and the shell read
 * them, so that it can be kept, read and submitted again.
 */
#ifndef WB_JOB_SCRIPT_H
#define WB_JOB_SCRIPT_H

#include "sweep.h"

#include <stdio.h>

typedef struct wb_job {
    const char *folder;  /* where it starts: absolute */
    const char *run_dir; /* as the configuration says; of a sweep, the folder of all its runs */
    const char *program; /* words for the shell that start widebatch */
    int64_t least_nodes, most_nodes;
    int64_t tasks;        /* ranks a node */
    int64_t cpus;         /* of all ranks of a node; 0: whole nodes, shared out among their ranks */
    int64_t warn_seconds; /* how long before its end the job is told of it */
    const char *launcher; /* auto, srun or mpirun */
    const char **arguments; /* of `widebatch train` */
    int argument_count;
    const char *const *options; /* further options of sbatch, which win over ours */
    int option_count;
    const wb_sweep *sweep; /* runs == 0: none */
} wb_job;

/* Local. Writes the script. Errors: WB_ERR_USAGE where a value cannot stand in an #SBATCH line,
 * WB_ERR_DISK. */
wb_status wb_job_script_write(const wb_job *job, FILE *out);

/* Local. One word as the shell and sbatch read it, in quotes where it needs them. */
void wb_shell_word(FILE *out, const char *word);

#endif
