/* The one table of options: every key of a configuration, with its type, default, range and help.
 *
 * From it follow the struct that the program reads, the parser of YAML files and --set, --help, the
 * effective configuration of a run folder and configs/reference.yaml.
 *
 * A row is KIND(member, key, default, least, most, changes, help):
 *   TEXT, PATH, CHOICE   strings; `most` of a CHOICE is its list "a|b|c"
 *   COUNT, REAL, SIZE    integer, number, bytes ("512M"); inclusive range
 *   TIME                 seconds ("90", "1h30m")
 *   changes              whether a run may be continued with another value: FREE; ASKED: if the
 *                        user says so (--allow-change); FIXED: never
 */
#ifndef WB_OPTIONS_H
#define WB_OPTIONS_H

#include "status.h"

#include <stdint.h>
#include <stdio.h>

enum { WB_OPTION_TEXT = 1024, WB_ORIGIN = 4096 + 32 };

#define WB_OPTION_TABLE(TEXT, CHOICE, COUNT, REAL, SIZE, TIME)                                     \
    TEXT(run_dir, "run.dir", "runs/default", FREE,                                                 \
         "folder that the run leaves; an existing one is continued")                               \
    COUNT(run_seed, "run.seed", 42, 0, INT64_MAX, FIXED,                                           \
          "seed of data order, dropout and first values")                                          \
    TIME(run_max_time, "run.max_time", "0", FREE,                                                  \
         "stop with a checkpoint within this time, as 90m or 23:30:00; 0: within the Slurm job's") \
    COUNT(run_max_nonfinite, "run.max_nonfinite", 3, 1, 1000000, FREE,                             \
          "steps in a row whose loss or gradient is not finite: they are skipped, then the run "   \
          "ends")                                                                                  \
    COUNT(run_check_every, "run.check_every", 10, 0, INT32_MAX, FREE,                              \
          "steps after which ranks compare parameters and optimizer; 0: at checkpoints only")      \
    COUNT(run_audit_every, "run.audit_every", 200, 0, INT32_MAX, FREE,                             \
          "steps after which a rank computes a part of its neighbour's batch again; 0: never")     \
    TIME(run_watchdog, "run.watchdog", "60", FREE,                                                 \
         "a rank that is longer than this, or ten steps, in one phase is stuck; 0: not watched")   \
    TEXT(model_path, "model.path", "", FIXED,                                                      \
         "model folder (Hugging Face or sentence-transformers), or a vocab.txt for static")        \
    CHOICE(model_encoder, "model.encoder", "auto", "auto|bert|static", FIXED,                      \
           "auto: what the folder holds; static with a BERT folder or vocab.txt: from scratch")    \
    CHOICE(model_pooling, "model.pooling", "auto", "auto|mean|cls", FIXED,                         \
           "auto: as the folder says, else mean")                                                  \
    CHOICE(model_normalize, "model.normalize", "true", "auto|true|false", FIXED,                   \
           "unit-length representations, so that scores are cosines; auto: as the folder says")    \
    REAL(model_dropout, "model.dropout", -1, -1, 0.9, ASKED,                                       \
         "probability of a zero; -1: as config.json says")                                         \
    CHOICE(model_precision, "model.precision", "fp32", "fp32|bf16|auto", FIXED,                    \
           "activations and products of a bert encoder; parameters, sums and the loss stay fp32; " \
           "auto: bf16 where every rank's processor multiplies it faster")                         \
    TEXT(model_query_prompt, "model.query_prompt", "auto", FIXED,                                  \
         "text before each query, as \"query: \"; auto: as the folder's prompts say, else none")   \
    TEXT(model_passage_prompt, "model.passage_prompt", "auto", FIXED,                              \
         "the same before each passage")                                                           \
    COUNT(model_width, "model.width", 256, 1, 65536, FIXED,                                        \
          "representation width of a static encoder trained from scratch")                         \
    TEXT(data_train, "data.train", "", FIXED,                                                      \
         "training data: a BEIR folder or a Tevatron JSONL file")                                  \
    TEXT(data_split, "data.split", "train", FIXED, "judgements to train on: qrels/SPLIT.tsv")      \
    TEXT(data_eval, "data.eval", "", FREE,                                                         \
         "BEIR folder to evaluate on before and after training; empty: none")                      \
    TEXT(data_eval_split, "data.eval_split", "test", FREE, "judgements to evaluate on")            \
    COUNT(data_eval_every, "data.eval_every", 0, 0, INT32_MAX, FREE,                               \
          "steps between evaluations during training; 0: before and after only")                   \
    COUNT(data_max_query_tokens, "data.max_query_tokens", 64, 3, 8192, FIXED,                      \
          "longest query in tokens, [CLS] and [SEP] included")                                     \
    COUNT(data_max_passage_tokens, "data.max_passage_tokens", 256, 3, 8192, FIXED,                 \
          "longest passage in tokens, [CLS] and [SEP] included")                                   \
    COUNT(data_hard_negatives, "data.hard_negatives", -1, -1, 1024, FIXED,                         \
          "hard negatives per query; -1: as many as every row has, at most 7")                     \
    CHOICE(data_draw, "data.draw", "cycle", "cycle|fixed", FIXED,                                  \
           "which of a row's positives and hard negatives an epoch takes: others each time, or "   \
           "always the same")                                                                      \
    COUNT(batch_size, "batch.size", 128, 2, INT32_MAX, FIXED,                                      \
          "queries in one optimizer step, over all ranks")                                         \
    COUNT(batch_steps, "batch.steps", 0, 0, INT32_MAX, FREE,                                       \
          "optimizer steps of the run; 0: as batch.epochs says")                                   \
    COUNT(batch_epochs, "batch.epochs", 1, 1, 100000, FREE, "passes over the training rows")       \
    CHOICE(batch_drop_last, "batch.drop_last", "true", "true|false", FIXED,                        \
           "an epoch's rows that fill no batch wait for the next shuffle; false: they make a "     \
           "smaller one")                                                                          \
    CHOICE(batch_no_duplicates, "batch.no_duplicates", "false", "false|true", FIXED,               \
           "no text stands twice among the queries and positives of a batch, over all ranks")      \
    REAL(loss_temperature, "loss.temperature", 0.05, 1e-6, 10, ASKED,                              \
         "scores are divided by it (sentence-transformers' scale 20 is 0.05)")                     \
    CHOICE(loss_learn_temperature, "loss.learn_temperature", "false", "false|true", FIXED,         \
           "train log(1 / temperature) with the model; 1 / temperature stays at 100 or below")     \
    REAL(loss_margin, "loss.margin", 0, 0, 1e6, ASKED,                                             \
         "taken from a positive's similarity before the temperature")                              \
    CHOICE(loss_symmetric, "loss.symmetric", "false", "false|true", FIXED,                         \
           "the mean of two softmaxes: query over passages, and its positive over queries")        \
    CHOICE(loss_query_query, "loss.query_query", "false", "false|true", FIXED,                     \
           "other queries stand among a query's negatives")                                        \
    CHOICE(loss_passage_passage, "loss.passage_passage", "false", "false|true", FIXED,             \
           "its positive against the query's negatives, in the same softmax")                      \
    CHOICE(loss_duplicates, "loss.duplicates", "mask", "mask|keep", FIXED,                         \
           "passages of the batch with the text of a query's positive: left out, or negatives")    \
    CHOICE(loss_positives, "loss.positives", "one", "one|all", FIXED,                              \
           "a query's other known positives in the batch: left out (unless duplicates are kept), " \
           "or positives too: the mean over all of them of -log softmax")                          \
    CHOICE(loss_filter, "loss.filter", "none", "none|absolute|relative", ASKED,                    \
           "leave out candidates more similar than the positive less loss.filter_margin, which "   \
           "is taken as it is or times the positive's similarity")                                 \
    REAL(loss_filter_margin, "loss.filter_margin", 0, 0, 1e6, ASKED, "margin of loss.filter")      \
    TEXT(loss_filter_model, "loss.filter_model", "", FIXED,                                        \
         "folder of a guide model whose cosines the filter compares; empty: the model's own "      \
         "scores")                                                                                 \
    TEXT(loss_widths, "loss.widths", "", FIXED,                                                    \
         "Matryoshka: widths that the loss is taken at, as 256,128,64; empty: the whole width")    \
    TEXT(loss_width_weights, "loss.width_weights", "", FIXED,                                      \
         "what the loss at each of them counts, as 1,1,0.5; empty: 1 each")                        \
    CHOICE(optimizer_name, "optimizer.name", "adamw", "adamw|sgd", FIXED, "update rule")           \
    REAL(optimizer_lr, "optimizer.lr", 2e-5, 0, 100, ASKED, "peak learning rate")                  \
    REAL(optimizer_weight_decay, "optimizer.weight_decay", 0.01, 0, 10, ASKED,                     \
         "decoupled; not on biases and layer norms")                                               \
    REAL(optimizer_clip, "optimizer.clip", 1, 0, 1e30, ASKED,                                      \
         "largest global gradient norm; 0: no clipping")                                           \
    REAL(optimizer_warmup, "optimizer.warmup", 0.1, 0, 1e9, ASKED,                                 \
         "below 1: share of the steps; from 1 on: steps")                                          \
    CHOICE(optimizer_schedule, "optimizer.schedule", "linear", "linear|cosine|constant", ASKED,    \
           "learning rate after the warm-up")                                                      \
    CHOICE(reduce_mode, "reduce.mode", "auto", "auto|ordered|fast", ASKED,                         \
           "ordered: gradients are added in a fixed tree, the same bits for any number of ranks; " \
           "auto: ordered for bert, fast for static, whose steps are too short for it")            \
    COUNT(reduce_slots, "reduce.slots", 8, 1, 65536, ASKED,                                        \
          "parts of the batch that the tree begins with, and the most ranks with the same bits")   \
    CHOICE(reduce_overlap, "reduce.overlap", "true", "true|false", FREE,                           \
           "in ordered mode gradients travel while the layers below are still computed")           \
    SIZE(memory_gather, "memory.gather", "512M", FREE,                                             \
         "memory of one rank for all ranks' representations; if they need more they pass by in "   \
         "windows, with the same result")                                                          \
    SIZE(memory_budget, "memory.budget", "0", FREE,                                                \
         "memory of one rank for activations; 0: a safe share of what the job may use")            \
    SIZE(memory_tokens, "memory.tokens", "256M", FREE,                                             \
         "memory of one rank for tokens of training texts, which later epochs do not read again; " \
         "as much for those of evaluations; 0: none")                                              \
    COUNT(memory_chunk_tokens, "memory.chunk_tokens", 4096, 1, 1 << 30, FREE,                      \
          "tokens encoded at once; by a static encoder 64 times as many")                          \
    COUNT(checkpoint_every, "checkpoint.every", 200, 0, INT32_MAX, FREE,                           \
          "steps between checkpoints; 0: only at the end")                                         \
    COUNT(checkpoint_full_every, "checkpoint.full_every", 10, 1, 1000000, FREE,                    \
          "every so many checkpoints one holds all tensors, the others those that changed; 1: "    \
          "all do")                                                                                \
    COUNT(checkpoint_keep, "checkpoint.keep", 2, 2, 1000000, FREE, "newest checkpoints kept")

