/* The end of a test program that runs under mpirun. */
#ifndef WB_MPI_TESTING_H
#define WB_MPI_TESTING_H

#include "comm.h"

#if defined(__SANITIZE_ADDRESS__)
#define WB_TEST_LEAKS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WB_TEST_LEAKS 1
#endif
#endif
#ifdef WB_TEST_LEAKS
#include <sanitizer/lsan_interface.h>
#endif

/* Collective. Ends MPI and gives the program's exit status. Leaks are looked for before that: while
 * the MPI library is loaded, what it holds is reachable or known by name (tests/lsan.supp). */
static inline int finish_mpi_tests(wb_comm *comm, int failed) {
#ifdef WB_TEST_LEAKS
    __lsan_do_leak_check();
#endif
    wb_comm_destroy(comm);
    return failed;
}

#endif
