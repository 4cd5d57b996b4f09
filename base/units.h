/* Sizes and numbers as people write them, and the one checked way from wide to narrow integers. */
#ifndef WB_UNITS_H
#define WB_UNITS_H

#include "status.h"

#include <stdint.h>

/* Local. int64_t to the int that MPI and BLAS take; the library's own bounds keep it in range. */
static inline int wb_int(int64_t value) {
    WB_ASSERT(value >= INT32_MIN && value <= INT32_MAX, "value %lld", (long long)value);
    return (int)value;
}

/* Local. Elements of float to bytes. */
static inline size_t wb_float_bytes(int64_t count) {
    return (size_t)count * sizeof(float);
}

/* Local. product = a * b; false (product untouched) if it leaves int64_t or a factor is negative.
 */
static inline bool wb_multiply(int64_t a, int64_t b, int64_t *product) {
    int64_t result;
    if (a < 0 || b < 0 || __builtin_mul_overflow(a, b, &result)) {
        return false;
    }
    *product = result;
    return true;
}

typedef struct wb_text_number {
    char text[32];
} wb_text_number;

/* Local. 1536 -> "1.5 KiB". */
wb_text_number wb_bytes_text(size_t bytes);

/* Local. 12345678 -> "12,345,678". */
wb_text_number wb_count_text(int64_t count);

/* Local. Seconds -> "850 ms", "12.3 s", "2 min 05 s", "3 h 07 min". */
wb_text_number wb_seconds_text(double seconds);

/* Local. "512M", "1.5 GiB", "2GB", "4096" -> bytes; K/M/G/T are powers of 1024, with or without
 * B or iB. False where the text is no size; bytes then untouched. */
bool wb_parse_bytes(const char *text, size_t *bytes);

/* Local. "90", "1.5h", "1h30m", "2d" -> seconds; d, h, m, s from large to small, each at most once.
 * False where the text is no time; seconds then untouched. */
bool wb_parse_seconds(const char *text, double *seconds);

/* Local. The name of this machine, "unknown" where it has none. */
typedef struct wb_host_text {
    char text[64];
} wb_host_text;
wb_host_text wb_host(void);

/* Local. Seconds on a clock that only goes forward. */
double wb_now(void);

#endif
