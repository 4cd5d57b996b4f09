/* A model and a data set small enough for a test, written to a folder of their own. */
#ifndef WB_TINY_RUN_H
#define WB_TINY_RUN_H

#include "comm.h"
#include "encoder.h"
#include "files.h"
#include "io_library.h"
#include "options.h"
#include "rng.h"
#include "safetensors.h"
#include "testing.h"

/* Words of the tiny vocabulary: w0 … w59. */
enum { TINY_WORDS = 60, TINY_ROWS = 40, TINY_WIDE_ROWS = 700 };

typedef struct tiny_run {
    char folder[512], model[640], guide[640], beir[640], tevatron[640], many[640], wide[640];
} tiny_run;

static inline FILE *tiny_open(const char *folder, const char *name) {
    char path[1024];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    return out;
}

static inline void tiny_write_model_of(const char *folder, int width, uint64_t seed) {
    const wb_encoder_spec spec = {.kind = WB_ENCODER_BERT,
                                  .vocabulary = TINY_WORDS + 4,
                                  .hidden = width,
                                  .layers = 2,
                                  .heads = 2,
                                  .intermediate = 24,
                                  .positions = 32,
                                  .token_types = 2,
                                  .layer_norm_eps = 1e-12};
    FILE *out = tiny_open(folder, "config.json");
    (void)fprintf(out,
                  "{\"model_type\": \"bert\", \"vocab_size\": %d, \"hidden_size\": %d, "
                  "\"num_hidden_layers\": 2, \"num_attention_heads\": 2, "
                  "\"intermediate_size\": 24, \"max_position_embeddings\": 32, "
                  "\"type_vocab_size\": 2, \"layer_norm_eps\": 1e-12, \"hidden_act\": "
                  "\"gelu\", \"hidden_dropout_prob\": 0.1, "
                  "\"attention_probs_dropout_prob\": 0.1}\n",
                  TINY_WORDS + 4, width);
    (void)fclose(out);
    out = tiny_open(folder, "vocab.txt");
    (void)fputs("[PAD]\n[UNK]\n[CLS]\n[SEP]\n", out);
    for (int i = 0; i < TINY_WORDS; i++) {
        (void)fprintf(out, "w%d\n", i);
    }
    (void)fclose(out);
    wb_encoder *encoder;
    char path[1024];
    expect_ok(wb_encoder_create(&encoder, &spec));
    const wb_tensor_table *table = wb_encoder_table(encoder);
    float *values = malloc((size_t)table->total * sizeof(*values));
    wb_encoder_init(encoder, values, seed);
    for (int64_t i = 0; i < table->total; i++) {
        values[i] *= 5.0f; /* away from zero, where gradients say little */
    }
    (void)snprintf(path, sizeof(path), "%s/model.safetensors", folder);
    expect_ok(wb_safetensors_write(path, table, values, NULL));
    free(values);
    wb_encoder_destroy(encoder);
}

static inline void tiny_write_model(const tiny_run *run) {
    tiny_write_model_of(run->model, 16, 3);
}

/* `words` random words, drawn for example `example`. */
static inline void tiny_write_words(FILE *out, uint32_t example, int words) {
    for (int i = 0; i < words; i++) {
        const wb_rng_key key = {.seed = 1, .example = example, .site = wb_rng_site(WB_RNG_TEST, 0)};
        (void)fprintf(out, "%sw%d", i > 0 ? " " : "",
                      (int)wb_rng_below(TINY_WORDS, key, (uint32_t)i));
    }
}

static inline void tiny_write_data(const tiny_run *run) {
    FILE *corpus = tiny_open(run->beir, "corpus.jsonl");
    FILE *queries = tiny_open(run->beir, "queries.jsonl");
    FILE *qrels = tiny_open(run->beir, "qrels/train.tsv");
    FILE *tevatron = tiny_open(run->folder, "tevatron.jsonl");
    (void)fputs("query-id\tcorpus-id\tscore\n", qrels);
    for (uint32_t i = 0; i < TINY_ROWS; i++) {
        (void)fprintf(corpus, "{\"_id\": \"d%u\", \"title\": \"w1\", \"text\": \"", i);
        tiny_write_words(corpus, i, 1 + (int)(i * 7 % 28));
        (void)fprintf(corpus, "\"}\n");
        (void)fprintf(queries, "{\"_id\": \"q%u\", \"text\": \"", i);
        tiny_write_words(queries, i, 1 + (int)(i % 5));
        (void)fprintf(queries, "\"}\n");
        (void)fprintf(qrels, "q%u\td%u\t1\n", i, i);
        (void)fprintf(tevatron, "{\"query_id\": \"q%u\", \"query\": \"", i);
        tiny_write_words(tevatron, i, 3);
        (void)fprintf(tevatron, "\", \"positive_passages\": [{\"docid\": \"p%u\", \"text\": \"", i);
        tiny_write_words(tevatron, i + 100, 2 + (int)(i % 20));
        (void)fprintf(tevatron, "\"}], \"negative_passages\": [{\"docid\": \"n%u\", \"text\": \"",
                      i);
        tiny_write_words(tevatron, i + 200, 2 + (int)(i % 11));
        (void)fprintf(tevatron, "\"}, {\"docid\": \"m%u\", \"text\": \"", i);
        tiny_write_words(tevatron, i + 300, 5);
        (void)fprintf(tevatron, "\"}]}\n");
    }
    (void)fclose(corpus);
    (void)fclose(queries);
    (void)fclose(qrels);
    (void)fclose(tevatron);
}

