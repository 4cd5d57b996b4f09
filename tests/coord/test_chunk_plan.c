/* Chunks and budgets: what the plan says against what a step then takes from an arena. */
#include "chunk_plan.h"
#include "memory.h"
#include "rng.h"
#include "testing.h"

enum { SLOTS = 3, MOST = 40 };

static const wb_encoder_spec specs[] = {{.kind = WB_ENCODER_BERT,
                                         .vocabulary = 20,
                                         .hidden = 8,
                                         .layers = 2,
                                         .heads = 2,
                                         .intermediate = 12,
                                         .positions = 30,
                                         .token_types = 1,
                                         .layer_norm_eps = 1e-12},
                                        {.kind = WB_ENCODER_STATIC, .vocabulary = 20, .hidden = 8}};

/* The runs of sequences that a rank encodes one after the other. */
typedef struct share {
    wb_encoder *encoder;
    int64_t H;
    float *params, *grads, reps[MOST * 8];
    int32_t ids[SLOTS][MOST * 30];
    int64_t offsets[SLOTS][MOST + 1];
    uint32_t examples[MOST];
    wb_packed packed[SLOTS];
    const wb_packed *pointers[SLOTS];
    wb_chunk_plan plans[SLOTS];
    wb_arena *arena; /* of plans */
} share;

static uint64_t draw(uint64_t bound, uint32_t what, int64_t i) {
    const wb_rng_key key = {
        .seed = test_seed(), .example = what, .site = wb_rng_site(WB_RNG_TEST, 0)};
    return wb_rng_below(bound, key, (uint32_t)i);
}

static share *make(const wb_encoder_spec *spec, uint32_t variant) {
    share *s = calloc(1, sizeof(*s));
    expect_ok(wb_encoder_create(&s->encoder, spec));
    expect_ok(wb_arena_create(&s->arena, "plans", 1 << 20));
    const int64_t total = wb_encoder_table(s->encoder)->total;
    s->H = spec->hidden;
    s->params = calloc((size_t)total, sizeof(float));
    s->grads = calloc((size_t)total, sizeof(float));
    wb_encoder_init(s->encoder, s->params, 1);
    for (int p = 0; p < SLOTS; p++) {
        /* the middle one may be empty: a slot without rows */
        const int64_t n = p == 1 && variant % 2 == 0 ? 0 : 1 + (int64_t)draw(MOST, variant, p);
        for (int64_t i = 0; i < n; i++) {
            const int64_t length = 1 + (int64_t)draw(30, variant, 100 * (p + 1) + i);
            s->offsets[p][i + 1] = s->offsets[p][i] + length;
        }
        s->packed[p] = (wb_packed){.ids = s->ids[p], .offsets = s->offsets[p], .n = n};
        s->pointers[p] = &s->packed[p];
    }
    return s;
}

static void destroy(share *s) {
    wb_encoder_destroy(s->encoder);
    wb_arena_destroy(s->arena);
    free(s->params);
    free(s->grads);
    free(s);
}

static void cut_all(share *s, int64_t chunk_tokens) {
    for (int p = 0; p < SLOTS; p++) {
        expect_ok(wb_chunk_plan_cut(&s->plans[p], s->pointers[p], chunk_tokens, s->arena));
    }
}

static void chunks_cover_all_sequences_in_order_and_are_as_long_as_allowed(void **state) {
    (void)state;
    static const int64_t limits[] = {1, 29, 30, 31, 100, 1 << 20};
    for (uint32_t variant = 0; variant < 6; variant++) {
        share *s = make(&specs[1], variant);
        for (size_t l = 0; l < sizeof(limits) / sizeof(limits[0]); l++) {
            cut_all(s, limits[l]);
            for (int p = 0; p < SLOTS; p++) {
                const wb_chunk_plan *plan = &s->plans[p];
                const int64_t *offsets = s->offsets[p], *firsts = plan->firsts;
                assert_int_equal(firsts[0], 0);
                assert_int_equal(firsts[plan->chunks], s->packed[p].n);
                assert_int_equal(plan->kept, 0);
                for (int64_t c = 0; c < plan->chunks; c++) {
                    const int64_t n = firsts[c + 1] - firsts[c];
                    assert_true(n >= 1);
                    assert_true(n == 1 || offsets[firsts[c + 1]] - offsets[firsts[c]] <= limits[l]);
                    /* the next sequence would have been too much */
                    assert_true(c + 1 == plan->chunks ||
                                offsets[firsts[c + 1] + 1] - offsets[firsts[c]] > limits[l]);
                }
            }
        }
        destroy(s);
    }
}

