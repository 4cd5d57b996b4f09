/* Files and folders over POSIX. */
#include "files.h"

#include "units.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PART = 1 << 20,    /* bytes of a long file that go to disk together, and are then read back */
    ON_THE_WAY = 4,    /* parts that may be on their way while the next is written */
    BLOCK = 512 << 10, /* bytes hashed at once, where they are near */
};

wb_status wb_path_join(char path[WB_PATH], const char *folder, const char *name, ...) {
    const int head = snprintf(path, WB_PATH, "%s/", folder);
    int tail = 0;
    if (head > 0 && head < WB_PATH) {
        va_list arguments;
        va_start(arguments, name);
        tail = vsnprintf(path + head, (size_t)(WB_PATH - head), name, arguments);
        va_end(arguments);
    }
    if (head < 0 || tail < 0 || head + tail >= WB_PATH) {
        return WB_ERROR(WB_ERR_USAGE, "path too long: %.200s…; at most %d bytes", folder, WB_PATH);
    }
    return WB_OK;
}

bool wb_path_is_folder(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool wb_path_is_file(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

wb_status wb_file_read_at(int file, const char *path, int64_t offset, void *data, size_t bytes) {
    size_t done = 0;
    while (done < bytes) {
        const ssize_t got =
            pread(file, (char *)data + done, bytes - done, (off_t)(offset + (int64_t)done));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return WB_ERROR(WB_ERR_INPUT, "%s: cannot read %zu bytes at %lld: %s", path, bytes,
                            (long long)offset, got < 0 ? strerror(errno) : "the file ends before");
        }
        done += (size_t)got;
    }
    return WB_OK;
}

wb_status wb_file_sum_begin(wb_file_sum *sum, const char *path) {
    wb_status status = WB_OK;
    *sum = (wb_file_sum){.block = malloc(BLOCK)};
    WB_CHECK(sum->block, WB_ERR_MEMORY, "%s: no memory to verify it", path);
    WB_TRY(wb_hasher_create(&sum->hasher));
done:
    return status;
}

wb_status wb_file_sum_read(wb_file_sum *sum, int file, const char *path, int64_t end) {
    wb_status status = WB_OK;
    while (sum->read < end) {
        const int64_t left = end - sum->read;
        const size_t size = left < BLOCK ? (size_t)left : BLOCK;
        WB_TRY(wb_file_read_at(file, path, sum->read, sum->block, size));
        wb_hasher_add(sum->hasher, sum->block, size);
        sum->read += (int64_t)size;
    }
done:
    return status;
}

void wb_file_sum_end(wb_file_sum *sum) {
    wb_hasher_destroy(sum->hasher);
    free(sum->block);
    *sum = (wb_file_sum){0};
}

wb_status wb_file_read(const char *path, size_t cap, char **data, size_t *bytes) {
    wb_status status = WB_OK;
    char *buffer = NULL;
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    WB_CHECK(file >= 0, WB_ERR_INPUT, "%s: cannot open: %s", path, strerror(errno));
    struct stat info;
    WB_CHECK(fstat(file, &info) == 0 && S_ISREG(info.st_mode), WB_ERR_INPUT,
             "%s: is not a regular file", path);
    WB_CHECK((size_t)info.st_size <= cap, WB_ERR_INPUT, "%s: %s; at most %s are allowed", path,
             wb_bytes_text((size_t)info.st_size).text, wb_bytes_text(cap).text);
    const size_t size = (size_t)info.st_size;
    buffer = malloc(size + 1);
    WB_CHECK(buffer, WB_ERR_MEMORY, "%s: no memory for %s", path, wb_bytes_text(size).text);
    WB_TRY(wb_file_read_at(file, path, 0, buffer, size));
    buffer[size] = '\0';
    *data = buffer;
    *bytes = size;
    buffer = NULL;
done:
    free(buffer);
    if (file >= 0) {
        (void)close(file);
    }
    return status;
}

static wb_status write_all(int file, const char *path, const void *data, size_t bytes) {
    size_t done = 0;
    while (done < bytes) {
        const ssize_t put = write(file, (const char *)data + done, bytes - done);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            return WB_ERROR(WB_ERR_DISK, "%s: cannot write %s: %s", path, wb_bytes_text(bytes).text,
                            strerror(errno));
        }
        done += (size_t)put;
    }
    return WB_OK;
}

