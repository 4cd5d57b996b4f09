/* JSON from files nobody has checked: strict parsing over jansson, errors with file, line, column.
 * Duplicate keys are refused (two parsers could read two models), and so are NUL and bad UTF-8.
 */
#ifndef WB_JSON_H
#define WB_JSON_H

#include "status.h"

#include <jansson.h>
#include <stdint.h>

/* How many values a text may have, and how deep they may lie in each other: marks that open one or
 * part two are counted. */
enum { WB_JSON_VALUES = 1 << 20, WB_JSON_LINE_VALUES = 1 << 17, WB_JSON_DEPTH = 128 };

/* Local. Parses exactly `bytes` bytes. `where` names the text in messages; `first_line` is the line
 * its first byte stands on (1 for a whole file, the line number for a line of JSONL).
 * *value is a new reference (json_decref). Errors: WB_ERR_INPUT, also beyond WB_JSON_VALUES and
 * WB_JSON_DEPTH; WB_ERR_MEMORY. */
wb_status wb_json_parse(json_t **value, const char *text, size_t bytes, const char *where,
                        int64_t first_line);

/* Local. The same for a line of JSONL: at most WB_JSON_LINE_VALUES. */
wb_status wb_json_parse_line(json_t **value, const char *text, size_t bytes, const char *where,
                             int64_t line);

/* Local. Parses a whole file of at most `cap` bytes. Errors: WB_ERR_INPUT, WB_ERR_MEMORY. */
wb_status wb_json_read(json_t **value, const char *path, size_t cap);

/* Local. The same with every number as a real: for files that hold whole numbers beyond 64 bits,
 * such as the model_max_length of 10^30 in tokenizer_config.json. */
wb_status wb_json_read_reals(json_t **value, const char *path, size_t cap);

/* Local. Members of an object. A missing member keeps *out as it is (the default) unless it is
 * required; null counts as missing. Wrong type or out of range: WB_ERR_INPUT with `where`, key,
 * what was found and what is allowed. Strings are borrowed from `object`. */
wb_status wb_json_integer(const json_t *object, const char *key, bool required, int64_t least,
                          int64_t most, const char *where, int64_t *out);
wb_status wb_json_number(const json_t *object, const char *key, bool required, double least,
                         double most, const char *where, double *out);
wb_status wb_json_bool(const json_t *object, const char *key, bool required, const char *where,
                       bool *out);
wb_status wb_json_string(const json_t *object, const char *key, bool required, const char *where,
                         const char **out);

/* Local. JSON as text, with flags of json_dumps; *text is owned by the caller (free), also on
 * error. Error: WB_ERR_MEMORY, also where there was none when `value` (NULL: none at all) was
 * built. */
wb_status wb_json_text(char **text, const json_t *value, size_t flags, const char *where);

/* Local. Writes indented JSON durably (wb_file_write). Errors: WB_ERR_DISK, WB_ERR_MEMORY. */
wb_status wb_json_write(const json_t *value, const char *path);

#endif
