/* Dropout and layer norm on the CPU: one pass over a row while it is in cache. */
#include "ops.h"

#include <math.h>
#include <string.h>

void wb_dropout_mask(float mask[WB_DROPOUT_GROUP], const wb_dropout *dropout, uint32_t example,
                     uint64_t group) {
    enum { WORDS = WB_DROPOUT_GROUP / 2, BLOCKS = WORDS / 4 };
    const wb_rng_key key = {.seed = dropout->seed,
                            .step = dropout->step,
                            .example = example,
                            .site = wb_rng_site(WB_RNG_DROPOUT, dropout->site)};
    const uint32_t threshold = (uint32_t)lrintf(dropout->probability * 65536.0f);
    const float scale = 65536.0f / (65536.0f - (float)threshold);
    uint32_t words[WORDS];
    wb_rng_fill(words, WORDS, &key, (uint32_t)(group * BLOCKS));
#pragma omp simd
    for (int i = 0; i < WORDS; i++) {
        mask[i] = (words[i] & 0xffffu) >= threshold ? scale : 0.0f;
    }
#pragma omp simd
    for (int i = 0; i < WORDS; i++) {
        mask[WORDS + i] = words[i] >> 16 >= threshold ? scale : 0.0f;
    }
}

/* Row t of `width` elements times its mask, in place. */
static void mask_row(float *row, const wb_chunk *chunk, const wb_dropout *dropout, int64_t t,
                     int64_t width) {
    const int64_t groups = (width + WB_DROPOUT_GROUP - 1) / WB_DROPOUT_GROUP;
    const uint32_t example = chunk->examples[chunk->sequences[t]];
    float mask[WB_DROPOUT_GROUP];
    if (dropout->probability <= 0.0f) {
        return;
    }
    for (int64_t g = 0; g < groups; g++) {
        float *x = row + g * WB_DROPOUT_GROUP;
        const int64_t left = width - g * WB_DROPOUT_GROUP;
        const int64_t n = left < WB_DROPOUT_GROUP ? left : WB_DROPOUT_GROUP;
        wb_dropout_mask(mask, dropout, example, (uint64_t)(chunk->positions[t] * groups + g));
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            x[i] *= mask[i];
        }
    }
}

void wb_dropout_apply(wb_numbers x, const wb_chunk *chunk, const wb_dropout *dropout, int64_t H) {
    const int64_t T = dropout->probability > 0.0f ? wb_packed_tokens(&chunk->packed) : 0;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < T; t++) {
        float room[WB_WIDEST_ROW];
        float *row = wb_numbers_read(room, x, t * H, H);
        mask_row(row, chunk, dropout, t, H);
        wb_numbers_write(x, t * H, row, H);
    }
}

static void apply_norm(float *restrict out, const float *restrict row, float mean, float rstd,
                       const wb_norm *norm, int64_t H) {
#pragma omp simd
    for (int64_t i = 0; i < H; i++) {
        out[i] = (row[i] - mean) * rstd * norm->weight[i] + norm->bias[i];
    }
}

/* One row: out = norm(row) with its mean and 1 / deviation. */
static void norm_row_forward(float *restrict out, float *mean, float *rstd,
                             const float *restrict row, const wb_norm *norm, int64_t H) {
    float sum = 0.0f, squares = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < H; i++) {
        sum += row[i];
    }
    const float centre = sum / (float)H;
#pragma omp simd reduction(+ : squares)
    for (int64_t i = 0; i < H; i++) {
        squares += (row[i] - centre) * (row[i] - centre);
    }
    *mean = centre;
    *rstd = 1.0f / sqrtf(squares / (float)H + norm->eps);
    apply_norm(out, row, *mean, *rstd, norm, H);
}

