#include "lying_disk.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static wb_disk chosen;
static long writes;

void wb_disk_set(wb_disk disk) {
    chosen = disk;
    writes = 0;
}

ssize_t __real_write(int file, const void *data, size_t bytes);
ssize_t __wrap_write(int file, const void *data, size_t bytes);
ssize_t __wrap_write(int file, const void *data, size_t bytes) {
    if (!chosen) {
        return __real_write(file, data, bytes);
    }
    unsigned char *copy = malloc(bytes + 1);
    memcpy(copy, data, bytes);
    const bool done = chosen(++writes, file, copy, bytes);
    const ssize_t put = done ? __real_write(file, copy, bytes) : (ssize_t)bytes;
    free(copy);
    return put;
}
