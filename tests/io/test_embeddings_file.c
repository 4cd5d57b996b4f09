/* Embedding files: rows and ids come back as they went in; other files are refused. */
#include "io_checks.h"

#include "embeddings_chunk.h"
#include "embeddings_file.h"
#include "hdf5_setup.h"
#include "rng.h"

#include <math.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { ROWS = 10000, WIDTH = 24 };

static char folder[WB_PATH];
static char path[WB_PATH];
static const wb_embeddings_facts facts = {
    .model = "models/münchen", .role = "passage", .max_tokens = 128, .normalized = true};

static hssize_t handles[H5I_NTYPES]; /* open in HDF5 before the first test */

static hssize_t open_handles(int type) {
    hsize_t count = 0;
    (void)H5Inmembers((H5I_type_t)type, &count);
    return (hssize_t)count;
}

static int count_handles(void **state) {
    (void)state;
    for (int type = H5I_FILE; type < H5I_NTYPES; type++) {
        handles[type] = open_handles(type);
    }
    return 0;
}

static int no_handle_is_left(void **state) {
    (void)state;
    for (int type = H5I_FILE; type < H5I_NTYPES; type++) {
        if (open_handles(type) != handles[type]) {
            fail_msg("%lld handles of type %d are open, %lld before", (long long)open_handles(type),
                     type, (long long)handles[type]);
        }
    }
    return 0;
}

static int make_scratch(void **state) {
    (void)state;
    assert_ok(wb_io_init());
    scratch_folder(folder, "embeddings_file", "files");
    assert_ok(wb_path_join(path, folder, "passages.h5"));
    return 0;
}

static void id_of(char id[32], int64_t row) {
    (void)snprintf(id, 32, "%s%lld", row % 3 == 0 ? "MARCO_é_" : "d", (long long)row);
}

static float value_of(int64_t row, int64_t column) {
    return (float)(row * 31 + column) * 0.125f;
}

static wb_status append_rows(wb_embeddings_writer *writer, int64_t first, int64_t rows) {
    float *values = calloc((size_t)(rows * WIDTH) + 1, sizeof(float));
    char(*texts)[32] = calloc((size_t)rows + 1, sizeof(*texts));
    const char **ids = calloc((size_t)rows + 1, sizeof(*ids));
    assert_true(values && texts && ids);
    for (int64_t i = 0; i < rows; i++) {
        id_of(texts[i], first + i);
        ids[i] = texts[i];
        for (int64_t j = 0; j < WIDTH; j++) {
            values[i * WIDTH + j] = value_of(first + i, j);
        }
    }
    const wb_status status = wb_embeddings_append(writer, rows, values, ids);
    free(values);
    free(texts);
    free(ids);
    return status;
}

/* A file of `rows` rows, appended in uneven blocks. */
static void put_embeddings(int64_t rows) {
    wb_embeddings_writer *writer = NULL;
    assert_ok(wb_embeddings_create(&writer, path, WIDTH, &facts));
    for (int64_t first = 0, block = 1; first < rows; first += block, block = block * 3 % 1009 + 1) {
        block = block < rows - first ? block : rows - first;
        assert_ok(append_rows(writer, first, block));
    }
    assert_ok(wb_embeddings_commit(writer));
}

static wb_status read_all(void) {
    wb_status status = WB_OK;
    wb_embeddings_reader *reader = NULL;
    wb_embeddings_ids ids = {0};
    float *values = NULL;
    WB_TRY(wb_embeddings_open(&reader, path));
    const int64_t rows = wb_embeddings_rows(reader);
    values = calloc((size_t)(rows * wb_embeddings_width(reader)) + 1, sizeof(float));
    assert_non_null(values);
    WB_TRY(wb_embeddings_read(reader, 0, rows, values));
    WB_TRY(wb_embeddings_read_ids(reader, 0, rows, &ids));
done:
    wb_embeddings_ids_clear(&ids);
    free(values);
    wb_embeddings_close(reader);
    return status;
}

