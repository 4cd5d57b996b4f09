/* What can go wrong, said once.
 *
 * A function that can fail returns a wb_status. The line that finds the fault writes the sentence
 * (WB_ERROR or WB_CHECK); the wrappers on the way up (WB_TRY) add where they stood. The first
 * sentence of a thread is kept until wb_error_clear: later ones are consequences. Who prints it
 * is decided elsewhere: `main` prints one message for all ranks (see collectives/agree.h).
 */
#ifndef WB_STATUS_H
#define WB_STATUS_H

#include <stdbool.h>
#include <stddef.h>

/* name, exit code, what the code means to a script that started the job */
#define WB_STATUS_TABLE(X)                                                                         \
    X(OK, 0, "done")                                                                               \
    X(ERR_INTERNAL, 1, "internal error: please report it")                                         \
    X(ERR_USAGE, 2, "wrong command line")                                                          \
    X(ERR_CONFIG, 2, "wrong configuration")                                                        \
    X(ERR_INPUT, 3, "an input file was rejected")                                                  \
    X(ERR_CHECKPOINT, 4, "checkpoints were rejected and none is left")                             \
    X(ERR_NUMERIC, 5, "a value is not finite")                                                     \
    X(ERR_DIVERGED, 6, "ranks differ in parameters or results")                                    \
    X(ERR_DISK, 7, "writing failed: disk full, quota or I/O error")                                \
    X(ERR_MEMORY, 8, "out of memory")                                                              \
    X(ERR_IN_USE, 9, "another job uses the run folder")                                            \
    X(ERR_STUCK, 10, "a rank was stuck")                                                           \
    X(ERR_MPI, 11, "an MPI call failed")                                                           \
    X(STOPPED, 75, "stopped early with a good checkpoint: start the same command again")

typedef enum wb_status {
#define WB_STATUS_ENUM(name, exit_code, meaning) WB_##name,
    WB_STATUS_TABLE(WB_STATUS_ENUM)
#undef WB_STATUS_ENUM
        WB_STATUS_COUNT
} wb_status;

/* Local. The process exit code of a status, as documented in README. */
int wb_status_exit_code(wb_status status);

/* Local. One phrase saying what a status means; never NULL. */
const char *wb_status_meaning(wb_status status);

/* Local. Keeps the sentence if it is this thread's first since wb_error_clear; returns `status`. */
wb_status wb_error_set(wb_status status, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Local. Adds "expression (file:line)" to the trace of the kept error; returns `status`. */
wb_status wb_error_trace(wb_status status, const char *expression, const char *file, int line);

/* Local. The kept sentence, "" if none. Borrowed until the next wb_error_* call of this thread. */
const char *wb_error_message(void);

/* Local. Where the error was found and the calls above it, one a line. Borrowed likewise. */
const char *wb_error_backtrace(void);

/* Local. Replaces the kept sentence, as when another rank's message is taken over. */
void wb_error_replace(const char *message);

void wb_error_clear(void);

#define WB_ERROR(code, ...) wb_error_set((code), __FILE__, __LINE__, __VA_ARGS__)

/* These need a local `wb_status status` and a label `done:` that releases and returns it. */
#define WB_TRY(call)                                                                               \
    do {                                                                                           \
        status = (call);                                                                           \
        if (status != WB_OK) {                                                                     \
            (void)wb_error_trace(status, #call, __FILE__, __LINE__);                               \
            goto done;                                                                             \
        }                                                                                          \
    } while (0)

/* For mistakes of users, files and other ranks: checked in every build. */
#define WB_CHECK(condition, code, ...)                                                             \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            status = WB_ERROR((code), __VA_ARGS__);                                                \
            goto done;                                                                             \
        }                                                                                          \
    } while (0)

/* For our own invariants: checked in dev and test builds, ends the process (MPI ends the rest). */
_Noreturn void wb_assert_failed(const char *condition, const char *file, int line,
                                const char *format, ...) __attribute__((format(printf, 4, 5)));
#ifdef WB_DEV
#define WB_ASSERT(condition, ...)                                                                  \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            wb_assert_failed(#condition, __FILE__, __LINE__, __VA_ARGS__);                         \
        }                                                                                          \
    } while (0)
#else
#define WB_ASSERT(condition, ...)                                                                  \
    do {                                                                                           \
        (void)sizeof(condition);                                                                   \
    } while (0)
#endif

#endif
