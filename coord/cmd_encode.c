/* widebatch encode: the texts of a file as representations, in input order, on any number of ranks.
 *
 * In each round every rank takes a part of the next rows, all parts about as long; then rank 0
 * collects the parts in order and appends them to the file, so that memory does not grow with the
 * corpus.
 */
#include "chunk_plan.h"
#include "commands.h"
#include "embeddings_file.h"
#include "exchange.h"
#include "files.h"
#include "log.h"
#include "memory.h"
#include "retrieval.h"
#include "units.h"

#include <stdlib.h>
#include <string.h>

enum { MODEL, INPUT, OUTPUT, ROLE, MAX_TOKENS, CHUNK_TOKENS, PRECISION };
const wb_flag wb_encode_flags[] = {
    [MODEL] = {"model", WB_FLAG_REQUIRED, "DIR", NULL,
               "model folder (Hugging Face, sentence-transformers, or a run's export/)"},
    [INPUT] = {"input", WB_FLAG_REQUIRED, "FILE.jsonl", NULL,
               "one text a line: _id, text, maybe title"},
    [OUTPUT] = {"output", WB_FLAG_REQUIRED, "FILE.h5", NULL, "datasets embeddings and ids"},
    [ROLE] = {"role", WB_FLAG_OPTIONAL, "query|passage", "passage",
              "what the texts are: the model's prompt for it stands before each"},
    [MAX_TOKENS] = {"max-tokens", WB_FLAG_OPTIONAL, "N", "0",
                    "longest text in tokens; 0: as the model says"},
    [CHUNK_TOKENS] = {"chunk-tokens", WB_FLAG_OPTIONAL, "N", "4096", "tokens encoded at once"},
    [PRECISION] = {"precision", WB_FLAG_OPTIONAL, "fp32|bf16|auto", "fp32",
                   "of activations and products, as model.precision"},
};
const int wb_encode_flag_count = sizeof(wb_encode_flags) / sizeof(wb_encode_flags[0]);

enum { BLOCK = 1024 }; /* rows of a round, by ranks */

/* A command in progress. */
typedef struct encoding {
    wb_comm *comm;
    wb_model model;
    wb_text_file *file;
    wb_arena *arena;
    wb_embeddings_writer *writer; /* rank 0 */
    float *reps;                  /* [room, d] */
    int64_t room;                 /* rows */
    wb_role role;
    int64_t max_tokens, chunk_tokens, tokens;
} encoding;

static wb_status open_input(encoding *e, const wb_arguments *arguments) {
    wb_status status = WB_OK;
    int64_t wanted;
    const char *const role = arguments->values[ROLE];
    WB_CHECK(strcmp(role, "query") == 0 || strcmp(role, "passage") == 0, WB_ERR_USAGE,
             "--role %.50s; query or passage is needed", role);
    e->role = strcmp(role, "query") == 0 ? WB_QUERY : WB_PASSAGE;
    WB_TRY(wb_argument_count("max-tokens", arguments->values[MAX_TOKENS], 0, 1 << 20, &wanted));
    WB_TRY(wb_argument_count("chunk-tokens", arguments->values[CHUNK_TOKENS], 1, 1 << 24,
                             &e->chunk_tokens));
    WB_TRY(wb_model_max_tokens(&e->model, wanted, "--max-tokens", &e->max_tokens));
    WB_CHECK(e->max_tokens >= 3, WB_ERR_USAGE, "--max-tokens %lld; at least 3 are needed",
             (long long)e->max_tokens);
    WB_TRY(wb_argument_check_output(arguments->values[OUTPUT], arguments->values[INPUT]));
    WB_TRY(wb_text_file_open(&e->file, arguments->values[INPUT]));
    WB_TRY(wb_arena_create(&e->arena, "chunk", wb_memory_budget(wb_comm_local_world(e->comm), 0)));
    const wb_encode_plan plan = {.what = arguments->values[INPUT],
                                 .chunk_setting = "--chunk-tokens ",
                                 .texts = wb_text_file_rows(e->file),
                                 .max_tokens = e->max_tokens,
                                 .chunk_tokens = e->chunk_tokens};
    WB_TRY(wb_encode_check_texts(&e->model, &plan, e->arena));
    if (wb_comm_rank(e->comm) == 0) {
        wb_embeddings_facts facts = {.max_tokens = e->max_tokens,
                                     .normalized = e->model.folder.spec.normalize};
        (void)snprintf(facts.model, sizeof(facts.model), "%s", arguments->values[MODEL]);
        (void)snprintf(facts.role, sizeof(facts.role), "%s", role);
        WB_TRY(wb_embeddings_create(&e->writer, arguments->values[OUTPUT],
                                    e->model.folder.spec.hidden, &facts));
    }
done:
    return status;
}

/* Ids of some rows as NUL-terminated strings one after the other; owned by the caller. */
static wb_status read_ids(char **ids, size_t *bytes, const wb_text_file *file, int64_t first,
                          int64_t n) {
    wb_status status = WB_OK;
    wb_text text = {0};
    FILE *out = open_memstream(ids, bytes);
    WB_CHECK(out, WB_ERR_MEMORY, "no memory for %lld ids", (long long)n);
    for (int64_t i = 0; i < n; i++) {
        WB_TRY(wb_text_file_read(file, first + i, &text));
        (void)fwrite(text.id, 1, strlen(text.id) + 1, out);
    }
done:
    status = out ? wb_memstream_close(out, status, "ids") : status;
    wb_text_clear(&text);
    return status;
}

