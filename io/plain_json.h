/* Objects of JSON read where they stand, without a tree: for lines that come by the million.
 *
 * It knows less than jansson and never more: what it reads jansson reads alike, and what it does
 * not read, because it is wrong, deep or has a rare form, is jansson's to read or to refuse
 * (json.h). */
#ifndef WB_PLAIN_JSON_H
#define WB_PLAIN_JSON_H

#include <stdbool.h>
#include <stddef.h>

typedef enum wb_plain_kind {
    WB_PLAIN_NULL,
    WB_PLAIN_STRING,
    WB_PLAIN_INTEGER, /* not negative, below 10^18: its digits are its text */
    WB_PLAIN_ARRAY,
    WB_PLAIN_OBJECT,
    WB_PLAIN_OTHER
} wb_plain_kind;

/* Where a value stands, borrowed from the text that was read. */
typedef struct wb_plain_value {
    wb_plain_kind kind;
    bool escaped;     /* the string has backslashes: wb_plain_copy undoes them */
    const char *text; /* of a string without its quotes */
    size_t bytes;
} wb_plain_value;

enum { WB_PLAIN_MEMBERS = 32 };

typedef struct wb_plain_object {
    int count; /* of the members that are kept: the first ones */
    wb_plain_value keys[WB_PLAIN_MEMBERS], values[WB_PLAIN_MEMBERS];
    const char *others, *end; /* where the other members stand; NULL where there are none */
} wb_plain_object;

/* Local. Reads one object that is the whole text, blanks aside. False where that is left to
 * jansson; then nothing is said of the object. */
bool wb_plain_read(wb_plain_object *object, const char *text, size_t bytes);

/* Local. A member of an object; false where there is none. */
bool wb_plain_member(const wb_plain_object *object, const char *key, wb_plain_value *value);

/* Local. Takes the first element off an array that was read; false where none is left. */
bool wb_plain_element(wb_plain_value *array, wb_plain_value *element);

/* Local. Copies a string to `to` [value->bytes], escapes undone; returns its bytes. */
size_t wb_plain_copy(char *to, const wb_plain_value *value);

#endif
