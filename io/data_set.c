/* Joins a BEIR folder's judgements to its texts; Tevatron files bring both together. */
#include "data_set.h"

#include "files.h"
#include "hash.h"
#include "qrels.h"
#include "tevatron.h"

#include <stdatomic.h>
#include <stdlib.h>

/* Rows of queries.jsonl and corpus.jsonl that belong together. */
typedef struct pair {
    int64_t query, passage;
} pair;

struct wb_data_set {
    bool is_beir;
    wb_tevatron tevatron;
    wb_text_file *queries, *corpus;
    pair *pairs;            /* [rows], those of one query together */
    _Atomic uint64_t *keys; /* [rows], of the passages; 0: not read yet */
    int64_t rows, dropped, most_positives;
};

/* Rows of the texts that judgements name. */
typedef struct named_rows {
    int64_t *queries;  /* [queries.count] */
    int64_t *passages; /* [docids.count] */
} named_rows;

static wb_status check_found(int64_t row, const wb_text_file *file, const char *what,
                             const char *id, const char *path, int64_t line) {
    return row >= 0 ? WB_OK
                    : WB_ERROR(WB_ERR_INPUT, "%s:%lld: the %s \"%.100s\" is not in %s", path,
                               (long long)line, what, id, wb_text_file_path(file));
}

static wb_status join(wb_data_set *set, const wb_trec_rows *qrels, const named_rows *named,
                      const char *path) {
    wb_status status = WB_OK;
    set->pairs = malloc((size_t)qrels->count * sizeof(*set->pairs));
    WB_CHECK(set->pairs, WB_ERR_MEMORY, "%s: no memory for %lld rows", path,
             (long long)qrels->count);
    for (int64_t i = 0; i < qrels->count; i++) {
        const wb_trec_row *row = &qrels->rows[i];
        const pair found = {.query = named->queries[row->query],
                            .passage = named->passages[row->docid]};
        WB_TRY(check_found(found.query, set->queries, "query", qrels->queries.strings[row->query],
                           path, row->line));
        WB_TRY(check_found(found.passage, set->corpus, "document", wb_trec_rows_docid(qrels, i),
                           path, row->line));
        if (row->judgement > 0) {
            set->pairs[set->rows++] = found;
        } else {
            set->dropped++;
        }
    }
done:
    return status;
}

/* Rows [*begin, *end) are those of the row's query. */
static void find_rows_of_query(const wb_data_set *set, int64_t row, int64_t *begin, int64_t *end) {
    const int64_t query = set->pairs[row].query;
    *begin = row;
    *end = row + 1;
    while (*begin > 0 && set->pairs[*begin - 1].query == query) {
        --*begin;
    }
    while (*end < set->rows && set->pairs[*end].query == query) {
        ++*end;
    }
}

static wb_status count_positives(wb_data_set *set, const char *path) {
    wb_status status = WB_OK;
    for (int64_t begin = 0, end; begin < set->rows; begin = end) {
        find_rows_of_query(set, begin, &begin, &end);
        set->most_positives = end - begin > set->most_positives ? end - begin : set->most_positives;
    }
    set->keys = calloc((size_t)set->rows + 1, sizeof(*set->keys));
    WB_CHECK(set->keys, WB_ERR_MEMORY, "%s: no memory for %lld keys", path, (long long)set->rows);
done:
    return status;
}

