/* The state's image over HDF5: one group an array, one chunked dataset a tensor. */
#include "checkpoint_state.h"

#include "checkpoint_manifest.h"
#include "hdf5_setup.h"
#include "units.h"

#include <stdlib.h>
#include <string.h>

enum {
    CHUNK_FLOATS = 1 << 18,
    TENSOR_OVERHEAD = 4096, /* bytes that a tensor takes beside its values, at most */
    CHUNK_OVERHEAD = 64,
    FILE_OVERHEAD = 1 << 16,
};

/* HDF5 gets and leaves its memory through these, so that the image is held once and the file
 * system sees nothing of HDF5's own writing. What it would begin with (image_malloc, image_memcpy)
 * is none, and it never asks for more than the room there is. */
static void *image_realloc(void *block, size_t size, H5FD_file_image_op_t op, void *owner) {
    const wb_state_image *image = owner;
    (void)block;
    (void)op;
    return size <= image->room ? image->bytes : NULL;
}

static herr_t image_free(void *block, H5FD_file_image_op_t op, void *owner) {
    (void)block;
    (void)op;
    (void)owner;
    return 0;
}

static void *owner_copy(void *owner) {
    return owner;
}

static herr_t owner_free(void *owner) {
    (void)owner;
    return 0;
}

static wb_status make_room(wb_state_image *image, size_t room, const char *path) {
    wb_status status = WB_OK;
    if (room > image->room) {
        wb_state_image_clear(image);
        image->bytes = malloc(room);
        WB_CHECK(image->bytes, WB_ERR_MEMORY, "%s: no memory for it: %s", path,
                 wb_bytes_text(room).text);
        image->room = room;
    }
done:
    return status;
}

void wb_state_image_clear(wb_state_image *image) {
    free(image->bytes);
    *image = (wb_state_image){0};
}

static wb_status create_in_memory(hid_t *file, wb_state_image *into, size_t expected,
                                  const char *path) {
    wb_status status = WB_OK;
    hid_t access = 0;
    hid_t create = 0;
    H5FD_file_image_callbacks_t callbacks = {.image_realloc = image_realloc,
                                             .image_free = image_free,
                                             .udata_copy = owner_copy,
                                             .udata_free = owner_free,
                                             .udata = into};
    WB_TRY_HDF5(access = H5Pcreate(H5P_FILE_ACCESS), WB_ERR_MEMORY, path);
    WB_TRY_HDF5(H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110), WB_ERR_INTERNAL,
                path);
    WB_TRY_HDF5(H5Pset_file_image_callbacks(access, &callbacks), WB_ERR_INTERNAL, path);
    WB_TRY_HDF5(H5Pset_fapl_core(access, expected, 0), WB_ERR_INTERNAL, path);
    WB_TRY(wb_hdf5_create_properties(&create, H5P_FILE_CREATE, path));
    WB_TRY_HDF5(*file = H5Fcreate(path, H5F_ACC_TRUNC, create, access), WB_ERR_MEMORY, path);
done:
    wb_hdf5_close(&create, H5Pclose);
    wb_hdf5_close(&access, H5Pclose);
    return status;
}

/* Rows of a chunk of a tensor: chunks of at most about 1 MiB that share its rows evenly, since a
 * file stores every chunk in full. */
static int64_t chunk_rows(const wb_tensor *tensor) {
    const int64_t rows = tensor->shape[0];
    const int64_t most = tensor->shape[1] < CHUNK_FLOATS ? CHUNK_FLOATS / tensor->shape[1] : 1;
    const int64_t chunks = (rows + most - 1) / most;
    return (rows + chunks - 1) / chunks;
}

/* ---- Chunks
 * -------------------------------------------------------------------------------------------- */

/* A chunk as a file stores it: values, then their sum. HDF5 would make it in two more copies, in
 * new memory for each chunk, with a sum of one word at a time: four times as long as all the rest
 * of a checkpoint. */

enum {
    LANES = 32, /* words side by side */
    ROWS = 256, /* words one after the other: their sums stay below 2^32 */
};

/* Remainders by 65535 as sums with end-around carry give them: 0 is that of 0 alone. */
static uint64_t folded(uint64_t sum) {
    return sum == 0 ? 0 : (sum - 1) % 65535 + 1;
}

/* Fletcher's two sums over 16-bit words, w_i and (n - i) w_i, are carried on by n words. */
static void add_words(uint64_t sums[2], const uint16_t *words, int64_t n) {
    uint32_t once[LANES] = {0}, often[LANES] = {0};
    uint64_t added[2] = {0, 0};
    for (int64_t row = 0; row < n / LANES; row++) {
        for (int i = 0; i < LANES; i++) {
            once[i] += words[row * LANES + i];
            often[i] += once[i];
        }
    }
    for (int i = 0; i < LANES; i++) {
        added[0] += once[i];
        added[1] += (uint64_t)LANES * often[i] - (uint64_t)i * once[i];
    }
    for (int64_t i = n / LANES * LANES; i < n; i++) {
        added[0] += words[i];
        added[1] += added[0];
    }
    sums[1] = folded(sums[1] + (uint64_t)n * sums[0] + added[1]);
    sums[0] = folded(sums[0] + added[0]);
}

