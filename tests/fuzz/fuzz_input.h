/* Bytes as a file: readers take paths, so a harness writes its input into memory that has one. */
#ifndef WB_FUZZ_INPUT_H
#define WB_FUZZ_INPUT_H

#include "status.h"

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

/* A property that must hold for every input. */
static inline void fuzz_require(bool holds, const char *what) {
    if (!holds) {
        (void)fprintf(stderr, "does not hold: %s; last error: %s\n", what, wb_error_message());
        abort();
    }
}

#endif