static void rows_and_ids_come_back_in_any_blocks(void **state) {
    (void)state;
    put_embeddings(ROWS);
    wb_embeddings_reader *reader = NULL;
    assert_ok(wb_embeddings_open(&reader, path));
    assert_int_equal(wb_embeddings_rows(reader), ROWS);
    assert_int_equal(wb_embeddings_width(reader), WIDTH);
    const wb_embeddings_facts *found = wb_embeddings_facts_of(reader);
    assert_string_equal(found->model, facts.model);
    assert_string_equal(found->role, facts.role);
    assert_int_equal(found->max_tokens, 128);
    assert_true(found->normalized);
    float *values = calloc((size_t)ROWS * WIDTH, sizeof(float));
    assert_non_null(values);
    for (int64_t first = 0; first < ROWS; first += 777) {
        const int64_t rows = ROWS - first < 777 ? ROWS - first : 777;
        wb_embeddings_ids ids;
        assert_ok(wb_embeddings_read(reader, first, rows, values));
        assert_ok(wb_embeddings_read_ids(reader, first, rows, &ids));
        for (int64_t i = 0; i < rows; i++) {
            char expected[32];
            id_of(expected, first + i);
            assert_string_equal(wb_embeddings_id(&ids, i), expected);
            for (int64_t j = 0; j < WIDTH; j++) {
                assert_true(values[i * WIDTH + j] == value_of(first + i, j));
            }
        }
        wb_embeddings_ids_clear(&ids);
    }
    assert_refused(wb_embeddings_read(reader, ROWS - 1, 2, values), WB_ERR_USAGE, "of 10000");
    assert_refused(wb_embeddings_read(reader, -1, 1, values), WB_ERR_USAGE, "of 10000");
    free(values);
    wb_embeddings_close(reader);
}

static void empty_file_is_legal(void **state) {
    (void)state;
    put_embeddings(0);
    wb_embeddings_reader *reader = NULL;
    assert_ok(wb_embeddings_open(&reader, path));
    assert_int_equal(wb_embeddings_rows(reader), 0);
    wb_embeddings_close(reader);
    assert_ok(read_all());
}

static void nothing_has_the_name_before_the_commit(void **state) {
    (void)state;
    char temporary[WB_PATH];
    wb_embeddings_writer *writer = NULL;
    (void)unlink(path);
    assert_ok(wb_path_join(temporary, folder, "passages.h5.tmp"));
    assert_ok(wb_embeddings_create(&writer, path, WIDTH, &facts));
    assert_ok(append_rows(writer, 0, 100));
    assert_false(wb_path_is_file(path));
    assert_true(wb_path_is_file(temporary));
    wb_embeddings_discard(writer);
    assert_false(wb_path_is_file(path));
    assert_false(wb_path_is_file(temporary));
}

static void bad_ids_are_refused(void **state) {
    (void)state;
    char longest[WB_EMBEDDINGS_ID + 1];
    memset(longest, 'x', sizeof(longest));
    longest[WB_EMBEDDINGS_ID] = '\0';
    const char *bad[] = {"", "a\xff", longest};
    const float values[WIDTH] = {0};
    wb_embeddings_writer *writer = NULL;
    assert_ok(wb_embeddings_create(&writer, path, WIDTH, &facts));
    for (size_t i = 0; i < 3; i++) {
        assert_refused(wb_embeddings_append(writer, 1, values, &bad[i]), WB_ERR_INPUT,
                       "1 to 1023 bytes of UTF-8");
    }
    longest[WB_EMBEDDINGS_ID - 1] = '\0';
    assert_ok(wb_embeddings_append(writer, 1, values, &bad[2]));
    assert_ok(wb_embeddings_commit(writer));
    assert_ok(read_all());
}

static void non_finite_rows_are_rejected(void **state) {
    (void)state;
    const float values[WIDTH] = {[5] = NAN};
    const char *id = "a";
    wb_embeddings_writer *writer = NULL;
    assert_ok(wb_embeddings_create(&writer, path, WIDTH, &facts));
    assert_ok(wb_embeddings_append(writer, 1, values, &id));
    assert_ok(wb_embeddings_commit(writer));
    assert_refused(read_all(), WB_ERR_INPUT, "1 values that are not finite");
}

