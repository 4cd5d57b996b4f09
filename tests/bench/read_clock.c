/* Puts a clock around what only reading checkpoints back does (ld --wrap), and says at the end how
 * long that took: of files that are still being written, and of those that were there. */
#include "files.h"
#include "units.h"

#include <stdio.h>
#include <string.h>

static double behind, again; /* seconds; one thread writes checkpoints */
static double *counted;      /* what is hashed next was read for this one; NULL: for neither */

wb_status __real_wb_file_read_at(int file, const char *path, int64_t at, void *data, size_t bytes);
wb_status __wrap_wb_file_read_at(int file, const char *path, int64_t at, void *data, size_t bytes);
wb_status __wrap_wb_file_read_at(int file, const char *path, int64_t at, void *data, size_t bytes) {
    if (!strstr(path, "/state.h5")) {
        return __real_wb_file_read_at(file, path, at, data, bytes);
    }
    const double began = wb_now();
    const wb_status status = __real_wb_file_read_at(file, path, at, data, bytes);
    counted = strstr(path, "/state.h5.tmp") ? &behind : &again;
    *counted += wb_now() - began;
    return status;
}

void __real_wb_hasher_add(wb_hasher *hasher, const void *data, size_t bytes);
void __wrap_wb_hasher_add(wb_hasher *hasher, const void *data, size_t bytes);
void __wrap_wb_hasher_add(wb_hasher *hasher, const void *data, size_t bytes) {
    const double began = wb_now();
    __real_wb_hasher_add(hasher, data, bytes);
    if (counted) {
        *counted += wb_now() - began;
    }
    counted = NULL;
}

__attribute__((destructor)) static void say(void) {
    if (behind > 0.0) {
        (void)fprintf(stderr, "reading back %.3f s, once more %.3f s\n", behind, again);
    }
}
