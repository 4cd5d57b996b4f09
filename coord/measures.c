/* A query at a time: rank its results, look their judgements up, add to the sums. */
#include "measures.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef enum kind { NDCG, RECIP_RANK, MAP, RECALL, SUCCESS } kind;

static const struct {
    const char *name;
    kind kind;
    int64_t depth;
} table[WB_MEASURE_COUNT] = {
#define MEASURE_ROW(name, kind, depth) {#name, kind, depth},
    WB_MEASURE_TABLE(MEASURE_ROW)
#undef MEASURE_ROW
};

typedef struct judgement {
    const char *docid;
    int64_t score;
} judgement;

typedef struct result {
    const char *docid;
    float score;
    int64_t gain; /* the judgement; 0 where there is none or it is below */
} result;

/* One query, ready to be measured. */
typedef struct topic {
    judgement *judgements; /* [judged], sorted as the step at hand needs it */
    result *results;       /* [found], in order of rank */
    int64_t judged, found, relevant;
} topic;

const wb_measure wb_measures_shown[WB_MEASURES_SHOWN] = {
    WB_MEASURE_ndcg_cut_10, WB_MEASURE_mrr_10, WB_MEASURE_recall_10, WB_MEASURE_recall_100};

const char *wb_measure_name(wb_measure measure) {
    return table[measure].name;
}

/* ---- Ranking ---- */

static int by_rank(const void *a, const void *b) {
    const result *left = a, *right = b;
    const int scores = (left->score < right->score) - (left->score > right->score);
    return scores != 0 ? scores : strcmp(right->docid, left->docid);
}

static int by_docid(const void *a, const void *b) {
    const judgement *left = a, *right = b;
    return strcmp(left->docid, right->docid);
}

static int by_score(const void *a, const void *b) {
    const judgement *left = a, *right = b;
    return (left->score < right->score) - (left->score > right->score);
}

static void take_judgements(topic *t, const wb_trec_rows *qrels, int64_t query) {
    const int64_t first = qrels->first[query];
    t->judged = qrels->first[query + 1] - first;
    t->relevant = 0;
    for (int64_t i = 0; i < t->judged; i++) {
        t->judgements[i] =
            (judgement){wb_trec_rows_docid(qrels, first + i), qrels->rows[first + i].judgement};
        t->relevant += t->judgements[i].score > 0;
    }
    qsort(t->judgements, (size_t)t->judged, sizeof(*t->judgements), by_docid);
}

/* Judgements are sorted by document; results get theirs and their ranks. */
static void take_results(topic *t, const wb_trec_rows *run, int64_t query) {
    const int64_t first = run->first[query];
    t->found = run->first[query + 1] - first;
    for (int64_t i = 0; i < t->found; i++) {
        const judgement wanted = {.docid = wb_trec_rows_docid(run, first + i)};
        const judgement *judged =
            bsearch(&wanted, t->judgements, (size_t)t->judged, sizeof(*t->judgements), by_docid);
        const int64_t gain = judged && judged->score > 0 ? judged->score : 0;
        t->results[i] = (result){wanted.docid, run->rows[first + i].score, gain};
    }
    qsort(t->results, (size_t)t->found, sizeof(*t->results), by_rank);
}

/* ---- Measuring ---- */

static double discount(int64_t rank) {
    return log2((double)rank + 1.0);
}

/* Judgements are sorted by score, best first. */
static double ndcg(const topic *t, int64_t depth) {
    double gained = 0.0, ideal = 0.0;
    for (int64_t i = 0; i < depth && i < t->found; i++) {
        gained += (double)t->results[i].gain / discount(i + 1);
    }
    for (int64_t i = 0; i < depth && i < t->relevant; i++) {
        ideal += (double)t->judgements[i].score / discount(i + 1);
    }
    return gained / ideal;
}

static double average_precision(const topic *t) {
    double sum = 0.0;
    int64_t relevant = 0;
    for (int64_t i = 0; i < t->found; i++) {
        if (t->results[i].gain > 0) {
            relevant++;
            sum += (double)relevant / (double)(i + 1);
        }
    }
    return sum / (double)t->relevant;
}

/* Relevant results among the first `depth`; *rank is that of the best of them, 0 if there is none.
 */
static int64_t count_relevant(const topic *t, int64_t depth, int64_t *rank) {
    int64_t relevant = 0;
    *rank = 0;
    for (int64_t i = 0; i < depth && i < t->found; i++) {
        if (t->results[i].gain > 0) {
            relevant++;
            *rank = *rank == 0 ? i + 1 : *rank;
        }
    }
    return relevant;
}