static wb_packed chunk_of(const share *s, int p, int64_t c) {
    const int64_t *firsts = s->plans[p].firsts;
    return wb_packed_slice(s->pointers[p], firsts[c], firsts[c + 1] - firsts[c]);
}

/* Encodes and goes back as a step does, in an arena of `budget`; the bytes it took at most. */
static size_t step(share *s, size_t budget) {
    const wb_pass pass = {.active = true};
    wb_tape *tapes[SLOTS][MOST], *tape;
    wb_arena *arena;
    expect_ok(wb_arena_create(&arena, "chunk", budget));
    for (int p = 0; p < SLOTS; p++) {
        for (int64_t c = 0; c < s->plans[p].chunks; c++) {
            const wb_packed part = chunk_of(s, p, c);
            expect_ok(wb_encoder_forward(s->encoder, s->reps,
                                         c < s->plans[p].kept ? &tapes[p][c] : NULL, s->params,
                                         &part, s->examples, &pass, arena));
        }
    }
    for (int p = 0; p < SLOTS; p++) {
        for (int64_t c = 0; c < s->plans[p].chunks; c++) {
            const wb_packed part = chunk_of(s, p, c);
            const size_t mark = wb_arena_mark(arena);
            tape = c < s->plans[p].kept ? tapes[p][c] : NULL;
            if (!tape) {
                expect_ok(wb_encoder_forward(s->encoder, s->reps, &tape, s->params, &part,
                                             s->examples, &pass, arena));
            }
            expect_ok(wb_encoder_backward(s->encoder, s->grads, NULL, s->params, tape, s->reps,
                                          NULL, arena));
            wb_arena_release(arena, mark);
        }
    }
    const size_t peak = wb_arena_peak(arena);
    wb_arena_destroy(arena);
    return peak;
}

/* Chunks kept, and tokens of those. */
static int64_t kept_of(const share *s) {
    int64_t kept = 0;
    bool gap = false;
    for (int p = 0; p < SLOTS; p++) {
        const wb_chunk_plan *plan = &s->plans[p];
        assert_true(!gap || plan->kept == 0); /* the first ones */
        assert_int_equal(plan->kept_tokens, s->offsets[p][plan->firsts[plan->kept]]);
        gap = gap || plan->kept < plan->chunks;
        kept += plan->kept;
    }
    return kept;
}

/* The least budget that is not refused. */
static size_t least_budget(share *s) {
    size_t low = 0, high = (size_t)1 << 30;
    wb_chunk_memory memory;
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        const wb_status status =
            wb_chunk_plan_keep(s->plans, s->pointers, SLOTS, s->encoder, middle, &memory);
        *(status == WB_OK ? &high : &low) = middle;
        wb_error_clear();
    }
    return high;
}

static void a_step_stays_within_what_was_planned_and_that_within_the_budget(void **state) {
    (void)state;
    for (int k = 0; k < 2; k++) {
        for (uint32_t variant = 0; variant < 4; variant++) {
            share *s = make(&specs[k], variant);
            cut_all(s, 20 + 25 * variant);
            const size_t least = least_budget(s);
            int64_t chunks = 0, before = 0;
            for (int p = 0; p < SLOTS; p++) {
                chunks += s->plans[p].chunks;
            }
            for (size_t budget = least;; budget += least / 4 + draw(least, 7, (int64_t)budget)) {
                wb_chunk_memory memory = {0};
                expect_ok(
                    wb_chunk_plan_keep(s->plans, s->pointers, SLOTS, s->encoder, budget, &memory));
                const int64_t kept = kept_of(s);
                const size_t taken = step(s, budget);
                if (taken > memory.needed || memory.needed > budget || kept < before) {
                    fail_msg("budget %zu: planned %zu, took %zu; kept %lld, with less %lld", budget,
                             memory.needed, taken, (long long)kept, (long long)before);
                }
                before = kept;
                if (kept == chunks) {
                    break;
                }
            }
            destroy(s);
        }
    }
}

