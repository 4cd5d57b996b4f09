/* exp and the normal distribution for loops that the compiler vectorises: no calls, no tables, no
 * branches. Polynomials are least-maximum fits made for this file
 * (tests/reference/make_vector_math.py). And a dot product, which is such a loop.
 */
#ifndef WB_VECTOR_MATH_H
#define WB_VECTOR_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* Local. e^x within 2 ulp; 0 below -87.3, e^88 above 88; NaN stays NaN. */
static inline float wb_exp(float x) {
    const float clamped = x < -87.33f ? -87.33f : (x > 88.0f ? 88.0f : x);
    const float n = rintf(clamped * 0x1.715476p+0f);
    const float r = fmaf(n, -0x1.7f7d1cp-20f, fmaf(n, -0x1.62e400p-1f, clamped));
    float p = 0.00139506f;
    p = fmaf(p, r, 0.008368954f);
    p = fmaf(p, r, 0.041666206f);
    p = fmaf(p, r, 0.16666518f);
    p = fmaf(p, r, 0.5f);
    p = fmaf(p * r, r, r) + 1.0f;
    const uint32_t bits = (uint32_t)((int32_t)n + 127) << 23;
    float scale;
    memcpy(&scale, &bits, sizeof(scale));
    return x < -87.33f ? 0.0f : p * scale;
}

/* Local. The standard normal distribution P(X <= x), absolute error below 2.5e-7, and its density.
 */
static inline float wb_normal(float x, float *density) {
    const float z = fabsf(x) * 0x1.6a09e6p-1f;
    const float e = wb_exp(-z * z);
    const float t = 1.0f / fmaf(0.33f, z, 1.0f);
    float p = -0.13259232f;
    p = fmaf(p, t, 0.44781932f);
    p = fmaf(p, t, -0.32785046f);
    p = fmaf(p, t, 0.38500047f);
    p = fmaf(p, t, 0.060932294f);
    p = fmaf(p, t, 0.19661273f);
    p = fmaf(p, t, 0.1837804f);
    p = fmaf(p, t, 0.18629755f);
    const float tail = 0.5f * e * (p * t);
    *density = 0.3989422804f * e;
    return x < 0.0f ? tail : 1.0f - tail;
}

/* Local. a b, in fp32. */
static inline float wb_dot(const float *a, const float *b, int64_t n) {
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

#endif