typedef struct wb_config {
#define WB_MEMBER_TEXT(member, ...)  char member[WB_OPTION_TEXT];
#define WB_MEMBER_COUNT(member, ...) int64_t member;
#define WB_MEMBER_REAL(member, ...)  double member;
#define WB_MEMBER_SIZE(member, ...)  size_t member;
#define WB_MEMBER_TIME(member, ...)  double member;
    WB_OPTION_TABLE(WB_MEMBER_TEXT, WB_MEMBER_TEXT, WB_MEMBER_COUNT, WB_MEMBER_REAL, WB_MEMBER_SIZE,
                    WB_MEMBER_TIME)
#undef WB_MEMBER_TEXT
#undef WB_MEMBER_COUNT
#undef WB_MEMBER_REAL
#undef WB_MEMBER_SIZE
#undef WB_MEMBER_TIME
} wb_config;

/* Where each value came from: "default", "--set", "FILE:LINE"; by number of option. */
typedef struct wb_origins wb_origins;

/* Local. A configuration of defaults. Error: WB_ERR_MEMORY. */
wb_status wb_options_defaults(wb_config *config, wb_origins **origins);
void wb_origins_destroy(wb_origins *origins);

/* Local. Where the value of `key` came from, NULL for an unknown key. Borrowed. */
const char *wb_origins_of(const wb_origins *origins, const char *key);