static void other_files_are_rejected(void **state) {
    (void)state;
    put_text(path, "no HDF5 at all, but long enough to be read as a superblock");
    assert_refused(read_all(), WB_ERR_INPUT, "is no HDF5 file");
    put_text(path, "");
    assert_refused(read_all(), WB_ERR_INPUT, "is no HDF5 file");
    assert_int_equal(unlink(path), 0);
    assert_refused(read_all(), WB_ERR_INPUT, "cannot open");
    const hid_t old = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(old > 0 && H5Fclose(old) >= 0);
    assert_refused(read_all(), WB_ERR_INPUT, "format without checksums");
}

/* A file in the right format made by hand; the `kind` of fault is what is wrong with it. */
typedef enum fault {
    SOUND,
    NO_IDS,
    DOUBLES,
    ONE_DIMENSION,
    GZIP,
    CONTIGUOUS,
    LINKED,
    SPARSE
} fault;

static void put_by_hand(fault kind) {
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110);
    const hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, access);
    const hid_t scalar = H5Screate(H5S_SCALAR);
    const hid_t text = H5Tcopy(H5T_C_S1);
    H5Tset_size(text, 4);
    const int64_t number = 1;
    const char *names[] = {"model", "role", "max_tokens", "normalized"};
    for (int i = 0; i < 4; i++) {
        const hid_t type = i < 2 ? text : H5T_NATIVE_INT64;
        const hid_t attribute = H5Acreate2(file, names[i], type, scalar, H5P_DEFAULT, H5P_DEFAULT);
        H5Awrite(attribute, type, i < 2 ? (const void *)"abc" : &number);
        H5Aclose(attribute);
    }
    const hsize_t extents[] = {kind == SPARSE ? 1000000 : 2, 4};
    const hsize_t chunk[] = {2, 4};
    const float values[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    const int rank = kind == ONE_DIMENSION ? 1 : 2;
    const hid_t space = H5Screate_simple(rank, extents, NULL);
    const hid_t create = H5Pcreate(H5P_DATASET_CREATE);
    if (kind != CONTIGUOUS) {
        H5Pset_chunk(create, rank, chunk);
    }
    if (kind == GZIP) {
        H5Pset_deflate(create, 1);
    }
    if (kind == LINKED) {
        H5Lcreate_external("other.h5", "embeddings", file, "embeddings", H5P_DEFAULT, H5P_DEFAULT);
    } else {
        const hid_t type = kind == DOUBLES ? H5T_IEEE_F64LE : H5T_IEEE_F32LE;
        const hid_t dataset =
            H5Dcreate2(file, "embeddings", type, space, H5P_DEFAULT, create, H5P_DEFAULT);
        if (kind != SPARSE) {
            H5Dwrite(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
        }
        H5Dclose(dataset);
    }
    if (kind != NO_IDS) {
        const hid_t line = H5Screate_simple(1, extents, NULL);
        const hid_t ids_create = H5Pcreate(H5P_DATASET_CREATE);
        H5Pset_chunk(ids_create, 1, chunk);
        const hid_t ids = H5Dcreate2(file, "ids", text, line, H5P_DEFAULT, ids_create, H5P_DEFAULT);
        if (kind != SPARSE) {
            H5Dwrite(ids, text, H5S_ALL, H5S_ALL, H5P_DEFAULT, "d1\0\0d2\0\0");
        }
        H5Dclose(ids);
        H5Pclose(ids_create);
        H5Sclose(line);
    }
    H5Pclose(create);
    H5Sclose(space);
    H5Tclose(text);
    H5Sclose(scalar);
    H5Fclose(file);
    H5Pclose(access);
}

static void other_layouts_are_rejected(void **state) {
    (void)state;
    static const struct {
        fault kind;
        const char *message;
    } cases[] = {
        {NO_IDS, "H5Lget_info failed"},
        {DOUBLES, "must be float32"},
        {ONE_DIMENSION, "must have 2 dimensions"},
        {GZIP, "only the checksum Fletcher32"},
        {CONTIGUOUS, "stored in chunks in this file"},
        {LINKED, "is a link, not a dataset"},
        {SPARSE, "claims 1000000 embeddings"},
    };
    put_by_hand(SOUND);
    assert_ok(read_all());
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        put_by_hand(cases[i].kind);
        assert_refused(read_all(), WB_ERR_INPUT, cases[i].message);
    }
}

