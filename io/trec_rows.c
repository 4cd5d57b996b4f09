/* Sorted twice: by document to see pairs that are there twice, by line to keep the file's order. */
#include "trec_rows.h"

#include <stdlib.h>

wb_status wb_trec_rows_add(wb_trec_rows *rows, const wb_lines *lines, const char *query,
                           const char *docid, wb_trec_row **row) {
    wb_status status = WB_OK;
    if (rows->count == rows->capacity) {
        const int64_t capacity = rows->capacity > 0 ? 2 * rows->capacity : 1024;
        wb_trec_row *grown = realloc(rows->rows, (size_t)capacity * sizeof(*grown));
        WB_CHECK(grown, WB_ERR_MEMORY, "%s: no memory for %lld rows", lines->path,
                 (long long)capacity);
        rows->rows = grown;
        rows->capacity = capacity;
    }
    *row = &rows->rows[rows->count];
    (*row)->line = lines->number;
    WB_TRY(wb_interner_add(&rows->queries, query, &(*row)->query));
    WB_TRY(wb_interner_add(&rows->docids, docid, &(*row)->docid));
    rows->count++;
done:
    return status;
}

static int order(int64_t a, int64_t b) {
    return (a > b) - (a < b);
}

static int by_line(const void *a, const void *b) {
    const wb_trec_row *left = a, *right = b;
    const int queries = order(left->query, right->query);
    return queries != 0 ? queries : order(left->line, right->line);
}

static int by_docid(const void *a, const void *b) {
    const wb_trec_row *left = a, *right = b;
    const int queries = order(left->query, right->query);
    const int docids = order(left->docid, right->docid);
    return queries != 0 ? queries : docids != 0 ? docids : order(left->line, right->line);
}

/* Rows are sorted by document. Of all repetitions the first in the file is named. */
static wb_status check_distinct(const wb_trec_rows *rows, const char *path) {
    const wb_trec_row *repeated = NULL;
    for (int64_t i = 1; i < rows->count; i++) {
        const wb_trec_row *row = &rows->rows[i];
        if (row[-1].query == row->query && row[-1].docid == row->docid &&
            (!repeated || row->line < repeated->line)) {
            repeated = row;
        }
    }
    if (!repeated) {
        return WB_OK;
    }
    return WB_ERROR(WB_ERR_INPUT,
                    "%s:%lld: query \"%.100s\" already has document \"%.100s\" on line %lld", path,
                    (long long)repeated->line, rows->queries.strings[repeated->query],
                    rows->docids.strings[repeated->docid], (long long)repeated[-1].line);
}

wb_status wb_trec_rows_group(wb_trec_rows *rows, const char *path, int64_t **first) {
    wb_status status = WB_OK;
    WB_CHECK(rows->count > 0, WB_ERR_INPUT, "%s: no rows are there", path);
    qsort(rows->rows, (size_t)rows->count, sizeof(*rows->rows), by_docid);
    WB_TRY(check_distinct(rows, path));
    qsort(rows->rows, (size_t)rows->count, sizeof(*rows->rows), by_line);
    *first = calloc((size_t)rows->queries.count + 1, sizeof(**first));
    WB_CHECK(*first, WB_ERR_MEMORY, "%s: no memory for %lld queries", path,
             (long long)rows->queries.count);
    for (int64_t i = 0; i < rows->count; i++) {
        (*first)[rows->rows[i].query + 1] = i + 1;
    }
done:
    return status;
}

void wb_trec_rows_clear(wb_trec_rows *rows) {
    free(rows->rows);
    wb_interner_clear(&rows->queries);
    wb_interner_clear(&rows->docids);
    *rows = (wb_trec_rows){0};
}
