/* Encoding texts and evaluating a model. */
#include "retrieval.h"

#include "exchange.h"
#include "files.h"
#include "qrels.h"
#include "search.h"
#include "token_block.h"
#include "trec_run.h"
#include "units.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Texts to representations
 * --------------------------------------------------------------------------- */

typedef struct file_source {
    const wb_text_file *file;
    wb_role role;
    const int64_t *rows; /* rows to read, or NULL: first, first + 1, … */
    int64_t first;
    wb_token_cache *cache;         /* or NULL */
    const wb_meanwhile *meanwhile; /* or NULL */
    int64_t named;                 /* names of other files' rows in the cache, which come first */
} file_source;

static int64_t row_of(const file_source *from, int64_t i) {
    return from->rows ? from->rows[i] : from->first + i;
}

static wb_status read_line(const void *context, int64_t i, wb_text *texts) {
    const file_source *from = context;
    return wb_text_file_read(from->file, row_of(from, i), texts);
}

static wb_status name_line(const void *context, int64_t i, uint64_t *names) {
    const file_source *from = context;
    names[0] = (uint64_t)(from->named + row_of(from, i));
    return WB_OK;
}

static wb_status check_finite(const float *reps, const wb_packed *block, int64_t d) {
    for (int64_t i = 0; i < block->n * d; i++) {
        if (!isfinite(reps[i])) {
            return WB_ERROR(WB_ERR_NUMERIC,
                            "the representation of text %lld of a block is not finite",
                            (long long)(i / d));
        }
    }
    return WB_OK;
}

static wb_status go_on(const wb_meanwhile *meanwhile) {
    wb_status status = WB_OK;
    bool leaves = false;
    if (meanwhile) {
        wb_timetable_go_on(meanwhile->time);
        WB_TRY(meanwhile->life ? wb_run_life_look(meanwhile->life, &leaves) : WB_OK);
        WB_CHECK(!leaves, WB_STOPPED, "left, as all ranks agreed");
    }
done:
    return status;
}

wb_status wb_encode_packed(float *reps, const wb_model *model, const wb_packed *packed,
                           int64_t chunk_tokens, const wb_meanwhile *meanwhile, wb_arena *arena) {
    static const wb_pass evaluation = {.active = false};
    wb_status status = WB_OK;
    const int64_t d = model->folder.spec.hidden;
    const size_t mark = wb_arena_mark(arena);
    int32_t *examples;
    WB_TRY(wb_arena_int32s(arena, packed->n, &examples)); /* name masks, of which there are none */
    memset(examples, 0, (size_t)packed->n * sizeof(*examples));
    for (int64_t first = 0, end; first < packed->n; first = end) {
        for (end = first + 1; end < packed->n; end++) {
            if (packed->offsets[end + 1] - packed->offsets[first] > chunk_tokens) {
                break;
            }
        }
        const wb_packed chunk = wb_packed_slice(packed, first, end - first);
        WB_TRY(go_on(meanwhile));
        WB_TRY(wb_encoder_forward(model->encoder, reps + first * d, NULL, model->params, &chunk,
                                  (const uint32_t *)examples, &evaluation, arena));
    }
    WB_TRY(check_finite(reps, packed, d));
done:
    wb_arena_release(arena, mark);
    return status;
}

enum { BLOCK = 1024 }; /* texts read at once */