/* Flipped bits and cut tails are refused, or do not touch what is read: never a crash, and never
 * another value. */
static void damaged_files_never_yield_other_values(void **state) {
    (void)state;
    size_t bytes = 0;
    const uint64_t seed = 20;
    put_embeddings(50);
    char *good = get_bytes(path, &bytes);
    for (uint32_t i = 0; i < 400; i++) {
        const wb_rng_key key = {.seed = seed, .site = wb_rng_site(WB_RNG_TEST, 0)};
        const uint64_t bit = wb_rng_below(8 * (i % 2 == 0 ? bytes : 2048), key, i);
        good[bit / 8] = (char)(good[bit / 8] ^ (1 << (bit % 8)));
        put_bytes(path, good, bytes);
        wb_embeddings_reader *reader = NULL;
        float values[50 * WIDTH];
        if (wb_embeddings_open(&reader, path) == WB_OK && wb_embeddings_rows(reader) == 50 &&
            wb_embeddings_width(reader) == WIDTH &&
            wb_embeddings_read(reader, 0, 50, values) == WB_OK) {
            for (int64_t j = 0; j < (int64_t)50 * WIDTH; j++) {
                if (values[j] != value_of(j / WIDTH, j % WIDTH)) {
                    fail_msg("seed %llu, flip %u of bit %llu: value %lld is %g",
                             (unsigned long long)seed, i, (unsigned long long)bit, (long long)j,
                             (double)values[j]);
                }
            }
        }
        wb_embeddings_close(reader);
        wb_error_clear();
        good[bit / 8] = (char)(good[bit / 8] ^ (1 << (bit % 8)));
    }
    for (size_t cut = 0; cut < bytes; cut += bytes / 20) {
        put_bytes(path, good, cut);
        assert_refused(read_all(), WB_ERR_INPUT, path);
    }
    free(good);
}

static void flipped_bit_of_a_value_is_rejected(void **state) {
    (void)state;
    size_t bytes = 0;
    float row[WIDTH];
    put_embeddings(50);
    for (int64_t j = 0; j < WIDTH; j++) {
        row[j] = value_of(7, j);
    }
    char *file = get_bytes(path, &bytes);
    char *at = memmem(file, bytes, row, sizeof(row));
    assert_non_null(at);
    at[0] = (char)(at[0] ^ 1);
    put_bytes(path, file, bytes);
    assert_refused(read_all(), WB_ERR_INPUT, "H5Dread failed");
    free(file);
}

enum { CHUNKED = 700 }; /* rows: two whole chunks, and a part */

/* Chunks of 256 rows: the widest vectors of which several fit. */
static void put_wide(void) {
    enum { WIDE = 1024 };
    wb_embeddings_writer *writer = NULL;
    float *row = malloc(WIDE * sizeof(*row));
    assert_non_null(row);
    assert_ok(wb_embeddings_create(&writer, path, WIDE, &facts));
    for (int64_t i = 0; i < CHUNKED; i++) {
        char id[32];
        const char *const ids[] = {id};
        id_of(id, i);
        for (int64_t j = 0; j < WIDE; j++) {
            row[j] = i < 256 ? 0.0f : value_of(i, j);
        }
        assert_ok(wb_embeddings_append(writer, 1, row, ids));
    }
    assert_ok(wb_embeddings_commit(writer));
    free(row);
}

