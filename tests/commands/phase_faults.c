/* Linked into a program of the tests' own (ld --wrap): a rank goes wrong in a phase of the time
 * table.
 *
 *     WB_PHASE_FAULT=KIND:PHASE:N:RANK
 *
 * When the rank enters the phase, a number, for the N-th time,
 *
 *     kill segv stop   it gets this signal
 *     spin             it goes no further, and its other threads live
 *     skip             its next exchange with the other ranks is left out
 *
 * and the time, in seconds since 1970, goes to the file WB_PHASE_FAULT_TIME. WB_PHASE_FAULT=list
 * prints the phases' names. */
#include "timetable.h"

#include <mpi.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct {
    char kind[8];
    int phase, rank;
    long n;
    bool skips;
} fault = {.phase = -1};

__attribute__((constructor)) static void set_up(void) {
    const char *const given = getenv("WB_PHASE_FAULT");
    const char *const of_mpirun = getenv("OMPI_COMM_WORLD_RANK");
    const char *const rank = of_mpirun ? of_mpirun : getenv("SLURM_PROCID");
    if (given && strcmp(given, "list") == 0) {
        for (int i = 0; i < WB_PHASES; i++) {
            (void)puts(wb_phase_name((wb_phase)i));
        }
        exit(0);
    }
    if (!given || !rank ||
        sscanf(given, "%7[a-z]:%d:%ld:%d", fault.kind, &fault.phase, &fault.n, &fault.rank) != 4 ||
        fault.rank != atoi(rank)) {
        fault.phase = -1;
    }
}

static void tell_time(void) {
    const char *const path = getenv("WB_PHASE_FAULT_TIME");
    FILE *const out = path ? fopen(path, "w") : NULL;
    struct timespec now;
    if (out && clock_gettime(CLOCK_REALTIME, &now) == 0) {
        (void)fprintf(out, "%.3f\n", (double)now.tv_sec + 1e-9 * (double)now.tv_nsec);
        (void)fclose(out);
    }
}

void __real_wb_timetable_enter(wb_timetable *table, wb_phase phase);
void __wrap_wb_timetable_enter(wb_timetable *table, wb_phase phase) {
    __real_wb_timetable_enter(table, phase);
    if ((int)phase == fault.phase && --fault.n == 0) {
        tell_time();
        if (strcmp(fault.kind, "skip") == 0) {
            fault.skips = true;
        } else if (strcmp(fault.kind, "spin") == 0) {
            for (;;) {
                (void)sleep(1);
            }
        } else {
            (void)raise(strcmp(fault.kind, "kill") == 0   ? SIGKILL
                        : strcmp(fault.kind, "segv") == 0 ? SIGSEGV
                                                          : SIGSTOP);
        }
    }
}

static bool is_skipped(void) {
    const bool skips = fault.skips;
    fault.skips = false;
    return skips;
}

int __real_MPI_Allreduce(const void *from, void *to, int count, MPI_Datatype type, MPI_Op op,
                         MPI_Comm comm);
int __wrap_MPI_Allreduce(const void *from, void *to, int count, MPI_Datatype type, MPI_Op op,
                         MPI_Comm comm) {
    return is_skipped() ? MPI_SUCCESS : __real_MPI_Allreduce(from, to, count, type, op, comm);
}

int __real_MPI_Allgatherv(const void *from, int count, MPI_Datatype type, void *to,
                          const int *counts, const int *places, MPI_Datatype to_type,
                          MPI_Comm comm);
int __wrap_MPI_Allgatherv(const void *from, int count, MPI_Datatype type, void *to,
                          const int *counts, const int *places, MPI_Datatype to_type,
                          MPI_Comm comm) {
    return is_skipped()
               ? MPI_SUCCESS
               : __real_MPI_Allgatherv(from, count, type, to, counts, places, to_type, comm);
}

int __real_MPI_Bcast(void *data, int count, MPI_Datatype type, int root, MPI_Comm comm);
int __wrap_MPI_Bcast(void *data, int count, MPI_Datatype type, int root, MPI_Comm comm) {
    return is_skipped() ? MPI_SUCCESS : __real_MPI_Bcast(data, count, type, root, comm);
}
