/* The encoder once more: plain, in double precision, forward only.
 *
 * What proofs compare with. It shares nothing with the fast path but the masks of dropout and the
 * order of the parameters. A gradient is checked against it by central differences along
 * directions in parameter space, which in double leave ten digits.
 */
#ifndef WB_REFERENCE64_H
#define WB_REFERENCE64_H

#include "encoder.h"

/* Local. reps [n, H] filled: representations of a chunk under parameters params + step * direction.
 *   params [total], direction [total] (NULL: none)    borrowed
 * Errors: WB_ERR_MEMORY. */
wb_status wb_reference64_forward(const wb_encoder_spec *spec, double *reps, const float *params,
                                 const float *direction, double step, const wb_packed *chunk,
                                 const uint32_t *examples, const wb_pass *pass);

#endif
