/* The products of linear layers: our own in fp32, and in bf16 through oneDNN, where the build has
 * it and the processor suits it. */
#ifndef WB_PRODUCT_H
#define WB_PRODUCT_H

#include "numbers.h"

/* A matrix as stored, row after row, and whether it enters the product transposed. */
typedef struct wb_factor {
    wb_numbers numbers;
    wb_transpose form;
} wb_factor;

/* Local. c [m, n] = op(a) [m, k] op(b) [k, n], plus bias [n] in every row where it is not NULL,
 * or plus c where `add`; c is fp32 then. Both factors have one precision; sums are fp32. The bits
 * are the same for any number of threads and, in fp32, a row's for any number of rows. Not to be
 * called from a parallel loop. */
void wb_product(wb_numbers c, bool add, wb_factor a, wb_factor b, const float *bias, int64_t m,
                int64_t n, int64_t k);

/* Local. Whether bf16 products run in this build on this processor, and faster than fp32. */
bool wb_product_has_bf16(void);

/* Local. Floating-point operations a second of one product with op(b) transposed, over about
 * `seconds`; scratch [m k + n k + m n]. */
double wb_product_rate(wb_precision precision, int64_t m, int64_t n, int64_t k, double seconds,
                       float *scratch);

/* Local. What products run on, by precision: "own tiles, AVX-512"; "oneDNN 2.6.3, AMX". */
const char *wb_product_library(wb_precision precision);

#endif
