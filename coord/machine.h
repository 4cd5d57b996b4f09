/* The machine and the libraries under the program. */
#ifndef WB_MACHINE_H
#define WB_MACHINE_H

#include "status.h"

#include <stdio.h>

/* Local. WB_ERR_USAGE where the processor lacks an instruction set that the program was built for.
 */
wb_status wb_machine_check(void);

/* Local. Version, build and libraries, a line each. */
void wb_machine_print_version(FILE *out);

/* Local. Processor, memory and limits, a line each. */
void wb_machine_print(FILE *out);

#endif
