/* Run folders and their lock. */
#include "run_folder.h"

#include "checkpoint.h"
#include "json.h"
#include "units.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LOCK_BYTES = 2048, LOCK_MOST = 4096, JOB = 64, HOST = 256 };

/* What run.lock says. An empty file says that nobody holds the folder. */
typedef struct lock_content {
    char job[JOB]; /* "" outside Slurm */
    int64_t restart;
    char host[HOST];
    int64_t pid;
    int64_t started; /* of the process, in the kernel's clock ticks since boot */
    int64_t beat;    /* seconds since 1970 */
    int64_t inode;   /* of run.lock itself: a copied folder holds another */
} lock_content;

struct wb_run_folder {
    char path[WB_PATH];
    char lock_path[WB_PATH];
    int lock; /* file descriptor, -1 if none */
    lock_content us;
};

/* When a process of this host started; -1 where there is none of that number, or one that is dead
 * and only not waited for. A number can be given to a new process, a number and a start together
 * cannot. */
static int64_t process_start(int64_t pid) {
    char path[64];
    char text[1024];
    (void)snprintf(path, sizeof(path), "/proc/%lld/stat", (long long)pid);
    FILE *file = fopen(path, "re");
    if (!file) {
        return -1;
    }
    const size_t bytes = fread(text, 1, sizeof(text) - 1, file);
    (void)fclose(file);
    text[bytes] = '\0';
    const char *at = strrchr(text, ')'); /* the program's name may hold blanks and brackets */
    if (at && strpbrk(at, "ZX")) {
        return -1;
    }
    for (int field = 2; at && field < 22; field++) {
        at = strchr(at + 1, ' ');
    }
    return at ? strtoll(at, NULL, 10) : -1;
}

static void fill_us(lock_content *us, int lock, const wb_run_owner *owner) {
    struct stat info = {0};
    (void)fstat(lock, &info);
    *us = (lock_content){.restart = owner->restart,
                         .pid = getpid(),
                         .started = process_start(getpid()),
                         .beat = (int64_t)time(NULL),
                         .inode = (int64_t)info.st_ino};
    (void)snprintf(us->job, sizeof(us->job), "%s", owner->job ? owner->job : "");
    (void)snprintf(us->host, sizeof(us->host), "%s", wb_host().text);
}

/* *held is false where the file is empty: nobody holds the folder. */
static wb_status read_content(lock_content *content, bool *held, int file, const char *path) {
    wb_status status = WB_OK;
    char text[LOCK_MOST];
    json_t *root = NULL;
    const char *job = "";
    const char *host = "";
    const ssize_t bytes = pread(file, text, sizeof(text), 0);
    *content = (lock_content){0};
    WB_CHECK(bytes >= 0, WB_ERR_DISK, "%s: cannot read: %s", path, strerror(errno));
    *held = bytes > 0;
    if (bytes == 0) {
        return WB_OK;
    }
    status = wb_json_parse(&root, text, (size_t)bytes, path, 1);
    if (status == WB_ERR_INPUT) {
        wb_error_clear();
        return WB_ERROR(WB_ERR_IN_USE,
                        "%s: cannot be understood; if no job uses this run, remove it", path);
    }
    WB_TRY(status);
    WB_TRY(wb_json_string(root, "job", true, path, &job));
    WB_TRY(wb_json_integer(root, "restart", true, 0, INT64_MAX, path, &content->restart));
    WB_TRY(wb_json_string(root, "host", true, path, &host));
    WB_TRY(wb_json_integer(root, "pid", true, 1, INT32_MAX, path, &content->pid));
    WB_TRY(wb_json_integer(root, "started", true, -1, INT64_MAX, path, &content->started));
    WB_TRY(wb_json_integer(root, "beat", true, 0, INT64_MAX, path, &content->beat));
    WB_TRY(wb_json_integer(root, "inode", true, INT64_MIN, INT64_MAX, path, &content->inode));
    (void)snprintf(content->job, sizeof(content->job), "%s", job);
    (void)snprintf(content->host, sizeof(content->host), "%s", host);
done:
    json_decref(root);
    return status == WB_ERR_INPUT ? WB_ERR_IN_USE : status;
}

