/* Lines into columns. */
#include "qrels.h"

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
    errno = 0;
    const long long judgement = strtoll(score, &end, 10);
    WB_CHECK(errno == 0 && end > score && *end == '\0' && judgement >= INT32_MIN &&
                 judgement <= INT32_MAX,
             WB_ERR_INPUT, "%s:%lld: the score \"%.50s\" must be an integer, from %d to %d",
             lines->path, (long long)lines->number, score, INT32_MIN, INT32_MAX);
    WB_TRY(wb_trec_rows_add(rows, lines, query, docid, &row));
    row->judgement = (int32_t)judgement;
done:
    return status;
}

/* context: the layout, as far as it is known */
static wb_status read_line(wb_trec_rows *rows, wb_lines *lines, void *context) {
    wb_status status = WB_OK;
    layout *const format = context;
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

wb_status wb_qrels_read(wb_trec_rows *qrels, const char *path) {
    layout format = LAYOUT_UNKNOWN;
    return wb_trec_rows_read(qrels, path, read_line, &format);
}
