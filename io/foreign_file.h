/* Files that are often met where another kind is needed: an archive that was not unpacked, a
 * pointer of git-lfs, the web page of a failed download. Known by their first bytes. */
#ifndef WB_FOREIGN_FILE_H
#define WB_FOREIGN_FILE_H

#include "status.h"

#include <stddef.h>

/* First bytes that are enough to know all kinds by. */
enum { WB_FOREIGN_HEAD = 32 };

/* Local. Whether a file that should hold text, JSON or tensors begins like one of these. Error:
 * WB_ERR_INPUT saying what it is and what to do. */
wb_status wb_foreign_file_check(const char *path, const void *head, size_t bytes);

#endif