static wb_status encode_source(float *reps, int64_t *tokens, const wb_model *model,
                               const file_source *from, int64_t n, int64_t max_tokens,
                               int64_t chunk_tokens, wb_arena *arena) {
    wb_status status = WB_OK;
    const size_t mark = wb_arena_mark(arena);
    for (int64_t at = 0; at < n; at += BLOCK) {
        const int64_t count = n - at < BLOCK ? n - at : BLOCK;
        file_source part = *from;
        part.rows = from->rows ? from->rows + at : NULL;
        part.first = from->first + at;
        const wb_token_source source = {.read = read_line,
                                        .name = name_line,
                                        .context = &part,
                                        .model = model,
                                        .cache = from->cache,
                                        .first = from->role,
                                        .first_tokens = max_tokens};
        wb_packed block;
        WB_TRY(wb_token_block_read(&block, &source, count, arena));
        WB_TRY(wb_encode_packed(reps + at * model->folder.spec.hidden, model, &block, chunk_tokens,
                                from->meanwhile, arena));
        *tokens += wb_packed_tokens(&block);
        wb_arena_release(arena, mark);
    }
done:
    wb_arena_release(arena, mark);
    return status;
}

wb_status wb_encode_texts(float *reps, int64_t *tokens, const wb_model *model,
                          const wb_text_file *file, wb_role role, int64_t first, int64_t n,
                          int64_t max_tokens, int64_t chunk_tokens, wb_arena *arena) {
    const file_source from = {.file = file, .role = role, .first = first};
    return encode_source(reps, tokens, model, &from, n, max_tokens, chunk_tokens, arena);
}

/* ---- Their memory, before it is needed
 * ------------------------------------------------------------------------ */

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* A chunk holds a text that is longer than chunk_tokens all the same. */
static size_t encode_bytes(const wb_model *model, const wb_encode_plan *plan,
                           int64_t chunk_tokens) {
    const int64_t longest = plan->max_tokens;
    const int64_t tokens = smaller(chunk_tokens > longest ? chunk_tokens : longest,
                                   plan->texts > 0 ? plan->texts * longest : 0);
    const size_t bytes =
        plan->beside + wb_arena_rounded((size_t)plan->texts * sizeof(int32_t)) +
        wb_encoder_bytes(model->encoder, tokens, smaller(plan->texts, tokens)).forward;
    return bytes > plan->after ? bytes : plan->after;
}

/* The largest chunk for which `room` is enough, 0 where none is. */
static int64_t largest_chunk(const wb_model *model, const wb_encode_plan *plan, size_t room) {
    int64_t fits = 0, beyond = plan->chunk_tokens;
    while (beyond - fits > 1) {
        const int64_t middle = fits + (beyond - fits) / 2;
        if (encode_bytes(model, plan, middle) <= room) {
            fits = middle;
        } else {
            beyond = middle;
        }
    }
    return fits;
}

/* What would help: a smaller chunk, a larger budget. */
static void advise(char *text, size_t bytes, const wb_encode_plan *plan, int64_t fits,
                   size_t needed) {
    size_t used = 0;
    text[0] = '\0';
    if (fits > 0) {
        used = (size_t)snprintf(text, bytes, "; try %s%lld", plan->chunk_setting, (long long)fits);
    }
    if (plan->budget_setting) {
        (void)snprintf(text + used, bytes - used, "%s%s%zu", fits > 0 ? " or " : "; try ",
                       plan->budget_setting, needed);
    }
}

wb_status wb_encode_check_room(const wb_model *model, const wb_encode_plan *plan,
                               const wb_arena *arena) {
    const size_t room = wb_arena_left(arena);
    const size_t needed = encode_bytes(model, plan, plan->chunk_tokens);
    char advice[160];
    if (needed <= room) {
        return WB_OK;
    }
    advise(advice, sizeof(advice), plan, largest_chunk(model, plan, room), needed);
    return WB_ERROR(
        WB_ERR_MEMORY,
        "%s: work in chunks of %lld tokens may take %s, more than the %s that a rank has "
        "for it%s",
        plan->what, (long long)plan->chunk_tokens, wb_bytes_text(needed).text,
        wb_bytes_text(room).text, advice);
}

wb_status wb_encode_check_texts(const wb_model *model, const wb_encode_plan *plan,
                                const wb_arena *arena) {
    const wb_token_source source = {.first_tokens = plan->max_tokens};
    wb_encode_plan block = *plan;
    block.texts = smaller(plan->texts, BLOCK);
    block.beside += wb_token_block_bytes(&source, block.texts);
    return wb_encode_check_room(model, &block, arena);
}

