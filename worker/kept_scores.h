/* Scores that stay between the walks (wb_infonce_kept), as the tiles of both see them: of the first
 * term, a rank's queries and its own passages, column after column. Everything here takes NULL,
 * which keeps nothing. */
#ifndef WB_KEPT_SCORES_H
#define WB_KEPT_SCORES_H

#include "score_tile.h"

/* Local. First walk: a tile all of whose columns are kept is to be filled where they stay, unless
 * it has similarities, which lie as scores do. */
void wb_kept_scores_lend(const wb_infonce_kept *kept, wb_score_tile *tile);

/* Local. First walk: of a tile that was filled in its scratch after all, keeps what is to be kept.
 */
void wb_kept_scores_take(const wb_infonce_kept *kept, const wb_score_tile *tile);

/* Local. Second walk: the tile's scores [columns, kept->apart], or NULL unless all its rows are
 * kept. */
const float *wb_kept_scores_find(const wb_infonce_kept *kept, const wb_score_tile *tile);

#endif
