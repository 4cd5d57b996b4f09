/* Random numbers as a function, not as a state.
 *
 * Philox4x32-10 turns a key and a counter into four random words. Whoever needs a number names
 * what it is for: (seed, step or epoch, example, site, position). So there is no generator state
 * to save, a second encoding draws what the first drew, and nothing depends on how many ranks
 * share the work. Source: Salmon et al. 2011 (Random123), of which this file is the only user.
 */
#ifndef WB_RNG_H
#define WB_RNG_H

#include <stdint.h>

/* Purposes that must never share numbers: the high byte of a site. */
typedef enum wb_rng_purpose {
    WB_RNG_SHUFFLE = 1, /* order of an epoch */
    WB_RNG_INIT,        /* first values of parameters */
    WB_RNG_DROPOUT,     /* masks inside the encoder */
    WB_RNG_VERIFY,      /* directions of verify */
    WB_RNG_TEST,        /* tests only */
    WB_RNG_AUDIT,       /* slots that are computed again */
} wb_rng_purpose;

typedef struct wb_rng_key {
    uint64_t seed;    /* run.seed */
    uint32_t step;    /* optimizer step, or epoch */
    uint32_t example; /* row of the global batch, or another index */
    uint32_t site;    /* purpose << 24 | place */
} wb_rng_key;

static inline uint32_t wb_rng_site(wb_rng_purpose purpose, uint32_t place) {
    return (uint32_t)purpose << 24 | place;
}

/* Local. Fills words[4] with the random words of block `block` under `key`. */
void wb_rng_block(uint32_t words[4], wb_rng_key key, uint32_t block);

/* Local. Fills words[count] (any count) with blocks first_block, first_block + 1, …: vectorised.
 * Lane order: word i of the result is word i/16 of 64-word groups; see rng.c. The value of word i
 * depends on (key, first_block, i) only, not on count. */
void wb_rng_fill(uint32_t *words, int64_t count, const wb_rng_key *key, uint32_t first_block);

/* Local. Uniform in [0, 1) with 24 bits; in (0, bound) as an integer (bound > 0, bias < 2^-32). */
float wb_rng_uniform(wb_rng_key key, uint32_t block);
uint64_t wb_rng_below(uint64_t bound, wb_rng_key key, uint32_t block);

/* Local. A standard normal number (Box-Muller, double arithmetic). */
float wb_rng_normal(wb_rng_key key, uint32_t block);

#endif
