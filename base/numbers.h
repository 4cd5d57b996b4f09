/* Arrays of floats in one of two precisions: fp32, or bf16, its upper half (8 bits of precision,
 * the same range). Arithmetic is always done in fp32; bf16 is how numbers wait in memory and enter
 * products. So a kernel reads a run of numbers, computes, and writes a run:
 *
 *     float room[N];
 *     const float *x = wb_numbers_read(room, array, at, n);    the array itself where it is fp32
 */
#ifndef WB_NUMBERS_H
#define WB_NUMBERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum wb_precision { WB_FP32, WB_BF16 } wb_precision;

/* How a matrix, stored row after row, enters a product. */
typedef enum wb_transpose { WB_PLAIN, WB_TRANSPOSED } wb_transpose;

/* One of the two pointers; the other is NULL. */
typedef struct wb_numbers {
    float *fp32;
    uint16_t *bf16;
} wb_numbers;

static inline size_t wb_number_bytes(wb_precision precision, int64_t count) {
    return (size_t)count * (precision == WB_BF16 ? sizeof(uint16_t) : sizeof(float));
}

/* Local. An array of floats as numbers. It is only read where the callee says that it borrows. */
static inline wb_numbers wb_fp32(const float *x) {
    return (wb_numbers){.fp32 = (float *)(uintptr_t)x};
}

/* Local. to [n] filled; wb_narrow rounds to nearest, halves to even, and keeps NaN. */
void wb_widen(float *to, const uint16_t *from, int64_t n);
void wb_narrow(uint16_t *to, const float *from, int64_t n);

/* Local. Elements at, at + 1, … at + n - 1 of x: themselves, or `room` [n] filled with them. */
static inline float *wb_numbers_read(float *room, wb_numbers x, int64_t at, int64_t n) {
    if (x.fp32) {
        return x.fp32 + at;
    }
    wb_widen(room, x.bf16 + at, n);
    return room;
}

/* Local. Asks memory for elements at, … at + n - 1, which are to be read or written soon and which
 * the processor does not foresee: parts of rows that lie pages apart. Any `at` will do. */
static inline void wb_numbers_ask(wb_numbers x, int64_t at, int64_t n) {
    enum { LINE = 64 };
    const int64_t size = x.fp32 ? sizeof(float) : sizeof(uint16_t);
    const uintptr_t first =
        (x.fp32 ? (uintptr_t)x.fp32 : (uintptr_t)x.bf16) + (uintptr_t)(at * size);
    for (uintptr_t line = first; line < first + (uintptr_t)(n * size); line += LINE) {
        __builtin_prefetch((const void *)line, 0, 2);
    }
}

/* Local. Where to compute what belongs at x + at: there, or in `room`; then wb_numbers_write. */
static inline float *wb_numbers_place(float *room, wb_numbers x, int64_t at) {
    return x.fp32 ? x.fp32 + at : room;
}

static inline void wb_numbers_write(wb_numbers x, int64_t at, const float *computed, int64_t n) {
    if (x.bf16) {
        wb_narrow(x.bf16 + at, computed, n);
    }
}

#endif
