/* safetensors: what is read is what was written, and each rule of the format is enforced. */
#include "io_checks.h"

#include "rng.h"
#include "safetensors.h"

#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>

static char folder[WB_PATH];
static char path[WB_PATH];

static int make_scratch(void **state) {
    (void)state;
    scratch_folder(folder, "safetensors", "files");
    assert_ok(wb_path_join(path, folder, "model.safetensors"));
    return 0;
}

/* A file whose length field says `length`, with this header and `data` zero bytes behind it. */
static void put_file(uint64_t length, const void *header, size_t header_bytes, size_t data) {
    char *bytes = calloc(1, 8 + header_bytes + data);
    assert_non_null(bytes);
    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, header, header_bytes);
    put_bytes(path, bytes, 8 + header_bytes + data);
    free(bytes);
}

static void put_header(const char *header, size_t data) {
    put_file(strlen(header), header, strlen(header), data);
}

static wb_status open_and_close(void) {
    wb_safetensors *file = NULL;
    const wb_status status = wb_safetensors_open(&file, path);
    wb_safetensors_close(file);
    return status;
}

#define assert_header_refused(header, data, part)                                                  \
    do {                                                                                           \
        put_header((header), (data));                                                              \
        assert_refused(open_and_close(), WB_ERR_INPUT, (part));                                    \
    } while (0)

#define assert_header_accepted(header, data)                                                       \
    do {                                                                                           \
        put_header((header), (data));                                                              \
        assert_ok(open_and_close());                                                               \
    } while (0)

static void file_under_eight_bytes_is_rejected(void **state) {
    (void)state;
    put_bytes(path, "\0\0\0\0\0\0\0", 7);
    assert_refused(open_and_close(), WB_ERR_INPUT, "too few");
    put_bytes(path, "", 0);
    assert_refused(open_and_close(), WB_ERR_INPUT, "too few");
}

static void files_of_other_kinds_are_named(void **state) {
    (void)state;
    static const char pointer[] = "version https://git-lfs.github.com/spec/v1\noid sha256:0\n";
    put_bytes(path, pointer, strlen(pointer));
    assert_refused(open_and_close(), WB_ERR_INPUT, "git lfs pull");
    put_bytes(path, "PK\x03\x04\xff\xff\xff\xff", 8);
    assert_refused(open_and_close(), WB_ERR_INPUT, "is a zip archive");
}

static void header_over_hundred_megabytes_is_rejected(void **state) {
    (void)state;
    put_file(100000001, "{}", 2, 0);
    assert_int_equal(truncate(path, 100000100), 0);
    assert_refused(open_and_close(), WB_ERR_INPUT, "claims 100000001 bytes");
}

static void header_longer_than_file_is_rejected(void **state) {
    (void)state;
    put_file(3, "{}", 2, 0);
    assert_refused(open_and_close(), WB_ERR_INPUT, "claims 3 bytes; the file has 2");
}

static void header_length_that_overflows_is_rejected(void **state) {
    (void)state;
    put_file(UINT64_MAX, "{}", 2, 0);
    assert_refused(open_and_close(), WB_ERR_INPUT, "claims 18446744073709551615 bytes");
    put_file(UINT64_MAX - 7, "{}", 2, 0);
    assert_refused(open_and_close(), WB_ERR_INPUT, "claims 18446744073709551608 bytes");
    put_file(0, "{}", 2, 0);
    assert_refused(open_and_close(), WB_ERR_INPUT, "claims 0 bytes");
}

static void invalid_utf8_is_rejected(void **state) {
    (void)state;
    assert_header_refused("{\"\xff\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
                          "not valid JSON");
    assert_header_refused("{\"\xc0\x80\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
                          4, "not valid JSON");
}

static void invalid_json_is_rejected(void **state) {
    (void)state;
    assert_header_refused("{\"a\":}", 0, "not valid JSON");
    assert_header_refused("{}{}", 0, "not valid JSON");
    const char nul[] = "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\n\"data_offsets\":[0,4\0]}}";
    put_file(sizeof(nul) - 1, nul, sizeof(nul) - 1, 4);
    assert_refused(open_and_close(), WB_ERR_INPUT, ":2: not valid JSON: a NUL byte");
    assert_header_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1,],\"data_offsets\":[0,4]}}", 4,
                          "not valid JSON");
}

