/* state.h5: its chunks are those that HDF5 itself would make, byte for byte, and its values come
 * back through HDF5's own reading, which checks their sums. */
#include "io_checks.h"

#include "checkpoint_state.h"
#include "hdf5_setup.h"
#include "rng.h"

#include "testing.h"

#include <time.h>

#define PATH  WB_TEST_SCRATCH "/state.h5"
#define OTHER WB_TEST_SCRATCH "/state-by-hdf5.h5"

/* Of one value, of fewer words than are added at once, of a chunk that is not full, of rows that
 * are chunks by themselves, of one dimension. */
static const int64_t shapes[][2] = {{1, 1},     {3, 5},      {1, 15},     {16, 0},    {7, 1000},
                                    {521, 512}, {1030, 513}, {2, 300001}, {70001, 9}, {300001, 0}};

enum { SHAPES = sizeof(shapes) / sizeof(shapes[0]), CHUNK = 4 << 20 };

typedef void (*filling)(float *values, int64_t count);

static void zeros(float *values, int64_t count) {
    memset(values, 0, (size_t)count * sizeof(*values));
}

/* Words of 65535, which is nothing to these sums, and yet not 0. */
static void ones(float *values, int64_t count) {
    memset(values, 0xff, (size_t)count * sizeof(*values));
}

static void anything(float *values, int64_t count) {
    const wb_rng_key key = {.seed = 11};
    for (int64_t i = 0; i < count; i++) {
        const uint32_t word = (uint32_t)wb_rng_below(UINT32_MAX, key, (uint32_t)i);
        memcpy(&values[i], &word, sizeof(word));
    }
}

static void one_bit_at_the_end(float *values, int64_t count) {
    zeros(values, count);
    values[count - 1] = 1.4e-45f;
}

