/* What a model card says of the run behind a model. */
#ifndef WB_CARD_H
#define WB_CARD_H

#include "measures.h"
#include "model.h"

/* Local. Markdown: the model it began with, data, loss, optimizer; then the measures, where there
 * are any. Of paths only the last names are told.
 *   before, after   of config->data_eval, or NULL
 *   *text           owned by the caller (free)
 * Error: WB_ERR_MEMORY. */
wb_status wb_card_training(char **text, const wb_model *model, const wb_config *config,
                           int64_t steps, const wb_measures *before, const wb_measures *after);

#endif
