/* Embedding tables, pooling and normalisation on the CPU. */
#include "ops.h"
#include "vector_math.h"

#include <math.h>
#include <string.h>

/* A thread owns a strip of columns, so that rows named twice are added in order by one thread. */
enum { STRIP = 32 };

static int64_t strips_of(int64_t H) {
    return (H + STRIP - 1) / STRIP;
}

static int64_t strip_width(int64_t strip, int64_t H) {
    const int64_t left = H - strip * STRIP;
    return left < STRIP ? left : STRIP;
}

static void add_row(float *restrict to, const float *restrict from, float factor, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        to[i] += factor * from[i];
    }
}

static int64_t length_of(const wb_packed *packed, int64_t sequence) {
    return packed->offsets[sequence + 1] - packed->offsets[sequence];
}

static int64_t start_of(const wb_packed *packed, int64_t sequence) {
    return packed->offsets[sequence] - packed->offsets[0];
}

void wb_embed_forward(wb_numbers y, const float *words, const float *positions, const float *types,
                      const wb_chunk *chunk, int64_t H) {
    const int64_t T = wb_packed_tokens(&chunk->packed);
    const int32_t *ids = chunk->packed.ids + (T > 0 ? chunk->packed.offsets[0] : 0);
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < T; t++) {
        float room[WB_WIDEST_ROW];
        float *row = wb_numbers_place(room, y, t * H);
        memcpy(row, words + (int64_t)ids[t] * H, (size_t)H * sizeof(float));
        if (positions) {
            add_row(row, positions + (int64_t)chunk->positions[t] * H, 1.0f, H);
        }
        if (types) {
            add_row(row, types, 1.0f, H);
        }
        wb_numbers_write(y, t * H, row, H);
    }
}

/* Where a token's gradient stands among the rows held. */
static int64_t row_of(const wb_table_rows *rows, int32_t token) {
    return rows ? rows->place[token] : token;
}

void wb_embed_backward(float *dwords, const wb_table_rows *rows, float *dpositions, float *dtypes,
                       const float *dy, const wb_chunk *chunk, int64_t H) {
    const int64_t T = wb_packed_tokens(&chunk->packed);
    const int32_t *ids = chunk->packed.ids + (T > 0 ? chunk->packed.offsets[0] : 0);
#pragma omp parallel for schedule(static)
    for (int64_t strip = 0; strip < strips_of(H); strip++) {
        const int64_t first = strip * STRIP, width = strip_width(strip, H);
        for (int64_t t = 0; t < T; t++) {
            const float *from = dy + t * H + first;
            add_row(dwords + row_of(rows, ids[t]) * H + first, from, 1.0f, width);
            if (dpositions) {
                add_row(dpositions + (int64_t)chunk->positions[t] * H + first, from, 1.0f, width);
            }
            if (dtypes) {
                add_row(dtypes + first, from, 1.0f, width);
            }
        }
    }
}

void wb_mean_pool_forward(float *y, wb_numbers x, const wb_packed *packed, int64_t H) {
#pragma omp parallel for schedule(static)
    for (int64_t s = 0; s < packed->n; s++) {
        float room[WB_WIDEST_ROW];
        const int64_t length = length_of(packed, s);
        float *row = y + s * H;
        memset(row, 0, (size_t)H * sizeof(float));
        for (int64_t t = 0; t < length; t++) {
            add_row(row, wb_numbers_read(room, x, (start_of(packed, s) + t) * H, H), 1.0f, H);
        }
        const float share = length > 0 ? 1.0f / (float)length : 0.0f;
#pragma omp simd
        for (int64_t i = 0; i < H; i++) {
            row[i] *= share;
        }
    }
}

void wb_mean_pool_backward(float *dx, const float *dy, const wb_packed *packed, int64_t H) {
#pragma omp parallel for schedule(static)
    for (int64_t s = 0; s < packed->n; s++) {
        const int64_t length = length_of(packed, s);
        const float share = length > 0 ? 1.0f / (float)length : 0.0f;
        const float *from = dy + s * H;
        for (int64_t t = 0; t < length; t++) {
            float *row = dx + (start_of(packed, s) + t) * H;
#pragma omp simd
            for (int64_t i = 0; i < H; i++) {
                row[i] = share * from[i];
            }
        }
    }
}

void wb_first_pool_forward(float *y, wb_numbers x, const wb_packed *packed, int64_t H) {
    const size_t bytes = (size_t)H * sizeof(float);
    for (int64_t s = 0; s < packed->n; s++) {
        float room[WB_WIDEST_ROW];
        if (length_of(packed, s) > 0) {
            memcpy(y + s * H, wb_numbers_read(room, x, start_of(packed, s) * H, H), bytes);
        } else {
            memset(y + s * H, 0, bytes);
        }
    }
}

void wb_first_pool_backward(float *dx, const float *dy, const wb_packed *packed, int64_t H) {
    memset(dx, 0, (size_t)(wb_packed_tokens(packed) * H) * sizeof(float));
    for (int64_t s = 0; s < packed->n; s++) {
        if (length_of(packed, s) > 0) {
            memcpy(dx + start_of(packed, s) * H, dy + s * H, (size_t)H * sizeof(float));
        }
    }
}

void wb_normalize_forward(float *y, float *norms, const float *x, int64_t n, int64_t H) {
#pragma omp parallel for schedule(static)
    for (int64_t s = 0; s < n; s++) {
        const float *from = x + s * H;
        norms[s] = sqrtf(wb_dot(from, from, H));
        const float scale = 1.0f / fmaxf(norms[s], 1e-12f);
#pragma omp simd
        for (int64_t i = 0; i < H; i++) {
            y[s * H + i] = from[i] * scale;
        }
    }
}

void wb_normalize_backward(float *dx, const float *dy, const float *y, const float *norms,
                           int64_t n, int64_t H) {
#pragma omp parallel for schedule(static)
    for (int64_t s = 0; s < n; s++) {
        const float *unit = y + s * H, *from = dy + s * H;
        /* Below the floor the norm is a constant, and only the scale remains. */
        const bool floored = norms[s] < 1e-12f;
        const float scale = 1.0f / (floored ? 1e-12f : norms[s]);
        const float back = floored ? 0.0f : wb_dot(from, unit, H);
#pragma omp simd
        for (int64_t i = 0; i < H; i++) {
            dx[s * H + i] = (from[i] - back * unit[i]) * scale;
        }
    }
}