static wb_status sync_parent(const char *path) {
    char copy[WB_PATH];
    (void)snprintf(copy, sizeof(copy), "%s", path);
    return wb_folder_sync(dirname(copy));
}

wb_status wb_draft_begin(wb_draft *draft, const char *path) {
    *draft = (wb_draft)WB_DRAFT_NONE;
    const int length = snprintf(draft->temporary, WB_PATH, "%s.tmp", path);
    if (length <= 0 || length >= WB_PATH) {
        return WB_ERROR(WB_ERR_USAGE, "path too long: %.200s…; at most %d bytes", path, WB_PATH);
    }
    (void)snprintf(draft->path, WB_PATH, "%s", path);
    draft->file =
        open(draft->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (draft->file < 0) {
        return WB_ERROR(WB_ERR_DISK, "%s: cannot create: %s", draft->temporary, strerror(errno));
    }
    return WB_OK;
}

void wb_file_forget(int file, int64_t offset, int64_t bytes) {
    (void)posix_fadvise(file, offset, bytes, POSIX_FADV_DONTNEED);
}

static void open_behind(wb_draft *draft) {
    if (draft->behind < 0) {
        draft->behind = open(draft->temporary, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    }
}

/* From now on what is on disk is read back. Before anything is appended. */
static wb_status begin_to_read_back(wb_draft *draft) {
    wb_status status = WB_OK;
    open_behind(draft);
    WB_CHECK(draft->behind >= 0, WB_ERR_DISK, "%s: cannot open once more: %s", draft->temporary,
             strerror(errno));
    WB_TRY(wb_file_sum_begin(&draft->back, draft->path));
done:
    return status;
}

/* All before `end`, which is on disk. */
static wb_status read_back(wb_draft *draft, int64_t end) {
    wb_status status = WB_OK;
    const int64_t begin = draft->back.read;
    if (draft->back.hasher && begin < end) {
        WB_TRY(wb_file_sum_read(&draft->back, draft->behind, draft->temporary, end));
        wb_file_forget(draft->behind, begin, end - begin);
    }
done:
    return status == WB_ERR_INPUT ? WB_ERR_DISK : status;
}

/* Sends the part that is now whole to disk and waits for one before it, so that little is left for
 * the end. This is advice that some file systems do not take. A part that cannot be written is told
 * once to each that has the file open: here nobody listens, so that fsync tells it to who wrote. */
static wb_status write_behind(wb_draft *draft) {
    static const unsigned all =
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    const int64_t part = draft->written - PART, before = part - ON_THE_WAY * PART;
    open_behind(draft);
    (void)sync_file_range(draft->behind, part, PART, SYNC_FILE_RANGE_WRITE);
    if (before >= 0) {
        (void)sync_file_range(draft->behind, before, PART, all);
    }
    return read_back(draft, before + PART);
}

static void stop_behind(wb_draft *draft) {
    if (draft->behind >= 0) {
        (void)close(draft->behind);
        draft->behind = -1;
    }
}

wb_status wb_draft_append(wb_draft *draft, const void *data, size_t bytes) {
    wb_status status = WB_OK;
    for (size_t at = 0; at < bytes;) {
        const size_t room = (size_t)(PART - draft->written % PART);
        const size_t size = bytes - at < room ? bytes - at : room;
        WB_TRY(write_all(draft->file, draft->temporary, (const char *)data + at, size));
        at += size;
        draft->written += (int64_t)size;
        if (size == room) {
            WB_TRY(write_behind(draft));
        }
    }
done:
    return status;
}

static wb_status rename_durably(const char *temporary, const char *path) {
    if (rename(temporary, path) != 0) {
        return WB_ERROR(WB_ERR_DISK, "%s: cannot rename to %s: %s", temporary, path,
                        strerror(errno));
    }
    return sync_parent(path);
}

wb_status wb_draft_commit(wb_draft *draft) {
    wb_status status = WB_OK;
    WB_CHECK(fsync(draft->file) == 0, WB_ERR_DISK, "%s: fsync: %s", draft->temporary,
             strerror(errno));
    WB_TRY(read_back(draft, draft->written));
    stop_behind(draft);
    const int closed = close(draft->file);
    draft->file = -1;
    WB_CHECK(closed == 0, WB_ERR_DISK, "%s: close: %s", draft->temporary, strerror(errno));
    WB_TRY(rename_durably(draft->temporary, draft->path));
done:
    if (status != WB_OK) {
        (void)unlink(draft->temporary);
    }
    return status;
}

void wb_draft_discard(wb_draft *draft) {
    stop_behind(draft);
    wb_file_sum_end(&draft->back);
    if (draft->file >= 0) {
        (void)close(draft->file);
        (void)unlink(draft->temporary);
        draft->file = -1;
    }
}

wb_status wb_file_publish(const char *temporary, const char *path) {
    const int file = open(temporary, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    const bool synced = file >= 0 && fsync(file) == 0;
    const int why = errno;
    if (file >= 0) {
        (void)close(file);
    }
    return synced ? rename_durably(temporary, path)
                  : WB_ERROR(WB_ERR_DISK, "%s: cannot sync: %s", temporary, strerror(why));
}

wb_status wb_file_write(const char *path, const void *data, size_t bytes) {
    wb_status status = WB_OK;
    wb_draft draft = WB_DRAFT_NONE;
    WB_TRY(wb_draft_begin(&draft, path));
    WB_TRY(wb_draft_append(&draft, data, bytes));
    WB_TRY(wb_draft_commit(&draft));
done:
    wb_draft_discard(&draft);
    return status;
}

wb_status wb_file_write_and_read(const char *path, const void *data, size_t bytes, uint64_t *sum) {
    wb_status status = WB_OK;
    wb_draft draft = WB_DRAFT_NONE;
    WB_TRY(wb_draft_begin(&draft, path));
    WB_TRY(begin_to_read_back(&draft));
    WB_TRY(wb_draft_append(&draft, data, bytes));
    WB_TRY(wb_draft_commit(&draft));
    *sum = wb_hasher_sum(draft.back.hasher);
done:
    wb_draft_discard(&draft);
    return status;
}

wb_status wb_memstream_close(FILE *stream, wb_status status, const char *what) {
    const bool printed = ferror(stream) == 0, closed = fclose(stream) == 0;
    return status != WB_OK || (printed && closed)
               ? status
               : WB_ERROR(WB_ERR_MEMORY, "no memory for %s", what);
}

bool wb_file_begins_with(const char *path, const char *text) {
    FILE *file = fopen(path, "re");
    bool is_same = file != NULL;
    for (const char *at = text; is_same && *at; at++) {
        is_same = getc(file) == (unsigned char)*at;
    }
    if (file) {
        (void)fclose(file);
    }
    return is_same;
}

wb_status wb_file_copy(const char *from, const char *to) {
    wb_status status = WB_OK;
    char *data = NULL;
    size_t bytes = 0;
    WB_TRY(wb_file_read(from, SIZE_MAX / 2, &data, &bytes));
    WB_TRY(wb_file_write(to, data, bytes));
done:
    free(data);
    return status;
}

wb_status wb_folder_make(const char *path) {
    char partial[WB_PATH];
    const int length = snprintf(partial, sizeof(partial), "%s", path);
    if (length <= 0 || length >= WB_PATH) {
        return WB_ERROR(WB_ERR_USAGE, "folder name is empty or too long: %.200s", path);
    }
    for (char *at = partial + 1;; at++) {
        if (*at != '/' && *at != '\0') {
            continue;
        }
        const char end = *at;
        *at = '\0';
        if (mkdir(partial, 0700) != 0 && !(errno == EEXIST && wb_path_is_folder(partial))) {
            return WB_ERROR(WB_ERR_DISK, "%s: cannot make this folder: %s", partial,
                            strerror(errno));
        }
        *at = end;
        if (end == '\0') {
            return WB_OK;
        }
    }
}

wb_status wb_folder_next(DIR *folder, const char *path, const char **name) {
    errno = 0;
    const struct dirent *const entry = readdir(folder);
    *name = entry ? entry->d_name : NULL;
    return entry || errno == 0
               ? WB_OK
               : WB_ERROR(WB_ERR_DISK, "%s: cannot list it: %s", path, strerror(errno));
}

wb_status wb_folder_is_empty(bool *empty, const char *path) {
    wb_status status = WB_OK;
    const char *name = NULL;
    DIR *folder = opendir(path);
    *empty = !folder && errno == ENOENT;
    WB_CHECK(folder || *empty || errno == ENOTDIR, WB_ERR_DISK, "%s: cannot list it: %s", path,
             strerror(errno));
    if (folder) {
        do {
            WB_TRY(wb_folder_next(folder, path, &name));
            *empty = !name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
        } while (name && *empty);
    }
done:
    if (folder) {
        (void)closedir(folder);
    }
    return status;
}

wb_status wb_folder_sync(const char *path) {
    const int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const bool synced = folder >= 0 && fsync(folder) == 0;
    const int why = errno;
    if (folder >= 0) {
        (void)close(folder);
    }
    return synced ? WB_OK
                  : WB_ERROR(WB_ERR_DISK, "%s: cannot sync this folder: %s", path, strerror(why));
}

/* Gives a folder another name, under which it may be removed bit by bit: path.old.tmp. */
static wb_status step_aside(char aside[WB_PATH], const char *path) {
    wb_status status = WB_OK;
    const int length = snprintf(aside, WB_PATH, "%s.old.tmp", path);
    WB_CHECK(length > 0 && length < WB_PATH, WB_ERR_USAGE, "path too long: %.200s…", path);
    WB_TRY(wb_folder_remove(aside));
    WB_CHECK(rename(path, aside) == 0 || errno == ENOENT, WB_ERR_DISK,
             "%s: cannot rename to %s: %s", path, aside, strerror(errno));
done:
    return status;
}

/* For file systems that cannot exchange two names. */
static wb_status replace_in_two_moves(const char *temporary, const char *path) {
    wb_status status = WB_OK;
    char aside[WB_PATH];
    WB_TRY(step_aside(aside, path));
    WB_TRY(rename_durably(temporary, path));
    WB_TRY(wb_folder_remove(aside));
done:
    return status;
}

wb_status wb_folder_withdraw(const char *path) {
    wb_status status = WB_OK;
    char aside[WB_PATH];
    WB_TRY(step_aside(aside, path));
    WB_TRY(sync_parent(path));
    WB_TRY(wb_folder_remove(aside));
done:
    return status;
}

wb_status wb_folder_publish(const char *temporary, const char *path) {
    wb_status status = WB_OK;
    WB_TRY(wb_folder_sync(temporary));
    if (!wb_path_is_folder(path)) {
        WB_TRY(rename_durably(temporary, path));
    } else if (renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_EXCHANGE) == 0) {
        WB_TRY(sync_parent(path));
        WB_TRY(wb_folder_remove(temporary));
    } else {
        WB_TRY(replace_in_two_moves(temporary, path));
    }
done:
    return status;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *place) {
    (void)info;
    (void)kind;
    (void)place;
    return remove(path);
}

wb_status wb_folder_remove(const char *path) {
    if (nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT) {
        return WB_ERROR(WB_ERR_DISK, "%s: cannot remove: %s", path, strerror(errno));
    }
    return WB_OK;
}
