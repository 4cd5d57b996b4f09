/* What is left of a step that was skipped because it was not finite: RUN/skipped/step-N.txt. */
#ifndef WB_SKIPPED_H
#define WB_SKIPPED_H

#include "trainer.h"

/* Local: one rank. Lists the rows of step trainer->done + 1, and why it was skipped, and logs it.
 * Errors: WB_ERR_INPUT, WB_ERR_MEMORY, WB_ERR_DISK. */
wb_status wb_skipped_note(wb_trainer *trainer, const char *why);

#endif