static wb_status open_beir(wb_data_set *set, const char *folder, const char *split) {
    wb_status status = WB_OK;
    wb_trec_rows qrels = {0};
    named_rows named = {0};
    char path[WB_PATH];
    WB_CHECK(split, WB_ERR_USAGE, "%s: name the split to read, such as train", folder);
    WB_TRY(wb_path_join(path, folder, "qrels/%s.tsv", split));
    WB_TRY(wb_qrels_read(&qrels, path));
    named.queries = malloc((size_t)qrels.queries.count * sizeof(int64_t));
    named.passages = malloc((size_t)qrels.docids.count * sizeof(int64_t));
    WB_CHECK(named.queries && named.passages, WB_ERR_MEMORY, "%s: no memory for %lld rows", path,
             (long long)qrels.count);
    WB_TRY(wb_path_join(path, folder, "queries.jsonl"));
    WB_TRY(wb_text_file_open_finding(&set->queries, path, &qrels.queries, named.queries));
    WB_TRY(wb_path_join(path, folder, "corpus.jsonl"));
    WB_TRY(wb_text_file_open_finding(&set->corpus, path, &qrels.docids, named.passages));
    WB_TRY(wb_path_join(path, folder, "qrels/%s.tsv", split));
    WB_TRY(join(set, &qrels, &named, path));
    WB_TRY(count_positives(set, path));
done:
    free(named.queries);
    free(named.passages);
    wb_trec_rows_clear(&qrels);
    return status;
}

wb_status wb_data_set_open(wb_data_set **set, const char *path, const char *split) {
    wb_status status = WB_OK;
    *set = NULL;
    wb_data_set *s = calloc(1, sizeof(*s));
    WB_CHECK(s, WB_ERR_MEMORY, "%s: no memory to open it", path);
    s->tevatron.file = -1;
    s->is_beir = wb_path_is_folder(path);
    if (s->is_beir) {
        WB_TRY(open_beir(s, path, split));
    } else {
        WB_TRY(wb_tevatron_open(&s->tevatron, path));
        s->rows = s->tevatron.rows;
        s->dropped = s->tevatron.dropped;
        s->most_positives = s->tevatron.positives;
    }
    WB_CHECK(s->rows > 0 || s->dropped > 0, WB_ERR_INPUT, "%s: holds no rows", path);
    WB_CHECK(s->rows > 0, WB_ERR_INPUT, "%s: no row has a positive passage (%lld have none)", path,
             (long long)s->dropped);
    *set = s;
    s = NULL;
done:
    wb_data_set_close(s);
    return status;
}

void wb_data_set_close(wb_data_set *set) {
    if (set) {
        wb_tevatron_close(&set->tevatron);
        wb_text_file_close(set->queries);
        wb_text_file_close(set->corpus);
        free(set->pairs);
        free(set->keys);
        free(set);
    }
}

int64_t wb_data_set_rows(const wb_data_set *set) {
    return set->rows;
}

int64_t wb_data_set_negatives(const wb_data_set *set) {
    return set->is_beir ? 0 : set->tevatron.negatives;
}

int64_t wb_data_set_most_negatives(const wb_data_set *set) {
    return set->is_beir ? 0 : set->tevatron.most_negatives;
}

int64_t wb_data_set_rows_below(const wb_data_set *set, int64_t negatives) {
    return set->is_beir ? (negatives > 0 ? set->rows : 0)
                        : wb_tevatron_rows_below(&set->tevatron, negatives);
}

int64_t wb_data_set_most_positives(const wb_data_set *set) {
    return set->most_positives;
}

int64_t wb_data_set_dropped(const wb_data_set *set) {
    return set->dropped;
}

static wb_status check_negatives(const wb_data_set *set, int64_t negatives) {
    wb_status status = WB_OK;
    WB_CHECK(negatives == 0, WB_ERR_CONFIG,
             "%s: %lld negatives wanted; BEIR folders bring none: ask for 0 or use a Tevatron file",
             wb_text_file_path(set->corpus), (long long)negatives);
done:
    return status;
}

static wb_status read_pair(const wb_data_set *set, int64_t row, int64_t negatives, wb_text *texts) {
    wb_status status = WB_OK;
    WB_TRY(check_negatives(set, negatives));
    WB_TRY(wb_text_file_read(set->queries, set->pairs[row].query, &texts[0]));
    WB_TRY(wb_text_file_read(set->corpus, set->pairs[row].passage, &texts[1]));
done:
    return status;
}

