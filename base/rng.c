/* Philox by name, and a vectorised fill.
 *
 * wb_rng_fill works on groups of 16 blocks (64 words). Within a group, words 0..15 are word 0 of
 * the 16 blocks, words 16..31 their word 1, and so on: that is the order in which a 16-lane
 * machine produces them, and on any other machine the order is the same.
 */
#include "rng.h"

#include <Random123/philox.h>
#include <math.h>

enum { LANES = 16, GROUP = 4 * LANES };

static philox4x32_key_t seed_key(wb_rng_key key) {
    const philox4x32_key_t k = {{(uint32_t)key.seed, (uint32_t)(key.seed >> 32)}};
    return k;
}

void wb_rng_block(uint32_t words[4], wb_rng_key key, uint32_t block) {
    const philox4x32_ctr_t counter = {{block, key.site, key.example, key.step}};
    const philox4x32_ctr_t drawn = philox4x32(counter, seed_key(key));
    for (int i = 0; i < 4; i++) {
        words[i] = drawn.v[i];
    }
}

/* One group, all rounds in lanes. A word stands in the low half of 64 bits: what a product leaves
 * in the high half is never looked at, and nothing is moved between lanes. The constants are
 * Random123's own. */
static void fill_group(uint32_t *restrict words, wb_rng_key key, uint32_t first_block) {
    uint64_t c0[LANES], c1[LANES], c2[LANES], c3[LANES];
    for (uint32_t lane = 0; lane < LANES; lane++) {
        c0[lane] = (uint32_t)(first_block + lane);
        c1[lane] = key.site;
        c2[lane] = key.example;
        c3[lane] = key.step;
    }
    philox4x32_key_t k = seed_key(key);
    for (int round = 0; round < philox4x32_rounds; round++) {
#pragma omp simd
        for (int lane = 0; lane < LANES; lane++) {
            const uint64_t p0 = (uint64_t)PHILOX_M4x32_0 * (uint32_t)c0[lane];
            const uint64_t p1 = (uint64_t)PHILOX_M4x32_1 * (uint32_t)c2[lane];
            const uint64_t n0 = p1 >> 32 ^ c1[lane] ^ k.v[0];
            const uint64_t n2 = p0 >> 32 ^ c3[lane] ^ k.v[1];
            c0[lane] = n0;
            c1[lane] = p1;
            c2[lane] = n2;
            c3[lane] = p0;
        }
        k.v[0] += PHILOX_W32_0;
        k.v[1] += PHILOX_W32_1;
    }
    for (int lane = 0; lane < LANES; lane++) {
        words[lane] = (uint32_t)c0[lane];
        words[LANES + lane] = (uint32_t)c1[lane];
        words[2 * LANES + lane] = (uint32_t)c2[lane];
        words[3 * LANES + lane] = (uint32_t)c3[lane];
    }
}

void wb_rng_fill(uint32_t *words, int64_t count, wb_rng_key key, uint32_t first_block) {
    int64_t at = 0;
    for (; at + GROUP <= count; at += GROUP, first_block += LANES) {
        fill_group(words + at, key, first_block);
    }
    if (at < count) {
        uint32_t last[GROUP];
        fill_group(last, key, first_block);
        for (int64_t i = at; i < count; i++) {
            words[i] = last[i - at];
        }
    }
}

float wb_rng_uniform(wb_rng_key key, uint32_t block) {
    uint32_t words[4];
    wb_rng_block(words, key, block);
    return (float)(words[0] >> 8) * 0x1p-24f;
}

uint64_t wb_rng_below(uint64_t bound, wb_rng_key key, uint32_t block) {
    uint32_t words[4];
    wb_rng_block(words, key, block);
    const uint64_t drawn = (uint64_t)words[1] << 32 | words[0];
    return (uint64_t)(((unsigned __int128)drawn * bound) >> 64);
}

float wb_rng_normal(wb_rng_key key, uint32_t block) {
    uint32_t words[4];
    wb_rng_block(words, key, block);
    const double u = ((double)words[0] + 1.0) * 0x1p-32;
    const double angle = 6.283185307179586 * ((double)words[1] * 0x1p-32);
    return (float)(sqrt(-2.0 * log(u)) * cos(angle));
}
