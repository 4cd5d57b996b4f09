/* Lines into columns. */
#include "qrels.h"

#include "trec_rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef enum layout { LAYOUT_UNKNOWN, LAYOUT_BEIR, LAYOUT_TREC } layout;

static bool is_beir_header(char *const fields[], int count) {
    return count == 3 && strcmp(fields[0], "query-id") == 0 &&
           strcmp(fields[1], "corpus-id") == 0 && strcmp(fields[2], "score") == 0;
}

static wb_status add_row(wb_trec_rows *rows, const wb_lines *lines, const char *query,
                         const char *docid, const char *score) {
    wb_status status = WB_OK;
    wb_trec_row *row;
    char *end;
    WB_TRY(wb_trec_rows_add(rows, lines, query, docid, &row));
    errno = 0;
    row->judgement = strtoll(score, &end, 10);
    WB_CHECK(errno == 0 && end > score && *end == '\0', WB_ERR_INPUT,
             "%s:%lld: the score \"%.50s\" must be an integer", lines->path,
             (long long)lines->number, score);
done:
    return status;
}

static wb_status read_line(wb_lines *lines, wb_trec_rows *rows, layout *format) {
    wb_status status = WB_OK;
    char *fields[4];
    WB_TRY(wb_lines_check_text(lines));
    const int count = wb_lines_split(lines, fields, 4);
    if (*format == LAYOUT_UNKNOWN && is_beir_header(fields, count)) {
        *format = LAYOUT_BEIR;
        return WB_OK;
    }
    if (*format == LAYOUT_UNKNOWN) {
        WB_CHECK(count == 4, WB_ERR_INPUT,
                 "%s:%lld: neither the header \"query-id corpus-id score\" of BEIR nor the four "
                 "columns of TREC",
                 lines->path, (long long)lines->number);
        *format = LAYOUT_TREC;
    }
    const int columns = *format == LAYOUT_BEIR ? 3 : 4;
    WB_CHECK(
        count == columns, WB_ERR_INPUT, "%s:%lld: %s columns; there must be %d: %s", lines->path,
        (long long)lines->number, count < columns ? "too few" : "too many", columns,
        *format == LAYOUT_BEIR ? "query-id corpus-id score" : "query iteration document relevance");
    WB_TRY(add_row(rows, lines, fields[0], fields[columns - 2], fields[columns - 1]));
done:
    return status;
}

static wb_status read_lines(wb_trec_rows *rows, const char *path) {
    wb_status status = WB_OK;
    wb_lines lines;
    layout format = LAYOUT_UNKNOWN;
    bool more = true;
    WB_TRY(wb_lines_open(&lines, path));
    WB_TRY(wb_lines_next(&lines, &more));
    while (more) {
        if (!wb_lines_is_empty(&lines)) {
            WB_TRY(read_line(&lines, rows, &format));
        }
        WB_TRY(wb_lines_next(&lines, &more));
    }
done:
    wb_lines_close(&lines);
    return status;
}

static wb_status fill_columns(wb_qrels *qrels, const wb_trec_rows *rows, const char *path) {
    const size_t count = (size_t)rows->count;
    qrels->query = malloc(count * sizeof(*qrels->query));
    qrels->docids = malloc(count * sizeof(*qrels->docids));
    qrels->scores = malloc(count * sizeof(*qrels->scores));
    qrels->lines = malloc(count * sizeof(*qrels->lines));
    if (!qrels->query || !qrels->docids || !qrels->scores || !qrels->lines) {
        return WB_ERROR(WB_ERR_MEMORY, "%s: no memory for %zu judgements", path, count);
    }
    for (size_t i = 0; i < count; i++) {
        const wb_trec_row *row = &rows->rows[i];
        qrels->query[i] = row->query;
        qrels->docids[i] = rows->docids.strings[row->docid];
        qrels->scores[i] = row->judgement;
        qrels->lines[i] = row->line;
    }
    qrels->rows = rows->count;
    return WB_OK;
}

wb_status wb_qrels_read(wb_qrels *qrels, const char *path) {
    wb_status status = WB_OK;
    wb_trec_rows rows = {0};
    *qrels = (wb_qrels){0};
    WB_TRY(read_lines(&rows, path));
    WB_TRY(wb_trec_rows_group(&rows, path, &qrels->first));
    WB_TRY(fill_columns(qrels, &rows, path));
    qrels->query_names = rows.queries;
    qrels->docid_names = rows.docids;
    rows.queries = rows.docids = (wb_interner){0};
    qrels->queries = qrels->query_names.strings;
    qrels->query_count = qrels->query_names.count;
done:
    wb_trec_rows_clear(&rows);
    if (status != WB_OK) {
        wb_qrels_clear(qrels);
    }
    return status;
}

void wb_qrels_clear(wb_qrels *qrels) {
    free(qrels->first);
    free(qrels->query);
    free(qrels->docids);
    free(qrels->scores);
    free(qrels->lines);
    wb_interner_clear(&qrels->query_names);
    wb_interner_clear(&qrels->docid_names);
    *qrels = (wb_qrels){0};
}