wb_status wb_data_set_name_texts(const wb_data_set *set, int64_t row, int64_t draw,
                                 int64_t negatives, uint64_t *names) {
    wb_status status = WB_OK;
    WB_ASSERT(row >= 0 && row < set->rows, "row %lld of %lld", (long long)row,
              (long long)set->rows);
    if (set->is_beir) {
        WB_TRY(check_negatives(set, negatives));
        names[0] = (uint64_t)set->pairs[row].query;
        names[1] = (uint64_t)(wb_text_file_rows(set->queries) + set->pairs[row].passage);
    } else {
        WB_TRY(wb_tevatron_name_texts(&set->tevatron, row, draw, negatives, names));
    }
done:
    return status;
}

static int64_t bytes_of(const wb_text_file *file) {
    return file ? wb_text_file_offset(file, wb_text_file_rows(file)) : 0;
}

int64_t wb_data_set_bytes(const wb_data_set *set) {
    return set->is_beir ? bytes_of(set->queries) + bytes_of(set->corpus)
                        : set->tevatron.ends[set->rows - 1] + bytes_of(set->tevatron.corpus);
}

/* Several threads may store one key at the same time: it is the same. */
static uint64_t remember_key(const wb_data_set *set, int64_t row, const wb_text *passage) {
    const uint64_t key = wb_hash(passage->text, passage->bytes);
    atomic_store_explicit(&set->keys[row], key, memory_order_relaxed);
    return key;
}

wb_status wb_data_set_read(const wb_data_set *set, int64_t row, int64_t draw, int64_t negatives,
                           wb_text *texts, uint64_t *keys) {
    wb_status status = WB_OK;
    WB_ASSERT(row >= 0 && row < set->rows, "row %lld of %lld", (long long)row,
              (long long)set->rows);
    WB_ASSERT(draw >= 0 && negatives >= 0, "draw %lld, %lld negatives", (long long)draw,
              (long long)negatives);
    if (set->is_beir) {
        WB_TRY(read_pair(set, row, negatives, texts));
        (void)remember_key(set, row, &texts[1]);
    } else {
        WB_TRY(wb_tevatron_read(&set->tevatron, row, draw, negatives, texts));
    }
    for (int64_t i = 0; i < 2 + negatives; i++) {
        if (keys) {
            keys[i] = wb_hash(texts[i].text, texts[i].bytes);
        }
    }
done:
    return status;
}

static wb_status passage_key(const wb_data_set *set, int64_t row, uint64_t *key) {
    wb_status status = WB_OK;
    wb_text text = {0};
    *key = atomic_load_explicit(&set->keys[row], memory_order_relaxed);
    if (*key == 0) {
        WB_TRY(wb_text_file_read(set->corpus, set->pairs[row].passage, &text));
        *key = remember_key(set, row, &text);
    }
done:
    wb_text_clear(&text);
    return status;
}

wb_status wb_data_set_positive_keys(const wb_data_set *set, int64_t row, uint64_t *keys,
                                    int64_t *count) {
    wb_status status = WB_OK;
    int64_t begin, end;
    WB_ASSERT(row >= 0 && row < set->rows, "row %lld of %lld", (long long)row,
              (long long)set->rows);
    if (!set->is_beir) {
        return wb_tevatron_positive_keys(&set->tevatron, row, keys, count);
    }
    find_rows_of_query(set, row, &begin, &end);
    *count = end - begin;
    for (int64_t i = begin; i < end; i++) {
        WB_TRY(passage_key(set, i, &keys[i - begin]));
    }
done:
    return status;
}

int64_t wb_data_set_most_own_keys(const wb_data_set *set) {
    return 1 + (set->is_beir ? 1 : set->tevatron.positives);
}

wb_status wb_data_set_own_keys(const wb_data_set *set, int64_t row, uint64_t *keys,
                               int64_t *count) {
    wb_status status = WB_OK;
    wb_text texts[2] = {{0}};
    *count = 2;
    WB_TRY(wb_data_set_read(set, row, 0, 0, texts, keys));
    if (!set->is_beir) {
        WB_TRY(wb_tevatron_positive_keys(&set->tevatron, row, keys + 1, count));
        ++*count;
    }
done:
    wb_text_clear(&texts[0]);
    wb_text_clear(&texts[1]);
    return status;
}