/* The header and the tensor are two of the depth. */
static void what_is_ignored_may_not_be_nested_deeply(void **state) {
    (void)state;
    char header[400];
    for (int depth = 125; depth <= 126; depth++) {
        char open[127] = {0}, closed[127] = {0};
        memset(open, '[', (size_t)depth);
        memset(closed, ']', (size_t)depth);
        (void)snprintf(
            header, sizeof(header),
            "{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0],\"x\":%s%s}}", open,
            closed);
        if (depth == 125) {
            assert_header_accepted(header, 0);
        } else {
            assert_header_refused(header, 0, "nested deeper than 127 at byte");
        }
    }
}

static void header_that_is_not_an_object_is_rejected(void **state) {
    (void)state;
    assert_header_refused("[{}]", 0, "begins with byte 0x5b");
    assert_header_refused(" {}", 0, "begins with byte 0x20");
    assert_header_refused("\xef\xbb\xbf{}", 0, "begins with byte 0xef");
}

static void padding_other_than_blanks_is_rejected(void **state) {
    (void)state;
    assert_header_refused("{}\n", 0, "ends with byte 0x0a");
    assert_header_refused("{}  \t", 0, "ends with byte 0x09");
    put_file(4, "{}\0\0", 4, 0);
    assert_refused(open_and_close(), WB_ERR_INPUT, "ends with byte 0x00");
    assert_header_accepted("{}      ", 0);
}

static void duplicate_keys_are_rejected(void **state) {
    (void)state;
    assert_header_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
                          "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
                          8, "duplicate");
    assert_header_refused(
        "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
        "duplicate");
    /* the same key, once written with an escape */
    assert_header_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
                          "\"\\u0061\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
                          8, "duplicate");
}

static void metadata_other_than_strings_is_rejected(void **state) {
    (void)state;
    assert_header_refused("{\"__metadata__\":{\"a\":1}}", 0, "\"a\" must be a string");
    assert_header_refused("{\"__metadata__\":{\"a\":null}}", 0, "\"a\" must be a string");
    assert_header_refused("{\"__metadata__\":[\"a\"]}", 0, "an object of strings");
    assert_header_accepted("{\"__metadata__\":{\"a\":\"1\"}}", 0);
}

static void unknown_dtype_is_rejected(void **state) {
    (void)state;
    assert_header_refused("{\"a\":{\"dtype\":\"F128\",\"shape\":[1],\"data_offsets\":[0,16]}}", 16,
                          "unknown dtype \"F128\"");
    assert_header_refused("{\"a\":{\"dtype\":32,\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
                          "must be a string");
    assert_header_refused("{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "is missing");
}

static void shape_product_that_overflows_is_rejected(void **state) {
    (void)state;
    assert_header_refused(
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0,
        "product of the shape");
    assert_header_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[9223372036854775807,2],"
                          "\"data_offsets\":[0,0]}}",
                          0, "product of the shape");
}

static void byte_size_that_overflows_is_rejected(void **state) {
    (void)state;
    assert_header_refused(
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}", 0,
        "leave 63 bits");
}

static void sub_byte_tensor_that_ends_inside_a_byte_is_rejected(void **state) {
    (void)state;
    assert_header_refused("{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,2]}}", 2,
                          "do not end on a byte");
    assert_header_refused("{\"a\":{\"dtype\":\"F6_E2M3\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2,
                          "do not end on a byte");
    assert_header_accepted("{\"a\":{\"dtype\":\"F4\",\"shape\":[4],\"data_offsets\":[0,2]}}", 2);
}

static void range_that_ends_before_it_begins_is_rejected(void **state) {
    (void)state;
    assert_header_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4,
                          "after their end");
}

static void offsets_that_are_no_64_bit_counts_are_rejected(void **state) {
    (void)state;
    assert_header_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 4,
                          "\"data_offsets\"[0] must be a whole number");
    assert_header_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4.0]}}", 4,
                          "\"data_offsets\"[1] must be a whole number");
    assert_header_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4,
                          "\"shape\"[0] must be a whole number");
    assert_header_refused(
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,18446744073709551620]}}", 4,
        "too big integer");
    assert_header_refused(
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,9223372036854775808]}}", 4,
        "too big integer");
    assert_header_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4,
                          "\"data_offsets\" has 3 elements");
    assert_header_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4,
                          "\"data_offsets\" has 1 elements");
    assert_header_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":1,\"data_offsets\":[0,4]}}", 4,
                          "\"shape\" must be an array");
    assert_header_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-0,4]}}", 4,
                          "-0 at byte 56; it must be a whole number");
    assert_header_accepted("{\"a-0\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4);
    assert_header_accepted("{\"\\\"-0\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
                           4);
}

