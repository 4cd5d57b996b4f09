/* loss.widths and loss.width_weights: the widths that the loss is taken at. */
#ifndef WB_WIDTHS_H
#define WB_WIDTHS_H

#include "status.h"

#include <stdint.h>

enum { WB_MOST_WIDTHS = 32 };

typedef struct wb_widths {
    int64_t count; /* 0: the whole width only */
    int64_t widths[WB_MOST_WIDTHS];
    double weights[WB_MOST_WIDTHS];
} wb_widths;

/* Local. From lists such as "256,128,64" and "1,1,0.5"; no weights: all 1. Error: WB_ERR_CONFIG for
 * what is no number, a width outside 1 to d, a weight below 0 or another number of weights. */
wb_status wb_widths_read(wb_widths *widths, const char *list, const char *weights, int64_t d);

#endif
