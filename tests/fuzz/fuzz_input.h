/* Bytes as a file: readers take paths, so a harness writes its input into memory that has one. */
#ifndef WB_FUZZ_INPUT_H
#define WB_FUZZ_INPUT_H

#include "status.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* libFuzzer calls it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

typedef struct fuzz_file {
    int file;
    char path[64];
} fuzz_file;

static inline fuzz_file fuzz_file_open(const uint8_t *data, size_t bytes) {
    fuzz_file input = {.file = memfd_create("fuzz", MFD_CLOEXEC)};
    if (input.file < 0 || write(input.file, data, bytes) != (ssize_t)bytes) {
        abort();
    }
    (void)snprintf(input.path, sizeof(input.path), "/proc/self/fd/%d", input.file);
    return input;
}

static inline void fuzz_file_close(fuzz_file *input) {
    (void)close(input->file);
    wb_error_clear();
}

/* The input under a name of its own, for readers that ask for a folder or for a real path: a folder
 * in memory that goes when the harness ends. One name a harness. */
typedef struct fuzz_folder {
    char path[32], file[64];
} fuzz_folder;

static fuzz_folder fuzz_the_folder;

static inline void fuzz_folder_remove(void) {
    (void)unlink(fuzz_the_folder.file);
    (void)rmdir(fuzz_the_folder.path);
}

static inline const fuzz_folder *fuzz_folder_with(const char *name, const uint8_t *data,
                                                  size_t bytes) {
    fuzz_folder *folder = &fuzz_the_folder;
    if (folder->path[0] == '\0') {
        (void)snprintf(folder->path, sizeof(folder->path), "/dev/shm/widebatch-XXXXXX");
        if (!mkdtemp(folder->path) || atexit(fuzz_folder_remove) != 0) {
            abort();
        }
        (void)snprintf(folder->file, sizeof(folder->file), "%s/%s", folder->path, name);
    }
    const int file = open(folder->file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (file < 0 || write(file, data, bytes) != (ssize_t)bytes) {
        abort();
    }
    (void)close(file);
    return folder;
}

/* A property that must hold for every input. */
static inline void fuzz_require(bool holds, const char *what) {
    if (!holds) {
        (void)fprintf(stderr, "does not hold: %s; last error: %s\n", what, wb_error_message());
        abort();
    }
}

#endif
