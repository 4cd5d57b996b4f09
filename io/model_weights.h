/* The weights of a model folder as one set of tensors, in one safetensors file or in shards. */
#ifndef WB_MODEL_WEIGHTS_H
#define WB_MODEL_WEIGHTS_H

#include "files.h"
#include "safetensors.h"
#include "status.h"

typedef struct wb_model_weights wb_model_weights;

/* Local. Finds the weights of `folder`: model.safetensors, or model.safetensors.index.json.
 * Errors: WB_ERR_INPUT where there are none, or only pickled ones, saying how to convert them. */
wb_status wb_model_weights_locate(char path[WB_PATH], const char *folder);

/* Local. Opens what wb_model_weights_locate found. Close takes NULL.
 * Errors: WB_ERR_INPUT, WB_ERR_MEMORY. */
wb_status wb_model_weights_open(wb_model_weights **weights, const char *path);
void wb_model_weights_close(wb_model_weights *weights);

/* Local. The entry called `name` and the file it is in, or NULL. Borrowed until the close. */
const wb_safetensors_entry *wb_model_weights_find(const wb_model_weights *weights, const char *name,
                                                  const wb_safetensors **file);

/* Local. What stands before `name` in the one tensor whose name ends with it: "" or "bert.".
 * *found is false where no name ends so. Error: WB_ERR_INPUT where several do, naming two. */
wb_status wb_model_weights_prefix(const wb_model_weights *weights, const char *name, char *prefix,
                                  size_t bytes, bool *found);

#endif