/* One write of a short text, always of the same length: who reads meanwhile, or after a kill, sees
 * the old or the new one, and not the end of one behind the other. */
static wb_status write_content(const wb_run_folder *run) {
    wb_status status = WB_OK;
    char *text = NULL, padded[LOCK_BYTES + 1];
    const lock_content *us = &run->us;
    json_t *root = json_pack("{s: s, s: I, s: s, s: I, s: I, s: I, s: I}", "job", us->job,
                             "restart", (json_int_t)us->restart, "host", us->host, "pid",
                             (json_int_t)us->pid, "started", (json_int_t)us->started, "beat",
                             (json_int_t)us->beat, "inode", (json_int_t)us->inode);
    WB_TRY(wb_json_text(&text, root, JSON_COMPACT, run->lock_path));
    WB_CHECK(snprintf(padded, sizeof(padded), "%-*s", LOCK_BYTES, text) == LOCK_BYTES,
             WB_ERR_INTERNAL, "%s: %zu bytes", run->lock_path, strlen(text));
    WB_CHECK(pwrite(run->lock, padded, LOCK_BYTES, 0) == LOCK_BYTES &&
                 ftruncate(run->lock, LOCK_BYTES) == 0 && fsync(run->lock) == 0,
             WB_ERR_DISK, "%s: cannot write: %s", run->lock_path, strerror(errno));
done:
    free(text);
    json_decref(root);
    return status;
}

/* The first write, by who has the lock. Where it fails nobody holds the folder: half a text could
 * not be understood. */
static wb_status write_first(const wb_run_folder *run) {
    const wb_status status = write_content(run);
    if (status != WB_OK) {
        (void)!ftruncate(run->lock, 0);
    }
    return status;
}

/* Why the holder is known to be gone, or NULL. */
static const char *why_gone(const lock_content *holder, const lock_content *us,
                            const wb_run_owner *owner) {
    if (holder->inode != us->inode) {
        return "this folder is a copy";
    }
    if (strcmp(holder->host, us->host) == 0 && process_start(holder->pid) != holder->started) {
        return "its process is no more";
    }
    if (holder->job[0] != '\0' && strcmp(holder->job, us->job) == 0 &&
        holder->restart < us->restart) {
        return "it was an earlier life of this job";
    }
    if (holder->job[0] != '\0' && strcmp(holder->job, us->job) != 0 && owner->job_is_gone &&
        owner->job_is_gone(holder->job)) {
        return "its job is no more";
    }
    return NULL;
}

static void describe(char *text, size_t bytes, const lock_content *holder) {
    const int64_t seconds = (int64_t)time(NULL) - holder->beat;
    (void)snprintf(text, bytes, "job %s, host %s, pid %lld, last seen %lld s ago",
                   holder->job[0] != '\0' ? holder->job : "(none)", holder->host,
                   (long long)holder->pid, (long long)(seconds > 0 ? seconds : 0));
}

static wb_status in_use(const wb_run_folder *run, const lock_content *holder) {
    char who[LOCK_MOST] = "a job that has only just begun";
    if (holder->pid > 0) {
        describe(who, sizeof(who), holder);
    }
    return WB_ERROR(WB_ERR_IN_USE,
                    "%s: in use by %s; wait for it or stop it; if it is gone for certain, remove "
                    "%s",
                    run->path, who, run->lock_path);
}

