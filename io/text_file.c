/* One pass to check and to index, then pread. */
#include "text_file.h"

#include "files.h"
#include "hash.h"
#include "id_index.h"
#include "lines.h"
#include "text_record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct wb_text_file {
    char path[WB_PATH];
    int file;
    int64_t rows, capacity;
    int64_t *offsets; /* [rows + 1] */
    char *held;       /* all of a short file's bytes, or NULL */
    wb_id_index index;
};

/* ---- Opening ---- */

/* Of opening: what is known of the rows so far. */
typedef struct scan {
    uint64_t *hashes;       /* [rows], of the ids */
    const wb_interner *ids; /* to be found; or NULL */
    int64_t *found;         /* [ids->count], rows */
} scan;

static wb_status grow(wb_text_file *f, scan *s) {
    const int64_t capacity = f->capacity > 0 ? 2 * f->capacity : 1024;
    int64_t *offsets = realloc(f->offsets, (size_t)(capacity + 1) * sizeof(*offsets));
    f->offsets = offsets ? offsets : f->offsets;
    uint64_t *grown = realloc(s->hashes, (size_t)capacity * sizeof(*grown));
    s->hashes = grown ? grown : s->hashes;
    if (!offsets || !grown) {
        return WB_ERROR(WB_ERR_MEMORY, "%s: no memory for the offsets of %lld rows", f->path,
                        (long long)capacity);
    }
    f->capacity = capacity;
    return WB_OK;
}

static void note_if_wanted(scan *s, const char *id, int64_t row) {
    const int64_t number = s->ids ? wb_interner_find(s->ids, id) : -1;
    if (number >= 0) {
        s->found[number] = row;
    }
}

/* What only a tree shows: rare forms, and what is wrong. */
static wb_status read_tree(const wb_text_file *f, const wb_lines *lines, wb_text *text) {
    wb_status status = WB_OK;
    json_t *object = NULL;
    char where[WB_WHERE];
    (void)snprintf(where, sizeof(where), "%s:%lld", f->path, (long long)lines->number);
    WB_TRY(wb_json_parse_line(&object, lines->text, lines->bytes, f->path, lines->number));
    WB_TRY(wb_text_record(text, object, where));
done:
    json_decref(object);
    return status;
}

static wb_status add_row(wb_text_file *f, const wb_lines *lines, wb_text *text, scan *s) {
    wb_status status = WB_OK;
    bool is_plain;
    WB_TRY(wb_text_record_line(text, lines->text, lines->bytes, &is_plain));
    if (!is_plain) {
        WB_TRY(read_tree(f, lines, text));
    }
    if (f->rows == f->capacity) {
        WB_TRY(grow(f, s));
    }
    f->offsets[f->rows] = lines->offset;
    s->hashes[f->rows] = wb_hash(text->id, strlen(text->id));
    note_if_wanted(s, text->id, f->rows);
    f->rows++;
done:
    return status;
}

/* Fills offsets, and what the scan keeps. */
static wb_status read_rows(wb_text_file *f, scan *s) {
    wb_status status = WB_OK;
    wb_text text = {0};
    wb_lines lines;
    bool more = true;
    WB_TRY(wb_lines_open(&lines, f->path));
    WB_TRY(grow(f, s));
    WB_TRY(wb_lines_next(&lines, &more));
    while (more) {
        if (!wb_lines_is_empty(&lines)) {
            WB_TRY(add_row(f, &lines, &text, s));
        }
        WB_TRY(wb_lines_next(&lines, &more));
    }
    f->offsets[f->rows] = lines.position;
done:
    wb_lines_close(&lines);
    wb_text_clear(&text);
    return status;
}

/* A system call for each text costs more than reading what it holds; without memory for the whole,
 * texts are read one by one. */
static wb_status hold(wb_text_file *f) {
    enum { MOST = 32 << 20 };
    wb_status status = WB_OK;
    const int64_t bytes = f->offsets[f->rows];
    f->held = bytes <= MOST ? malloc((size_t)bytes + 1) : NULL;
    if (f->held) {
        WB_TRY(wb_file_read_at(f->file, f->path, 0, f->held, (size_t)bytes));
    }
done:
    return status;
}

static wb_status check_distinct(const wb_text_file *f, int64_t earlier, int64_t later, wb_text *one,
                                wb_text *two) {
    wb_status status = WB_OK;
    WB_TRY(wb_text_file_read(f, earlier, one));
    WB_TRY(wb_text_file_read(f, later, two));
    WB_CHECK(strcmp(one->id, two->id) != 0, WB_ERR_INPUT,
             "%s:%lld: the id \"%.100s\" is already on line %lld", f->path,
             (long long)wb_line_number(f->path, f->offsets[later]), two->id,
             (long long)wb_line_number(f->path, f->offsets[earlier]));
done:
    return status;
}

