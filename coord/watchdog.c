/* The watchdog's thread, its notes and its finding. */
#include "watchdog.h"

#include "files.h"
#include "units.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { STEPS = 15 }; /* whose median counts */

/* Parts of what is allowed. One rank begins to wait later than another, up to a step: both must
 * have noted it when the first has waited long enough. */
static const double HEARD = 0.1, NOTED = 0.25, FRESH = 0.5;

static const double SILENCE = 2.0; /* seconds; a busy machine lets no thread wait for so long */

struct wb_watchdog {
    const wb_timetable *time;
    const wb_comm *comm;
    char folder[WB_PATH], question[WB_PATH], finding[WB_PATH];
    wb_host_text host;
    double patience, pause; /* between two looks */
    double recent[STEPS];   /* seconds of the last steps, a ring; of the main thread only */
    int64_t steps;
    _Atomic int64_t step; /* the last one done */
    _Atomic double limit; /* of a phase that may take the patience once; 0 in the first step */
    double let_be;        /* until then, of wb_now; from here on of the thread only */
    double began;         /* the first step, or a moment later; 0: not yet */
    double looked, heard; /* when it last looked at the rank, and at the question */
    struct timespec asked;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool ends; /* under mutex */
};

/* ---- Notes
 * --------------------------------------------------------------------------------------------- */

/* What cannot be written is not told: the thread goes on. Readers see the old note or the new. */
static void write_note(const wb_watchdog *w, wb_phase phase, double seconds) {
    char path[WB_PATH + 32], temporary[WB_PATH + 64];
    (void)snprintf(path, sizeof(path), "%s/rank-%d", w->folder, wb_comm_rank(w->comm));
    (void)snprintf(temporary, sizeof(temporary), "%s.tmp", path);
    FILE *file = fopen(temporary, "we");
    if (file) {
        (void)fprintf(file, "%lld %lld %.1f %s\n%s\n", (long long)w->step,
                      (long long)wb_comm_calls(w->comm), seconds, w->host.text,
                      wb_phase_name(phase));
        if (fclose(file) == 0) {
            (void)rename(temporary, path);
        }
    }
}

/* *written: when, by the clock of the file system, which is the same for all ranks. */
static wb_watch_note read_note(const wb_watchdog *w, int rank, double *written) {
    wb_watch_note note = {.fresh = false};
    char path[WB_PATH + 32];
    long long step, calls;
    struct stat file_status;
    (void)snprintf(path, sizeof(path), "%s/rank-%d", w->folder, rank);
    FILE *file = fopen(path, "re");
    if (file) {
        if (fstat(fileno(file), &file_status) == 0 &&
            fscanf(file, "%lld %lld %lf %63s %31[^\n]", &step, &calls, &note.seconds, note.host,
                   note.phase) == 5) {
            note.step = step;
            note.calls = calls;
            note.fresh = true;
            *written =
                (double)file_status.st_mtim.tv_sec + 1e-9 * (double)file_status.st_mtim.tv_nsec;
        }
        (void)fclose(file);
    }
    return note;
}

/* The notes of all ranks; fresh are those not much older than this rank's, which was just written.
 */
static void read_notes(const wb_watchdog *w, wb_watch_note *notes, double limit) {
    double now = 0.0, written = 0.0;
    (void)read_note(w, wb_comm_rank(w->comm), &now);
    for (int r = 0; r < wb_comm_world(w->comm); r++) {
        notes[r] = read_note(w, r, &written);
        notes[r].fresh = notes[r].fresh && now - written < FRESH * limit;
    }
}

/* Whether another rank has asked since this one last listened. Opened, not only looked at: a file
 * system of many hosts may remember for a while what a file was like. */
static bool is_asked(wb_watchdog *w) {
    const struct timespec before = w->asked;
    struct stat question;
    const int file = open(w->question, O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        if (fstat(file, &question) == 0) {
            w->asked = question.st_mtim;
        }
        (void)close(file);
    }
    return w->asked.tv_sec != before.tv_sec || w->asked.tv_nsec != before.tv_nsec;
}

