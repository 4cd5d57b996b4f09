/* Products of matrices larger than cache, in fp32: linear layers'. Each element is a sum of sums
 * over a fixed number of terms, in the order of k. Its bits depend on its row of a, its column of b
 * and nothing else: not on how many rows or columns stand beside it, nor on the number of threads.
 */
#ifndef WB_PANEL_PRODUCT_H
#define WB_PANEL_PRODUCT_H

#include "numbers.h"

/* Local. c [m, n] = op(a) [m, k] op(b) [k, n], plus bias [n] in every row where it is not NULL, or
 * plus c where `add`; k > 0, and never both. Not to be called from a parallel loop. */
void wb_panel_product(float *c, bool add, const float *a, wb_transpose a_form, const float *b,
                      wb_transpose b_form, const float *bias, int64_t m, int64_t n, int64_t k);

#endif