void wb_add_norm_forward(wb_numbers y, float *mean, float *rstd, wb_numbers x, wb_numbers residual,
                         const wb_norm *norm, const wb_chunk *chunk, const wb_dropout *dropout,
                         int64_t H) {
    const int64_t T = wb_packed_tokens(&chunk->packed);
    const bool adds = residual.fp32 || residual.bf16;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < T; t++) {
        float room[WB_WIDEST_ROW], other_room[WB_WIDEST_ROW];
        float *row = wb_numbers_read(room, x, t * H, H);
        mask_row(row, chunk, dropout, t, H);
        const float *add = adds ? wb_numbers_read(other_room, residual, t * H, H) : NULL;
#pragma omp simd
        for (int64_t i = 0; i < (adds ? H : 0); i++) {
            row[i] += add[i];
        }
        wb_numbers_write(x, t * H, row, H);
        row = wb_numbers_read(room, x, t * H, H);
        float *out = wb_numbers_place(other_room, y, t * H);
        norm_row_forward(out, mean + t, rstd + t, row, norm, H);
        wb_numbers_write(y, t * H, out, H);
    }
}

void wb_norm_again(wb_numbers y, wb_numbers sum, const float *mean, const float *rstd,
                   const wb_norm *norm, int64_t T, int64_t H) {
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < T; t++) {
        float room[WB_WIDEST_ROW], out_room[WB_WIDEST_ROW];
        float *out = wb_numbers_place(out_room, y, t * H);
        apply_norm(out, wb_numbers_read(room, sum, t * H, H), mean[t], rstd[t], norm, H);
        wb_numbers_write(y, t * H, out, H);
    }
}

/* One row: dsum filled, the row's share added to dweight and dbias. */
static void norm_row_backward(float *restrict dsum, float *restrict dweight, float *restrict dbias,
                              const float *dy, const float *sum, float mean, float rstd,
                              const float *weight, int64_t H) {
    float along = 0.0f, total = 0.0f;
#pragma omp simd reduction(+ : along, total)
    for (int64_t i = 0; i < H; i++) {
        const float unit = (sum[i] - mean) * rstd;
        const float dunit = dy[i] * weight[i];
        dweight[i] += dy[i] * unit;
        dbias[i] += dy[i];
        along += dunit * unit;
        total += dunit;
    }
    along /= (float)H;
    total /= (float)H;
#pragma omp simd
    for (int64_t i = 0; i < H; i++) {
        const float unit = (sum[i] - mean) * rstd;
        dsum[i] = (dy[i] * weight[i] - total - unit * along) * rstd;
    }
}

void wb_add_norm_backward(float *dsum, wb_numbers dx, float *dweight, float *dbias, float *partial,
                          const float *dy, wb_numbers sum, const float *mean, const float *rstd,
                          const wb_norm *norm, const wb_chunk *chunk, const wb_dropout *dropout,
                          int64_t H) {
    /* Rows are summed in a fixed number of blocks, whatever the number of threads. */
    const int64_t T = wb_packed_tokens(&chunk->packed);
    memset(partial, 0, (size_t)(2 * WB_ROW_BLOCKS * H) * sizeof(float));
#pragma omp parallel for schedule(static)
    for (int64_t block = 0; block < WB_ROW_BLOCKS; block++) {
        float *block_dweight = partial + 2 * block * H;
        float *block_dbias = block_dweight + H;
        for (int64_t t = block * T / WB_ROW_BLOCKS; t < (block + 1) * T / WB_ROW_BLOCKS; t++) {
            float room[WB_WIDEST_ROW];
            norm_row_backward(dsum + t * H, block_dweight, block_dbias, dy + t * H,
                              wb_numbers_read(room, sum, t * H, H), mean[t], rstd[t], norm->weight,
                              H);
            if (dx.fp32 || dx.bf16) {
                float *out = wb_numbers_place(room, dx, t * H);
                memcpy(out, dsum + t * H, (size_t)H * sizeof(float));
                mask_row(out, chunk, dropout, t, H);
                wb_numbers_write(dx, t * H, out, H);
            }
        }
    }
    for (int64_t block = 0; block < WB_ROW_BLOCKS; block++) {
        const float *from = partial + 2 * block * H;
#pragma omp simd
        for (int64_t i = 0; i < H; i++) {
            dweight[i] += from[i];
            dbias[i] += from[H + i];
        }
    }
}
