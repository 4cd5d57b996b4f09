/* Whole files, paths and durable writing: what every reader and writer in io shares. */
#ifndef WB_FILES_H
#define WB_FILES_H

#include "hash.h"
#include "status.h"

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>

enum { WB_PATH = 4096 };

/* Local. path = folder/name (a printf format). Error: WB_ERR_USAGE where it is too long. */
wb_status wb_path_join(char path[WB_PATH], const char *folder, const char *name, ...)
    __attribute__((format(printf, 3, 4)));

bool wb_path_is_folder(const char *path);
bool wb_path_is_file(const char *path);

/* Local. Reads a file of at most `cap` bytes; *data gets a NUL after its `bytes`, owned by the
 * caller (free). Errors: WB_ERR_INPUT where it cannot be read or is larger; WB_ERR_MEMORY. */
wb_status wb_file_read(const char *path, size_t cap, char **data, size_t *bytes);

/* Local. Reads exactly `bytes` at `offset` of an open file. Error: WB_ERR_INPUT, with `path`. */
wb_status wb_file_read_at(int file, const char *path, int64_t offset, void *data, size_t bytes);

/* The sum of an open file as it is read from its start, block by block. */
typedef struct wb_file_sum {
    wb_hasher *hasher; /* owned; NULL: not begun */
    void *block;       /* owned */
    int64_t read;      /* bytes so far */
} wb_file_sum;

/* Local. Begin, read on to `end` as often as it takes, take the hasher's sum, end, also after an
 * error; `path` appears in messages. Errors: WB_ERR_MEMORY; WB_ERR_INPUT. */
wb_status wb_file_sum_begin(wb_file_sum *sum, const char *path);
wb_status wb_file_sum_read(wb_file_sum *sum, int file, const char *path, int64_t end);
void wb_file_sum_end(wb_file_sum *sum);

/* Local. Advice: the system need not keep these bytes of an open file, and may use their memory for
 * what is read or written next. 0 bytes: all from there on. What is not on disk yet stays. */
void wb_file_forget(int file, int64_t offset, int64_t bytes);

/* A file being written: what stands under `path` is untouched until wb_draft_commit. What lies
 * behind in a long one goes to disk while the rest is written. */
typedef struct wb_draft {
    int file;         /* -1: none open */
    int behind;       /* the same file once more; -1: none open */
    int64_t written;  /* bytes so far */
    wb_file_sum back; /* of what is read back; not begun: nothing is */
    char path[WB_PATH];
    char temporary[WB_PATH]; /* path.tmp */
} wb_draft;

/* Local. Begin path.tmp; append; then fsync, rename to `path`, fsync the folder. Discard removes
 * what was begun and does nothing after a commit, or on a draft of WB_DRAFT_NONE. Error:
 * WB_ERR_DISK; the draft is then still to be discarded. */
#define WB_DRAFT_NONE                                                                              \
    { .file = -1, .behind = -1 }
wb_status wb_draft_begin(wb_draft *draft, const char *path);
wb_status wb_draft_append(wb_draft *draft, const void *data, size_t bytes);
wb_status wb_draft_commit(wb_draft *draft);
void wb_draft_discard(wb_draft *draft);

/* Local. Gives a finished file, written by other means, its name, durably. Error: WB_ERR_DISK. */
wb_status wb_file_publish(const char *temporary, const char *path);

/* Local. Writes path.tmp, fsyncs, renames to path, fsyncs the folder: afterwards the file is there
 * whole, or what was there before still is. Error: WB_ERR_DISK. */
wb_status wb_file_write(const char *path, const void *data, size_t bytes);

/* Local. The same, and each part is read back once it is on disk: *sum is the XXH3 of what stands
 * there. The system may then forget it, so that what is written next finds memory that was in use,
 * which costs a fraction of new memory, and what others read stays. Errors: WB_ERR_DISK,
 * WB_ERR_MEMORY. */
wb_status wb_file_write_and_read(const char *path, const void *data, size_t bytes, uint64_t *sum);

/* Local. Closes a stream of open_memstream. `status` where that is an error: of what printed to it;
 * else WB_ERR_MEMORY naming `what` where there was no memory for all of it. */
wb_status wb_memstream_close(FILE *stream, wb_status status, const char *what);

/* Local. Whether these are the first bytes of a file; false where there is none. */
bool wb_file_begins_with(const char *path, const char *text);

/* Local. Copies a file durably, as wb_file_write. Errors: WB_ERR_INPUT, WB_ERR_DISK. */
wb_status wb_file_copy(const char *from, const char *to);

/* Local. Makes a folder and its parents (mode 0700); one that exists is fine. Error: WB_ERR_DISK.
 */
wb_status wb_folder_make(const char *path);

/* Local. *name is the next entry of an open folder, NULL behind the last one: unlike readdir, a
 * folder that cannot be read is not taken for a shorter one. Borrowed until the next call.
 * Error: WB_ERR_DISK. */
wb_status wb_folder_next(DIR *folder, const char *path, const char **name);

/* Local. *empty: nothing is in a folder, or there is none; false for what is no folder. Error:
 * WB_ERR_DISK. */
wb_status wb_folder_is_empty(bool *empty, const char *path);

/* Local. Flushes a folder's entries to disk. Error: WB_ERR_DISK. */
wb_status wb_folder_sync(const char *path);

/* Local. Gives a finished folder its name, durably; a folder that had the name is replaced in one
 * move where the file system can, and removed. What is in it must be on disk. Error: WB_ERR_DISK.
 */
wb_status wb_folder_publish(const char *temporary, const char *path);

/* Local. Removes a folder and all in it; links are removed, not followed. Error: WB_ERR_DISK. */
wb_status wb_folder_remove(const char *path);

/* Local. The same for one that must be there whole or not at all: it first loses its name, durably,
 * and what is left of a removal that was cut off goes, too. Error: WB_ERR_DISK. */
wb_status wb_folder_withdraw(const char *path);

#endif