/* Queries with several positives that others have too: the split `many` of the BEIR folder, and a
 * Tevatron file whose negatives are again others' positives. */
static inline void tiny_write_many(const tiny_run *run) {
    enum { QUERIES = TINY_ROWS / 2 };
    FILE *qrels = tiny_open(run->beir, "qrels/many.tsv");
    FILE *tevatron = tiny_open(run->folder, "many.jsonl");
    static const char *const lists[] = {", \"positive_passages\": [",
                                        "], \"negative_passages\": ["};
    (void)fputs("query-id\tcorpus-id\tscore\n", qrels);
    for (uint32_t i = 0; i < TINY_ROWS; i++) {
        (void)fprintf(qrels, "q%u\td%u\t1\n", i / 2, (i / 2 + i % 2) % QUERIES);
        (void)fprintf(tevatron, "{\"query_id\": \"q%u\", \"query\": \"", i);
        tiny_write_words(tevatron, i % QUERIES, 3);
        (void)fputs("\"", tevatron);
        for (uint32_t k = 0; k < 4; k++) {
            const uint32_t text = (i + k) % QUERIES;
            (void)fprintf(tevatron, "%s{\"docid\": \"t%u\", \"text\": \"",
                          k % 2 == 0 ? lists[k / 2] : ", ", text);
            tiny_write_words(tevatron, text + 100, 2 + (int)(text % 20));
            (void)fputs("\"}", tevatron);
        }
        (void)fputs("]}\n", tevatron);
    }
    (void)fclose(qrels);
    (void)fclose(tevatron);
}

/* A Tevatron file of more rows than a tile of the loss; every seventh text comes twice. */
static inline void tiny_write_wide(const tiny_run *run) {
    FILE *out = tiny_open(run->folder, "wide.jsonl");
    for (uint32_t i = 0; i < TINY_WIDE_ROWS; i++) {
        const uint32_t text = i % 7 == 0 ? i / 2 : i;
        (void)fprintf(out, "{\"query_id\": \"q%u\", \"query\": \"", i);
        tiny_write_words(out, 1000 + i, 3 + (int)(i % 3));
        (void)fprintf(out, "\", \"positive_passages\": [{\"docid\": \"p%u\", \"text\": \"", text);
        tiny_write_words(out, 2000 + text, 4 + (int)(text % 9));
        (void)fprintf(out, "\"}], \"negative_passages\": [{\"docid\": \"n%u\", \"text\": \"", i);
        tiny_write_words(out, 3000 + i, 4);
        (void)fprintf(out, "\"}, {\"docid\": \"p%u\", \"text\": \"", (i + 1) % TINY_WIDE_ROWS);
        tiny_write_words(out, 2000 + (i + 1) % TINY_WIDE_ROWS, 4);
        (void)fputs("\"}]}\n", out);
    }
    (void)fclose(out);
}

/* Collective. Rank 0 writes; the others wait. `name` keeps tests apart that run at the same time.
 */
static inline tiny_run tiny_make(wb_comm *comm, const char *name) {
    tiny_run run;
    char qrels[1024];
    (void)snprintf(run.folder, sizeof(run.folder), "%s/%s-%d", WB_TEST_SCRATCH, name,
                   wb_comm_world(comm));
    (void)snprintf(run.model, sizeof(run.model), "%s/model", run.folder);
    (void)snprintf(run.beir, sizeof(run.beir), "%s/beir", run.folder);
    (void)snprintf(run.tevatron, sizeof(run.tevatron), "%s/tevatron.jsonl", run.folder);
    (void)snprintf(run.guide, sizeof(run.guide), "%s/guide", run.folder);
    (void)snprintf(run.wide, sizeof(run.wide), "%s/wide.jsonl", run.folder);
    (void)snprintf(run.many, sizeof(run.many), "%s/many.jsonl", run.folder);
    (void)snprintf(qrels, sizeof(qrels), "%s/qrels", run.beir);
    if (wb_comm_rank(comm) == 0) {
        expect_ok(wb_folder_remove(run.folder));
        expect_ok(wb_folder_make(run.model));
        expect_ok(wb_folder_make(run.guide));
        expect_ok(wb_folder_make(qrels));
        tiny_write_model(&run);
        tiny_write_model_of(run.guide, 12, 4);
        tiny_write_data(&run);
        tiny_write_many(&run);
        tiny_write_wide(&run);
    }
    expect_ok(wb_agree(comm, WB_OK));
    return run;
}

/* Local. Defaults for the tiny run, then assignments. */
static inline wb_config tiny_config(const tiny_run *run, const char *const *assignments,
                                    int count) {
    wb_config config;
    wb_origins *origins;
    expect_ok(wb_options_defaults(&config, &origins));
    expect_ok(wb_options_set(&config, origins, "model.path", run->model, "test"));
    expect_ok(wb_options_set(&config, origins, "data.train", run->beir, "test"));
    expect_ok(wb_options_set(&config, origins, "data.max_query_tokens", "16", "test"));
    expect_ok(wb_options_set(&config, origins, "data.max_passage_tokens", "32", "test"));
    expect_ok(wb_options_set(&config, origins, "memory.budget", "64M", "test"));
    for (int i = 0; i < count; i++) {
        expect_ok(wb_options_assign(&config, origins, assignments[i]));
    }
    wb_origins_destroy(origins);
    return config;
}

#endif
