/* A buffer that slides over the file and grows only for long lines. */
#include "lines.h"

#include "foreign_file.h"
#include "unicode_text.h"
#include "units.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const size_t first_capacity = (size_t)1 << 16;

wb_status wb_lines_open(wb_lines *lines, const char *path) {
    wb_status status = WB_OK;
    struct stat info;
    *lines = (wb_lines){.path = path, .file = open(path, O_RDONLY | O_CLOEXEC)};
    WB_CHECK(lines->file >= 0, WB_ERR_INPUT, "%s: cannot open: %s", path, strerror(errno));
    WB_CHECK(fstat(lines->file, &info) == 0 && S_ISREG(info.st_mode), WB_ERR_INPUT,
             "%s: is not a regular file", path);
    lines->capacity = first_capacity;
    lines->buffer = malloc(lines->capacity);
    WB_CHECK(lines->buffer, WB_ERR_MEMORY, "%s: no memory to read it", path);
done:
    if (status != WB_OK) {
        wb_lines_close(lines);
    }
    return status;
}

void wb_lines_close(wb_lines *lines) {
    if (lines->file >= 0) {
        (void)close(lines->file);
    }
    free(lines->buffer);
    *lines = (wb_lines){.file = -1};
}

/* Makes room behind the unread bytes, one of it for a NUL. */
static wb_status make_room(wb_lines *lines) {
    const size_t unread = lines->end - lines->begin;
    memmove(lines->buffer, lines->buffer + lines->begin, unread);
    lines->begin = 0;
    lines->end = unread;
    if (unread > WB_LINE_CAP) {
        return WB_ERROR(WB_ERR_INPUT, "%s:%lld: the line is longer than %s", lines->path,
                        (long long)(lines->number + 1), wb_bytes_text(WB_LINE_CAP).text);
    }
    if (unread + 1 < lines->capacity) {
        return WB_OK;
    }
    char *buffer = realloc(lines->buffer, 2 * lines->capacity);
    if (!buffer) {
        return WB_ERROR(WB_ERR_MEMORY, "%s:%lld: no memory for a line of more than %s", lines->path,
                        (long long)(lines->number + 1), wb_bytes_text(lines->capacity).text);
    }
    lines->buffer = buffer;
    lines->capacity *= 2;
    return WB_OK;
}

static void skip_byte_order_mark(wb_lines *lines) {
    const bool marked = lines->position == 0 && lines->end - lines->begin >= 3 &&
                        memcmp(lines->buffer, "\xEF\xBB\xBF", 3) == 0;
    lines->begin += marked ? 3 : 0;
    lines->position += marked ? 3 : 0;
}

static wb_status read_more(wb_lines *lines) {
    wb_status status = WB_OK;
    ssize_t got;
    WB_TRY(make_room(lines));
    do {
        got = read(lines->file, lines->buffer + lines->end, lines->capacity - lines->end - 1);
    } while (got < 0 && errno == EINTR);
    WB_CHECK(got >= 0, WB_ERR_INPUT, "%s: cannot read: %s", lines->path, strerror(errno));
    lines->end += (size_t)got;
    lines->ended = got == 0;
    if (lines->position == 0 && lines->number == 0) {
        WB_TRY(wb_foreign_file_check(lines->path, lines->buffer + lines->begin,
                                     lines->end - lines->begin));
    }
    skip_byte_order_mark(lines);
done:
    return status;
}

wb_status wb_lines_next(wb_lines *lines, bool *more) {
    wb_status status = WB_OK;
    size_t searched = 0;
    char *end = NULL;
    *more = false;
    for (;;) {
        char *unread = lines->buffer + lines->begin;
        const size_t bytes = lines->end - lines->begin;
        end = memchr(unread + searched, '\n', bytes - searched);
        if (end || lines->ended) {
            break;
        }
        /* a byte order mark may go from in front of what is at position 0 */
        searched = lines->position == 0 ? 0 : bytes;
        WB_TRY(read_more(lines));
    }
    if (!end && lines->begin == lines->end) {
        return WB_OK;
    }
    lines->text = lines->buffer + lines->begin;
    lines->bytes = (end ? (size_t)(end - lines->text) : lines->end - lines->begin);
    const size_t taken = lines->bytes + (end ? 1 : 0);
    lines->offset = lines->position;
    lines->position += (int64_t)taken;
    lines->begin += taken;
    lines->number++;
    lines->bytes -= lines->bytes > 0 && lines->text[lines->bytes - 1] == '\r';
    lines->text[lines->bytes] = '\0';
    *more = true;
    WB_CHECK(lines->bytes <= WB_LINE_CAP, WB_ERR_INPUT, "%s:%lld: the line is longer than %s",
             lines->path, (long long)lines->number, wb_bytes_text(WB_LINE_CAP).text);
done:
    return status;
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

bool wb_lines_is_empty(const wb_lines *lines) {
    size_t at = 0;
    while (at < lines->bytes && is_blank(lines->text[at])) {
        at++;
    }
    return at == lines->bytes;
}

int wb_lines_split(wb_lines *lines, char *fields[], int most) {
    char *at = lines->text;
    const char *end = lines->text + lines->bytes;
    int count = 0;
    for (;;) {
        while (at < end && is_blank(*at)) {
            at++;
        }
        if (at == end) {
            return count;
        }
        if (count == most) {
            return most + 1;
        }
        fields[count++] = at;
        while (at < end && !is_blank(*at)) {
            at++;
        }
        if (at == end) {
            return count;
        }
        *at++ = '\0';
    }
}

wb_status wb_lines_check_text(const wb_lines *lines) {
    const size_t bad = wb_utf8_valid(lines->text, lines->bytes);
    if (bad == lines->bytes) {
        return WB_OK;
    }
    return WB_ERROR(WB_ERR_INPUT, "%s:%lld:%zu: %s; files must be UTF-8 text", lines->path,
                    (long long)lines->number, bad + 1,
                    lines->text[bad] == '\0' ? "a NUL byte" : "invalid UTF-8");
}

int64_t wb_line_number(const char *path, int64_t offset) {
    FILE *file = fopen(path, "re");
    int64_t number = 1;
    if (!file) {
        return 0;
    }
    for (int c; offset > 0 && (c = getc_unlocked(file)) != EOF; offset--) {
        number += c == '\n';
    }
    (void)fclose(file);
    return number;
}