/* ---- Shares of a file
 * ----------------------------------------------------------------------------------------- */

/* What a row costs to encode, in bytes of its line: what lies behind the longest text is not read.
 */
static int64_t row_cost(const wb_text_file *file, int64_t row, int64_t max_tokens) {
    enum { BYTES_A_TOKEN = 5, BESIDE_TEXT = 32 };
    const int64_t bytes = wb_text_file_offset(file, row + 1) - wb_text_file_offset(file, row);
    const int64_t most = max_tokens * BYTES_A_TOKEN + BESIDE_TEXT;
    return bytes < most ? bytes : most;
}

int64_t wb_text_share(const wb_text_file *file, int64_t first, int64_t n, int part, int parts,
                      int64_t max_tokens) {
    int64_t all = 0, before = 0, row = first;
    for (int64_t i = first; i < first + n; i++) {
        all += row_cost(file, i, max_tokens);
    }
    const int64_t wanted = (int64_t)((__int128)all * part / parts);
    while (row < first + n && (before < wanted || part == parts)) {
        before += row_cost(file, row, max_tokens);
        row++;
    }
    return row;
}

/* ---- Evaluation
 * ------------------------------------------------------------------------------------------- */

/* One evaluation in progress: owned by wb_evaluate. */
typedef struct evaluation_state {
    wb_text_file *corpus, *queries;
    wb_trec_rows qrels;
    int64_t *query_rows; /* [qrels.queries.count], rows of the queries file */
    int64_t *firsts;     /* [K + 1], shares of the queries */
    float *query_reps;   /* [query_count, d], of all ranks after the gather */
    float *own_queries;  /* this rank's share of them */
    float *shard;        /* [shard_rows, d] */
    int64_t shard_first, shard_rows;
    wb_hit *hits;    /* [query_count, depth] */
    int64_t *counts; /* [query_count] */
} evaluation_state;

static wb_status open_files(evaluation_state *s, const wb_evaluation *e) {
    wb_status status = WB_OK;
    char path[WB_PATH];
    WB_TRY(wb_path_join(path, e->folder, "corpus.jsonl"));
    WB_TRY(wb_text_file_open(&s->corpus, path));
    WB_TRY(wb_path_join(path, e->folder, "queries.jsonl"));
    WB_TRY(wb_text_file_open(&s->queries, path));
    WB_TRY(wb_path_join(path, e->folder, "qrels/%s.tsv", e->split));
    WB_TRY(wb_qrels_read(&s->qrels, path));
    s->query_rows = malloc((size_t)s->qrels.queries.count * sizeof(*s->query_rows));
    WB_CHECK(s->query_rows, WB_ERR_MEMORY, "no memory for %lld queries",
             (long long)s->qrels.queries.count);
    for (int64_t i = 0; i < s->qrels.queries.count; i++) {
        WB_TRY(wb_text_file_find(s->queries, s->qrels.queries.strings[i], &s->query_rows[i]));
        WB_CHECK(s->query_rows[i] >= 0, WB_ERR_INPUT, "%s: query %s is not in %s", path,
                 s->qrels.queries.strings[i], wb_text_file_path(s->queries));
    }
done:
    return status;
}

