/* One text out of one JSON object: the rules that text files and Tevatron passages share. */
#ifndef WB_TEXT_RECORD_H
#define WB_TEXT_RECORD_H

#include "files.h"
#include "json.h"
#include "plain_json.h"
#include "text_file.h"

enum { WB_WHERE = WB_PATH + 64 };

/* Local. Fills text->id, text and bytes from an object as text_file.h says. Messages begin with
 * `where`, a file and a line or a byte in it. Errors: WB_ERR_INPUT, WB_ERR_MEMORY. */
wb_status wb_text_record(wb_text *text, const json_t *object, const char *where);

/* Local. The same from an object without a tree; *fits is false where that is left to
 * wb_text_record, which understands more and has the messages. Error: WB_ERR_MEMORY. */
wb_status wb_text_record_plain(wb_text *text, const wb_plain_object *object, bool *fits);

/* Local. The same from the bytes of a line. */
wb_status wb_text_record_line(wb_text *text, const char *line, size_t bytes, bool *fits);

/* Local. Reads the line at [begin, end) of an open file to text->line: *bytes of it, up to its line
 * end if that is sooner. Errors: WB_ERR_INPUT, WB_ERR_MEMORY. */
wb_status wb_text_record_fetch(wb_text *text, int file, const char *path, int64_t begin,
                               int64_t end, size_t *bytes);

/* Local. Bytes of a line whose text and line end, or more, take up [begin, end) of a file. */
size_t wb_text_record_bytes(const char *line, int64_t begin, int64_t end);

/* Local. What was fetched, as a tree: *object is a new reference. `where` is filled: "PATH at byte
 * BEGIN". Errors: WB_ERR_INPUT, WB_ERR_MEMORY. */
wb_status wb_text_record_parse(json_t **object, const char *line, size_t bytes, const char *path,
                               int64_t begin, char where[WB_WHERE]);

/* Local. A JSON string or integer as an id: *id is borrowed from `value`, or from number[24].
 * Error: WB_ERR_INPUT where it is neither, empty, or has blanks. */
wb_status wb_text_record_id(const json_t *value, const char *key, const char *where,
                            char number[24], const char **id);

#endif
