/* What the files of collectives share: the communicator and checked MPI calls. */
#ifndef WB_COMM_PRIVATE_H
#define WB_COMM_PRIVATE_H

#include "comm.h"
#include "memcheck.h"
#include "units.h"

#include <mpi.h>

struct wb_comm {
    MPI_Comm mpi;
    int rank, world, local_world;
    int64_t reductions;
    /* of wb_look: a round that all ranks come by, one after the other */
    MPI_Request round;
    struct {
        int most, works; /* what is brought; whether anybody still works */
    } brought, heard;    /* MPI's until the round is over */
    int left;            /* the most that was brought to the last round, where it was above 0 */
    /* read by other threads */
    _Atomic int64_t calls; /* collective calls begun */
    _Atomic double called; /* when the last one was, of wb_now */
};

/* Local. At the beginning of each collective call. */
static inline void wb_begin_call(wb_comm *comm) {
    comm->calls++;
    comm->called = wb_now();
}

/* Local. Turns an MPI result into a status with MPI's own text. */
wb_status wb_mpi_check(int result, const char *call, const char *file, int line);

#define WB_TRY_MPI(call)                                                                           \
    do {                                                                                           \
        status = wb_mpi_check((call), #call, __FILE__, __LINE__);                                  \
        if (status != WB_OK) {                                                                     \
            goto done;                                                                             \
        }                                                                                          \
    } while (0)

/* What leaves this rank. Under valgrind: bytes that have no value yet are reported. */
#define WB_SENDS WB_MEMORY_HAS_VALUES

#endif
