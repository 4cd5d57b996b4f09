/* Runs are written as they come, and read whole. */
#include "trec_run.h"

#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct wb_trec_run_writer {
    char path[WB_PATH], temporary[WB_PATH];
    char tag[64];
    FILE *file;
};

/* ---- Writing ---- */

static bool is_column(const char *text) {
    return *text != '\0' && !strpbrk(text, " \t\n\v\f\r");
}

static wb_status write_failed(const wb_trec_run_writer *writer, const char *what) {
    return WB_ERROR(WB_ERR_DISK, "%s: cannot %s: %s", writer->temporary, what, strerror(errno));
}

wb_status wb_trec_run_create(wb_trec_run_writer **writer, const char *path, const char *tag) {
    wb_status status = WB_OK;
    int file = -1;
    *writer = NULL;
    wb_trec_run_writer *w = calloc(1, sizeof(*w));
    WB_CHECK(w, WB_ERR_MEMORY, "%s: no memory to write it", path);
    WB_CHECK(is_column(tag) && strlen(tag) < sizeof(w->tag), WB_ERR_USAGE,
             "the run tag \"%.100s\" must be 1 to %zu characters without blanks", tag,
             sizeof(w->tag) - 1);
    (void)strcpy(w->tag, tag);
    WB_CHECK(strlen(path) + 4 < WB_PATH, WB_ERR_USAGE, "path too long: %.200s…", path);
    (void)strcpy(w->path, path);
    (void)snprintf(w->temporary, sizeof(w->temporary), "%.*s.tmp", WB_PATH - 5, path);
    file = open(w->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    WB_CHECK(file >= 0, WB_ERR_DISK, "%s: cannot create: %s", w->temporary, strerror(errno));
    w->file = fdopen(file, "w");
    WB_CHECK(w->file, WB_ERR_MEMORY, "%s: no memory to write it", path);
    file = -1;
    *writer = w;
    w = NULL;
done:
    if (file >= 0) {
        (void)close(file);
    }
    free(w);
    return status;
}

wb_status wb_trec_run_add(wb_trec_run_writer *writer, const char *query, const char *docid,
                          int64_t rank, float score) {
    wb_status status = WB_OK;
    WB_CHECK(is_column(query) && is_column(docid), WB_ERR_INPUT,
             "%s: query \"%.100s\", document \"%.100s\": ids must not be empty or have blanks",
             writer->path, query, docid);
    WB_CHECK(isfinite(score), WB_ERR_NUMERIC, "%s: query \"%.100s\", document \"%.100s\": score %g",
             writer->path, query, docid, (double)score);
    WB_CHECK(fprintf(writer->file, "%s Q0 %s %lld %.9g %s\n", query, docid, (long long)rank,
                     (double)score, writer->tag) > 0,
             WB_ERR_DISK, "%s: cannot write: %s", writer->temporary, strerror(errno));
done:
    return status;
}

wb_status wb_trec_run_commit(wb_trec_run_writer *writer) {
    wb_status status = WB_OK;
    char folder[WB_PATH] = ".";
    const char *slash = strrchr(writer->path, '/');
    if (slash) {
        (void)snprintf(folder, sizeof(folder), "%.*s/", (int)(slash - writer->path), writer->path);
    }
    if (fflush(writer->file) != 0 || ferror(writer->file) || fsync(fileno(writer->file)) != 0) {
        status = write_failed(writer, "write");
        goto done;
    }
    const int closed = fclose(writer->file);
    writer->file = NULL;
    if (closed != 0 || rename(writer->temporary, writer->path) != 0) {
        status = write_failed(writer, "close and rename");
        goto done;
    }
    WB_TRY(wb_folder_sync(folder));
done:
    if (status == WB_OK) {
        free(writer);
    } else {
        wb_trec_run_discard(writer);
    }
    return status;
}

void wb_trec_run_discard(wb_trec_run_writer *writer) {
    if (writer) {
        if (writer->file) {
            (void)fclose(writer->file);
        }
        (void)unlink(writer->temporary);
        free(writer);
    }
}

/* ---- Reading ---- */

static wb_status read_line(wb_trec_rows *rows, wb_lines *lines, void *context) {
    wb_status status = WB_OK;
    (void)context;
    enum { QUERY, ITERATION, DOCID, RANK, SCORE, TAG, COLUMNS };
    char *fields[COLUMNS], *end;
    wb_trec_row *row;
    WB_TRY(wb_lines_check_text(lines));
    const int count = wb_lines_split(lines, fields, COLUMNS);
    WB_CHECK(count == COLUMNS, WB_ERR_INPUT,
             "%s:%lld: too %s columns; there must be 6: query Q0 document rank score tag",
             lines->path, (long long)lines->number, count < COLUMNS ? "few" : "many");
    const float score = (float)strtod(fields[SCORE], &end); /* as trec_eval rounds */
    WB_CHECK(end > fields[SCORE] && *end == '\0' && isfinite(score), WB_ERR_INPUT,
             "%s:%lld: the score \"%.50s\" must be a finite number in the range of a float",
             lines->path, (long long)lines->number, fields[SCORE]);
    WB_TRY(wb_trec_rows_add(rows, lines, fields[QUERY], fields[DOCID], &row));
    row->score = score;
done:
    return status;
}

wb_status wb_trec_run_read(wb_trec_rows *run, const char *path) {
    return wb_trec_rows_read(run, path, read_line, NULL);
}