static void ask(wb_watchdog *w) {
    struct stat question;
    const int file = open(w->question, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (file >= 0) {
        if (write(file, "?", 1) == 1 && fstat(file, &question) == 0) {
            w->asked = question.st_mtim;
        }
        (void)close(file);
    }
}

/* If some ranks do not answer, there is one of them that comes after one that watches. */
static bool next_answers(const wb_watchdog *w, double allowed) {
    const int rank = wb_comm_rank(w->comm);
    double now = 0.0, written = 0.0;
    (void)read_note(w, rank, &now);
    return read_note(w, (rank + 1) % wb_comm_world(w->comm), &written).fresh &&
           now - written < FRESH * allowed;
}

/* ---- The finding
 * --------------------------------------------------------------------------------------- */

static bool is_blamed(const wb_watch_note *note, bool all_answer, int64_t fewest) {
    return all_answer ? note->calls == fewest : !note->fresh;
}

void wb_watchdog_judge(char *text, size_t bytes, const wb_watch_note *notes, int world) {
    enum { NAMED = 8 };
    bool all_answer = true;
    int64_t fewest = INT64_MAX, blamed = 0;
    const wb_watch_note *waits = NULL, *stuck = NULL; /* the last one of each */
    for (int r = 0; r < world; r++) {
        all_answer = all_answer && notes[r].fresh;
        fewest = notes[r].calls < fewest ? notes[r].calls : fewest;
    }
    size_t used = (size_t)snprintf(text, bytes, "rank");
    for (int r = 0; r < world; r++) {
        if (is_blamed(&notes[r], all_answer, fewest)) {
            stuck = &notes[r];
            if (++blamed <= NAMED && used < bytes) {
                used +=
                    (size_t)snprintf(text + used, bytes - used, "%s %d", blamed > 1 ? "," : "", r);
            }
        } else if (notes[r].fresh) {
            waits = &notes[r];
        }
    }
    if (used < bytes && all_answer && stuck) {
        used += (size_t)snprintf(text + used, bytes - used,
                                 "%s of %d on host %s: in \"%s\" of step %lld for %.0f s",
                                 blamed > NAMED ? ", …" : "", world, stuck->host, stuck->phase,
                                 (long long)stuck->step + 1, stuck->seconds);
    } else if (used < bytes) {
        used += (size_t)snprintf(text + used, bytes - used, "%s of %d: no answer",
                                 blamed > NAMED ? ", …" : "", world);
    }
    if (used < bytes && waits && all_answer && 2 * blamed > world) {
        (void)snprintf(text + used, bytes - used,
                       "; rank %d is ahead of them, in \"%s\" of step %lld for %.0f s",
                       (int)(waits - notes), waits->phase, (long long)waits->step + 1,
                       waits->seconds);
    } else if (used < bytes && waits) {
        (void)snprintf(text + used, bytes - used, "; %d wait in \"%s\" of step %lld for %.0f s",
                       world - (int)blamed, waits->phase, (long long)waits->step + 1,
                       waits->seconds);
    }
}

/* The first to come tells it for all. */
_Noreturn static void end_run(const wb_watchdog *w, double limit) {
    const int world = wb_comm_world(w->comm);
    char finding[1024] = "a rank", text[1400];
    wb_watch_note *notes = calloc((size_t)world, sizeof(*notes));
    if (notes) {
        read_notes(w, notes, limit);
        wb_watchdog_judge(finding, sizeof(finding), notes, world);
    }
    (void)snprintf(text, sizeof(text),
                   "widebatch: error: stuck: %s (allowed: %.0f s, see run.watchdog); the same "
                   "command continues from the last checkpoint\n",
                   finding, limit);
    const int file = open(w->finding, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file >= 0 || errno != EEXIST) {
        (void)!write(STDERR_FILENO, text, strlen(text));
        (void)!write(file, text, strlen(text));
    } else {
        (void)sleep(1); /* whoever tells it must not be ended before it has */
    }
    _exit(wb_status_exit_code(WB_ERR_STUCK));
}

/* ---- The thread
 * ---------------------------------------------------------------------------------------- */

/* Whether all answer and those that the others wait for have not been too long in one part. */
static bool goes_on(const wb_watchdog *w, double limit) {
    const int world = wb_comm_world(w->comm);
    int64_t fewest = INT64_MAX;
    bool all_well = true;
    wb_watch_note *notes = calloc((size_t)world, sizeof(*notes));
    if (!notes) {
        return true; /* it is looked at again */
    }
    read_notes(w, notes, limit);
    for (int r = 0; r < world; r++) {
        fewest = notes[r].calls < fewest ? notes[r].calls : fewest;
    }
    for (int r = 0; r < world; r++) {
        all_well = all_well && notes[r].fresh;
        all_well = all_well && (notes[r].calls > fewest || notes[r].seconds < limit);
    }
    free(notes);
    return all_well;
}

/* Writes a note where this rank waits, or another one wants to know. */
static void listen(wb_watchdog *w, wb_phase phase, double seconds, double now) {
    const bool waits = seconds > NOTED * w->patience;
    bool asked = false;
    if (now - w->heard > HEARD * w->patience) {
        w->heard = now;
        asked = is_asked(w);
        if (waits && !asked) {
            ask(w);
        }
    }
    if (waits || asked) {
        write_note(w, phase, seconds);
    }
}

/* In the first step nobody knows how long one takes. But who waits for the others has done as much
 * as they have to do, except to read: one rank may find in memory what another has to fetch. */
static double first_limit(const wb_watchdog *w, wb_phase phase, double since) {
    const double called = wb_comm_called(w->comm), most = 10.0 * w->patience;
    const bool waits = called > since && phase > WB_PHASE_READ && phase <= WB_PHASE_COMPARE;
    return waits && w->began > 0.0
               ? fmin(most, called - since + fmax(w->patience, 10.0 * (called - w->began)))
               : most;
}

static double limit_of(const wb_watchdog *w, wb_phase phase, double since) {
    const double limit = w->limit;
    return phase == WB_PHASE_EVALUATE ? w->patience
           : limit > 0.0              ? limit
                                      : first_limit(w, phase, since);
}

static void look(wb_watchdog *w) {
    const double since = w->time->since, now = wb_now();
    const wb_phase phase = w->time->current;
    const bool in_parts = phase == WB_PHASE_EVALUATE || w->limit == 0.0;
    const double seconds = now - since, times = wb_phase_patience(phase);
    const double limit = limit_of(w, phase, since) * times;
    const double silence = fmax(w->patience, SILENCE) * times;
    if (now - w->looked > FRESH * fmax(w->patience, SILENCE)) {
        w->let_be = now + w->patience; /* this process was stopped, others perhaps with it */
    }
    w->looked = now;
    if (w->began == 0.0 && phase >= WB_PHASE_READ && phase <= WB_PHASE_COMPARE) {
        w->began = since;
    }
    listen(w, phase, seconds, now);
    if (seconds > limit && now > w->let_be) {
        if (!in_parts || !goes_on(w, limit)) {
            end_run(w, limit);
        }
        w->let_be = now + NOTED * limit;
    } else if (seconds > silence && now > w->let_be && !next_answers(w, silence)) {
        end_run(w, silence);
    }
}

static void *watch(void *context) {
    wb_watchdog *w = context;
    (void)pthread_mutex_lock(&w->mutex);
    while (!w->ends) {
        struct timespec until;
        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        const double at = (double)until.tv_nsec * 1e-9 + w->pause;
        until.tv_sec += (time_t)at;
        until.tv_nsec = (long)((at - floor(at)) * 1e9);
        (void)pthread_cond_timedwait(&w->wake, &w->mutex, &until);
        if (!w->ends) {
            look(w);
        }
    }
    (void)pthread_mutex_unlock(&w->mutex);
    return NULL;
}

static wb_status prepare_folder(wb_watchdog *w, const char *run_folder) {
    wb_status status = WB_OK;
    WB_TRY(wb_path_join(w->folder, run_folder, "watch"));
    WB_TRY(wb_path_join(w->question, w->folder, "question"));
    WB_TRY(wb_path_join(w->finding, run_folder, "stuck.txt"));
    if (wb_comm_rank(w->comm) == 0) {
        WB_TRY(wb_folder_remove(w->folder));
        WB_TRY(wb_folder_make(w->folder));
        ask(w);
        WB_CHECK(unlink(w->finding) == 0 || errno == ENOENT, WB_ERR_DISK,
                 "%s: cannot remove it: %s", w->finding, strerror(errno));
    }
done:
    return status;
}

static wb_status start_thread(wb_watchdog *w) {
    pthread_condattr_t clock;
    (void)pthread_mutex_init(&w->mutex, NULL);
    (void)pthread_condattr_init(&clock);
    (void)pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&w->wake, &clock);
    (void)pthread_condattr_destroy(&clock);
    const int failed = pthread_create(&w->thread, NULL, watch, w);
    return failed == 0 ? WB_OK
                       : WB_ERROR(WB_ERR_MEMORY, "cannot start the watchdog: %s", strerror(failed));
}

