/* The table. */
#include "other_names.h"

#include <stddef.h>
#include <string.h>

#define WIDE     "it counts the queries of a step over all ranks, whatever fits into memory at once"
#define RUNS     "the same command line continues the run in run.dir, another run.dir begins one"
#define CHUNKS   "in tokens; no result depends on it"
#define CACHED   "every step caches representations and their gradients (GradCache)"
#define WIDEST   "negatives are always those of all ranks"
#define SHARE    "below 1 a share of the steps, from 1 on steps"
#define ADAM     "AdamW has betas of 0.9 and 0.999 and an epsilon of 1e-8"
#define SCALE    "its reciprocal: a scale of 20 is a temperature of 0.05"
#define GROUP    "one less, since the positive is not counted"
#define MEASURED "before and after training, and in between as data.eval_every says"
#define EACH     "metrics.jsonl in run.dir tells of each step"
#define LENGTH   "queries have data.max_query_tokens"
#define THREADS  "a rank's threads do it; OMP_NUM_THREADS sets how many"
#define LAUNCH   "mpirun or srun starts the ranks"
#define LOCAL    "a local folder; nothing is downloaded"
#define PRECISE  "fp32, bf16 or auto; there is no fp16"

static const wb_other_name rows[] = {
    {"model_name_or_path", "model.path", LOCAL},
    {"model_name", "model.path", LOCAL},
    {"output_dir", "run.dir", NULL},
    {"overwrite_output_dir", NULL, RUNS},
    {"resume_from_checkpoint", NULL, RUNS},
    {"per_device_train_batch_size", "batch.size", WIDE},
    {"per_gpu_train_batch_size", "batch.size", WIDE},
    {"train_batch_size", "batch.size", WIDE},
    {"global_batch_size", "batch.size", WIDE},
    {"batch_size", "batch.size", WIDE},
    {"gradient_accumulation_steps", "batch.size", WIDE},
    {"accumulate_grad_batches", "batch.size", WIDE},
    {"mini_batch_size", "memory.chunk_tokens", CHUNKS},
    {"sub_batch_size", "memory.chunk_tokens", CHUNKS},
    {"chunk_size", "memory.chunk_tokens", CHUNKS},
    {"gc_q_chunk_size", "memory.chunk_tokens", CHUNKS},
    {"gc_p_chunk_size", "memory.chunk_tokens", CHUNKS},
    {"gradient_checkpointing", "memory.budget", "activations beyond it are computed again"},
    {"grad_cache", NULL, CACHED},
    {"use_grad_cache", NULL, CACHED},
    {"negatives_x_device", NULL, WIDEST},
    {"negatives_cross_device", NULL, WIDEST},
    {"gather_across_devices", NULL, WIDEST},
    {"learning_rate", "optimizer.lr", NULL},
    {"warmup_ratio", "optimizer.warmup", SHARE},
    {"warmup_steps", "optimizer.warmup", SHARE},
    {"num_warmup_steps", "optimizer.warmup", SHARE},
    {"lr_scheduler_type", "optimizer.schedule", NULL},
    {"scheduler", "optimizer.schedule", NULL},
    {"max_grad_norm", "optimizer.clip", NULL},
    {"gradient_clip_val", "optimizer.clip", NULL},
    {"optim", "optimizer.name", NULL},
    {"betas", NULL, ADAM},
    {"beta1", NULL, ADAM},
    {"beta2", NULL, ADAM},
    {"adam_beta1", NULL, ADAM},
    {"adam_beta2", NULL, ADAM},
    {"adam_epsilon", NULL, ADAM},
    {"eps", NULL, ADAM},
    {"num_train_epochs", "batch.epochs", NULL},
    {"num_epochs", "batch.epochs", NULL},
    {"max_epochs", "batch.epochs", NULL},
    {"max_steps", "batch.steps", NULL},
    {"num_train_steps", "batch.steps", NULL},
    {"dataloader_drop_last", "batch.drop_last", NULL},
    {"batch_sampler", "batch.no_duplicates", NULL},
    {"scale", "loss.temperature", SCALE},
    {"similarity_scale", "loss.temperature", SCALE},
    {"tau", "loss.temperature", NULL},
    {"matryoshka_dims", "loss.widths", NULL},
    {"matryoshka_weights", "loss.width_weights", NULL},
    {"guide", "loss.filter_model", NULL},
    {"margin_strategy", "loss.filter", NULL},
    {"relative_margin", "loss.filter_margin", "with loss.filter = relative"},
    {"absolute_margin", "loss.filter_margin", "with loss.filter = absolute"},
    {"fp16", "model.precision", PRECISE},
    {"bf16", "model.precision", PRECISE},
    {"dtype", "model.precision", PRECISE},
    {"torch_dtype", "model.precision", PRECISE},
    {"mixed_precision", "model.precision", PRECISE},
    {"query_prefix", "model.query_prompt", NULL},
    {"query_instruction", "model.query_prompt", NULL},
    {"query_instruction_for_retrieval", "model.query_prompt", NULL},
    {"passage_prefix", "model.passage_prompt", NULL},
    {"document_prefix", "model.passage_prompt", NULL},
    {"passage_instruction_for_retrieval", "model.passage_prompt", NULL},
    {"prompts", "model.query_prompt", "passages have model.passage_prompt"},
    {"prompt", "model.query_prompt", "passages have model.passage_prompt"},
    {"max_seq_length", "data.max_passage_tokens", LENGTH},
    {"max_seq_len", "data.max_passage_tokens", LENGTH},
    {"max_length", "data.max_passage_tokens", LENGTH},
    {"passage_max_len", "data.max_passage_tokens", NULL},
    {"passage_max_length", "data.max_passage_tokens", NULL},
    {"p_max_len", "data.max_passage_tokens", NULL},
    {"query_max_len", "data.max_query_tokens", NULL},
    {"query_max_length", "data.max_query_tokens", NULL},
    {"q_max_len", "data.max_query_tokens", NULL},
    {"train_group_size", "data.hard_negatives", GROUP},
    {"train_n_passages", "data.hard_negatives", GROUP},
    {"num_negatives", "data.hard_negatives", NULL},
    {"num_hard_negatives", "data.hard_negatives", NULL},
    {"train_data", "data.train", NULL},
    {"train_dir", "data.train", NULL},
    {"train_file", "data.train", NULL},
    {"train_path", "data.train", NULL},
    {"train_dataset", "data.train", NULL},
    {"dataset_name", "data.train", "a local folder or file; nothing is downloaded"},
    {"dataset_path", "data.train", NULL},
    {"eval_dataset", "data.eval", MEASURED},
    {"eval_steps", "data.eval_every", NULL},
    {"eval_strategy", "data.eval_every", MEASURED},
    {"evaluation_strategy", "data.eval_every", MEASURED},
    {"evaluation_steps", "data.eval_every", NULL},
    {"do_eval", "data.eval", MEASURED},
    {"save_steps", "checkpoint.every", NULL},
    {"save_strategy", "checkpoint.every", NULL},
    {"save_total_limit", "checkpoint.keep", NULL},
    {"logging_steps", NULL, EACH},
    {"logging_dir", NULL, EACH},
    {"report_to", NULL, EACH},
    {"dataloader_num_workers", NULL, THREADS},
    {"num_workers", NULL, THREADS},
    {"num_proc", NULL, THREADS},
    {"threads", NULL, THREADS},
    {"num_threads", NULL, THREADS},
    {"pooling_mode", "model.pooling", NULL},
    {"sentence_pooling_method", "model.pooling", NULL},
    {"normalize_embeddings", "model.normalize", NULL},
    {"normalized", "model.normalize", NULL},
    {"hidden_dropout_prob", "model.dropout", NULL},
    {"attention_dropout", "model.dropout", NULL},
    {"embedding_dim", "model.width", "of a static encoder that is trained from scratch"},
    {"local_rank", NULL, LAUNCH},
    {"ddp_backend", NULL, LAUNCH},
    {"nproc_per_node", NULL, LAUNCH},
    {"num_processes", NULL, LAUNCH},
};
enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

/* Letters of a key as they stand in the table. */
static char letter(char c) {
    if (c >= 'A' && c <= 'Z') {
        return (char)(c - 'A' + 'a');
    }
    return c;
}

static bool is_name(const char *name, const char *text) {
    size_t i = 0;
    while (text[i] != '\0' && name[i] == (text[i] == '-' ? '_' : letter(text[i]))) {
        i++;
    }
    return name[i] == '\0' && text[i] == '\0';
}

const wb_other_name *wb_other_name_find(const char *key) {
    const char *const dot = strrchr(key, '.');
    for (int i = 0; i < ROWS; i++) {
        if (is_name(rows[i].name, dot ? dot + 1 : key)) {
            return &rows[i];
        }
    }
    return NULL;
}

const wb_other_name *wb_other_name_row(int i) {
    return i < ROWS ? &rows[i] : NULL;
}
