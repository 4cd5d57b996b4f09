/* Threads of a rank: the only file that asks OpenMP about them. */
#ifndef WB_THREADS_H
#define WB_THREADS_H

/* Local. Threads used by kernels of this rank; set by OMP_NUM_THREADS. */
int wb_threads(void);

/* Local. Processors that this rank may run on: those it is bound to, where it is bound. */
int wb_processors(void);

/* Local. This thread's number inside a parallel loop, 0 outside. */
int wb_thread(void);

#endif