static void a_budget_below_one_chunk_says_what_is_needed(void **state) {
    (void)state;
    share *s = make(&specs[0], 1);
    wb_chunk_memory memory;
    char needed[64];
    cut_all(s, 64);
    const size_t least = least_budget(s);
    (void)snprintf(needed, sizeof(needed), "one chunk needs %.1f KiB", (double)least / 1024.0);
    expect_error(wb_chunk_plan_keep(s->plans, s->pointers, SLOTS, s->encoder, least - 1, &memory),
                 WB_ERR_MEMORY, needed);
    expect_error(wb_chunk_plan_keep(s->plans, s->pointers, SLOTS, s->encoder, 0, &memory),
                 WB_ERR_MEMORY, "memory.budget");
    destroy(s);
}

static void a_rank_without_sequences_needs_nothing(void **state) {
    (void)state;
    share *s = make(&specs[0], 1);
    for (int p = 0; p < SLOTS; p++) {
        s->packed[p].n = 0;
    }
    wb_chunk_memory memory = {.needed = 1};
    cut_all(s, 64);
    expect_ok(wb_chunk_plan_keep(s->plans, s->pointers, SLOTS, s->encoder, 0, &memory));
    assert_int_equal(memory.needed, 0);
    assert_int_equal(step(s, 64), 0);
    destroy(s);
}

static void the_usual_budget_is_shared_by_the_ranks_of_a_host(void **state) {
    (void)state;
    const size_t least = (size_t)64 << 20;
    const size_t alone = wb_memory_budget(1, 0);
    assert_true(alone > least); /* a machine that builds this has 128 MiB free */
    assert_true(wb_memory_budget(1 << 30, 0) == least);
    assert_true(wb_memory_budget(1, SIZE_MAX / 2) == least);
    /* memory comes and goes between calls: a tenth of it */
    const double half = (double)wb_memory_budget(2, 0);
    assert_true(fabs(half - (double)alone / 2.0) < (double)alone / 10.0);
}

static void slurm_limits_the_usual_budget(void **state) {
    (void)state;
    const size_t mib = (size_t)1 << 20;
    assert_int_equal(setenv("SLURM_MEM_PER_CPU", "100", 1), 0);
    assert_int_equal(setenv("SLURM_CPUS_ON_NODE", "3", 1), 0);
    assert_int_equal(wb_memory_budget(1, 0), 150 * mib);
    assert_int_equal(setenv("SLURM_MEM_PER_NODE", "260", 1), 0);
    assert_int_equal(wb_memory_budget(1, 20 * mib), 110 * mib);
    assert_int_equal(setenv("SLURM_MEM_PER_NODE", "0", 1), 0); /* all of the node */
    assert_int_equal(wb_memory_budget(1, 0), 150 * mib);
    assert_int_equal(unsetenv("SLURM_MEM_PER_CPU"), 0);
    assert_true(wb_memory_budget(1, 0) > 150 * mib);
    assert_int_equal(unsetenv("SLURM_MEM_PER_NODE"), 0);
    assert_int_equal(unsetenv("SLURM_CPUS_ON_NODE"), 0);
}

static void the_peak_is_no_less_than_what_is_resident(void **state) {
    (void)state;
    const size_t bytes = (size_t)64 << 20, before = wb_memory_now();
    volatile char *const block = malloc(bytes);
    for (size_t i = 0; i < bytes; i += 1024) {
        block[i] = 1;
    }
    const size_t with = wb_memory_now();
    assert_true(with > before + bytes / 2);
    free((void *)(uintptr_t)block);
    /* the kernel keeps both numbers apart and brings them up to date in batches */
    assert_true(wb_memory_peak() + bytes / 8 >= with);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_cover_all_sequences_in_order_and_are_as_long_as_allowed),
        cmocka_unit_test(a_step_stays_within_what_was_planned_and_that_within_the_budget),
        cmocka_unit_test(a_budget_below_one_chunk_says_what_is_needed),
        cmocka_unit_test(a_rank_without_sequences_needs_nothing),
        cmocka_unit_test(slurm_limits_the_usual_budget),
        cmocka_unit_test(the_peak_is_no_less_than_what_is_resident),
        cmocka_unit_test(the_usual_budget_is_shared_by_the_ranks_of_a_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
