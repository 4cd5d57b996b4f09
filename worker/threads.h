/* Threads of a rank: the only file that asks OpenMP about them. */
#ifndef WB_THREADS_H
#define WB_THREADS_H

/* Local. Threads used by kernels of this rank; set by OMP_NUM_THREADS. */
int wb_threads(void);

/* Local. This thread's number inside a parallel loop, 0 outside. */
int wb_thread(void);

#endif