static void ranges_that_overlap_or_leave_holes_are_rejected(void **state) {
    (void)state;
    assert_header_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                          "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
                          12, "overlapping the end 8");
    assert_header_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                          "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
                          8, "overlapping the end 8");
    assert_header_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
                          "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]}}",
                          12, "leaving a hole after the end 4");
    assert_header_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8,
                          "leaving a hole after the end 0");
    /* the order of the header is free */
    assert_header_accepted("{\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]},"
                           "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
                           8);
}

static void range_that_does_not_fit_shape_and_dtype_is_rejected(void **state) {
    (void)state;
    assert_header_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4,
                          "span 4 bytes; shape and dtype need 8");
    assert_header_refused("{\"a\":{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[0,4]}}", 4,
                          "span 4 bytes; shape and dtype need 2");
}

static void trailing_data_is_rejected(void **state) {
    (void)state;
    const char *header = "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";
    assert_header_refused(header, 5, "the tensors take 4 bytes, the file holds 5");
    assert_header_refused(header, 3, "incomplete download");
    assert_header_refused("{}", 1, "the tensors take 0 bytes, the file holds 1");
    assert_header_accepted(header, 4);
}

static void empty_tensors_may_share_an_offset(void **state) {
    (void)state;
    put_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[0,3],\"data_offsets\":[0,0]},"
               "\"b\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]},"
               "\"c\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},"
               "\"d\":{\"dtype\":\"F16\",\"shape\":[0],\"data_offsets\":[4,4]}}",
               4);
    wb_safetensors *file = NULL;
    assert_ok(wb_safetensors_open(&file, path));
    assert_int_equal(wb_safetensors_count(file), 4);
    float value = 1;
    assert_int_equal(wb_safetensors_find(file, "a")->count, 0);
    assert_ok(wb_safetensors_read(file, wb_safetensors_find(file, "d"), &value));
    assert_int_equal(wb_safetensors_find(file, "c")->count, 1);
    assert_ok(wb_safetensors_read(file, wb_safetensors_find(file, "c"), &value));
    assert_float_equal(value, 0.0f, 0.0f);
    wb_safetensors_close(file);
}

static char *many_tensors(int64_t count) {
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    assert_non_null(out);
    (void)fputc('{', out);
    for (int64_t i = 0; i < count; i++) {
        (void)fprintf(out, "%s\"%lld\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}",
                      i > 0 ? "," : "", (long long)i);
    }
    (void)fputc('}', out);
    assert_int_equal(fclose(out), 0);
    return text;
}

/* A header whose one member is a list of count + 1 numbers. */
static void put_commas(size_t count) {
    const char head[] = "{\"a\":[";
    const char tail[] = "1]}";
    const size_t bytes = strlen(head) + 2 * count + strlen(tail);
    char *text = malloc(bytes + 1);
    assert_non_null(text);
    memcpy(text, head, strlen(head));
    for (size_t i = 0; i < count; i++) {
        memcpy(text + strlen(head) + 2 * i, "1,", 2);
    }
    memcpy(text + strlen(head) + 2 * count, tail, sizeof(tail));
    put_file(bytes, text, bytes, 0);
    free(text);
}

static void more_tensors_or_dimensions_than_allowed_are_rejected(void **state) {
    (void)state;
    char *text = many_tensors(100001);
    assert_header_refused(text, 0, "100001 tensors");
    free(text);
    put_commas((1 << 20) - 2);
    assert_refused(open_and_close(), WB_ERR_INPUT, "tensor a: must be an object");
    put_commas((1 << 20) - 1);
    assert_refused(open_and_close(), WB_ERR_INPUT, ":1: more than 1048576 values");
    assert_header_refused(
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1,
        "\"shape\" has 9 elements");
    assert_header_accepted(
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1);
}

