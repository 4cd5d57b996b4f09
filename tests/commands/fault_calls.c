/* A library to be preloaded: the n-th call of a kind goes wrong, in a program that does not know.
 *
 *     WB_FAULT=KIND:N[:UNDER]
 *
 * Counted are calls that change what is under paths that contain UNDER: making, writing, syncing,
 * renaming and removing files; or, for memory:N, allocations by the program itself and by the
 * libraries that parse its input. Before or in call N
 *
 *     kill segv stop   the process gets this signal; tear: it is killed in the middle of a write
 *     enospc           this call and all later ones that need room fail, as on a full disk
 *     eio              this call fails, once
 *     short            a write is short, and the next one finds the disk full
 *     memory           there is no memory, once; memories: from here on
 *     slow             nothing fails, but each sync takes N milliseconds
 *     count            nothing; WB_FAULT_COUNTS is appended to, with the calls there were
 *
 * Only the rank WB_FAULT_RANK (default: all) is hurt. What stdio and HDF5 write without these calls
 * is not seen; fflush is. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES = 4096, RANGES = 32 };

typedef enum kind {
    NONE,
    COUNT,
    KILL,
    TEAR,
    SEGV,
    STOP,
    ENOSPC_FROM,
    EIO_ONCE,
    SHORT,
    SLOW,
    MEMORY,
    MEMORIES,
} kind;

static const char *const kind_names[] = {
    [COUNT] = "count", [KILL] = "kill",          [TEAR] = "tear",        [SEGV] = "segv",
    [STOP] = "stop",   [ENOSPC_FROM] = "enospc", [EIO_ONCE] = "eio",     [SHORT] = "short",
    [SLOW] = "slow",   [MEMORY] = "memory",      [MEMORIES] = "memories"};

static struct {
    kind kind;
    long n;
    const char *under;
    bool watched[FILES];
    atomic_long calls, allocations;
    struct {
        uintptr_t begin, end;
    } ranges[RANGES]; /* code of the program and of the parsers it uses */
    int range_count;
} fault;

/* ---- Setting up ------------------------------------------------------------------------------ */

static bool is_ours(const char *object) {
    static const char *const parsers[] = {"libjansson", "libyaml"};
    for (size_t i = 0; i < sizeof(parsers) / sizeof(parsers[0]); i++) {
        if (strstr(object, parsers[i])) {
            return true;
        }
    }
    return object[0] == '\0'; /* the program */
}

static int add_ranges(struct dl_phdr_info *info, size_t size, void *context) {
    (void)size;
    (void)context;
    for (int i = 0; is_ours(info->dlpi_name) && i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type == PT_LOAD && (part->p_flags & PF_X) && fault.range_count < RANGES) {
            fault.ranges[fault.range_count].begin = info->dlpi_addr + part->p_vaddr;
            fault.ranges[fault.range_count++].end = info->dlpi_addr + part->p_vaddr + part->p_memsz;
        }
    }
    return 0;
}

__attribute__((constructor)) static void set_up(void) {
    const char *const given = getenv("WB_FAULT");
    const char *const chosen = getenv("WB_FAULT_RANK");
    const char *const rank = getenv("OMPI_COMM_WORLD_RANK");
    const char *const colon = given ? strchr(given, ':') : NULL;
    if (!colon || (chosen && (!rank || strcmp(chosen, rank) != 0))) {
        return;
    }
    char *end = NULL;
    fault.n = strtol(colon + 1, &end, 10);
    fault.under = *end == ':' ? end + 1 : "";
    (void)dl_iterate_phdr(add_ranges, NULL);
    for (size_t i = 1; i < sizeof(kind_names) / sizeof(kind_names[0]); i++) {
        if (strncmp(kind_names[i], given, (size_t)(colon - given)) == 0 &&
            kind_names[i][colon - given] == '\0') {
            fault.kind = (kind)i;
        }
    }
}

__attribute__((destructor)) static void tell_counts(void) {
    const char *const path = getenv("WB_FAULT_COUNTS");
    if (path && fault.kind == COUNT) {
        fault.kind = NONE;
        FILE *out = fopen(path, "a");
        if (out) {
            (void)fprintf(out, "%ld %ld\n", fault.calls, fault.allocations);
            (void)fclose(out);
        }
    }
}

/* The function that this library stands in front of. */
#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) {
    return dlsym(RTLD_NEXT, name);
}

/* ---- Files ----------------------------------------------------------------------------------- */

static bool is_watched(const char *path) {
    return fault.kind != NONE && fault.kind != MEMORY && fault.kind != MEMORIES &&
           strstr(path, fault.under);
}

static bool is_watched_file(int file) {
    return file >= 0 && file < FILES && fault.watched[file];
}

/* The call that is about to be made counts; true where it must fail, with errno. */
static bool fails(bool needs_room, bool is_write) {
    const long call = ++fault.calls;
    const bool now = call == fault.n;
    switch (fault.kind) {
    case KILL:
    case SEGV:
    case STOP:
        if (now) {
            (void)raise(fault.kind == KILL ? SIGKILL : fault.kind == SEGV ? SIGSEGV : SIGSTOP);
        }
        return false;
    case TEAR:
        if (now && !is_write) {
            (void)raise(SIGKILL);
        }
        return false;
    case ENOSPC_FROM:
        errno = ENOSPC;
        return call >= fault.n && needs_room;
    case SHORT:
        errno = ENOSPC;
        return (call > fault.n || (now && !is_write)) && needs_room;
    case EIO_ONCE:
        errno = EIO;
        return now;
    default:
        return false;
    }
}

