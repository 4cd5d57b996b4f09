/* The functions that can fail. tests/CMakeLists.txt reads their names from this file. */
#include "failing_calls.h"

#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <ftw.h>
#include <hdf5.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { FRAMES = 48, CALLS_NOTED = 1 << 14 };

static wb_fault armed;
static long chosen, calls;
static const char *failed = "nothing";
static FILE *broken;                 /* whose reads have failed */
static uint64_t places[CALLS_NOTED]; /* where each call came from, when none was to fail */
static long noted;

void wb_faults_arm(wb_fault kind, long n) {
    armed = kind;
    chosen = n;
    calls = 0;
    failed = "nothing";
    broken = NULL;
}

long wb_faults_disarm(void) {
    armed = WB_FAULT_NONE;
    return calls;
}

const char *wb_fault_name(void) {
    return failed;
}

/* The functions of this program that have led here; those of libraries between them do not count,
 * so that a text of many values is one place. */
static uint64_t place_of_call(void) {
    extern const char __executable_start[], etext[];
    void *frames[FRAMES];
    uint64_t place = 0;
    const int count = backtrace(frames, FRAMES);
    for (int i = 0; i < count; i++) {
        const char *const at = frames[i];
        if (at >= __executable_start && at < etext) {
            place = place * 0x9e3779b97f4a7c15u + (uintptr_t)at;
        }
    }
    return place;
}

bool wb_fault_is_first_of_its_place(long n) {
    for (long i = 0; n <= noted && i < n - 1; i++) {
        if (places[i] == places[n - 1]) {
            return false;
        }
    }
    return n <= noted;
}

static bool fails(wb_fault kind, const char *name) {
    if (kind != armed) {
        return false;
    }
    if (chosen == 0 && calls < CALLS_NOTED) {
        places[calls] = place_of_call();
        noted = calls + 1;
    }
    if (++calls != chosen) {
        return false;
    }
    failed = name;
    errno = kind == WB_FAULT_MEMORY ? ENOMEM : EIO;
    return true;
}

/* kind, type, what a failed call returns, name, parameters, arguments */
#define CALL(kind, type, nothing, name, parameters, arguments)                                     \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters {                                                                \
        return fails(WB_FAULT_##kind, #name) ? (nothing) : __real_##name arguments;                \
    }

/* The same for what closes something. */
#define CLOSE(kind, type, nothing, name, parameters, arguments)                                    \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters {                                                                \
        const type closed = __real_##name arguments;                                               \
        return fails(WB_FAULT_##kind, #name) ? (nothing) : closed;                                 \
    }

/* ---- Memory
 * ------------------------------------------------------------------------------------------- */

/* clang-format off */
CALL(MEMORY, void *, NULL, malloc, (size_t bytes), (bytes))
CALL(MEMORY, void *, NULL, calloc, (size_t count, size_t bytes), (count, bytes))
CALL(MEMORY, void *, NULL, realloc, (void *block, size_t bytes), (block, bytes))
CALL(MEMORY, void *, NULL, aligned_alloc, (size_t alignment, size_t bytes), (alignment, bytes))
CALL(MEMORY, char *, NULL, strdup, (const char *text), (text))
CALL(MEMORY, void *, MAP_FAILED, mmap, (void *at, size_t bytes, int rights, int flags, int file, off_t offset), (at, bytes, rights, flags, file, offset))
CALL(MEMORY, FILE *, NULL, open_memstream, (char **text, size_t *bytes), (text, bytes))

/* ---- Files
 * ------------------------------------------------------------------------------------------- */