wb_status wb_watchdog_start(wb_watchdog **watchdog, const char *run_folder, double patience,
                            const wb_timetable *time, wb_comm *comm) {
    wb_status status = WB_OK;
    wb_watchdog *w = NULL;
    *watchdog = NULL;
    if (patience <= 0.0) {
        goto done;
    }
    w = calloc(1, sizeof(*w));
    WB_TRY_ALL(comm, w ? WB_OK : WB_ERROR(WB_ERR_MEMORY, "no memory for the watchdog"));
    w->time = time;
    w->comm = comm;
    w->patience = patience;
    w->pause = fmin(1.0, patience / 20.0);
    w->looked = wb_now();
    w->host = wb_host();
    WB_TRY_ALL(comm, prepare_folder(w, run_folder));
    WB_TRY_ALL(comm, start_thread(w));
    *watchdog = w;
    w = NULL;
done:
    free(w);
    return status;
}

void wb_watchdog_stop(wb_watchdog *w) {
    if (!w) {
        return;
    }
    (void)pthread_mutex_lock(&w->mutex);
    w->ends = true;
    (void)pthread_cond_signal(&w->wake);
    (void)pthread_mutex_unlock(&w->mutex);
    (void)pthread_join(w->thread, NULL);
    (void)pthread_cond_destroy(&w->wake);
    (void)pthread_mutex_destroy(&w->mutex);
    free(w);
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void wb_watchdog_step(wb_watchdog *w, int64_t step, double seconds) {
    if (!w) {
        return;
    }
    double sorted[STEPS];
    w->recent[w->steps++ % STEPS] = seconds;
    const int64_t count = w->steps < STEPS ? w->steps : STEPS;
    memcpy(sorted, w->recent, (size_t)count * sizeof(*sorted));
    qsort(sorted, (size_t)count, sizeof(*sorted), ascending);
    w->limit = fmax(w->patience, 10.0 * sorted[count / 2]);
    w->step = step;
}
