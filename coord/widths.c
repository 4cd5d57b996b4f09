/* Comma-separated numbers. */
#include "widths.h"

#include <math.h>
#include <stdlib.h>

/* values [WB_MOST_WIDTHS] filled with *count numbers; blanks are allowed around them. */
static wb_status read_list(double *values, int64_t *count, const char *list, const char *key) {
    *count = 0;
    for (const char *at = list; *at != '\0';) {
        char *end;
        const double value = strtod(at, &end);
        while (*end == ' ') {
            end++;
        }
        if (end == at || (*end != ',' && *end != '\0') || (*end == ',' && end[1] == '\0') ||
            *count == WB_MOST_WIDTHS) {
            return WB_ERROR(WB_ERR_CONFIG,
                            "%s = %.200s; up to %d numbers with commas between them are needed",
                            key, list, WB_MOST_WIDTHS);
        }
        values[(*count)++] = value;
        at = *end == ',' ? end + 1 : end;
    }
    return WB_OK;
}

wb_status wb_widths_read(wb_widths *widths, const char *list, const char *weights, int64_t d) {
    wb_status status = WB_OK;
    double values[WB_MOST_WIDTHS];
    int64_t given;
    *widths = (wb_widths){0};
    WB_TRY(read_list(values, &widths->count, list, "loss.widths"));
    WB_TRY(read_list(widths->weights, &given, weights, "loss.width_weights"));
    WB_CHECK(given == 0 || given == widths->count, WB_ERR_CONFIG,
             "loss.width_weights names %lld weights for %lld loss.widths; give one for each, or "
             "none",
             (long long)given, (long long)widths->count);
    for (int64_t i = 0; i < widths->count; i++) {
        WB_CHECK(values[i] >= 1.0 && values[i] <= (double)d && values[i] == floor(values[i]),
                 WB_ERR_CONFIG, "loss.widths = %.200s; whole numbers from 1 to %lld are allowed",
                 list, (long long)d);
        widths->widths[i] = (int64_t)values[i];
        widths->weights[i] = given == 0 ? 1.0 : widths->weights[i];
        WB_CHECK(widths->weights[i] >= 0.0 && isfinite(widths->weights[i]), WB_ERR_CONFIG,
                 "loss.width_weights = %.200s; numbers from 0 on are allowed", weights);
    }
done:
    return status;
}
