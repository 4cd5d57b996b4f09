/* The machine and the libraries under the program. */
#ifndef WB_MACHINE_H
#define WB_MACHINE_H

#include "status.h"

#include <stdint.h>
#include <stdio.h>

/* Local. WB_ERR_USAGE where the processor lacks an instruction set that the program was built for.
 */
wb_status wb_machine_check(void);

/* Local. Where OpenBLAS took kernels that use half of this processor, starts the program once more
 * with OPENBLAS_CORETYPE set, which it reads while it is loaded. Leaves a value that the user set.
 * To be called before anything else, MPI above all. */
void wb_machine_choose_kernels(char **argv);

/* Local. The variables that the user's process had: without those that MPI added, and without the
 * kernels chosen above, which are for this processor. Ends with NULL; one block, owned by the
 * caller (free); NULL where it cannot be read. */
char **wb_machine_first_environment(void);

/* Local. Version, build and libraries, a line each. */
void wb_machine_print_version(FILE *out);

/* Local. A sum of what the bits of a step may depend on: the processor, what the program was
 * compiled for, oneDNN. */
uint64_t wb_machine_kind(void);

/* Local. Processors of this host that are online. */
int wb_machine_processors(void);

/* Local. Processor, memory and limits, a line each. */
void wb_machine_print(FILE *out);

#endif