/* The topic has a relevant document. */
static double measure(const topic *t, wb_measure which) {
    const int64_t depth = table[which].depth > 0 ? table[which].depth : t->found;
    int64_t rank;
    const int64_t relevant = count_relevant(t, depth, &rank);
    switch (table[which].kind) {
    case NDCG:
        return ndcg(t, depth);
    case RECIP_RANK:
        return rank > 0 ? 1.0 / (double)rank : 0.0;
    case MAP:
        return average_precision(t);
    case RECALL:
        return (double)relevant / (double)t->relevant;
    case SUCCESS:
        return relevant > 0 ? 1.0 : 0.0;
    }
    return 0.0;
}

/* Adds a query of the judgements to the sums. */
static void add_topic(topic *t, const wb_trec_rows *qrels, int64_t query, const wb_trec_rows *run,
                      wb_measures *sums) {
    const int64_t results = wb_interner_find(&run->queries, qrels->queries.strings[query]);
    take_judgements(t, qrels, query);
    sums->queries++;
    sums->without_relevant += t->relevant == 0;
    sums->without_results += results < 0;
    if (results < 0 || t->relevant == 0) {
        return;
    }
    take_results(t, run, results);
    qsort(t->judgements, (size_t)t->judged, sizeof(*t->judgements), by_score);
    for (int i = 0; i < WB_MEASURE_COUNT; i++) {
        sums->values[i] += measure(t, (wb_measure)i);
    }
}

static int64_t most_of_a_query(const wb_trec_rows *rows) {
    int64_t most = 1;
    for (int64_t i = 0; i < rows->queries.count; i++) {
        const int64_t count = rows->first[i + 1] - rows->first[i];
        most = count > most ? count : most;
    }
    return most;
}

wb_status wb_measures_compute(const wb_trec_rows *qrels, const wb_trec_rows *run,
                              wb_measures *measures) {
    wb_status status = WB_OK;
    const int64_t judged = most_of_a_query(qrels);
    const int64_t found = most_of_a_query(run);
    topic t = {.judgements = malloc((size_t)judged * sizeof(*t.judgements)),
               .results = malloc((size_t)found * sizeof(*t.results))};
    *measures = (wb_measures){0};
    WB_CHECK(t.judgements && t.results, WB_ERR_MEMORY,
             "no memory to rank %lld results against %lld judgements", (long long)found,
             (long long)judged);
    for (int64_t query = 0; query < qrels->queries.count; query++) {
        add_topic(&t, qrels, query, run, measures);
    }
    for (int i = 0; i < WB_MEASURE_COUNT && measures->queries > 0; i++) {
        measures->values[i] /= (double)measures->queries;
    }
done:
    free(t.judgements);
    free(t.results);
    return status;
}

void wb_measures_print(const wb_measures *measures, FILE *file) {
    (void)fprintf(file, "%-22s\tall\t%lld\n", "num_q", (long long)measures->queries);
    (void)fprintf(file, "%-22s\tall\t%lld\n", "num_q_without_results",
                  (long long)measures->without_results);
    for (int i = 0; i < WB_MEASURE_COUNT; i++) {
        (void)fprintf(file, "%-22s\tall\t%6.4f\n", wb_measure_name((wb_measure)i),
                      measures->values[i]);
    }
}

/* Takes the line of a number; false where it is another's, or wrong. */
static bool take_line(const char **at, const char *name, double *value) {
    char found[32];
    int bytes = 0;
    const bool is_line = sscanf(*at, "%31s all %lf%n", found, value, &bytes) == 2 &&
                         strcmp(found, name) == 0 && (*at)[bytes] == '\n' && *value >= 0.0 &&
                         *value <= INT32_MAX;
    *at += is_line ? bytes + 1 : 0;
    return is_line;
}

bool wb_measures_parse(wb_measures *measures, const char *text) {
    double queries, without_results;
    *measures = (wb_measures){0};
    if (!take_line(&text, "num_q", &queries) ||
        !take_line(&text, "num_q_without_results", &without_results)) {
        return false;
    }
    measures->queries = (int64_t)queries;
    measures->without_results = (int64_t)without_results;
    for (int i = 0; i < WB_MEASURE_COUNT; i++) {
        if (!take_line(&text, wb_measure_name((wb_measure)i), &measures->values[i])) {
            return false;
        }
    }
    return true;
}