CALL(FILES, FILE *, NULL, fopen, (const char *path, const char *mode), (path, mode))
CALL(FILES, FILE *, NULL, fdopen, (int file, const char *mode), (file, mode))
CALL(FILES, int, -1, fstat, (int file, struct stat *out), (file, out))
CALL(FILES, int, -1, stat, (const char *path, struct stat *out), (path, out))
CALL(FILES, int, EOF, fflush, (FILE *stream), (stream))
CALL(FILES, size_t, 0, fwrite, (const void *data, size_t size, size_t count, FILE *stream), (data, size, count, stream))
CALL(FILES, int, EOF, fputs, (const char *text, FILE *stream), (text, stream))
CALL(FILES, int, EOF, fputc, (int letter, FILE *stream), (letter, stream))
CALL(FILES, int, -1, rename, (const char *from, const char *to), (from, to))
CALL(FILES, int, -1, renameat2, (int a, const char *from, int b, const char *to, unsigned int flags), (a, from, b, to, flags))
CALL(FILES, int, -1, unlink, (const char *path), (path))
CALL(FILES, int, -1, remove, (const char *path), (path))
CALL(FILES, int, -1, mkdir, (const char *path, mode_t mode), (path, mode))
CALL(FILES, int, -1, chmod, (const char *path, mode_t mode), (path, mode))
CALL(FILES, int, -1, symlink, (const char *target, const char *path), (target, path))
CALL(FILES, DIR *, NULL, opendir, (const char *path), (path))
CALL(FILES, struct dirent *, NULL, readdir, (DIR *folder), (folder))
CALL(FILES, ssize_t, -1, read, (int file, void *data, size_t bytes), (file, data, bytes))
CALL(FILES, ssize_t, -1, pread, (int file, void *data, size_t bytes, off_t offset), (file, data, bytes, offset))
CALL(FILES, ssize_t, -1, write, (int file, const void *data, size_t bytes), (file, data, bytes))
CALL(FILES, ssize_t, -1, pwrite, (int file, const void *data, size_t bytes, off_t offset), (file, data, bytes, offset))
CALL(FILES, int, -1, sync_file_range, (int file, off_t offset, off_t bytes, unsigned flags), (file, offset, bytes, flags))
CALL(FILES, int, EIO, posix_fadvise, (int file, off_t offset, off_t bytes, int advice), (file, offset, bytes, advice))
CALL(FILES, int, -1, ftruncate, (int file, off_t bytes), (file, bytes))
CALL(FILES, int, -1, statvfs, (const char *path, struct statvfs *out), (path, out))
CALL(FILES, int, -1, nftw, (const char *path, __nftw_func_t each, int files, int flags), (path, each, files, flags))
CALL(FILES, int, -1, gethostname, (char *name, size_t bytes), (name, bytes))
CLOSE(FILES, int, EOF, fclose, (FILE *stream), (stream))

/* ---- HDF5
 * ------------------------------------------------------------------------------------------- */

