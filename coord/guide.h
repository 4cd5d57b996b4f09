/* loss.filter_model: a second model, frozen, that says which candidates are too similar to count as
 * negatives (Solatorio 2024, GISTEmbed). Its representations are unit vectors, so that the filter
 * compares cosines; it reads the same texts with its own tokenizer. */
#ifndef WB_GUIDE_H
#define WB_GUIDE_H

#include "slot.h"
#include "trainer.h"

/* Collective. Opens the guide if the configuration names one. Errors: as of wb_model_open. */
wb_status wb_guide_open(wb_trainer *trainer);

/* Local. Fills guide_reps of a slot whose rows have been read; draw as in wb_batch_read.
 * Errors: WB_ERR_INPUT, WB_ERR_NUMERIC, WB_ERR_MEMORY. */
wb_status wb_guide_encode(wb_slot *slot, wb_trainer *trainer, const wb_batch_rows *batch,
                          int64_t draw);

#endif