/* Whether the write that was just counted is to be cut in the middle. */
static bool is_cut(size_t bytes) {
    return fault.calls == fault.n && bytes > 1 && (fault.kind == SHORT || fault.kind == TEAR);
}

static void after_half(void) {
    if (fault.kind == TEAR) {
        (void)raise(SIGKILL);
    }
}

static int opened(int file, bool watched) {
    if (file >= 0 && file < FILES) {
        fault.watched[file] = watched;
    }
    return file;
}

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...) {                                                   \
        va_list more;                                                                              \
        va_start(more, flags);                                                                     \
        const mode_t mode = (flags & O_CREAT) ? va_arg(more, mode_t) : 0;                          \
        va_end(more);                                                                              \
        const bool watched = is_watched(path);                                                     \
        if (watched && (flags & O_CREAT) && fails(true, false)) {                                  \
            return -1;                                                                             \
        }                                                                                          \
        return opened(REAL(name)(path, flags, mode), watched);                                     \
    }
OPEN(open)
OPEN(open64)

ssize_t write(int file, const void *data, size_t bytes) {
    if (is_watched_file(file)) {
        if (fails(true, true)) {
            return -1;
        }
        if (is_cut(bytes)) {
            const ssize_t done = REAL(write)(file, data, bytes / 2);
            after_half();
            return done;
        }
    }
    return REAL(write)(file, data, bytes);
}

ssize_t pwrite(int file, const void *data, size_t bytes, off_t offset) {
    if (is_watched_file(file)) {
        if (fails(true, true)) {
            return -1;
        }
        if (is_cut(bytes)) {
            const ssize_t done = REAL(pwrite)(file, data, bytes / 2, offset);
            after_half();
            return done;
        }
    }
    return REAL(pwrite)(file, data, bytes, offset);
}

int fflush(FILE *stream) {
    if (stream && is_watched_file(fileno(stream)) && fails(true, false)) {
        return EOF;
    }
    return REAL(fflush)(stream);
}

FILE *fopen(const char *path, const char *mode) {
    const bool watched = is_watched(path) && mode[0] != 'r';
    if (watched && fails(true, false)) {
        return NULL;
    }
    FILE *const stream = REAL(fopen)(path, mode);
    if (stream) {
        (void)opened(fileno(stream), watched);
    }
    return stream;
}

int fclose(FILE *stream) {
    (void)opened(fileno(stream), false);
    return REAL(fclose)(stream);
}

int fsync(int file) {
    if (is_watched_file(file)) {
        if (fault.kind == SLOW) {
            (void)usleep((useconds_t)(1000 * fault.n));
        } else if (fails(true, false)) {
            return -1;
        }
    }
    return REAL(fsync)(file);
}

int ftruncate(int file, off_t bytes) {
    return is_watched_file(file) && fails(false, false) ? -1 : REAL(ftruncate)(file, bytes);
}

int close(int file) {
    if (is_watched_file(file)) {
        fault.watched[file] = false;
    }
    return REAL(close)(file);
}

int rename(const char *from, const char *to) {
    return is_watched(to) && fails(true, false) ? -1 : REAL(rename)(from, to);
}

int renameat2(int from_folder, const char *from, int to_folder, const char *to,
              unsigned int flags) {
    return is_watched(to) && fails(true, false)
               ? -1
               : REAL(renameat2)(from_folder, from, to_folder, to, flags);
}

int mkdir(const char *path, mode_t mode) {
    return is_watched(path) && fails(true, false) ? -1 : REAL(mkdir)(path, mode);
}

int symlink(const char *target, const char *path) {
    return is_watched(path) && fails(true, false) ? -1 : REAL(symlink)(target, path);
}

int unlink(const char *path) {
    return is_watched(path) && fails(false, false) ? -1 : REAL(unlink)(path);
}

int remove(const char *path) {
    return is_watched(path) && fails(false, false) ? -1 : REAL(remove)(path);
}

/* ---- Memory ---------------------------------------------------------------------------------- */

extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *block, size_t bytes);
extern void *__libc_memalign(size_t alignment, size_t bytes);

static bool is_refused(const void *caller) {
    if (fault.kind != MEMORY && fault.kind != MEMORIES && fault.kind != COUNT) {
        return false;
    }
    for (int i = 0; i < fault.range_count; i++) {
        if ((uintptr_t)caller >= fault.ranges[i].begin && (uintptr_t)caller < fault.ranges[i].end) {
            const long call = ++fault.allocations;
            return fault.kind != COUNT &&
                   (call == fault.n || (fault.kind == MEMORIES && call > fault.n));
        }
    }
    return false;
}

static void *none(void) {
    errno = ENOMEM;
    return NULL;
}

void *malloc(size_t bytes) {
    return is_refused(__builtin_return_address(0)) ? none() : __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes) {
    return is_refused(__builtin_return_address(0)) ? none() : __libc_calloc(count, bytes);
}

void *realloc(void *block, size_t bytes) {
    return is_refused(__builtin_return_address(0)) ? none() : __libc_realloc(block, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes) {
    return is_refused(__builtin_return_address(0)) ? none() : __libc_memalign(alignment, bytes);
}

void *mmap(void *at, size_t bytes, int rights, int flags, int file, off_t offset) {
    return is_refused(__builtin_return_address(0))
               ? (errno = ENOMEM, MAP_FAILED)
               : REAL(mmap)(at, bytes, rights, flags, file, offset);
}

int posix_memalign(void **block, size_t alignment, size_t bytes) {
    if (is_refused(__builtin_return_address(0))) {
        return ENOMEM;
    }
    *block = __libc_memalign(alignment, bytes);
    return *block ? 0 : ENOMEM;
}
