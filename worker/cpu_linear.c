/* Linear layers and GELU on the CPU. */
#include "ops.h"
#include "product.h"
#include "vector_math.h"

static wb_factor plain(wb_numbers x) {
    return (wb_factor){.numbers = x, .form = WB_PLAIN};
}

static wb_factor transposed(wb_numbers x) {
    return (wb_factor){.numbers = x, .form = WB_TRANSPOSED};
}

void wb_linear_forward(wb_numbers y, wb_numbers x, wb_numbers w, const float *b, int64_t rows,
                       int64_t in, int64_t out) {
    wb_product(y, false, plain(x), transposed(w), b, rows, out, in);
}

/* total [columns] added to; each strip of columns is summed by one thread, top to bottom */
static void column_sums(float *total, wb_numbers x, int64_t rows, int64_t columns) {
    enum { STRIP = 64, AHEAD = 16 };
    const int64_t strips = (columns + STRIP - 1) / STRIP;
#pragma omp parallel for schedule(static)
    for (int64_t strip = 0; strip < strips; strip++) {
        const int64_t first = strip * STRIP;
        const int64_t width = columns - first < STRIP ? columns - first : STRIP;
        float sums[STRIP] = {0}, room[STRIP];
        for (int64_t row = 0; row < rows; row++) {
            const float *from = wb_numbers_read(room, x, row * columns + first, width);
            wb_numbers_ask(x, (row + AHEAD) * columns + first, width);
#pragma omp simd
            for (int64_t i = 0; i < width; i++) {
                sums[i] += from[i];
            }
        }
        for (int64_t i = 0; i < width; i++) {
            total[first + i] += sums[i];
        }
    }
}

void wb_linear_backward_input(wb_numbers dx, bool add_dx, wb_numbers dy, wb_numbers w, int64_t rows,
                              int64_t in, int64_t out) {
    wb_product(dx, add_dx, plain(dy), plain(w), NULL, rows, in, out);
}

void wb_linear_backward_weights(float *dw, float *db, wb_numbers dy, wb_numbers x, int64_t rows,
                                int64_t in, int64_t out) {
    wb_product(wb_fp32(dw), true, transposed(dy), plain(x), NULL, out, in, rows);
    column_sums(db, dy, rows, out);
}

enum { RUN = 1024 }; /* elements that GELU takes from memory at once */

static int64_t run_length(int64_t first, int64_t count) {
    return count - first < RUN ? count - first : RUN;
}

void wb_gelu_forward(wb_numbers y, wb_numbers x, int64_t count) {
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < count; first += RUN) {
        float room_x[RUN], room_y[RUN];
        const int64_t n = run_length(first, count);
        const float *in = wb_numbers_read(room_x, x, first, n);
        float *out = wb_numbers_place(room_y, y, first);
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            float density;
            out[i] = in[i] * wb_normal(in[i], &density);
        }
        wb_numbers_write(y, first, out, n);
    }
}

void wb_gelu_backward(wb_numbers dx, wb_numbers y, wb_numbers dy, wb_numbers x, int64_t count) {
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < count; first += RUN) {
        float room_x[RUN], room_y[RUN], room_dx[RUN];
        const int64_t n = run_length(first, count);
        const float *in = wb_numbers_read(room_x, x, first, n);
        const float *above = wb_numbers_read(room_dx, dy, first, n);
        float *out = wb_numbers_place(room_y, y, first);
        float *below = wb_numbers_place(room_dx, dx, first);
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            float density;
            const float probability = wb_normal(in[i], &density);
            const float slope = probability + in[i] * density;
            out[i] = in[i] * probability;
            below[i] = above[i] * slope;
        }
        wb_numbers_write(y, first, out, n);
        wb_numbers_write(dx, first, below, n);
    }
}
