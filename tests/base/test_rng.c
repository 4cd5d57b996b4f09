/* The counter-based generator: a function of its names, in any order and any number of calls. */
#include "rng.h"
#include "testing.h"

static wb_rng_key key_of(uint64_t seed, uint32_t step, uint32_t example, uint32_t place) {
    return (wb_rng_key){
        .seed = seed, .step = step, .example = example, .site = wb_rng_site(WB_RNG_TEST, place)};
}

/* Random123's own known answers for philox4x32-10: counters and keys all zeros and all ones. */
static void blocks_equal_the_published_answers(void **state) {
    (void)state;
    uint32_t words[4];
    wb_rng_block(words, (wb_rng_key){0}, 0);
    assert_int_equal(words[0], 0x6627e8d5);
    assert_int_equal(words[1], 0xe169c58d);
    assert_int_equal(words[2], 0xbc57ac4c);
    assert_int_equal(words[3], 0x9b00dbd8);
    const wb_rng_key ones = {
        .seed = UINT64_MAX, .step = UINT32_MAX, .example = UINT32_MAX, .site = UINT32_MAX};
    wb_rng_block(words, ones, UINT32_MAX);
    assert_int_equal(words[0], 0x408f276d);
    assert_int_equal(words[1], 0x41c83b0e);
    assert_int_equal(words[2], 0xa20bc7c6);
    assert_int_equal(words[3], 0x6d5451fd);
}

static void filling_equals_the_blocks_in_lane_order_for_any_count(void **state) {
    (void)state;
    enum { MOST = 300 };
    uint32_t words[MOST], block[4];
    for (int64_t count = 1; count <= MOST; count += 7) {
        const wb_rng_key key = key_of(test_seed(), 3, (uint32_t)count, 5);
        memset(words, 0, sizeof(words));
        wb_rng_fill(words, count, &key, 9);
        for (int64_t i = 0; i < count; i++) {
            const uint32_t group = (uint32_t)(i / 64), lane = (uint32_t)(i % 16);
            wb_rng_block(block, key, 9 + group * 16 + lane);
            assert_int_equal(words[i], block[i % 64 / 16]);
        }
        for (int64_t i = count; i < MOST; i++) {
            assert_int_equal(words[i], 0);
        }
    }
}

static void every_part_of_the_name_matters(void **state) {
    (void)state;
    const uint64_t seed = test_seed();
    const wb_rng_key keys[] = {
        key_of(seed, 1, 2, 3),
        key_of(seed + 1, 1, 2, 3),
        key_of(seed ^ ((uint64_t)1 << 40), 1, 2, 3),
        key_of(seed, 2, 2, 3),
        key_of(seed, 1, 3, 3),
        key_of(seed, 1, 2, 4),
        {.seed = seed, .step = 1, .example = 2, .site = wb_rng_site(WB_RNG_DROPOUT, 3)}};
    enum { KEYS = sizeof(keys) / sizeof(keys[0]) };
    for (int i = 0; i < KEYS; i++) {
        for (int j = 0; j < i; j++) {
            assert_true(wb_rng_below(UINT64_MAX, keys[i], 0) !=
                        wb_rng_below(UINT64_MAX, keys[j], 0));
        }
    }
}

static void numbers_have_their_distribution(void **state) {
    (void)state;
    enum { DRAWS = 40000 };
    const wb_rng_key key = key_of(test_seed(), 0, 0, 0);
    double mean = 0.0, square = 0.0, uniform = 0.0;
    int64_t below[5] = {0};
    for (uint32_t i = 0; i < DRAWS; i++) {
        const double x = (double)wb_rng_normal(key, i);
        mean += x / DRAWS;
        square += x * x / DRAWS;
        const float u = wb_rng_uniform(key, i);
        assert_true(u >= 0.0f && u < 1.0f);
        uniform += (double)u / DRAWS;
        below[wb_rng_below(5, key, i)]++;
    }
    /* six standard errors */
    assert_true(fabs(mean) < 6.0 / sqrt(DRAWS));
    assert_true(fabs(square - 1.0) < 6.0 * sqrt(2.0 / DRAWS));
    assert_true(fabs(uniform - 0.5) < 6.0 * sqrt(1.0 / 12.0 / DRAWS));
    for (int i = 0; i < 5; i++) {
        assert_true(fabs((double)below[i] - DRAWS / 5.0) < 6.0 * sqrt(DRAWS * 0.16));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_equal_the_published_answers),
        cmocka_unit_test(filling_equals_the_blocks_in_lane_order_for_any_count),
        cmocka_unit_test(every_part_of_the_name_matters),
        cmocka_unit_test(numbers_have_their_distribution),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
