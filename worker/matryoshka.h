/* Matryoshka widths: representations cut to their first components, and the way back.
 * Source: Kusupati et al. 2022. */
#ifndef WB_MATRYOSHKA_H
#define WB_MATRYOSHKA_H

#include <stdint.h>

/* Local. y [n, width] filled with the first components of x [n, d], made unit length again where
 * norms [n] is not NULL; it is filled then. */
void wb_matryoshka_forward(float *y, float *norms, const float *x, int64_t n, int64_t d,
                           int64_t width);

/* Local. dx [n, d] is added `weight` times the gradient; dy [n, width] is overwritten; y and norms
 * of the forward. */
void wb_matryoshka_backward(float *dx, float *dy, const float *y, const float *norms, int64_t n,
                            int64_t d, int64_t width, double weight);

#endif
