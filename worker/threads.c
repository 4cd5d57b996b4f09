#include "threads.h"

#ifdef _OPENMP
#include <omp.h>

int wb_threads(void) {
    return omp_get_max_threads();
}

int wb_processors(void) {
    return omp_get_num_procs();
}

int wb_thread(void) {
    return omp_get_thread_num();
}
#else
int wb_threads(void) {
    return 1;
}

int wb_processors(void) {
    return 1;
}

int wb_thread(void) {
    return 0;
}
#endif
