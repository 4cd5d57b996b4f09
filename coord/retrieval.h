/* Retrieval with a model in memory: texts to representations, and a whole evaluation. */
#ifndef WB_RETRIEVAL_H
#define WB_RETRIEVAL_H

#include "arena.h"
#include "comm.h"
#include "measures.h"
#include "model.h"
#include "run_life.h"
#include "text_file.h"
#include "timetable.h"
#include "token_cache.h"

/* Whom long work keeps up to date, between its parts; borrowed, each may be NULL. */
typedef struct wb_meanwhile {
    wb_timetable *time; /* goes on */
    wb_run_life *life;  /* is looked at: the work may be left */
} wb_meanwhile;

/* Local. Representations of sequences as they are, without dropout, about chunk_tokens at once.
 *   reps [n, d]    filled
 *   meanwhile      after each chunk; or NULL
 * Errors: WB_ERR_MEMORY, WB_ERR_NUMERIC where a representation is not finite; WB_STOPPED where the
 * ranks have agreed to leave. */
wb_status wb_encode_packed(float *reps, const wb_model *model, const wb_packed *packed,
                           int64_t chunk_tokens, const wb_meanwhile *meanwhile, wb_arena *arena);

/* Local. Representations of rows first .. first + n of a text file, without dropout.
 *   reps [n, d]    filled
 *   tokens         added to: real tokens encoded
 *   role           of the texts: the model's prompt for it stands before each
 *   max_tokens     longest text, specials included; chunk_tokens: encoded at once
 * Errors: WB_ERR_INPUT, WB_ERR_MEMORY, WB_ERR_NUMERIC where a representation is not finite. */
wb_status wb_encode_texts(float *reps, int64_t *tokens, const wb_model *model,
                          const wb_text_file *file, wb_role role, int64_t first, int64_t n,
                          int64_t max_tokens, int64_t chunk_tokens, wb_arena *arena);

/* What wb_encode_packed and wb_encode_texts are to do, for a plan of their memory. */
typedef struct wb_encode_plan {
    const char *what;           /* in messages */
    const char *budget_setting; /* how to allow more, before a number of bytes; or NULL */
    const char *chunk_setting;  /* likewise smaller chunks */
    size_t beside, after;       /* bytes of the arena in use meanwhile, and by what follows */
    int64_t texts, max_tokens, chunk_tokens;
} wb_encode_plan;

/* Local. Whether the arena has room for it, if all texts are as long as may be. Error:
 * WB_ERR_MEMORY with what is needed, what there is, and the largest chunk for which it is enough.
 */
wb_status wb_encode_check_room(const wb_model *model, const wb_encode_plan *plan,
                               const wb_arena *arena);

/* Local. The same for wb_encode_texts, which takes room for tokens too. */
wb_status wb_encode_check_texts(const wb_model *model, const wb_encode_plan *plan,
                                const wb_arena *arena);

/* Local. Splits rows first … first + n - 1 of a file into parts that take about as long to encode,
 * by the bytes of their lines: part p is rows [share(p), share(p + 1)). */
int64_t wb_text_share(const wb_text_file *file, int64_t first, int64_t n, int part, int parts,
                      int64_t max_tokens);

typedef struct wb_evaluation {
    const char *folder;   /* BEIR folder */
    const char *split;    /* qrels/SPLIT.tsv */
    const char *run_path; /* where rank 0 writes the TREC run */
    int64_t query_tokens, passage_tokens, chunk_tokens;
    int64_t depth;          /* results per query */
    wb_token_cache *cache;  /* borrowed; of earlier evaluations of the same folder; or NULL */
    wb_meanwhile meanwhile; /* after each part of the work */
} wb_evaluation;

/* Collective. Encodes the corpus in shares and the judged queries, searches exactly, writes the run
 * and measures it. `measures` is filled on every rank; where meanwhile.life says stop, it is not,
 * and nothing is written. Errors: WB_ERR_INPUT, WB_ERR_MEMORY, … */
wb_status wb_evaluate(wb_measures *measures, const wb_model *model, const wb_evaluation *evaluation,
                      wb_comm *comm, wb_arena *arena);

/* Collective. Opens its files and checks that the memory of an evaluation is there, as wb_evaluate
 * does before it encodes. */
wb_status wb_evaluate_check(const wb_model *model, const wb_evaluation *evaluation, wb_comm *comm,
                            const wb_arena *arena);

#endif
