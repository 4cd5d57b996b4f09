/* The memory of this process: what it may use, what it uses. */
#ifndef WB_MEMORY_H
#define WB_MEMORY_H

#include "comm.h"
#include "status.h"

#include <stddef.h>

/* Local. What a rank may use for activations when memory.budget is 0: half of the memory that is
 * free, or that its control group or Slurm allows, shared by the ranks of this host, and no more
 * than ulimit -v leaves; less `reserved`; at least 64 MiB. */
size_t wb_memory_budget(int local_ranks, size_t reserved);

/* Local. Whether a limit of the address space (ulimit -v) leaves `needed` bytes: libraries that get
 * none crash. Error: WB_ERR_MEMORY. */
wb_status wb_memory_check_room(size_t needed);

/* Collective. How many ranks share the memory that this rank may take: those of its host, or of its
 * control group there. Errors: WB_ERR_MEMORY, WB_ERR_MPI. */
wb_status wb_memory_sharers(int *ranks, wb_comm *comm);

/* Local. What they may take in all before the system ends one of them: what their control group
 * allows, or all memory. */
size_t wb_memory_allowed(void);

/* Local. What `ranks` ranks take that are like this one and take `each` more, one of them `once`
 * more. */
size_t wb_memory_of_ranks(int ranks, size_t each, size_t once);

/* Local. Whether that is allowed: to be asked for what is needed at least. Error: WB_ERR_MEMORY. */
wb_status wb_memory_check_ranks(int ranks, size_t each, size_t once);

/* What they may need: in the whole life of a program; when a run has reserved its memory. */
#define WB_MEMORY_TO_START ((size_t)448 << 20)
#define WB_MEMORY_TO_RUN   ((size_t)256 << 20)

/* Local. Resident bytes now, and the most there ever were; 0 where /proc does not say. */
size_t wb_memory_now(void);
size_t wb_memory_peak(void);

#endif