/* The sum of HDF5's filter, whose words have their high byte first: times 256, as remainders go.
 * Source: Fletcher 1982; HDF5's file format, "Fletcher32". */
static uint32_t fletcher32(const void *data, int64_t words) {
    uint64_t sums[2] = {0, 0};
    for (int64_t at = 0; at < words; at += LANES * ROWS) {
        const int64_t left = words - at;
        add_words(sums, (const uint16_t *)data + at, left < LANES * ROWS ? left : LANES * ROWS);
    }
    return (uint32_t)(folded(256 * sums[1]) << 16 | folded(256 * sums[0]));
}

/* Every chunk is stored whole: behind a tensor's last row stand zeros. */
static wb_status put_chunks(hid_t dataset, const wb_tensor *tensor, const float *values,
                            const char *path) {
    wb_status status = WB_OK;
    const int64_t width = tensor->shape[1], rows = chunk_rows(tensor);
    const size_t bytes = wb_float_bytes(rows * width);
    char *const chunk = malloc(bytes + sizeof(uint32_t));
    WB_CHECK(chunk, WB_ERR_MEMORY, "%s: no memory for a chunk of %s", path, tensor->name);
    for (int64_t row = 0; row < tensor->shape[0]; row += rows) {
        const hsize_t at[] = {(hsize_t)row, 0};
        const int64_t left = tensor->shape[0] - row;
        const size_t here = wb_float_bytes((left < rows ? left : rows) * width);
        memcpy(chunk, values + row * width, here);
        memset(chunk + here, 0, bytes - here);
        const uint32_t sum = fletcher32(chunk, (int64_t)(bytes / sizeof(uint16_t)));
        memcpy(chunk + bytes, &sum, sizeof(sum));
        WB_TRY_HDF5(H5Dwrite_chunk(dataset, H5P_DEFAULT, 0, at, bytes + sizeof(sum), chunk),
                    WB_ERR_MEMORY, path);
    }
done:
    free(chunk);
    return status;
}

static wb_status put_tensor(hid_t group, const wb_tensor *tensor, const float *values,
                            const char *path) {
    wb_status status = WB_OK;
    hid_t space = 0;
    hid_t create = 0;
    hid_t dataset = 0;
    const hsize_t extents[] = {(hsize_t)tensor->shape[0], (hsize_t)tensor->shape[1]};
    const hsize_t chunk[] = {(hsize_t)chunk_rows(tensor), extents[1]};
    WB_TRY_HDF5(space = H5Screate_simple(tensor->rank, extents, NULL), WB_ERR_MEMORY, path);
    WB_TRY(wb_hdf5_create_properties(&create, H5P_DATASET_CREATE, path));
    WB_TRY_HDF5(H5Pset_chunk(create, tensor->rank, chunk), WB_ERR_INTERNAL, path);
    WB_TRY_HDF5(H5Pset_fletcher32(create), WB_ERR_INTERNAL, path);
    WB_TRY_HDF5(dataset = H5Dcreate2(group, tensor->name, H5T_IEEE_F32LE, space, H5P_DEFAULT,
                                     create, H5P_DEFAULT),
                WB_ERR_MEMORY, path);
    WB_TRY(put_chunks(dataset, tensor, values, path));
    WB_TRY_HDF5(H5Dclose(dataset), WB_ERR_MEMORY, path);
    dataset = 0;
done:
    wb_hdf5_close(&dataset, H5Dclose);
    wb_hdf5_close(&create, H5Pclose);
    wb_hdf5_close(&space, H5Sclose);
    return status;
}

/* Whether the file of `step` holds tensor i of array a. */
static bool holds(const wb_checkpoint *state, const int64_t *holders, int64_t step, int64_t a,
                  int64_t i) {
    return holders[a * state->table->length + i] == step;
}

static wb_status put_array(hid_t file, const wb_checkpoint *state, const int64_t *holders,
                           int64_t a, const char *path) {
    wb_status status = WB_OK;
    hid_t create = 0;
    hid_t group = 0;
    const char *const name = wb_checkpoint_array_name(state, a);
    WB_TRY(wb_hdf5_create_properties(&create, H5P_GROUP_CREATE, path));
    WB_TRY_HDF5(group = H5Gcreate2(file, name, H5P_DEFAULT, create, H5P_DEFAULT), WB_ERR_MEMORY,
                path);
    for (int64_t i = 0; i < state->table->length; i++) {
        const wb_tensor *tensor = &state->table->tensors[i];
        if (holds(state, holders, state->step, a, i)) {
            WB_TRY(put_tensor(group, tensor, wb_checkpoint_array(state, a) + tensor->offset, path));
        }
    }
done:
    wb_hdf5_close(&group, H5Gclose);
    wb_hdf5_close(&create, H5Pclose);
    return status;
}