static void write_by_hdf5(hid_t file, const wb_tensor *tensor, hid_t create, const float *values) {
    const hsize_t extents[] = {(hsize_t)tensor->shape[0], (hsize_t)tensor->shape[1]};
    hid_t space = H5Screate_simple(tensor->rank, extents, NULL);
    hid_t set =
        H5Dcreate2(file, tensor->name, H5T_IEEE_F32LE, space, H5P_DEFAULT, create, H5P_DEFAULT);
    assert_true(H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    assert_true(H5Dclose(set) >= 0 && H5Sclose(space) >= 0);
}

static size_t chunk_at(hid_t set, int64_t row, unsigned char *bytes) {
    const hsize_t at[] = {(hsize_t)row, 0};
    hsize_t size = 0;
    uint32_t filters = 1;
    assert_true(H5Dget_chunk_storage_size(set, at, &size) >= 0);
    assert_in_range(size, 1, CHUNK);
    assert_true(H5Dread_chunk(set, H5P_DEFAULT, at, &filters, bytes) >= 0);
    assert_int_equal(filters, 0);
    return size;
}

static void same_chunks(hid_t ours, hid_t theirs, const wb_tensor *tensor) {
    unsigned char *a = malloc(CHUNK), *b = malloc(CHUNK);
    hsize_t chunk[2] = {1, 1};
    hid_t list = H5Dget_create_plist(ours);
    assert_int_equal(H5Pget_chunk(list, tensor->rank, chunk), tensor->rank);
    for (int64_t row = 0; row < tensor->shape[0]; row += (int64_t)chunk[0]) {
        const size_t bytes = chunk_at(ours, row, a);
        assert_int_equal(bytes, chunk[0] * chunk[1] * sizeof(float) + sizeof(uint32_t));
        assert_int_equal(bytes, chunk_at(theirs, row, b));
        if (memcmp(a, b, bytes) != 0) {
            fail_msg("%lld x %lld: the chunk at row %lld differs", (long long)tensor->shape[0],
                     (long long)tensor->shape[1], (long long)row);
        }
    }
    assert_true(H5Pclose(list) >= 0);
    free(a);
    free(b);
}

/* Makes the same of each dataset by HDF5 and compares them. */
static void compare(const wb_tensor_table *table, const float *values) {
    hid_t file = H5Fopen(PATH, H5F_ACC_RDONLY, H5P_DEFAULT);
    hid_t other = H5Fcreate(OTHER, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t group = H5Gopen2(file, "parameters", H5P_DEFAULT);
    for (int64_t i = 0; i < table->length; i++) {
        const wb_tensor *tensor = &table->tensors[i];
        hid_t ours = H5Dopen2(group, tensor->name, H5P_DEFAULT);
        hid_t create = H5Dget_create_plist(ours);
        write_by_hdf5(other, tensor, create, values + tensor->offset);
        hid_t theirs = H5Dopen2(other, tensor->name, H5P_DEFAULT);
        same_chunks(ours, theirs, tensor);
        assert_true(H5Dclose(theirs) >= 0 && H5Pclose(create) >= 0 && H5Dclose(ours) >= 0);
    }
    assert_true(H5Gclose(group) >= 0 && H5Fclose(other) >= 0 && H5Fclose(file) >= 0);
}

static void come_back(const wb_tensor_table *table, const float *values) {
    int64_t holders[SHAPES];
    wb_checkpoint state = {.step = 3, .table = table};
    state.values = calloc((size_t)table->total, sizeof(float));
    for (int i = 0; i < SHAPES; i++) {
        holders[i] = 3;
    }
    assert_ok(wb_state_read(&state, holders, 3, PATH));
    for (int64_t i = 0; i < table->length; i++) { /* between tensors nothing is written */
        const wb_tensor *tensor = &table->tensors[i];
        assert_memory_equal(state.values + tensor->offset, values + tensor->offset,
                            (size_t)tensor->count * sizeof(float));
    }
    free(state.values);
}

static void chunks_are_those_that_hdf5_makes(void **unused) {
    (void)unused;
    static const filling fillings[] = {anything, zeros, ones, one_bit_at_the_end};
    wb_tensor_table table = {0};
    wb_state_image image = {0};
    int64_t holders[SHAPES];
    assert_ok(wb_io_init());
    for (int i = 0; i < SHAPES; i++) {
        assert_ok(wb_tensor_add(&table, true, shapes[i][0], shapes[i][1], "tensor.%d", i));
        holders[i] = 3;
    }
    float *values = calloc((size_t)table.total, sizeof(float));
    const wb_checkpoint state = {.step = 3, .table = &table, .values = values};
    for (size_t f = 0; f < sizeof(fillings) / sizeof(fillings[0]); f++) {
        for (int64_t i = 0; i < table.length; i++) {
            fillings[f](values + table.tensors[i].offset, table.tensors[i].count);
        }
        assert_ok(wb_state_build(&image, &state, holders, PATH));
        put_bytes(PATH, image.bytes, image.size);
        compare(&table, values);
        come_back(&table, values);
    }
    wb_state_image_clear(&image);
    wb_tensor_table_clear(&table);
    free(values);
}

/* Smaller files find the memory of larger ones, and nothing of what they held; a second later it is
 * the same file. */
static void the_next_file_is_built_where_the_last_one_was(void **unused) {
    (void)unused;
    wb_tensor_table table = {0};
    wb_state_image image = {0}, alone = {0};
    const int64_t all[] = {3, 3}, second[] = {2, 3};
    assert_ok(wb_io_init());
    assert_ok(wb_tensor_add(&table, true, 700, 300, "first"));
    assert_ok(wb_tensor_add(&table, true, 20, 30, "second"));
    float *values = calloc((size_t)table.total, sizeof(float));
    anything(values, table.total);
    const wb_checkpoint state = {.step = 3, .table = &table, .values = values};
    assert_ok(wb_state_build(&image, &state, all, PATH));
    const void *const where = image.bytes;
    assert_ok(wb_state_build(&image, &state, second, PATH));
    const struct timespec second_later = {1, 0};
    assert_int_equal(nanosleep(&second_later, NULL), 0);
    assert_ok(wb_state_build(&alone, &state, second, PATH));
    assert_ptr_equal(image.bytes, where);
    assert_int_equal(image.size, alone.size);
    assert_memory_equal(image.bytes, alone.bytes, alone.size);
    wb_state_image_clear(&image);
    wb_state_image_clear(&alone);
    wb_tensor_table_clear(&table);
    free(values);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_are_those_that_hdf5_makes),
        cmocka_unit_test(the_next_file_is_built_where_the_last_one_was),
    };
    return cmocka_run_group_tests_name("checkpoint state", tests, NULL, NULL);
}
