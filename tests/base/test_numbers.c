/* bf16: every value of it, and how other floats become one. */
#include "arena.h"
#include "numbers.h"
#include "rng.h"
#include "testing.h"

static void every_bf16_survives_being_widened(void **state) {
    (void)state;
    enum { ALL = 1 << 16 };
    uint16_t *from = malloc(ALL * sizeof(*from)), *back = malloc(ALL * sizeof(*back));
    float *wide = malloc(ALL * sizeof(*wide));
    for (int i = 0; i < ALL; i++) {
        from[i] = (uint16_t)i;
    }
    wb_widen(wide, from, ALL);
    wb_narrow(back, wide, ALL);
    for (int i = 0; i < ALL; i++) {
        if (isnan(wide[i])) {
            assert_int_equal(back[i], i | 0x40); /* a quiet one */
        } else {
            assert_int_equal(back[i], i);
        }
    }
    assert_true(wide[0x3f80] == 1.0f && wide[0xc000] == -2.0f && isinf(wide[0x7f80]));
    free(from);
    free(back);
    free(wide);
}

static void floats_become_the_nearest_bf16_and_halves_the_even_one(void **state) {
    (void)state;
    const float cases[] = {1.0f,          0x1.01p0f,  0x1.03p0f,   0x1.010002p0f,
                           0x1.00fffep0f, -0x1.01p0f, 0x1.ffp127f, 0x1.fffffep-127f};
    const float wanted[] = {1.0f, 1.0f, 0x1.04p0f, 0x1.02p0f, 1.0f, -1.0f, INFINITY, 0x1.0p-126f};
    enum { CASES = sizeof(cases) / sizeof(cases[0]), DRAWN = 1000 };
    uint16_t narrow[DRAWN];
    float wide[DRAWN], drawn[DRAWN];
    wb_narrow(narrow, cases, CASES);
    wb_widen(wide, narrow, CASES);
    for (int i = 0; i < CASES; i++) {
        assert_true(wide[i] == wanted[i]);
    }
    const wb_rng_key key = {.seed = test_seed(), .site = wb_rng_site(WB_RNG_TEST, 7)};
    for (int i = 0; i < DRAWN; i++) {
        drawn[i] = wb_rng_normal(key, (uint32_t)i);
    }
    wb_narrow(narrow, drawn, DRAWN);
    wb_widen(wide, narrow, DRAWN);
    for (int i = 0; i < DRAWN; i++) {
        assert_true(fabsf(wide[i] - drawn[i]) <= 0x1p-8f * fabsf(wide[i])); /* half a place */
    }
}

static void numbers_are_read_in_place_or_in_a_room(void **state) {
    (void)state;
    wb_arena *arena;
    wb_numbers x, y;
    float room[4], some[4] = {1.0f, 2.0f, -3.0f, 0.5f};
    expect_ok(wb_arena_create(&arena, "test", 1024));
    expect_ok(wb_arena_numbers(arena, 8, WB_FP32, &x));
    expect_ok(wb_arena_numbers(arena, 8, WB_BF16, &y));
    assert_int_equal(wb_number_bytes(WB_FP32, 8), 32);
    assert_int_equal(wb_number_bytes(WB_BF16, 8), 16);
    assert_ptr_equal(wb_numbers_place(room, x, 4), x.fp32 + 4);
    assert_ptr_equal(wb_numbers_place(room, y, 4), room);
    memcpy(x.fp32 + 4, some, sizeof(some));
    wb_numbers_write(x, 4, x.fp32 + 4, 4);
    wb_numbers_write(y, 4, some, 4);
    assert_ptr_equal(wb_numbers_read(room, x, 4, 4), x.fp32 + 4);
    memset(room, 0, sizeof(room));
    assert_memory_equal(wb_numbers_read(room, y, 4, 4), some, sizeof(some));
    wb_arena_destroy(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bf16_survives_being_widened),
        cmocka_unit_test(floats_become_the_nearest_bf16_and_halves_the_even_one),
        cmocka_unit_test(numbers_are_read_in_place_or_in_a_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
