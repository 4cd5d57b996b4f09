/* What all test programs share: cmocka, comparisons that print both values, fixtures, seeds. */
#ifndef WB_TESTING_H
#define WB_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "status.h"

/* The call must succeed; otherwise its message is printed. */
#define expect_ok(call)                                                                            \
    do {                                                                                           \
        wb_error_clear();                                                                          \
        if ((call) != WB_OK) {                                                                     \
            fail_msg("%s: %s", #call, wb_error_message());                                         \
        }                                                                                          \
    } while (0)

/* The call must fail with `code`, and its message contain `part`. */
#define expect_error(call, code, part)                                                             \
    do {                                                                                           \
        wb_error_clear();                                                                          \
        const wb_status expected_status = (call);                                                  \
        if (expected_status != (code)) {                                                           \
            fail_msg("%s: status %d, wanted %d: %s", #call, (int)expected_status, (int)(code),     \
                     wb_error_message());                                                          \
        }                                                                                          \
        if (!strstr(wb_error_message(), (part))) {                                                 \
            fail_msg("%s: message \"%s\" lacks \"%s\"", #call, wb_error_message(), (part));        \
        }                                                                                          \
        wb_error_clear();                                                                          \
    } while (0)

/* |got - wanted| <= tolerance, element by element. */
static inline void expect_close(const float *got, const float *wanted, int64_t count,
                                double tolerance, const char *what) {
    for (int64_t i = 0; i < count; i++) {
        if (!(fabs((double)got[i] - (double)wanted[i]) <= tolerance)) {
            fail_msg("%s[%lld]: got %.9g, wanted %.9g, tolerance %g", what, (long long)i,
                     (double)got[i], (double)wanted[i], tolerance);
        }
    }
}

/* |got - wanted| / |wanted| in the Euclidean norm. */
static inline double relative_error(const float *got, const float *wanted, int64_t count) {
    double difference = 0.0, size = 0.0;
    for (int64_t i = 0; i < count; i++) {
        const double d = (double)got[i] - (double)wanted[i];
        difference += d * d;
        size += (double)wanted[i] * (double)wanted[i];
    }
    return sqrt(difference) / (sqrt(size) + 1e-300);
}

static inline void expect_relative(const float *got, const float *wanted, int64_t count,
                                   double tolerance, const char *what) {
    const double error = relative_error(got, wanted, count);
    if (!(error <= tolerance)) {
        fail_msg("%s: relative error %.3g, tolerance %g", what, error, tolerance);
    }
}

/* How much longer than usual a limit of time must be. */
static inline double test_slowness(void) {
#ifdef WB_MEMCHECK
    return 50.0;
#else
    return 1.0;
#endif
}

/* WB_TEST_SEED, or the clock; printed, so that a failure can be repeated. */
static inline uint64_t test_seed(void) {
    static uint64_t seed;
    if (seed == 0) {
        const char *const given = getenv("WB_TEST_SEED");
        seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
        (void)printf("# seed: WB_TEST_SEED=%llu\n", (unsigned long long)seed);
        (void)fflush(stdout);
    }
    return seed;
}

/* An array of a text fixture: a line "name count", then a line of numbers. Owned by the caller. */
static inline float *fixture_array(const char *file, const char *name, int64_t *count) {
    char path[1024], word[128];
    (void)snprintf(path, sizeof(path), "%s/%s", WB_TEST_DATA, file);
    FILE *in = fopen(path, "r");
    if (!in) {
        fail_msg("%s: no such fixture", path);
    }
    long long n;
    while (fscanf(in, "%127s %lld", word, &n) == 2) {
        float *values = malloc((size_t)(n > 0 ? n : 1) * sizeof(*values));
        for (long long i = 0; i < n; i++) {
            if (fscanf(in, "%f", &values[i]) != 1) {
                fail_msg("%s: %s ends early", path, word);
            }
        }
        if (strcmp(word, name) == 0) {
            (void)fclose(in);
            if (count) {
                *count = n;
            }
            return values;
        }
        free(values);
    }
    (void)fclose(in);
    fail_msg("%s: no array called %s", path, name);
    return NULL;
}

#endif
