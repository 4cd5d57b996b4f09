/* Which scores of a tile compete with the positive: the others become -infinity.
 *
 * None competes that is the row's partner or has its text, that is a known answer to the query, or
 * that the filter finds too similar. Both walks leave out the same, whichever side they see a tile
 * from.
 */
#ifndef WB_CANDIDATES_H
#define WB_CANDIDATES_H

#include "score_tile.h"

/* Local. The similarity above which the filter leaves out candidates of the block's query i;
 * INFINITY without a filter. */
double wb_candidates_limit(const wb_infonce *loss, const wb_infonce_block *own, int64_t i);

/* Local. Leaves out of a tile of scores what does not compete. */
void wb_candidates_keep(const wb_score_tile *tile, const wb_score_term *term,
                        const wb_score_walk *walk);

#endif
