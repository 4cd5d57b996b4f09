/* What a model card says of the run behind a model. */
#ifndef WB_CARD_H
#define WB_CARD_H

#include "measures.h"
#include "model.h"

/* A run as its model's card tells of it. */
typedef struct wb_card_run {
    const char *name; /* a path: its last name is the card's title */
    int64_t steps;
    const wb_measures *before, *after; /* of config->data_eval, or NULL */
} wb_card_run;

/* Local. Exports a model with a card: the model it began with, data, loss, optimizer; then the
 * measures, where there are any. Of paths only the last names are told. Errors: those of
 * wb_model_folder_export. */
wb_status wb_card_export(const wb_model *model, const wb_config *config, const wb_card_run *run,
                         const char *out);

#endif