/* Which of the file's whole chunks are read here, as bits; what is read is what HDF5 reads. */
static unsigned chunks_read(void) {
    unsigned good = 0;
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    hid_t dataset = H5Dopen2(file, "embeddings", H5P_DEFAULT);
    const wb_chunks chunks = wb_chunks_of(file, dataset, 1024),
                    none = wb_chunks_of(file, dataset, 9);
    assert_true(chunks.file >= 0);
    assert_int_equal(chunks.rows, 256);
    assert_int_equal(none.file, -1);
    float *mine = calloc(256 * 1024, sizeof(*mine));
    assert_non_null(mine);
    for (int64_t k = 0; k < CHUNKED / 256; k++) {
        if (!wb_chunks_read(&chunks, dataset, 256 * k, 1024, mine)) {
            continue;
        }
        good |= 1u << k;
        for (int64_t i = 0; i < 256 * 1024; i++) {
            assert_true(mine[i] == (k == 0 ? 0.0f : value_of(256 * k + i / 1024, i % 1024)));
        }
    }
    free(mine);
    assert_true(H5Dclose(dataset) >= 0 && H5Fclose(file) >= 0);
    return good;
}

static void whole_chunks_are_read_with_their_checksum(void **state) {
    (void)state;
    size_t bytes = 0;
    float row[1024];
    put_wide();
    assert_int_equal(chunks_read(), 3);
    assert_ok(read_all());
    char *file = get_bytes(path, &bytes);
    for (int64_t j = 0; j < 1024; j++) {
        row[j] = value_of(300, j);
    }
    char *at = memmem(file, bytes, row, sizeof(row));
    assert_non_null(at);
    for (size_t i = 0; i < 3; i++) {
        at[i] = (char)(at[i] ^ 16);
        put_bytes(path, file, bytes);
        assert_int_equal(chunks_read(), 1);
        assert_refused(read_all(), WB_ERR_INPUT, "H5Dread failed");
        at[i] = (char)(at[i] ^ 16);
    }
    free(file);
}

static void full_disk_is_an_error_and_leaves_nothing(void **state) {
    (void)state;
    (void)unlink(path);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const struct rlimit limit = {.rlim_cur = 200000, .rlim_max = 200000};
        wb_embeddings_writer *writer = NULL;
        wb_status status = setrlimit(RLIMIT_FSIZE, &limit) == 0
                               ? wb_embeddings_create(&writer, path, WIDTH, &facts)
                               : WB_ERR_INTERNAL;
        for (int64_t i = 0; i < 20 && status == WB_OK; i++) {
            status = append_rows(writer, i * 1000, 1000);
        }
        if (status == WB_OK) {
            status = wb_embeddings_commit(writer);
        } else {
            wb_embeddings_discard(writer);
        }
        _exit(wb_status_exit_code(status));
    }
    int result = 0;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result));
    assert_int_equal(WEXITSTATUS(result), wb_status_exit_code(WB_ERR_DISK));
    assert_false(wb_path_is_file(path));
    char temporary[WB_PATH];
    assert_ok(wb_path_join(temporary, folder, "passages.h5.tmp"));
    assert_false(wb_path_is_file(temporary));
}

#define HANDLES_KEPT(test) cmocka_unit_test_setup_teardown(test, count_handles, no_handle_is_left)

int main(void) {
    const struct CMUnitTest tests[] = {
        HANDLES_KEPT(rows_and_ids_come_back_in_any_blocks),
        HANDLES_KEPT(empty_file_is_legal),
        HANDLES_KEPT(nothing_has_the_name_before_the_commit),
        HANDLES_KEPT(bad_ids_are_refused),
        HANDLES_KEPT(non_finite_rows_are_rejected),
        HANDLES_KEPT(other_files_are_rejected),
        HANDLES_KEPT(other_layouts_are_rejected),
        HANDLES_KEPT(damaged_files_never_yield_other_values),
        HANDLES_KEPT(flipped_bit_of_a_value_is_rejected),
        HANDLES_KEPT(whole_chunks_are_read_with_their_checksum),
        HANDLES_KEPT(full_disk_is_an_error_and_leaves_nothing),
    };
    return cmocka_run_group_tests_name("embeddings_file", tests, make_scratch, NULL);
}
