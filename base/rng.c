/* Philox by name, and a vectorised fill.
 *
 * wb_rng_fill works on groups of 16 blocks (64 words). Within a group, words 0..15 are word 0 of
 * the 16 blocks, words 16..31 their word 1, and so on: that is the order in which a 16-lane
 * machine produces them, and on any other machine the order is the same.
 */
#include "rng.h"

#include "lanes.h"

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
static void fill_group(uint32_t *restrict words, const wb_rng_key *key, uint32_t first_block) {
    enum { PARTS = LANES / WB_WIDE_LANES };
    wb_wide_lanes c0[PARTS], c1[PARTS], c2[PARTS], c3[PARTS];
    const wb_wide_lanes none = {0}, m0 = none + PHILOX_M4x32_0, m1 = none + PHILOX_M4x32_1;
    for (int part = 0; part < PARTS; part++) {
        for (uint32_t lane = 0; lane < WB_WIDE_LANES; lane++) {
            c0[part][lane] = (uint32_t)(first_block + (uint32_t)part * WB_WIDE_LANES + lane);
        }
        c1[part] = none + key->site;
        c2[part] = none + key->example;
        c3[part] = none + key->step;
    }
    philox4x32_key_t k = seed_key(*key);
    for (int round = 0; round < philox4x32_rounds; round++) {
        for (int part = 0; part < PARTS; part++) {
            const wb_wide_lanes p0 = wb_wide_product(c0[part], m0);
            const wb_wide_lanes p1 = wb_wide_product(c2[part], m1);
            c0[part] = p1 >> 32 ^ c1[part] ^ (uint64_t)k.v[0];
            c2[part] = p0 >> 32 ^ c3[part] ^ (uint64_t)k.v[1];
            c1[part] = p1;
            c3[part] = p0;
        }
        k.v[0] += PHILOX_W32_0;
        k.v[1] += PHILOX_W32_1;
    }
    for (int part = 0; part < PARTS; part++) {
        for (int lane = 0; lane < WB_WIDE_LANES; lane++) {
            uint32_t *const to = words + part * WB_WIDE_LANES + lane;
            to[0] = (uint32_t)c0[part][lane];
            to[LANES] = (uint32_t)c1[part][lane];
            to[2 * LANES] = (uint32_t)c2[part][lane];
            to[3 * LANES] = (uint32_t)c3[part][lane];
        }
    }
}

void wb_rng_fill(uint32_t *words, int64_t count, const wb_rng_key *key, uint32_t first_block) {
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