static void file_that_changes_while_open_is_an_error_and_no_crash(void **state) {
    (void)state;
    const char *header = "{\"a\":{\"dtype\":\"F32\",\"shape\":[4096],\"data_offsets\":[0,16384]}}";
    float values[4096];
    wb_safetensors *file = NULL;
    put_header(header, 16384);
    assert_ok(wb_safetensors_open(&file, path));
    assert_int_equal(truncate(path, 4096), 0);
    assert_refused(wb_safetensors_read(file, wb_safetensors_at(file, 0), values), WB_ERR_INPUT,
                   "the file ends before");
    wb_safetensors_close(file);

    put_header(header, 16384);
    assert_ok(wb_safetensors_open(&file, path));
    struct stat opened;
    assert_int_equal(stat(path, &opened), 0);
    const struct timespec then = opened.st_mtim;
    const struct timespec changes[] = {
        {.tv_sec = 1, .tv_nsec = then.tv_nsec},
        {.tv_sec = then.tv_sec, .tv_nsec = then.tv_nsec > 0 ? 0 : 1}};
    for (size_t i = 0; i < 2; i++) {
        const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, changes[i]};
        assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
        assert_refused(wb_safetensors_read(file, wb_safetensors_at(file, 0), values), WB_ERR_INPUT,
                       "changed while it was being read");
    }
    const struct timespec same[2] = {{.tv_nsec = UTIME_OMIT}, then};
    assert_int_equal(truncate(path, opened.st_size + 1), 0);
    assert_int_equal(utimensat(AT_FDCWD, path, same, 0), 0);
    assert_refused(wb_safetensors_read(file, wb_safetensors_at(file, 0), values), WB_ERR_INPUT,
                   "changed while it was being read");
    wb_safetensors_close(file);
}

static void non_finite_weights_are_rejected(void **state) {
    (void)state;
    const char *header = "{\"w\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]}}";
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        put_header(header, 12);
        FILE *out = fopen(path, "r+b");
        assert_non_null(out);
        assert_int_equal(fseek(out, -8, SEEK_END), 0);
        assert_int_equal(fwrite(&bad[i], sizeof(float), 1, out), 1);
        assert_int_equal(fclose(out), 0);
        float values[3];
        wb_safetensors *file = NULL;
        assert_ok(wb_safetensors_open(&file, path));
        assert_refused(wb_safetensors_read(file, wb_safetensors_at(file, 0), values), WB_ERR_INPUT,
                       "tensor w: 1 of 3 values are not finite");
        wb_safetensors_close(file);
    }
}

/* Doubles that leave float, and what halves have beyond their largest number. */
static void other_numbers_that_are_no_finite_float_are_rejected(void **state) {
    (void)state;
    static const struct {
        const char *dtype;
        size_t bytes;
        uint64_t bits;
    } cases[] = {
        {"F64", 8, 0x7e37e43c8800759c}, /* 1e300 */
        {"F16", 2, 0x7c00},             /* infinity */
        {"F16", 2, 0x7e01},             /* not a number */
        {"BF16", 2, 0xff80},            /* minus infinity */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char bytes[8 + 64 + 8];
        const uint64_t length = (uint64_t)snprintf(
            bytes + 8, 64, "{\"w\":{\"dtype\":\"%s\",\"shape\":[1],\"data_offsets\":[0,%zu]}}",
            cases[i].dtype, cases[i].bytes);
        memcpy(bytes, &length, 8);
        memcpy(bytes + 8 + length, &cases[i].bits, cases[i].bytes);
        put_bytes(path, bytes, 8 + length + cases[i].bytes);
        float value;
        wb_safetensors *file = NULL;
        assert_ok(wb_safetensors_open(&file, path));
        assert_refused(wb_safetensors_read(file, wb_safetensors_at(file, 0), &value), WB_ERR_INPUT,
                       "not finite");
        wb_safetensors_close(file);
    }
}

static void what_is_no_file_is_rejected(void **state) {
    (void)state;
    wb_safetensors *file = NULL;
    assert_refused(wb_safetensors_open(&file, folder), WB_ERR_INPUT, "is not a regular file");
    assert_null(file);
}

