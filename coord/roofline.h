/* What bounds a step beside products: memory, and what ranks exchange. */
#ifndef WB_ROOFLINE_H
#define WB_ROOFLINE_H

#include "comm.h"

typedef struct wb_roofline {
    double memory;          /* bytes a second, triad on all ranks at once, together */
    double reduce_seconds;  /* of an all-reduce of reduce_floats; 0 on one rank */
    double latency_seconds; /* of an all-reduce of one number; 0 on one rank */
    int64_t reduce_floats;
} wb_roofline;

/* Collective. Takes about a second.
 *   values [count]   what is reduced; filled with zeros
 * Errors: WB_ERR_MEMORY, WB_ERR_MPI. */
wb_status wb_roofline_measure(wb_roofline *roofline, wb_comm *comm, float *values, int64_t count);

#endif
