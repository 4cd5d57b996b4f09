/* The memory of this process: what it may use, what it uses. */
#ifndef WB_MEMORY_H
#define WB_MEMORY_H

#include <stddef.h>

/* Local. What a rank may use for activations when memory.budget is 0: half of the memory that is
 * free, or that its control group or Slurm allows, shared by the ranks of this host, less
 * `reserved`; at least 64 MiB. */
size_t wb_memory_budget(int local_ranks, size_t reserved);

/* Local. Resident bytes now, and the most there ever were; 0 where /proc does not say. */
size_t wb_memory_now(void);
size_t wb_memory_peak(void);

#endif
