/* oneDNN's matrix product behind one call, for bf16. The library keeps the code it made for each
 * shape (its primitive cache); making it takes less than a millisecond, running it many. */
#include "product.h"

#include "lanes.h"
#include "panel_product.h"
#include "units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef WB_ONEDNN
#include <dnnl.h>

/* An operand that oneDNN cannot take is our mistake, and memory for its code is all it may lack. */
static void must(dnnl_status_t got, const char *what) {
    if (got != dnnl_success) {
        (void)fprintf(stderr, "widebatch: oneDNN: %s failed with status %d\n", what, (int)got);
        abort();
    }
}

bool wb_product_has_bf16(void) {
    return (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core_bf16) ==
           dnnl_cpu_isa_avx512_core_bf16;
}

typedef struct device {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    void *scratch; /* of the hungriest product so far: never given back, pages stay warm */
    size_t scratch_bytes;
} device;

static device *cpu(void) {
    static device made;
    if (!made.engine) {
        must(dnnl_engine_create(&made.engine, dnnl_cpu, 0), "an engine");
        must(dnnl_stream_create(&made.stream, made.engine, dnnl_stream_default_flags), "a stream");
    }
    return &made;
}

static dnnl_memory_desc_t describe(wb_numbers x, wb_transpose form, int64_t rows, int64_t columns) {
    dnnl_memory_desc_t described;
    const dnnl_dims_t shape = {rows, columns};
    must(dnnl_memory_desc_init_by_tag(&described, 2, shape, x.bf16 ? dnnl_bf16 : dnnl_f32,
                                      form == WB_TRANSPOSED ? dnnl_ba : dnnl_ab),
         "a shape");
    return described;
}

typedef struct shapes {
    dnnl_memory_desc_t a, b, c, bias, scratch;
} shapes;

/* s->scratch is filled with what the kernel asks for. */
static dnnl_primitive_t make(shapes *s, bool biased, bool add) {
    dnnl_matmul_desc_t product;
    dnnl_primitive_attr_t attributes;
    dnnl_post_ops_t after;
    dnnl_primitive_desc_t chosen;
    dnnl_primitive_t made;
    must(dnnl_matmul_desc_init(&product, &s->a, &s->b, biased ? &s->bias : NULL, &s->c),
         "a product");
    must(dnnl_primitive_attr_create(&attributes), "attributes");
    must(dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user), "scratch");
    if (add) {
        must(dnnl_post_ops_create(&after), "a sum");
        must(dnnl_post_ops_append_sum(after, 1.0f), "a sum");
        must(dnnl_primitive_attr_set_post_ops(attributes, after), "a sum");
        must(dnnl_post_ops_destroy(after), "a sum");
    }
    must(dnnl_primitive_desc_create(&chosen, &product, attributes, cpu()->engine, NULL),
         "choosing a kernel");
    must(dnnl_primitive_create(&made, chosen), "making a kernel");
    s->scratch = *dnnl_primitive_desc_query_md(chosen, dnnl_query_scratchpad_md, 0);
    must(dnnl_primitive_desc_destroy(chosen), "a description");
    must(dnnl_primitive_attr_destroy(attributes), "attributes");
    return made;
}

static dnnl_memory_t borrow(const dnnl_memory_desc_t *shape, const void *data) {
    dnnl_memory_t memory;
    must(dnnl_memory_create(&memory, shape, cpu()->engine, (void *)(uintptr_t)data), "memory");
    return memory;
}

static void *scratch_of(size_t bytes) {
    device *d = cpu();
    if (bytes > d->scratch_bytes) {
        free(d->scratch);
        d->scratch = malloc(bytes);
        d->scratch_bytes = bytes;
        must(d->scratch ? dnnl_success : dnnl_out_of_memory, "scratch");
    }
    return d->scratch;
}

static const void *start_of(wb_numbers x) {
    return x.bf16 ? (const void *)x.bf16 : (const void *)x.fp32;
}