CALL(HDF5, hid_t, -1, H5Fcreate, (const char *path, unsigned flags, hid_t a, hid_t b), (path, flags, a, b))
CALL(HDF5, hid_t, -1, H5Fopen, (const char *path, unsigned flags, hid_t a), (path, flags, a))
CALL(HDF5, herr_t, -1, H5Fflush, (hid_t file, H5F_scope_t scope), (file, scope))
CALL(HDF5, ssize_t, -1, H5Fget_file_image, (hid_t file, void *image, size_t bytes), (file, image, bytes))
CALL(HDF5, hid_t, -1, H5Gcreate2, (hid_t at, const char *name, hid_t a, hid_t b, hid_t c), (at, name, a, b, c))
CALL(HDF5, hid_t, -1, H5Gopen2, (hid_t at, const char *name, hid_t a), (at, name, a))
CALL(HDF5, htri_t, -1, H5Lexists, (hid_t at, const char *name, hid_t a), (at, name, a))
CALL(HDF5, hid_t, -1, H5Dcreate2, (hid_t at, const char *name, hid_t type, hid_t space, hid_t a, hid_t b, hid_t c), (at, name, type, space, a, b, c))
CALL(HDF5, hid_t, -1, H5Dopen2, (hid_t at, const char *name, hid_t a), (at, name, a))
CALL(HDF5, herr_t, -1, H5Dwrite, (hid_t set, hid_t type, hid_t memory, hid_t space, hid_t a, const void *data), (set, type, memory, space, a, data))
CALL(HDF5, herr_t, -1, H5Dwrite_chunk, (hid_t set, hid_t a, uint32_t filters, const hsize_t *at, size_t bytes, const void *data), (set, a, filters, at, bytes, data))
CALL(HDF5, herr_t, -1, H5Dread, (hid_t set, hid_t type, hid_t memory, hid_t space, hid_t a, void *data), (set, type, memory, space, a, data))
CALL(HDF5, herr_t, -1, H5Dset_extent, (hid_t set, const hsize_t *sizes), (set, sizes))
CALL(HDF5, hid_t, -1, H5Dget_type, (hid_t set), (set))
CALL(HDF5, hid_t, -1, H5Dget_space, (hid_t set), (set))
CALL(HDF5, hid_t, -1, H5Dget_create_plist, (hid_t set), (set))
CALL(HDF5, hid_t, -1, H5Pcreate, (hid_t kind), (kind))
CALL(HDF5, herr_t, -1, H5Pset_libver_bounds, (hid_t list, H5F_libver_t low, H5F_libver_t high), (list, low, high))
CALL(HDF5, herr_t, -1, H5Pset_fletcher32, (hid_t list), (list))
CALL(HDF5, herr_t, -1, H5Pset_chunk, (hid_t list, int rank, const hsize_t *sizes), (list, rank, sizes))
CALL(HDF5, herr_t, -1, H5Pset_chunk_cache, (hid_t list, size_t slots, size_t bytes, double w0), (list, slots, bytes, w0))
CALL(HDF5, herr_t, -1, H5Pset_file_image_callbacks, (hid_t list, H5FD_file_image_callbacks_t *all), (list, all))
CALL(HDF5, herr_t, -1, H5Pset_fapl_core, (hid_t list, size_t step, hbool_t on_disk), (list, step, on_disk))
CALL(HDF5, int, -1, H5Pget_chunk, (hid_t list, int rank, hsize_t *sizes), (list, rank, sizes))
CALL(HDF5, int, -1, H5Pget_nfilters, (hid_t list), (list))
CALL(HDF5, H5D_layout_t, H5D_LAYOUT_ERROR, H5Pget_layout, (hid_t list), (list))
CALL(HDF5, int, -1, H5Pget_external_count, (hid_t list), (list))
CALL(HDF5, hid_t, -1, H5Screate, (H5S_class_t kind), (kind))
CALL(HDF5, hid_t, -1, H5Screate_simple, (int rank, const hsize_t *sizes, const hsize_t *most), (rank, sizes, most))
CALL(HDF5, int, -1, H5Sget_simple_extent_ndims, (hid_t space), (space))
CALL(HDF5, int, -1, H5Sget_simple_extent_dims, (hid_t space, hsize_t *sizes, hsize_t *most), (space, sizes, most))
CALL(HDF5, herr_t, -1, H5Sselect_hyperslab, (hid_t space, H5S_seloper_t how, const hsize_t *first, const hsize_t *stride, const hsize_t *count, const hsize_t *block), (space, how, first, stride, count, block))
CALL(HDF5, hid_t, -1, H5Tcopy, (hid_t type), (type))
CALL(HDF5, herr_t, -1, H5Tset_size, (hid_t type, size_t bytes), (type, bytes))
CALL(HDF5, herr_t, -1, H5Tset_cset, (hid_t type, H5T_cset_t set), (type, set))
CALL(HDF5, herr_t, -1, H5Tset_strpad, (hid_t type, H5T_str_t pad), (type, pad))
CALL(HDF5, size_t, 0, H5Tget_size, (hid_t type), (type))
CALL(HDF5, H5T_class_t, H5T_NO_CLASS, H5Tget_class, (hid_t type), (type))
CALL(HDF5, htri_t, -1, H5Tequal, (hid_t a, hid_t b), (a, b))
CALL(HDF5, htri_t, -1, H5Tis_variable_str, (hid_t type), (type))
CALL(HDF5, hid_t, -1, H5Acreate2, (hid_t at, const char *name, hid_t type, hid_t space, hid_t a, hid_t b), (at, name, type, space, a, b))
CALL(HDF5, hid_t, -1, H5Aopen, (hid_t at, const char *name, hid_t a), (at, name, a))
CALL(HDF5, herr_t, -1, H5Awrite, (hid_t attribute, hid_t type, const void *data), (attribute, type, data))
CALL(HDF5, herr_t, -1, H5Aread, (hid_t attribute, hid_t type, void *data), (attribute, type, data))
CALL(HDF5, hid_t, -1, H5Aget_type, (hid_t attribute), (attribute))
CALL(HDF5, hid_t, -1, H5Aget_space, (hid_t attribute), (attribute))
CLOSE(HDF5, herr_t, -1, H5Fclose, (hid_t file), (file))
CLOSE(HDF5, herr_t, -1, H5Dclose, (hid_t set), (set))
/* clang-format on */

