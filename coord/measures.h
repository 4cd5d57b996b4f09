/* Retrieval measures, with trec_eval's names, conventions and digits.
 *
 * Documents of a query are ranked by score (a float) from high to low and, where scores are equal,
 * by document id from high to low (strcmp); the order of the run file does not count. Judgements
 * above 0 are relevant. Means are over all queries of the judgements, as with trec_eval -c: one
 * without results counts 0, and so does one without relevant documents; queries that only the run
 * has are passed over. Source: trec_eval 9; Success@k is DPR's top-k accuracy. */
#ifndef WB_MEASURES_H
#define WB_MEASURES_H

#include "qrels.h"
#include "status.h"
#include "trec_run.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* name (trec_eval's; mrr_10 has none there), kind, depth (0: all results) */
#define WB_MEASURE_TABLE(X)                                                                        \
    X(ndcg_cut_10, NDCG, 10)                                                                       \
    X(mrr_10, RECIP_RANK, 10)                                                                      \
    X(recip_rank, RECIP_RANK, 0)                                                                   \
    X(map, MAP, 0)                                                                                 \
    X(recall_1, RECALL, 1)                                                                         \
    X(recall_10, RECALL, 10)                                                                       \
    X(recall_100, RECALL, 100)                                                                     \
    X(success_1, SUCCESS, 1)                                                                       \
    X(success_5, SUCCESS, 5)                                                                       \
    X(success_10, SUCCESS, 10)                                                                     \
    X(success_20, SUCCESS, 20)                                                                     \
    X(success_100, SUCCESS, 100)

typedef enum wb_measure {
#define WB_MEASURE_ENUM(name, kind, depth) WB_MEASURE_##name,
    WB_MEASURE_TABLE(WB_MEASURE_ENUM)
#undef WB_MEASURE_ENUM
        WB_MEASURE_COUNT
} wb_measure;

typedef struct wb_measures {
    double values[WB_MEASURE_COUNT]; /* means over queries, in [0, 1] */
    int64_t queries;                 /* those of the judgements */
    int64_t without_results;         /* how many of them the run has nothing for */
    int64_t without_relevant;        /* how many of them have no relevant document */
} wb_measures;

/* Local. The name of a measure; never NULL. */
const char *wb_measure_name(wb_measure measure);

/* What a few lines tell of an evaluation: a run's end, a model card. */
enum { WB_MEASURES_SHOWN = 4 };
extern const wb_measure wb_measures_shown[WB_MEASURES_SHOWN];

/* Local. Fills `measures`. Error: WB_ERR_MEMORY. */
wb_status wb_measures_compute(const wb_trec_rows *qrels, const wb_trec_rows *run,
                              wb_measures *measures);

/* Local. A line for each number as trec_eval prints it: name, "all", value. */
void wb_measures_print(const wb_measures *measures, FILE *file);

/* Local. Reads what wb_measures_print has written, with its digits; what is printed nowhere is 0.
 * False where the text does not begin with all of it. */
bool wb_measures_parse(wb_measures *measures, const char *text);

#endif
