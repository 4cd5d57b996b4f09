/* Measuring it. A collective call takes as long as its slowest rank says; of several, the median
 * counts. */
#include "roofline.h"

#include "exchange.h"
#include "triad.h"
#include "units.h"

#include <stdlib.h>
#include <string.h>

static wb_status measure_memory(double *rate, wb_comm *comm) {
    wb_status status = WB_OK;
    const int64_t n = wb_triad_floats();
    float *scratch = malloc(wb_float_bytes(3 * n));
    WB_TRY_ALL(comm, scratch ? WB_OK
                             : WB_ERROR(WB_ERR_MEMORY, "no memory for three arrays of %s",
                                        wb_bytes_text(wb_float_bytes(n)).text));
    *rate = wb_triad_rate(n, 0.5, scratch);
    WB_TRY(wb_reduce_sums(comm, rate, 1));
done:
    free(scratch);
    return status;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : (x > y ? 1 : 0);
}

/* Seconds of one wb_reduce_floats, `rounds` of them timed together, the median of five. */
static wb_status measure_reduce(double *seconds, wb_comm *comm, float *values, int64_t count,
                                int rounds) {
    enum { TIMES = 5 };
    wb_status status = WB_OK;
    double times[TIMES], least, mean;
    WB_TRY(wb_reduce_floats(comm, values, count));
    for (int i = 0; i < TIMES; i++) {
        WB_TRY(wb_agree(comm, WB_OK)); /* all begin together */
        const double began = wb_now();
        for (int j = 0; j < rounds; j++) {
            WB_TRY(wb_reduce_floats(comm, values, count));
        }
        const double mine = (wb_now() - began) / rounds;
        WB_TRY(wb_reduce_spread(comm, &least, &mean, &times[i], &mine, 1));
    }
    qsort(times, TIMES, sizeof(times[0]), ascending);
    *seconds = times[TIMES / 2];
done:
    return status;
}

wb_status wb_roofline_measure(wb_roofline *roofline, wb_comm *comm, float *values, int64_t count) {
    wb_status status = WB_OK;
    float one = 0.0f;
    *roofline = (wb_roofline){.reduce_floats = count};
    WB_TRY(measure_memory(&roofline->memory, comm));
    if (wb_comm_world(comm) > 1) {
        memset(values, 0, wb_float_bytes(count));
        WB_TRY(measure_reduce(&roofline->reduce_seconds, comm, values, count, 1));
        WB_TRY(measure_reduce(&roofline->latency_seconds, comm, &one, 1, 100));
    }
done:
    return status;
}