static void run(wb_numbers c, bool add, wb_factor a, wb_factor b, const float *bias, int64_t m,
                int64_t n, int64_t k) {
    shapes s = {.a = describe(a.numbers, a.form, m, k),
                .b = describe(b.numbers, b.form, k, n),
                .c = describe(c, WB_PLAIN, m, n),
                .bias = describe(wb_fp32(bias), WB_PLAIN, 1, n)};
    const dnnl_primitive_t product = make(&s, bias != NULL, add);
    dnnl_exec_arg_t arguments[] = {
        {DNNL_ARG_SRC, borrow(&s.a, start_of(a.numbers))},
        {DNNL_ARG_WEIGHTS, borrow(&s.b, start_of(b.numbers))},
        {DNNL_ARG_DST, borrow(&s.c, start_of(c))},
        {DNNL_ARG_SCRATCHPAD,
         borrow(&s.scratch, scratch_of(dnnl_memory_desc_get_size(&s.scratch)))},
        {DNNL_ARG_BIAS, borrow(&s.bias, bias)}};
    must(dnnl_primitive_execute(product, cpu()->stream, bias ? 5 : 4, arguments), "a product");
    must(dnnl_stream_wait(cpu()->stream), "a product");
    for (int i = 0; i < 5; i++) {
        must(dnnl_memory_destroy(arguments[i].memory), "memory");
    }
    must(dnnl_primitive_destroy(product), "a kernel");
}
#else
bool wb_product_has_bf16(void) {
    return false;
}

static void run(wb_numbers c, bool add, wb_factor a, wb_factor b, const float *bias, int64_t m,
                int64_t n, int64_t k) {
    (void)c, (void)add, (void)a, (void)b, (void)bias, (void)m, (void)n, (void)k;
    WB_ASSERT(false, "a bf16 product of %lld rows in a build without oneDNN", (long long)m);
}
#endif

void wb_product(wb_numbers c, bool add, wb_factor a, wb_factor b, const float *bias, int64_t m,
                int64_t n, int64_t k) {
    if (m == 0 || n == 0 || (k == 0 && add)) {
        return;
    }
    if (a.numbers.bf16) {
        run(c, add, a, b, bias, m, n, k);
    } else {
        wb_panel_product(c.fp32, add, a.numbers.fp32, a.form, b.numbers.fp32, b.form, bias, m, n,
                         k);
    }
}

double wb_product_rate(wb_precision precision, int64_t m, int64_t n, int64_t k, double seconds,
                       float *scratch) {
    float *const a = scratch, *const b = a + m * k, *const c = b + n * k;
    wb_factor left = {wb_fp32(a), WB_PLAIN}, right = {wb_fp32(b), WB_TRANSPOSED};
    for (int64_t i = 0; i < m * k + n * k; i++) {
        scratch[i] = (float)(i % 7) * 0.125f;
    }
    if (precision == WB_BF16) {
        left.numbers = (wb_numbers){.bf16 = (uint16_t *)a};
        right.numbers = (wb_numbers){.bf16 = (uint16_t *)b};
        memset(scratch, 0, wb_float_bytes(m * k + n * k));
    }
    wb_numbers result = precision == WB_BF16 ? (wb_numbers){.bf16 = (uint16_t *)c} : wb_fp32(c);
    wb_product(result, false, left, right, NULL, m, n, k);
    const double began = wb_now();
    double elapsed = 0.0;
    int64_t rounds = 0;
    for (; elapsed < seconds; rounds++, elapsed = wb_now() - began) {
        wb_product(result, false, left, right, NULL, m, n, k);
    }
    return 2.0 * (double)m * (double)n * (double)k * (double)rounds / elapsed;
}

const char *wb_product_library(wb_precision precision) {
    if (precision == WB_FP32) {
        return "own tiles, " WB_BUILT_FOR;
    }
#ifdef WB_ONEDNN
    static char text[64];
    if (wb_product_has_bf16()) {
        const dnnl_version_t *const version = dnnl_version();
        const bool has_tiles = (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core_amx) ==
                               dnnl_cpu_isa_avx512_core_amx;
        (void)snprintf(text, sizeof(text), "oneDNN %d.%d.%d, %s", version->major, version->minor,
                       version->patch, has_tiles ? "AMX" : "AVX-512 BF16");
        return text;
    }
#endif
    return "none, in this build or on this processor";
}
