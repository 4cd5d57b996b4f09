/* Model folders as Hugging Face and sentence-transformers lay them out, in and out.
 *
 *     config.json                     BERT's sizes               (model_type bert)
 *     model.safetensors               weights; or model.safetensors.index.json and its shards
 *     tokenizer.json | vocab.txt      the tokenizer's business (tokenizer.h)
 *     modules.json                    Transformer | StaticEmbedding, Pooling, Normalize
 *     sentence_bert_config.json       max_seq_length
 *     1_Pooling/config.json           mean or cls
 *     config_sentence_transformers.json  prompts: what stands before each query and passage
 *
 * Without modules.json the folder is a plain Hugging Face model: mean pooling, not normalised.
 * What a folder asks for and we do not do is refused by name, never left out.
 */
#ifndef WB_MODEL_FOLDER_H
#define WB_MODEL_FOLDER_H

#include "encoder_spec.h"
#include "files.h"
#include "status.h"
#include "tensor.h"

#include <stdint.h>

struct wb_tokenizer;

enum { WB_PROMPT = 1024 }; /* bytes */

typedef struct wb_model_folder {
    wb_encoder_spec spec;
    int64_t max_tokens;      /* longest sequence with [CLS] and [SEP]; 0 (static): no limit */
    bool defaults;           /* no modules.json: pooling and normalisation are our defaults */
    char path[WB_PATH];      /* the folder; "" for a model that was made and not read */
    char config[WB_PATH];    /* config.json, or "" */
    char weights[WB_PATH];   /* model.safetensors or model.safetensors.index.json */
    char tokenizer[WB_PATH]; /* folder that holds the tokenizer's files */
    char prefix[64];         /* stands before every tensor name in the weights, often "" */
    char query_prompt[WB_PROMPT], passage_prompt[WB_PROMPT]; /* before each text; often "" */
} wb_model_folder;

/* What an exported folder says about itself besides its numbers. */
typedef struct wb_model_card {
    const char *name;                          /* title of README.md */
    const char *similarity;                    /* "cosine" or "dot": how scores are computed */
    int64_t query_tokens, passage_tokens;      /* lengths used in training; 0: the model's */
    const char *query_prompt, *passage_prompt; /* text put before a query or passage, or NULL */
    const char *training;                      /* Markdown about the run, or NULL */
} wb_model_card;

/* Local. Reads everything but the weights' values.
 * Errors: WB_ERR_INPUT naming the file, what was found and what is allowed; WB_ERR_MEMORY. */
wb_status wb_model_folder_read(wb_model_folder *folder, const char *path);

/* Local. Reads every tensor of `table` (names without prefix; BERT's as in Hugging Face, a static
 * model's is embedding.weight) from the folder's weights. Tensors the table does not ask for are
 * ignored.
 *   values [table->total]   filled
 * Errors: WB_ERR_INPUT naming the missing tensors, or the tensor with found and expected shape. */
wb_status wb_model_folder_load(const wb_model_folder *folder, const wb_tensor_table *table,
                               float *values);

/* Local. Whether an export may go to `out`: nothing is there, or an earlier export. Errors:
 * WB_ERR_USAGE where something else stands there; WB_ERR_DISK, WB_ERR_INPUT, WB_ERR_MEMORY. */
wb_status wb_model_folder_check_place(const char *out);

/* Local. Writes the sentence-transformers folder `out`: sizes, pooling and normalisation from
 * folder->spec, other members of config.json and the pooler's weights from the folder that was
 * read. It appears whole or not at all; an earlier export at `out` is replaced, anything else that
 * stands there is refused.
 *   values [table->total]   tokenizer, card   borrowed
 * Errors: WB_ERR_USAGE where `out` is taken; WB_ERR_DISK; WB_ERR_INPUT (source folder). */
wb_status wb_model_folder_export(const wb_model_folder *folder, const char *out,
                                 const wb_tensor_table *table, const float *values,
                                 const struct wb_tokenizer *tokenizer, const wb_model_card *card);

#endif
