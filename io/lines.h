/* Lines of a text file, one after the other, in constant memory: what every line format here is
 * read with. A UTF-8 byte order mark at the start, the CR of a CRLF and a missing last newline are
 * taken care of; a line longer than WB_LINE_CAP is refused before it is held. */
#ifndef WB_LINES_H
#define WB_LINES_H

#include "status.h"

#include <stdint.h>

#define WB_LINE_CAP ((size_t)16 << 20)

typedef struct wb_lines {
    const char *path; /* borrowed from wb_lines_open's caller */
    int file;
    char *buffer; /* [capacity], bytes [begin, end) are read and not yet handed out */
    size_t capacity, begin, end;
    int64_t position; /* byte offset of buffer[begin] in the file */
    bool ended;       /* nothing is left to read */
    /* the line last handed out */
    char *text;     /* NUL-terminated, may be changed in place; borrowed until the next line */
    size_t bytes;   /* without its line end */
    int64_t offset; /* byte offset in the file */
    int64_t number; /* from 1 */
} wb_lines;

/* Local. Opens a regular file; `path` is borrowed until wb_lines_close.
 * Errors: WB_ERR_INPUT, WB_ERR_MEMORY. */
wb_status wb_lines_open(wb_lines *lines, const char *path);
void wb_lines_close(wb_lines *lines);

/* Local. *more is false behind the last line. Errors: WB_ERR_INPUT, WB_ERR_MEMORY. */
wb_status wb_lines_next(wb_lines *lines, bool *more);

/* Local. True where the line last handed out has nothing but blanks and tabs. */
bool wb_lines_is_empty(const wb_lines *lines);

/* Local. Splits the line last handed out at runs of blanks and tabs, in place: fills fields[most]
 * with borrowed strings; returns how many there are, most + 1 where there are more. The line must
 * have no NUL bytes: see wb_lines_check_text. */
int wb_lines_split(wb_lines *lines, char *fields[], int most);

/* Local. Refuses NUL bytes and invalid UTF-8 in the line last handed out, with file, line and
 * column. Error: WB_ERR_INPUT. */
wb_status wb_lines_check_text(const wb_lines *lines);

/* Local. Number, from 1, of the line that holds byte `offset`: for messages. 0 where the file
 * cannot be read. */
int64_t wb_line_number(const char *path, int64_t offset);

#endif