static wb_status take_memory(evaluation_state *s, const wb_evaluation *e, int64_t d, int rank,
                             int world) {
    const int64_t n = s->qrels.queries.count;
    s->firsts = calloc((size_t)world + 1, sizeof(*s->firsts));
    const int64_t rows = wb_text_file_rows(s->corpus), most = e->passage_tokens;
    s->shard_first = wb_text_share(s->corpus, 0, rows, rank, world, most);
    s->shard_rows = wb_text_share(s->corpus, 0, rows, rank + 1, world, most) - s->shard_first;
    s->query_reps = malloc(wb_float_bytes(n * d));
    s->own_queries = malloc(wb_float_bytes((n / world + 1) * d));
    s->shard = malloc(wb_float_bytes((s->shard_rows + 1) * d));
    s->hits = calloc((size_t)(n * e->depth), sizeof(*s->hits));
    s->counts = calloc((size_t)n, sizeof(*s->counts));
    if (!s->firsts || !s->query_reps || !s->own_queries || !s->shard || !s->hits || !s->counts) {
        return WB_ERROR(WB_ERR_MEMORY, "no memory to evaluate %lld queries on %lld passages",
                        (long long)n, (long long)wb_text_file_rows(s->corpus));
    }
    for (int r = 0; r <= world; r++) {
        s->firsts[r] = (int64_t)((__int128)n * r / world);
    }
    return WB_OK;
}

/* As if one rank had all: the others' shares are no larger, and all ranks say the same. */
static wb_status check_room(const evaluation_state *s, const wb_evaluation *e,
                            const wb_model *model, const wb_arena *arena) {
    wb_status status = WB_OK;
    wb_encode_plan plan = {.what = e->folder,
                           .budget_setting = "memory.budget=",
                           .chunk_setting = "memory.chunk_tokens=",
                           .after = wb_topk_bytes(),
                           .texts = wb_text_file_rows(s->corpus),
                           .max_tokens = e->passage_tokens,
                           .chunk_tokens = e->chunk_tokens};
    WB_TRY(wb_encode_check_texts(model, &plan, arena));
    plan.texts = s->qrels.queries.count;
    plan.max_tokens = e->query_tokens;
    WB_TRY(wb_encode_check_texts(model, &plan, arena));
done:
    return status;
}

static wb_status encode_all(evaluation_state *s, const wb_evaluation *e, const wb_model *model,
                            int rank, wb_arena *arena) {
    wb_status status = WB_OK;
    int64_t tokens = 0;
    const file_source queries = {.file = s->queries,
                                 .role = WB_QUERY,
                                 .rows = s->query_rows + s->firsts[rank],
                                 .cache = e->cache,
                                 .meanwhile = &e->meanwhile};
    const file_source passages = {.file = s->corpus,
                                  .role = WB_PASSAGE,
                                  .first = s->shard_first,
                                  .cache = e->cache,
                                  .meanwhile = &e->meanwhile,
                                  .named = wb_text_file_rows(s->queries)};
    WB_TRY(encode_source(s->own_queries, &tokens, model, &queries,
                         s->firsts[rank + 1] - s->firsts[rank], e->query_tokens, e->chunk_tokens,
                         arena));
    WB_TRY(encode_source(s->shard, &tokens, model, &passages, s->shard_rows, e->passage_tokens,
                         e->chunk_tokens, arena));
done:
    return status;
}

static wb_status write_run(const evaluation_state *s, const wb_evaluation *e) {
    wb_status status = WB_OK;
    wb_text passage = {0};
    wb_trec_run_writer *writer = NULL;
    WB_TRY(wb_trec_run_create(&writer, e->run_path, "widebatch"));
    for (int64_t i = 0; i < s->qrels.queries.count; i++) {
        wb_timetable_go_on(e->meanwhile.time);
        for (int64_t j = 0; j < s->counts[i]; j++) {
            const wb_hit hit = s->hits[i * e->depth + j];
            WB_TRY(wb_text_file_read(s->corpus, hit.row, &passage));
            WB_TRY(
                wb_trec_run_add(writer, s->qrels.queries.strings[i], passage.id, j + 1, hit.score));
        }
    }
    wb_trec_run_writer *const complete = writer;
    writer = NULL;
    WB_TRY(wb_trec_run_commit(complete));
done:
    wb_trec_run_discard(writer);
    wb_text_clear(&passage);
    return status;
}

