/* How fast memory moves: what bounds everything that is not a product. */
#ifndef WB_TRIAD_H
#define WB_TRIAD_H

#include <stdint.h>

/* Local. Floats of an array that no cache of this rank's threads holds. */
int64_t wb_triad_floats(void);

/* Local. Bytes a second of a = b + s c by all threads of the rank, over about `seconds`: two arrays
 * read and one written, 12 bytes an element (what a write reads beforehand is not counted).
 *   scratch [3 n]   filled
 * Source: McCalpin, STREAM. */
double wb_triad_rate(int64_t n, double seconds, float *scratch);

#endif
