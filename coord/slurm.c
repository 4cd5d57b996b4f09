/* Calling Slurm. */
#include "slurm.h"

#include "machine.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Reads a pipe to its end, keeping what fits. */
static void read_all(int pipe, char *output, size_t bytes) {
    char more[4096];
    size_t kept = 0;
    ssize_t got;
    while ((got = read(pipe, more, sizeof(more))) > 0 || (got < 0 && errno == EINTR)) {
        const size_t room = bytes - 1 - kept;
        const size_t fits = got < 0 ? 0 : (size_t)got < room ? (size_t)got : room;
        memcpy(output + kept, more, fits);
        kept += fits;
    }
    output[kept] = '\0';
}

static int exit_code_of(pid_t child) {
    int state = 0;
    while (waitpid(child, &state, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
}

wb_status wb_slurm_call(const char *const *words, bool errors_too, char *output, size_t bytes,
                        int *code) {
    wb_status status = WB_OK;
    int ends[2] = {-1, -1};
    pid_t child;
    posix_spawn_file_actions_t actions;
    char **const environment = wb_machine_first_environment();
    (void)posix_spawn_file_actions_init(&actions);
    WB_CHECK(environment && pipe2(ends, O_CLOEXEC) == 0, WB_ERR_INTERNAL, "cannot run %s: %s",
             words[0], strerror(errno));
    (void)posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    if (errors_too) {
        (void)posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
    }
    const int failed = posix_spawnp(&child, words[0], &actions, NULL,
                                    (char *const *)(uintptr_t)words, environment);
    WB_CHECK(failed == 0, WB_ERR_USAGE,
             "%s: %s; Slurm's commands are needed here, in PATH (submit --print needs none)",
             words[0], strerror(failed));
    (void)close(ends[1]);
    ends[1] = -1;
    read_all(ends[0], output, bytes);
    *code = exit_code_of(child);
done:
    (void)posix_spawn_file_actions_destroy(&actions);
    for (int i = 0; i < 2; i++) {
        if (ends[i] >= 0) {
            (void)close(ends[i]);
        }
    }
    free(environment);
    return status;
}

bool wb_slurm_job_is_gone(const char *job) {
    const char *const words[] = {"squeue", "-h", "-j", job, "-o", "%T", NULL};
    char answer[512];
    int code = 0;
    const bool is_number = job[0] != '\0' && job[strspn(job, "0123456789")] == '\0';
    if (!is_number || wb_slurm_call(words, true, answer, sizeof(answer), &code) != WB_OK) {
        wb_error_clear();
        return false;
    }
    return code == 0 ? answer[0] == '\0' : strstr(answer, "Invalid job id") != NULL;
}