size_t wb_state_bytes(const wb_checkpoint *state, const int64_t *holders) {
    size_t bytes = FILE_OVERHEAD;
    for (int64_t a = 0; a < wb_checkpoint_arrays(state); a++) {
        for (int64_t i = 0; i < state->table->length; i++) {
            const wb_tensor *tensor = &state->table->tensors[i];
            const int64_t rows = chunk_rows(tensor);
            const int64_t chunks = (tensor->shape[0] + rows - 1) / rows;
            if (holds(state, holders, state->step, a, i)) {
                bytes += wb_float_bytes(chunks * rows * tensor->shape[1]) +
                         (size_t)chunks * CHUNK_OVERHEAD + TENSOR_OVERHEAD;
            }
        }
    }
    return bytes;
}

wb_status wb_state_build(wb_state_image *into, const wb_checkpoint *state, const int64_t *holders,
                         const char *path) {
    wb_status status = WB_OK;
    hid_t file = 0;
    ssize_t size = 0;
    const size_t most = wb_state_bytes(state, holders);
    WB_TRY(make_room(into, most, path));
    WB_TRY(create_in_memory(&file, into, most, path));
    for (int64_t a = 0; a < wb_checkpoint_arrays(state); a++) {
        WB_TRY(put_array(file, state, holders, a, path));
    }
    WB_TRY_HDF5(H5Fflush(file, H5F_SCOPE_GLOBAL), WB_ERR_MEMORY, path);
    WB_TRY_HDF5(size = H5Fget_file_image(file, NULL, 0), WB_ERR_MEMORY, path);
    WB_TRY_HDF5(H5Fclose(file), WB_ERR_MEMORY, path);
    file = 0;
    into->size = (size_t)size;
    WB_ASSERT(into->size <= most, "%zu bytes, %zu expected", into->size, most);
done:
    wb_hdf5_close(&file, H5Fclose);
    return status;
}

static wb_status get_tensor(hid_t group, const wb_tensor *tensor, float *values, const char *path) {
    wb_status status = WB_OK;
    hid_t dataset = 0;
    hid_t space = 0;
    hid_t type = 0;
    hsize_t extents[WB_TENSOR_RANK] = {0, 1};
    WB_TRY_HDF5(dataset = H5Dopen2(group, tensor->name, H5P_DEFAULT), WB_ERR_CHECKPOINT, path);
    WB_TRY_HDF5(space = H5Dget_space(dataset), WB_ERR_CHECKPOINT, path);
    WB_TRY_HDF5(type = H5Dget_type(dataset), WB_ERR_CHECKPOINT, path);
    WB_CHECK(H5Tequal(type, H5T_IEEE_F32LE) > 0 &&
                 H5Sget_simple_extent_ndims(space) == tensor->rank &&
                 H5Sget_simple_extent_dims(space, extents, NULL) == tensor->rank &&
                 extents[0] == (hsize_t)tensor->shape[0] && extents[1] == (hsize_t)tensor->shape[1],
             WB_ERR_CHECKPOINT, "%s: tensor %s is %lld x %lld; the model expects %lld x %lld", path,
             tensor->name, (long long)extents[0], (long long)extents[1],
             (long long)tensor->shape[0], (long long)tensor->shape[1]);
    WB_TRY_HDF5(H5Dread(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values),
                WB_ERR_CHECKPOINT, path);
done:
    wb_hdf5_close(&type, H5Tclose);
    wb_hdf5_close(&space, H5Sclose);
    wb_hdf5_close(&dataset, H5Dclose);
    return status;
}

static wb_status get_array(hid_t file, wb_checkpoint *state, const int64_t *holders, int64_t step,
                           int64_t a, const char *path) {
    wb_status status = WB_OK;
    hid_t group = 0;
    const char *const name = wb_checkpoint_array_name(state, a);
    WB_CHECK(H5Lexists(file, name, H5P_DEFAULT) > 0, WB_ERR_CHECKPOINT, "%s: holds no %s", path,
             name);
    WB_TRY_HDF5(group = H5Gopen2(file, name, H5P_DEFAULT), WB_ERR_CHECKPOINT, path);
    for (int64_t i = 0; i < state->table->length; i++) {
        const wb_tensor *tensor = &state->table->tensors[i];
        if (holds(state, holders, step, a, i)) {
            WB_CHECK(H5Lexists(group, tensor->name, H5P_DEFAULT) > 0, WB_ERR_CHECKPOINT,
                     "%s: lacks tensor %s of the model's %lld", path, tensor->name,
                     (long long)state->table->length);
            WB_TRY(get_tensor(group, tensor, wb_checkpoint_array(state, a) + tensor->offset, path));
        }
    }
done:
    wb_hdf5_close(&group, H5Gclose);
    return status;
}

wb_status wb_state_read(wb_checkpoint *state, const int64_t *holders, int64_t step,
                        const char *path) {
    wb_status status = WB_OK;
    hid_t file = 0;
    WB_TRY_HDF5(file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT), WB_ERR_CHECKPOINT, path);
    for (int64_t a = 0; a < wb_checkpoint_arrays(state); a++) {
        WB_TRY(get_array(file, state, holders, step, a, path));
    }
done:
    wb_hdf5_close(&file, H5Fclose);
    return status;
}
