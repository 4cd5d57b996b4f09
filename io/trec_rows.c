/* Queries are numbered as they appear, so rows are grouped by counting them; pairs that are there
 * twice show where a query meets a document that it met before. */
#include "trec_rows.h"

#include <stdlib.h>
#include <string.h>

wb_status wb_trec_rows_add(wb_trec_rows *rows, const wb_lines *lines, const char *query,
                           const char *docid, wb_trec_row **row) {
    wb_status status = WB_OK;
    int64_t query_number, docid_number;
    WB_CHECK(lines->number <= UINT32_MAX, WB_ERR_INPUT, "%s:%lld: too many lines", lines->path,
             (long long)lines->number);
    if (rows->count == rows->capacity) {
        const int64_t capacity = rows->capacity > 0 ? 2 * rows->capacity : 1024;
        wb_trec_row *grown = realloc(rows->rows, (size_t)capacity * sizeof(*grown));
        WB_CHECK(grown, WB_ERR_MEMORY, "%s: no memory for %lld rows", lines->path,
                 (long long)capacity);
        rows->rows = grown;
        rows->capacity = capacity;
    }
    WB_TRY(wb_interner_add(&rows->queries, query, &query_number));
    WB_TRY(wb_interner_add(&rows->docids, docid, &docid_number));
    *row = &rows->rows[rows->count++];
    **row = (wb_trec_row){.query = (uint32_t)query_number,
                          .docid = (uint32_t)docid_number,
                          .line = (uint32_t)lines->number};
done:
    return status;
}

static wb_status count_rows(wb_trec_rows *rows, const char *path) {
    wb_status status = WB_OK;
    rows->first = calloc((size_t)rows->queries.count + 1, sizeof(*rows->first));
    WB_CHECK(rows->first, WB_ERR_MEMORY, "%s: no memory for %lld queries", path,
             (long long)rows->queries.count);
    for (int64_t i = 0; i < rows->count; i++) {
        rows->first[rows->rows[i].query + 1]++;
    }
    for (int64_t query = 0; query < rows->queries.count; query++) {
        rows->first[query + 1] += rows->first[query];
    }
done:
    return status;
}

static bool are_together(const wb_trec_rows *rows) {
    for (int64_t i = 1; i < rows->count; i++) {
        if (rows->rows[i].query < rows->rows[i - 1].query) {
            return false;
        }
    }
    return true;
}

/* Puts each row behind those of its query that stand before it in the file. */
static wb_status bring_together(wb_trec_rows *rows, const char *path) {
    wb_status status = WB_OK;
    const size_t count = (size_t)rows->count, queries = (size_t)rows->queries.count;
    wb_trec_row *moved = malloc(count * sizeof(*moved));
    int64_t *next = malloc(queries * sizeof(*next));
    WB_CHECK(moved && next, WB_ERR_MEMORY, "%s: no memory to sort %zu rows", path, count);
    memcpy(next, rows->first, queries * sizeof(*next));
    for (size_t i = 0; i < count; i++) {
        moved[next[rows->rows[i].query]++] = rows->rows[i];
    }
    free(rows->rows);
    rows->rows = moved;
    rows->capacity = rows->count;
    moved = NULL;
done:
    free(moved);
    free(next);
    return status;
}

/* Of all repetitions the first in the file is named. */
static wb_status check_distinct(const wb_trec_rows *rows, const char *path) {
    wb_status status = WB_OK;
    const wb_trec_row *repeated = NULL, *before = NULL;
    uint32_t *met = calloc((size_t)rows->docids.count, sizeof(*met)); /* last row of it, from 1 */
    WB_CHECK(met, WB_ERR_MEMORY, "%s: no memory for %lld documents", path,
             (long long)rows->docids.count);
    for (int64_t i = 0; i < rows->count; i++) {
        const wb_trec_row *row = &rows->rows[i];
        const int64_t last = (int64_t)met[row->docid] - 1;
        if (last >= rows->first[row->query] && (!repeated || row->line < repeated->line)) {
            repeated = row;
            before = &rows->rows[last];
        }
        met[row->docid] = (uint32_t)(i + 1);
    }
    WB_CHECK(!repeated, WB_ERR_INPUT,
             "%s:%lld: query \"%.100s\" already has document \"%.100s\" on line %lld", path,
             (long long)repeated->line, rows->queries.strings[repeated->query],
             rows->docids.strings[repeated->docid], (long long)before->line);
done:
    free(met);
    return status;
}

/* Brings the rows of each query together. */
static wb_status group(wb_trec_rows *rows, const char *path) {
    wb_status status = WB_OK;
    WB_CHECK(rows->count > 0, WB_ERR_INPUT, "%s: no rows are there", path);
    WB_TRY(count_rows(rows, path));
    if (!are_together(rows)) {
        WB_TRY(bring_together(rows, path));
    }
    WB_TRY(check_distinct(rows, path));
done:
    return status;
}

static wb_status read_lines(wb_trec_rows *rows, const char *path, wb_trec_line *line,
                            void *context) {
    wb_status status = WB_OK;
    wb_lines lines;
    bool more = true;
    WB_TRY(wb_lines_open(&lines, path));
    WB_TRY(wb_lines_next(&lines, &more));
    while (more) {
        if (!wb_lines_is_empty(&lines)) {
            WB_TRY(line(rows, &lines, context));
        }
        WB_TRY(wb_lines_next(&lines, &more));
    }
done:
    wb_lines_close(&lines);
    return status;
}

wb_status wb_trec_rows_read(wb_trec_rows *rows, const char *path, wb_trec_line *line,
                            void *context) {
    wb_status status = WB_OK;
    *rows = (wb_trec_rows){0};
    WB_TRY(read_lines(rows, path, line, context));
    WB_TRY(group(rows, path));
done:
    if (status != WB_OK) {
        wb_trec_rows_clear(rows);
    }
    return status;
}

void wb_trec_rows_clear(wb_trec_rows *rows) {
    free(rows->rows);
    free(rows->first);
    wb_interner_clear(&rows->queries);
    wb_interner_clear(&rows->docids);
    *rows = (wb_trec_rows){0};
}