wb_status wb_run_folder_holder(const char *path, char *text, size_t bytes) {
    wb_status status = WB_OK;
    char lock_path[WB_PATH];
    lock_content holder;
    bool held = false;
    int lock = -1;
    text[0] = '\0';
    WB_TRY(wb_path_join(lock_path, path, "run.lock"));
    lock = open(lock_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (lock >= 0) {
        WB_TRY(read_content(&holder, &held, lock, lock_path));
        if (held) {
            describe(text, bytes, &holder);
        }
    }
done:
    if (lock >= 0) {
        (void)close(lock);
    }
    return status;
}

/* Whether a holder that is gone for this reason may still run, cut off, with the lock in its hand.
 */
static bool may_still_run(const lock_content *holder, const lock_content *us) {
    return holder->job[0] != '\0' && holder->inode == us->inode &&
           (strcmp(holder->job, us->job) != 0 || holder->restart < us->restart);
}

/* Another file under the same name, locked by us; the old one stays with who holds it. */
static wb_status replace_lock(wb_run_folder *run, const wb_run_owner *owner) {
    wb_status status = WB_OK;
    char path[WB_PATH], life[WB_RUN_LIFE_NAME];
    const struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    (void)close(run->lock);
    wb_run_folder_life(run, life);
    WB_TRY(wb_path_join(path, run->path, "run.lock.%s", life));
    run->lock = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    WB_CHECK(run->lock >= 0 && fcntl(run->lock, F_OFD_SETLK, &whole) == 0, WB_ERR_DISK,
             "%s: cannot lock: %s", path, strerror(errno));
    fill_us(&run->us, run->lock, owner);
    WB_TRY(write_content(run));
    WB_CHECK(rename(path, run->lock_path) == 0, WB_ERR_DISK, "%s: cannot rename: %s", path,
             strerror(errno));
done:
    return status;
}

static wb_status take_lock(wb_run_folder *run, const wb_run_owner *owner, char *notice,
                           size_t notice_bytes) {
    wb_status status = WB_OK;
    const struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    lock_content holder;
    bool held = false;
    run->lock = open(run->lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    WB_CHECK(run->lock >= 0, WB_ERR_DISK, "%s: cannot open: %s", run->lock_path, strerror(errno));
    const bool locked = fcntl(run->lock, F_OFD_SETLK, &whole) == 0;
    WB_CHECK(locked || errno == EAGAIN || errno == EACCES, WB_ERR_DISK, "%s: cannot lock: %s",
             run->lock_path, strerror(errno));
    WB_TRY(read_content(&holder, &held, run->lock, run->lock_path));
    fill_us(&run->us, run->lock, owner);
    const char *const reason = held ? why_gone(&holder, &run->us, owner) : NULL;
    if ((held && !reason) || (!locked && !(reason && may_still_run(&holder, &run->us)))) {
        status = in_use(run, &holder);
        goto done;
    }
    if (held) {
        (void)snprintf(notice, notice_bytes, "%s: taken over from job %s, host %s, pid %lld: %s",
                       run->path, holder.job[0] != '\0' ? holder.job : "(none)", holder.host,
                       (long long)holder.pid, reason);
    }
    WB_TRY(locked ? write_first(run) : replace_lock(run, owner));
done:
    return status;
}

/* ---- The folder
 * --------------------------------------------------------------------------------------------- */

/* What config.yaml begins with. */
#define MARK "# widebatch "

/* Where run.lock is, or was removed by somebody, a run has been. */
wb_status wb_run_folder_check_place(const char *path) {
    wb_status status = WB_OK;
    char lock[WB_PATH], config[WB_PATH];
    bool empty = false;
    WB_TRY(wb_path_join(lock, path, "run.lock"));
    WB_TRY(wb_path_join(config, path, "config.yaml"));
    WB_TRY(wb_folder_is_empty(&empty, config));
    WB_CHECK(empty || wb_path_is_file(lock) || wb_file_begins_with(config, MARK), WB_ERR_USAGE,
             "%s: no run has left it there, and a run in this folder would replace it: choose "
             "another run.dir, or give the file another name or place",
             config);
done:
    return status;
}

wb_status wb_run_folder_open(wb_run_folder **result, const char *path, const wb_run_owner *owner,
                             char *notice, size_t notice_bytes) {
    static const char *const folders[] = {"checkpoints", "eval", "export"};
    wb_status status = WB_OK;
    char inside[WB_PATH];
    bool taken = false;
    wb_run_folder *run = calloc(1, sizeof(*run));
    WB_CHECK(run, WB_ERR_MEMORY, "%s: no memory to open it", path);
    run->lock = -1;
    notice[0] = '\0';
    WB_CHECK(strlen(path) < WB_PATH, WB_ERR_USAGE, "path too long: %.200s…", path);
    (void)snprintf(run->path, WB_PATH, "%s", path);
    WB_TRY(wb_run_folder_check_place(path));
    WB_TRY(wb_folder_make(path));
    WB_TRY(wb_path_join(run->lock_path, path, "run.lock"));
    WB_TRY(take_lock(run, owner, notice, notice_bytes));
    taken = true;
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        WB_TRY(wb_path_join(inside, path, "%s", folders[i]));
        WB_TRY(wb_folder_make(inside));
    }
    *result = run;
    return WB_OK;
done:
    if (taken) {
        wb_run_folder_close(run); /* gives it back */
        return status;
    }
    if (run && run->lock >= 0) {
        (void)close(run->lock);
    }
    free(run);
    return status;
}

/* Whether run.lock, by its name, still is our file and still names us. */
static wb_status check_ours(const wb_run_folder *run) {
    wb_status status = WB_OK;
    struct stat ours;
    struct stat named;
    lock_content holder;
    bool held = false;
    WB_TRY(read_content(&holder, &held, run->lock, run->lock_path));
    const bool same_file = fstat(run->lock, &ours) == 0 && stat(run->lock_path, &named) == 0 &&
                           ours.st_ino == named.st_ino && ours.st_dev == named.st_dev;
    const bool names_us = held && strcmp(holder.host, run->us.host) == 0 &&
                          holder.pid == run->us.pid && holder.started == run->us.started;
    WB_CHECK(same_file && names_us, WB_ERR_IN_USE,
             "%s: another job has taken this run over (%s); this one stops without writing",
             run->path,
             !same_file ? "run.lock was replaced"
             : held     ? holder.host
                        : "run.lock was emptied");
done:
    return status;
}

void wb_run_folder_close(wb_run_folder *run) {
    if (!run) {
        return;
    }
    const bool told = wb_error_message()[0] != '\0';
    if (check_ours(run) == WB_OK) {
        (void)!ftruncate(run->lock, 0);
    } else if (!told) {
        wb_error_clear();
    }
    (void)close(run->lock);
    free(run);
}

wb_status wb_run_folder_beat(wb_run_folder *run) {
    wb_status status = WB_OK;
    WB_TRY(check_ours(run));
    run->us.beat = (int64_t)time(NULL);
    WB_TRY(write_content(run));
done:
    return status;
}

void wb_run_folder_life(const wb_run_folder *run, char name[WB_RUN_LIFE_NAME]) {
    const lock_content *us = &run->us;
    if (us->job[0] != '\0') {
        (void)snprintf(name, WB_RUN_LIFE_NAME, "%s.%lld", us->job, (long long)us->restart);
    } else {
        (void)snprintf(name, WB_RUN_LIFE_NAME, "%s.%lld", us->host, (long long)us->pid);
    }
    for (char *at = name; (at = strchr(at, '/')); at++) {
        *at = '_';
    }
}

const char *wb_run_folder_path(const wb_run_folder *run) {
    return run->path;
}

wb_status wb_run_folder_write_config(const wb_run_folder *run, const char *yaml) {
    wb_status status = WB_OK;
    char path[WB_PATH], *text = NULL;
    WB_TRY(wb_path_join(path, run->path, "config.yaml"));
    const int bytes = asprintf(&text,
                               MARK WB_VERSION ": what this run was last started with, and where "
                                               "each value came from\n%s",
                               yaml);
    WB_CHECK(bytes >= 0, WB_ERR_MEMORY, "no memory for %s", path);
    WB_TRY(wb_file_write(path, text, (size_t)bytes));
done:
    free(text);
    return status;
}

wb_status wb_run_folder_state(const char *path, wb_run_state *state) {
    wb_status status = WB_OK;
    char config[WB_PATH];
    wb_checkpoint facts = {0};
    bool found = false;
    WB_TRY(wb_path_join(config, path, "config.yaml"));
    WB_TRY(wb_checkpoint_peek(path, &facts, &found));
    if (found && facts.finished) {
        *state = WB_RUN_FINISHED;
    } else {
        *state = found || wb_path_is_file(config) ? WB_RUN_UNFINISHED : WB_RUN_EMPTY;
    }
done:
    return status;
}