static wb_status index_rows(wb_text_file *f, const uint64_t *hashes) {
    wb_status status = WB_OK;
    wb_text one = {0}, two = {0};
    WB_TRY(wb_id_index_reserve(&f->index, f->rows));
    for (int64_t row = 0; row < f->rows; row++) {
        uint64_t step = 0;
        int64_t earlier;
        while ((earlier = wb_id_index_next(&f->index, hashes[row], &step)) >= 0) {
            if (hashes[earlier] == hashes[row]) {
                WB_TRY(check_distinct(f, earlier, row, &one, &two));
            }
        }
        wb_id_index_put(&f->index, hashes[row], row);
    }
done:
    wb_text_clear(&one);
    wb_text_clear(&two);
    return status;
}

wb_status wb_text_file_open_finding(wb_text_file **file, const char *path, const wb_interner *ids,
                                    int64_t *rows) {
    wb_status status = WB_OK;
    scan s = {.ids = ids, .found = rows};
    *file = NULL;
    wb_text_file *f = calloc(1, sizeof(*f));
    WB_CHECK(f, WB_ERR_MEMORY, "%s: no memory to open it", path);
    f->file = open(path, O_RDONLY | O_CLOEXEC);
    WB_CHECK(strlen(path) < sizeof(f->path), WB_ERR_USAGE, "path too long: %.200s…", path);
    (void)strcpy(f->path, path);
    WB_CHECK(f->file >= 0, WB_ERR_INPUT, "%s: cannot open: %s", path, strerror(errno));
    for (int64_t i = 0; ids && i < ids->count; i++) {
        rows[i] = -1;
    }
    WB_TRY(read_rows(f, &s));
    WB_TRY(hold(f));
    WB_TRY(index_rows(f, s.hashes));
    *file = f;
    f = NULL;
done:
    free(s.hashes);
    wb_text_file_close(f);
    return status;
}

wb_status wb_text_file_open(wb_text_file **file, const char *path) {
    return wb_text_file_open_finding(file, path, NULL, NULL);
}

void wb_text_file_close(wb_text_file *file) {
    if (file) {
        if (file->file >= 0) {
            (void)close(file->file);
        }
        free(file->offsets);
        free(file->held);
        wb_id_index_clear(&file->index);
        free(file);
    }
}

/* ---- Reading ---- */

const char *wb_text_file_path(const wb_text_file *file) {
    return file->path;
}

int64_t wb_text_file_rows(const wb_text_file *file) {
    return file->rows;
}

int64_t wb_text_file_offset(const wb_text_file *file, int64_t row) {
    WB_ASSERT(row >= 0 && row <= file->rows, "row %lld of %lld", (long long)row,
              (long long)file->rows);
    return file->offsets[row];
}

wb_status wb_text_file_read(const wb_text_file *file, int64_t row, wb_text *text) {
    wb_status status = WB_OK;
    json_t *object = NULL;
    char where[WB_WHERE];
    const char *line;
    size_t bytes;
    bool is_plain;
    WB_ASSERT(row >= 0 && row < file->rows, "row %lld of %lld", (long long)row,
              (long long)file->rows);
    const int64_t begin = file->offsets[row], end = file->offsets[row + 1];
    if (file->held) {
        line = file->held + begin;
        bytes = wb_text_record_bytes(line, begin, end);
    } else {
        WB_TRY(wb_text_record_fetch(text, file->file, file->path, begin, end, &bytes));
        line = text->line;
    }
    WB_TRY(wb_text_record_line(text, line, bytes, &is_plain));
    if (!is_plain) {
        WB_TRY(wb_text_record_parse(&object, line, bytes, file->path, begin, where));
        WB_TRY(wb_text_record(text, object, where));
    }
done:
    json_decref(object);
    return status;
}

wb_status wb_text_file_fetch(const wb_text_file *file, const char *id, int64_t *row,
                             wb_text *text) {
    wb_status status = WB_OK;
    const uint64_t hash = wb_hash(id, strlen(id));
    uint64_t step = 0;
    while ((*row = wb_id_index_next(&file->index, hash, &step)) >= 0) {
        WB_TRY(wb_text_file_read(file, *row, text));
        if (strcmp(text->id, id) == 0) {
            break;
        }
    }
done:
    return status;
}

wb_status wb_text_file_find(const wb_text_file *file, const char *id, int64_t *row) {
    wb_text text = {0};
    const wb_status status = wb_text_file_fetch(file, id, row, &text);
    wb_text_clear(&text);
    return status;
}
