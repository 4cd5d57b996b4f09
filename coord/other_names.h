/* What sentence-transformers, Tevatron and others call the keys of this program, for the message
 * that meets a key that it does not know. */
#ifndef WB_OTHER_NAMES_H
#define WB_OTHER_NAMES_H

#include <stdbool.h>

typedef struct wb_other_name {
    const char *name; /* in lower case, words joined by '_' */
    const char *key;  /* ours; NULL where none is needed */
    const char *note; /* what is different here; NULL where nothing is */
} wb_other_name;

/* Local. The row of a key's last part, in any case and with '-' or '_' between words; NULL if it is
 * no name that others use. */
const wb_other_name *wb_other_name_find(const char *key);

/* Local. Row i, for tests; NULL behind the last. */
const wb_other_name *wb_other_name_row(int i);

#endif
