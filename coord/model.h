/* A model in memory: its folder's facts, tokenizer, encoder and parameters, the same on every rank.
 */
#ifndef WB_MODEL_H
#define WB_MODEL_H

#include "arena.h"
#include "comm.h"
#include "encoder.h"
#include "model_folder.h"
#include "options.h"
#include "tokenizer.h"

/* What a text is to a model: what stands before it depends on that. */
typedef enum wb_role { WB_QUERY, WB_PASSAGE } wb_role;

typedef struct wb_model {
    wb_model_folder folder;
    wb_tokenizer *tokenizer; /* owned */
    wb_encoder *encoder;     /* owned */
    wb_arena *arena;         /* owned; holds the parameters */
    wb_tensor_table table;   /* the encoder's parameters, then those of the loss */
    float *params;           /* [table.total] */
    float *log_scale;        /* log(1 / temperature) among them, NULL where it is not learned */
    bool from_scratch;       /* parameters were drawn, not read */
    bool specials;           /* [CLS] and [SEP] stand around each text */
    int sharers;             /* ranks that share the memory of this one (memory.h) */
} wb_model;

/* Local. Checks that model.path is set and there, which is cheap. Error: WB_ERR_CONFIG. */
wb_status wb_model_check_path(const wb_config *config);

/* Collective. Opens what model.path and the other model.* keys say; rank 0 reads the weights and
 * the others receive them. Errors: WB_ERR_CONFIG, WB_ERR_INPUT, WB_ERR_MEMORY. */
wb_status wb_model_open(wb_model *model, const wb_config *config, wb_comm *comm);

/* Local. Says what the model is and what it is for: "model" or "guide". */
void wb_model_log(const wb_model *model, const char *role);

/* Collective. Opens and logs a folder as it is, without a configuration; `precision` is a value of
 * model.precision. */
wb_status wb_model_open_folder(wb_model *model, const char *path, const char *precision,
                               wb_comm *comm);

/* Local. The temperature now: the learned one, or loss.temperature. */
double wb_model_temperature(const wb_model *model, const wb_config *config);

/* Local. Keeps a learned 1 / temperature at 100 or below (CLIP; Radford et al. 2021). */
void wb_model_clamp_temperature(wb_model *model);

/* Local. What stands before each text of a role, "" for nothing. Borrowed. */
const char *wb_model_prompt(const wb_model *model, wb_role role);

/* Local. NULL-safe members; a model of zeros is closed too. */
void wb_model_close(wb_model *model);

/* Local. The most tokens of a text that the model takes when `wanted` are asked for (0: all it
 * can). Error: WB_ERR_CONFIG where it has fewer positions. */
wb_status wb_model_max_tokens(const wb_model *model, int64_t wanted, const char *key,
                              int64_t *tokens);

#endif