static void integer_weights_are_rejected(void **state) {
    (void)state;
    put_header("{\"w\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8);
    float value;
    wb_safetensors *file = NULL;
    assert_ok(wb_safetensors_open(&file, path));
    assert_refused(wb_safetensors_read(file, wb_safetensors_at(file, 0), &value), WB_ERR_INPUT,
                   "has dtype I64");
    wb_safetensors_close(file);
}

/* The fixture holds the same numbers in four dtypes and, as F32, what PyTorch widens them to. */
static void half_precision_reads_as_pytorch_reads_it(void **state) {
    (void)state;
    wb_safetensors *file = NULL;
    assert_ok(wb_safetensors_open(&file, WB_TEST_DATA "/safetensors/dtypes.safetensors"));
    const char *names[] = {"f16", "bf16", "f64"};
    for (size_t n = 0; n < 3; n++) {
        char expected_name[32];
        (void)snprintf(expected_name, sizeof(expected_name), "%s.as_f32", names[n]);
        const wb_safetensors_entry *entry = wb_safetensors_find(file, names[n]);
        const wb_safetensors_entry *reference = wb_safetensors_find(file, expected_name);
        assert_non_null(entry);
        assert_non_null(reference);
        assert_int_equal(entry->count, reference->count);
        float *found = calloc((size_t)entry->count, sizeof(float));
        float *expected = calloc((size_t)entry->count, sizeof(float));
        assert_ok(wb_safetensors_read(file, entry, found));
        assert_ok(wb_safetensors_read(file, reference, expected));
        for (int64_t i = 0; i < entry->count; i++) {
            if (memcmp(&found[i], &expected[i], sizeof(float)) != 0) {
                fail_msg("%s[%lld] = %a, PyTorch has %a", names[n], (long long)i, (double)found[i],
                         (double)expected[i]);
            }
        }
        free(found);
        free(expected);
    }
    wb_safetensors_close(file);
}

static void fill(float *values, int64_t count, uint32_t site) {
    for (int64_t i = 0; i < count; i++) {
        const wb_rng_key key = {.seed = 7, .site = wb_rng_site(WB_RNG_TEST, site)};
        values[i] = wb_rng_normal(key, (uint32_t)i);
    }
}

static void written_tensors_read_back_bit_equal(void **state) {
    (void)state;
    wb_tensor_table table = {0};
    wb_tensor_table more = {0};
    assert_ok(wb_tensor_add(&table, true, 37, 11, "encoder.weight"));
    assert_ok(wb_tensor_add(&table, false, 11, 0, "encoder.bias"));
    assert_ok(wb_tensor_add(&more, false, 3, 0, "pooler.bias"));
    float values[37 * 11 + 11];
    float more_values[3];
    fill(values, table.total, 1);
    fill(more_values, more.total, 2);
    const wb_safetensors_part parts[] = {{&table, values}, {&more, more_values}};
    assert_ok(wb_safetensors_write_parts(path, parts, 2, "bert."));

    wb_safetensors *file = NULL;
    assert_ok(wb_safetensors_open(&file, path));
    assert_int_equal(wb_safetensors_count(file), 3);
    float found[37 * 11];
    const wb_safetensors_entry *entry = wb_safetensors_find(file, "bert.encoder.weight");
    assert_non_null(entry);
    assert_int_equal(entry->rank, 2);
    assert_int_equal(entry->shape[0], 37);
    assert_int_equal(entry->shape[1], 11);
    assert_ok(wb_safetensors_read(file, entry, found));
    assert_memory_equal(found, values, sizeof(found));
    entry = wb_safetensors_find(file, "bert.encoder.bias");
    assert_int_equal(entry->rank, 1);
    assert_ok(wb_safetensors_read(file, entry, found));
    assert_memory_equal(found, values + 37 * 11, 11 * sizeof(float));
    assert_ok(wb_safetensors_read(file, wb_safetensors_find(file, "bert.pooler.bias"), found));
    assert_memory_equal(found, more_values, sizeof(more_values));
    assert_null(wb_safetensors_find(file, "encoder.bias"));
    wb_safetensors_close(file);

    char *bytes = get_bytes(path, NULL);
    assert_non_null(strstr(bytes + 8, "{\"__metadata__\":{\"format\":\"pt\"}"));
    assert_int_equal(bytes[0] % 8, 0);
    free(bytes);
    wb_tensor_table_clear(&table);
    wb_tensor_table_clear(&more);
}

static void failed_write_leaves_the_old_file(void **state) {
    (void)state;
    wb_tensor_table table = {0};
    assert_ok(wb_tensor_add(&table, true, 2, 0, "a"));
    const float values[2] = {1, 2};
    assert_ok(wb_safetensors_write(path, &table, values, NULL));
    size_t before_bytes = 0;
    size_t after_bytes = 0;
    char *before = get_bytes(path, &before_bytes);
    char blocked[WB_PATH];
    assert_ok(wb_path_join(blocked, folder, "model.safetensors.tmp"));
    assert_ok(wb_folder_make(blocked));
    const float other[2] = {3, 4};
    assert_refused(wb_safetensors_write(path, &table, other, NULL), WB_ERR_DISK, "cannot create");
    char *after = get_bytes(path, &after_bytes);
    assert_int_equal(before_bytes, after_bytes);
    assert_memory_equal(before, after, before_bytes);
    assert_ok(wb_folder_remove(blocked));
    free(before);
    free(after);
    wb_tensor_table_clear(&table);
}

/* Any change of one byte is refused, or yields finite values of the right number: never a crash. */
static void every_damaged_byte_of_a_header_is_survived(void **state) {
    (void)state;
    wb_tensor_table table = {0};
    assert_ok(wb_tensor_add(&table, true, 2, 3, "weight"));
    assert_ok(wb_tensor_add(&table, true, 2, 0, "bias"));
    const float values[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    assert_ok(wb_safetensors_write(path, &table, values, NULL));
    size_t bytes = 0;
    char *good = get_bytes(path, &bytes);
    for (size_t i = 0; i < bytes - sizeof(values); i++) {
        const char kept = good[i];
        good[i] = (char)(kept ^ (1 << (i % 8)));
        put_bytes(path, good, bytes);
        (void)open_and_close();
        wb_error_clear();
        good[i] = kept;
    }
    free(good);
    wb_tensor_table_clear(&table);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(file_under_eight_bytes_is_rejected),
        cmocka_unit_test(files_of_other_kinds_are_named),
        cmocka_unit_test(header_over_hundred_megabytes_is_rejected),
        cmocka_unit_test(header_longer_than_file_is_rejected),
        cmocka_unit_test(header_length_that_overflows_is_rejected),
        cmocka_unit_test(invalid_utf8_is_rejected),
        cmocka_unit_test(invalid_json_is_rejected),
        cmocka_unit_test(what_is_ignored_may_not_be_nested_deeply),
        cmocka_unit_test(header_that_is_not_an_object_is_rejected),
        cmocka_unit_test(padding_other_than_blanks_is_rejected),
        cmocka_unit_test(duplicate_keys_are_rejected),
        cmocka_unit_test(metadata_other_than_strings_is_rejected),
        cmocka_unit_test(unknown_dtype_is_rejected),
        cmocka_unit_test(shape_product_that_overflows_is_rejected),
        cmocka_unit_test(byte_size_that_overflows_is_rejected),
        cmocka_unit_test(sub_byte_tensor_that_ends_inside_a_byte_is_rejected),
        cmocka_unit_test(range_that_ends_before_it_begins_is_rejected),
        cmocka_unit_test(offsets_that_are_no_64_bit_counts_are_rejected),
        cmocka_unit_test(ranges_that_overlap_or_leave_holes_are_rejected),
        cmocka_unit_test(range_that_does_not_fit_shape_and_dtype_is_rejected),
        cmocka_unit_test(trailing_data_is_rejected),
        cmocka_unit_test(empty_tensors_may_share_an_offset),
        cmocka_unit_test(more_tensors_or_dimensions_than_allowed_are_rejected),
        cmocka_unit_test(file_that_changes_while_open_is_an_error_and_no_crash),
        cmocka_unit_test(non_finite_weights_are_rejected),
        cmocka_unit_test(other_numbers_that_are_no_finite_float_are_rejected),
        cmocka_unit_test(what_is_no_file_is_rejected),
        cmocka_unit_test(integer_weights_are_rejected),
        cmocka_unit_test(half_precision_reads_as_pytorch_reads_it),
        cmocka_unit_test(written_tensors_read_back_bit_equal),
        cmocka_unit_test(failed_write_leaves_the_old_file),
        cmocka_unit_test(every_damaged_byte_of_a_header_is_survived),
    };
    return cmocka_run_group_tests_name("safetensors", tests, make_scratch, NULL);
}