/* Rank 0: appends what all ranks brought in one round. */
static wb_status append(encoding *e, const float *reps, const char *ids, int64_t rows) {
    wb_status status = WB_OK;
    const char **names = malloc((size_t)(rows + 1) * sizeof(*names));
    WB_CHECK(names, WB_ERR_MEMORY, "no memory for %lld ids", (long long)rows);
    for (int64_t i = 0; i < rows; i++) {
        names[i] = ids;
        ids += strlen(ids) + 1;
    }
    WB_TRY(wb_embeddings_append(e->writer, rows, reps, names));
done:
    free(names);
    return status;
}

/* This rank's part of a round: its representations are in e->reps, its ids with the caller. */
static wb_status encode_part(encoding *e, char **ids, size_t *id_bytes, int64_t begin, int64_t n) {
    wb_status status = WB_OK;
    if (n > e->room) {
        free(e->reps);
        e->room = 0;
        e->reps = malloc(wb_float_bytes(n * e->model.folder.spec.hidden));
        WB_CHECK(e->reps, WB_ERR_MEMORY, "no memory for %lld representations", (long long)n);
        e->room = n;
    }
    WB_TRY(wb_encode_texts(e->reps, &e->tokens, &e->model, e->file, e->role, begin, n,
                           e->max_tokens, e->chunk_tokens, e->arena));
    WB_TRY(read_ids(ids, id_bytes, e->file, begin, n));
done:
    return status;
}

static wb_status encode_round(encoding *e, int64_t first, int64_t rows) {
    wb_status status = WB_OK;
    const int world = wb_comm_world(e->comm), rank = wb_comm_rank(e->comm);
    const int64_t d = e->model.folder.spec.hidden;
    const int64_t begin = wb_text_share(e->file, first, rows, rank, world, e->max_tokens);
    const int64_t n = wb_text_share(e->file, first, rows, rank + 1, world, e->max_tokens) - begin;
    char *ids = NULL;
    size_t id_bytes = 0;
    void *all_reps = NULL, *all_ids = NULL;
    int64_t *sizes = calloc((size_t)world, sizeof(*sizes));
    WB_TRY_ALL(e->comm, sizes ? WB_OK : WB_ERROR(WB_ERR_MEMORY, "no memory for %d sizes", world));
    WB_TRY_ALL(e->comm, encode_part(e, &ids, &id_bytes, begin, n));
    WB_TRY(wb_collect(e->comm, &all_reps, sizes, e->reps, (int64_t)wb_float_bytes(n * d)));
    WB_TRY(wb_collect(e->comm, &all_ids, sizes, ids, (int64_t)id_bytes));
    WB_TRY_ALL(e->comm, rank == 0 ? append(e, all_reps, all_ids, rows) : WB_OK);
done:
    free(ids);
    free(all_reps);
    free(all_ids);
    free(sizes);
    return status;
}

static wb_status encode_rounds(encoding *e) {
    wb_status status = WB_OK;
    const int64_t total = wb_text_file_rows(e->file);
    const int64_t round = (int64_t)BLOCK * wb_comm_world(e->comm);
    const double began = wb_now();
    double last_line = began;
    for (int64_t first = 0; first < total; first += round) {
        const int64_t rows = total - first < round ? total - first : round;
        WB_TRY(encode_round(e, first, rows));
        const double now = wb_now(), done_share = (double)(first + rows) / (double)total;
        char text[128];
        (void)snprintf(text, sizeof(text), "encoded %s of %s texts, %s left",
                       wb_count_text(first + rows).text, wb_count_text(total).text,
                       wb_seconds_text((now - began) * (1.0 / done_share - 1.0)).text);
        if (first + rows < total && now - last_line >= 10.0) {
            last_line = now;
            wb_log(WB_LOG_RUN, "%s", text);
        } else if (first + rows < total) {
            wb_log_bar(text);
        }
    }
    double tokens = (double)e->tokens;
    WB_TRY(wb_reduce_sums(e->comm, &tokens, 1));
    const double seconds = wb_now() - began;
    wb_log(WB_LOG_RUN, "encoded %s texts, %s tokens in %s: %s tokens/s", wb_count_text(total).text,
           wb_count_text((int64_t)tokens).text, wb_seconds_text(seconds).text,
           wb_count_text((int64_t)(tokens / seconds)).text);
done:
    return status;
}

wb_status wb_command_encode(const wb_arguments *arguments, wb_comm *comm) {
    wb_status status = WB_OK;
    encoding e = {.comm = comm};
    WB_TRY(wb_model_open_folder(&e.model, arguments->values[MODEL], arguments->values[PRECISION],
                                comm));
    WB_TRY_ALL(comm, open_input(&e, arguments));
    WB_TRY(encode_rounds(&e));
    if (wb_comm_rank(comm) == 0) {
        wb_embeddings_writer *const complete = e.writer;
        e.writer = NULL;
        status = wb_embeddings_commit(complete);
    }
    WB_TRY_ALL(comm, status);
done:
    wb_embeddings_discard(e.writer);
    free(e.reps);
    wb_arena_destroy(e.arena);
    wb_text_file_close(e.file);
    wb_model_close(&e.model);
    return status;
}