/* Local. Sets one key from text, as found at `origin` (prefix of messages). Errors: WB_ERR_CONFIG
 * for an unknown key (with what it may have meant), a value of the wrong kind or out of range. */
wb_status wb_options_set(wb_config *config, wb_origins *origins, const char *key, const char *value,
                         const char *origin);

/* Local. "key=value" of --set. Errors: WB_ERR_USAGE, WB_ERR_CONFIG. */
wb_status wb_options_assign(wb_config *config, wb_origins *origins, const char *assignment);

/* Local. Writes the configuration as YAML: with origins as a run leaves it; with help and ranges
 * instead where `origins` is NULL, as the reference. */
void wb_options_write(const wb_config *config, const wb_origins *origins, FILE *out);

/* Local. Checks that a run begun under `before` may be continued under `now`: all values are equal
 * but FREE ones, and ASKED ones whose keys are in `allowed`, a list as "optimizer.lr,loss.margin",
 * or NULL. Error: WB_ERR_CONFIG naming the first key that differs, both values and `where` the
 * first stands; or the key in `allowed` that must not change. */
wb_status wb_options_check_continues(const wb_config *before, const wb_config *now,
                                     const char *where, const char *allowed);

/* Local. A hash of all FIXED values that are not the default: a run is continued only where it is
 * the same. */
uint64_t wb_options_fixed_hash(const wb_config *config);

#endif