/* ---- What takes a list of arguments, remembers, or is left out
 * ----------------------------------------------------------- */

int __real_open(const char *path, int flags, mode_t mode);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    const mode_t mode = (flags & O_CREAT) ? va_arg(more, mode_t) : 0;
    va_end(more);
    return fails(WB_FAULT_FILES, "open") ? -1 : __real_open(path, flags, mode);
}

/* A folder whose name is as long as names may be: whatever is put behind it is too long. */
wb_status __real_wb_path_join(char path[WB_PATH], const char *folder, const char *name, ...);
wb_status __wrap_wb_path_join(char path[WB_PATH], const char *folder, const char *name, ...);
wb_status __wrap_wb_path_join(char path[WB_PATH], const char *folder, const char *name, ...) {
    char tail[WB_PATH], longest[WB_PATH];
    va_list more;
    va_start(more, name);
    (void)vsnprintf(tail, sizeof(tail), name, more);
    va_end(more);
    if (fails(WB_FAULT_PATHS, "wb_path_join")) {
        memset(longest, 'n', WB_PATH - 1);
        longest[WB_PATH - 1] = '\0';
        folder = longest;
    }
    return __real_wb_path_join(path, folder, "%s", tail);
}

/* Nobody pulls the plug: what would take most of the time is left out. */
int __wrap_fsync(int file);
int __wrap_fsync(int file) {
    (void)file;
    return fails(WB_FAULT_FILES, "fsync") ? -1 : 0;
}

int __real_fcntl(int file, int command, void *argument);
int __wrap_fcntl(int file, int command, ...);
int __wrap_fcntl(int file, int command, ...) {
    va_list more;
    va_start(more, command);
    void *const argument = va_arg(more, void *);
    va_end(more);
    return fails(WB_FAULT_FILES, "fcntl") ? -1 : __real_fcntl(file, command, argument);
}

int __wrap_fprintf(FILE *stream, const char *format, ...);
int __wrap_fprintf(FILE *stream, const char *format, ...) {
    if (fails(WB_FAULT_FILES, "fprintf")) {
        return -1;
    }
    va_list more;
    va_start(more, format);
    const int written = vfprintf(stream, format, more);
    va_end(more);
    return written;
}

size_t __real_fread(void *data, size_t size, size_t count, FILE *stream);
size_t __wrap_fread(void *data, size_t size, size_t count, FILE *stream);
size_t __wrap_fread(void *data, size_t size, size_t count, FILE *stream) {
    if (fails(WB_FAULT_FILES, "fread")) {
        broken = stream;
        return 0;
    }
    return __real_fread(data, size, count, stream);
}

ssize_t __real_getline(char **line, size_t *room, FILE *stream);
ssize_t __wrap_getline(char **line, size_t *room, FILE *stream);
ssize_t __wrap_getline(char **line, size_t *room, FILE *stream) {
    if (fails(WB_FAULT_FILES, "getline")) {
        broken = stream;
        return -1;
    }
    return __real_getline(line, room, stream);
}

int __real_ferror(FILE *stream);
int __wrap_ferror(FILE *stream);
int __wrap_ferror(FILE *stream) {
    return broken == stream || __real_ferror(stream);
}
