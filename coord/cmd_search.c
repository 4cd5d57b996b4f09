/* widebatch search: exact top-k over a corpus that ranks share by rows.
 *
 * Every rank holds the queries and walks its rows of the corpus in blocks; rank 0 joins the lists.
 */
#include "commands.h"
#include "embeddings_file.h"
#include "log.h"
#include "search.h"
#include "trec_run.h"
#include "units.h"

#include <stdlib.h>

enum { QUERIES, CORPUS, K, OUTPUT };
const wb_flag wb_search_flags[] = {
    [QUERIES] = {"queries", WB_FLAG_REQUIRED, "Q.h5", NULL, "queries, as encode wrote them"},
    [CORPUS] = {"corpus", WB_FLAG_REQUIRED, "C.h5", NULL, "passages, as encode wrote them"},
    [K] = {"k", WB_FLAG_REQUIRED, "N", NULL, "results for each query"},
    [OUTPUT] = {"output", WB_FLAG_REQUIRED, "RUN.trec", NULL, "results, six columns"},
};
const int wb_search_flag_count = sizeof(wb_search_flags) / sizeof(wb_search_flags[0]);

enum { BLOCK = 8192 }; /* rows of the corpus read at once */

/* A search in progress. */
typedef struct searching {
    wb_comm *comm;
    wb_embeddings_reader *queries, *corpus;
    wb_trec_run_writer *writer; /* rank 0 */
    wb_arena *arena;
    float *query_reps;     /* [n, d] */
    float *block;          /* [BLOCK, d] */
    wb_hit *hits;          /* [n, k] */
    int64_t *counts;       /* [n] */
    int64_t n, rows, d, k; /* queries, passages, width, results */
} searching;

static wb_status open_files(searching *s, const wb_arguments *arguments) {
    wb_status status = WB_OK;
    const char *const output = arguments->values[OUTPUT];
    WB_TRY(wb_argument_count("k", arguments->values[K], 1, 1 << 24, &s->k));
    WB_TRY(wb_argument_check_output(output, arguments->values[QUERIES]));
    WB_TRY(wb_argument_check_output(output, arguments->values[CORPUS]));
    WB_TRY(wb_embeddings_open(&s->queries, arguments->values[QUERIES]));
    WB_TRY(wb_embeddings_open(&s->corpus, arguments->values[CORPUS]));
    s->n = wb_embeddings_rows(s->queries);
    s->rows = wb_embeddings_rows(s->corpus);
    s->d = wb_embeddings_width(s->queries);
    WB_CHECK(s->d == wb_embeddings_width(s->corpus), WB_ERR_INPUT,
             "%s has width %lld, %s has %lld: they are of different models",
             arguments->values[QUERIES], (long long)s->d, arguments->values[CORPUS],
             (long long)wb_embeddings_width(s->corpus));
    s->k = s->k < s->rows ? s->k : s->rows;
    WB_TRY(wb_arena_create(&s->arena, "tiles", (size_t)1 << 30));
    s->query_reps = malloc(wb_float_bytes(s->n * s->d + 1));
    s->block = malloc(wb_float_bytes(BLOCK * s->d));
    s->hits = calloc((size_t)(s->n * s->k + 1), sizeof(*s->hits));
    s->counts = calloc((size_t)s->n + 1, sizeof(*s->counts));
    WB_CHECK(s->query_reps && s->block && s->hits && s->counts, WB_ERR_MEMORY,
             "no memory for %lld queries and %lld results each", (long long)s->n, (long long)s->k);
    WB_TRY(wb_embeddings_read(s->queries, 0, s->n, s->query_reps));
    if (wb_comm_rank(s->comm) == 0) {
        WB_TRY(wb_trec_run_create(&s->writer, output, "widebatch"));
    }
done:
    return status;
}

static wb_status search_shard(searching *s) {
    wb_status status = WB_OK;
    const int world = wb_comm_world(s->comm), rank = wb_comm_rank(s->comm);
    const int64_t end = (int64_t)((__int128)s->rows * (rank + 1) / world);
    for (int64_t first = (int64_t)((__int128)s->rows * rank / world); first < end; first += BLOCK) {
        const int64_t rows = end - first < BLOCK ? end - first : BLOCK;
        WB_TRY(wb_embeddings_read(s->corpus, first, rows, s->block));
        WB_TRY(wb_topk_fold(s->hits, s->counts, s->query_reps, s->block, s->n, rows, s->d, s->k,
                            first, s->arena));
    }
done:
    return status;
}

static wb_status write_run(searching *s) {
    wb_status status = WB_OK;
    wb_embeddings_ids queries = {0}, passages = {0};
    WB_TRY(wb_embeddings_read_ids(s->queries, 0, s->n, &queries));
    WB_TRY(wb_embeddings_read_ids(s->corpus, 0, s->rows, &passages));
    for (int64_t i = 0; i < s->n; i++) {
        for (int64_t j = 0; j < s->counts[i]; j++) {
            const wb_hit hit = s->hits[i * s->k + j];
            WB_TRY(wb_trec_run_add(s->writer, wb_embeddings_id(&queries, i),
                                   wb_embeddings_id(&passages, hit.row), j + 1, hit.score));
        }
    }
    wb_trec_run_writer *const complete = s->writer;
    s->writer = NULL;
    WB_TRY(wb_trec_run_commit(complete));
done:
    wb_embeddings_ids_clear(&queries);
    wb_embeddings_ids_clear(&passages);
    return status;
}

wb_status wb_command_search(const wb_arguments *arguments, wb_comm *comm) {
    wb_status status = WB_OK;
    searching s = {.comm = comm};
    const double began = wb_now();
    WB_TRY_ALL(comm, open_files(&s, arguments));
    WB_TRY_ALL(comm, search_shard(&s));
    WB_TRY(wb_search_join(s.hits, s.counts, s.n, s.k, comm));
    WB_TRY_ALL(comm, wb_comm_rank(comm) == 0 ? write_run(&s) : WB_OK);
    wb_log(WB_LOG_RUN, "searched %s passages for %s queries in %s", wb_count_text(s.rows).text,
           wb_count_text(s.n).text, wb_seconds_text(wb_now() - began).text);
done:
    wb_trec_run_discard(s.writer);
    free(s.query_reps);
    free(s.block);
    free(s.hits);
    free(s.counts);
    wb_arena_destroy(s.arena);
    wb_embeddings_close(s.queries);
    wb_embeddings_close(s.corpus);
    return status;
}