/* The run is read back: what is measured is what was written. */
static wb_status measure(wb_measures *measures, const evaluation_state *s, const wb_evaluation *e) {
    wb_status status = WB_OK;
    wb_trec_rows run = {0};
    WB_TRY(write_run(s, e));
    WB_TRY(wb_trec_run_read(&run, e->run_path));
    WB_TRY(wb_measures_compute(&s->qrels, &run, measures));
done:
    wb_trec_rows_clear(&run);
    return status;
}

/* This rank's shard, a part at a time. */
static wb_status search_shard(evaluation_state *s, const wb_evaluation *e, int64_t d,
                              wb_arena *arena) {
    enum { PART = 1 << 16 };
    wb_status status = WB_OK;
    for (int64_t at = 0; at < s->shard_rows; at += PART) {
        const int64_t rows = s->shard_rows - at < PART ? s->shard_rows - at : PART;
        WB_TRY(go_on(&e->meanwhile));
        WB_TRY(wb_topk_fold(s->hits, s->counts, s->query_reps, s->shard + at * d,
                            s->qrels.queries.count, rows, d, e->depth, s->shard_first + at, arena));
    }
done:
    return status;
}

static void free_state(evaluation_state *s) {
    wb_text_file_close(s->corpus);
    wb_text_file_close(s->queries);
    wb_trec_rows_clear(&s->qrels);
    free(s->query_rows);
    free(s->firsts);
    free(s->query_reps);
    free(s->own_queries);
    free(s->shard);
    free(s->hits);
    free(s->counts);
}

/* Collective. Ends work that each rank has done on its own share, or left. */
static wb_status rejoin(const wb_evaluation *e, wb_comm *comm, wb_status mine) {
    wb_run_life *const life = e->meanwhile.life;
    if (mine == WB_STOPPED) {
        wb_error_clear();
        mine = WB_OK;
    }
    return life ? wb_run_life_rejoin(life, mine) : wb_agree(comm, mine);
}

static bool is_left(const wb_evaluation *e) {
    return e->meanwhile.life && e->meanwhile.life->stop != WB_STOP_NONE;
}

wb_status wb_evaluate(wb_measures *measures, const wb_model *model, const wb_evaluation *e,
                      wb_comm *comm, wb_arena *arena) {
    wb_status status = WB_OK;
    const int rank = wb_comm_rank(comm), world = wb_comm_world(comm);
    const int64_t d = model->folder.spec.hidden;
    evaluation_state s = {0};
    WB_TRY_ALL(comm, open_files(&s, e));
    WB_TRY_ALL(comm, check_room(&s, e, model, arena));
    WB_TRY_ALL(comm, take_memory(&s, e, d, rank, world));
    WB_TRY(rejoin(e, comm, encode_all(&s, e, model, rank, arena)));
    if (is_left(e)) {
        goto done;
    }
    WB_TRY(wb_gather_rows(comm, s.query_reps, s.own_queries, s.firsts, wb_float_bytes(d)));
    WB_TRY(rejoin(e, comm, search_shard(&s, e, d, arena)));
    if (is_left(e)) {
        goto done;
    }
    WB_TRY(wb_search_join(s.hits, s.counts, s.qrels.queries.count, e->depth, comm));
    WB_TRY_ALL(comm, rank == 0 ? measure(measures, &s, e) : WB_OK);
    WB_TRY(wb_broadcast(comm, measures, (int64_t)sizeof(*measures)));
done:
    free_state(&s);
    return status;
}

wb_status wb_evaluate_check(const wb_model *model, const wb_evaluation *e, wb_comm *comm,
                            const wb_arena *arena) {
    wb_status status = WB_OK;
    evaluation_state s = {0};
    WB_TRY_ALL(comm, open_files(&s, e));
    WB_TRY_ALL(comm, check_room(&s, e, model, arena));
done:
    free_state(&s);
    return status;
}
