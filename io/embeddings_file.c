/* Embeddings over HDF5. Ids wait in memory until the commit, when their longest length is known. */
#include "embeddings_file.h"

#include "embeddings_chunk.h"
#include "files.h"
#include "hdf5_setup.h"
#include "units.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utf8proc.h>

enum {
    CHUNK_FLOATS = 1 << 18, /* about 1 MiB */
    CHUNK_CACHE = 8 << 20,
    CHUNK_IDS = 1 << 12,    /* rows of a chunk of ids */
    CHUNK_MOST = 256 << 20, /* bytes of a chunk that a file may ask us to hold */
    WIDTH_MOST = 1 << 16,
    SUPERBLOCK = 48, /* bytes of HDF5's checksummed superblock */
};

static bool is_utf8(const char *text, size_t bytes) {
    utf8proc_int32_t point;
    for (size_t at = 0; at < bytes;) {
        const utf8proc_ssize_t step = utf8proc_iterate((const utf8proc_uint8_t *)text + at,
                                                       (utf8proc_ssize_t)(bytes - at), &point);
        if (step <= 0) {
            return false;
        }
        at += (size_t)step;
    }
    return true;
}

struct wb_embeddings_writer {
    char path[WB_PATH];
    char temporary[WB_PATH];
    hid_t file, embeddings;
    int64_t width, rows;
    char *ids; /* one after the other, each with its NUL */
    size_t ids_bytes, ids_capacity;
    size_t longest; /* bytes of the longest id */
};

/* The checksummed format, in which damage to what HDF5 itself relies on is seen. */
static wb_status latest_access(hid_t *access, const char *path) {
    wb_status status = WB_OK;
    WB_TRY_HDF5(*access = H5Pcreate(H5P_FILE_ACCESS), WB_ERR_MEMORY, path);
    WB_TRY_HDF5(H5Pset_libver_bounds(*access, H5F_LIBVER_V110, H5F_LIBVER_V110), WB_ERR_INTERNAL,
                path);
done:
    return status;
}

static wb_status put_attribute(hid_t file, const char *path, const char *name, hid_t type,
                               const void *value) {
    wb_status status = WB_OK;
    hid_t space = 0;
    hid_t attribute = 0;
    WB_TRY_HDF5(space = H5Screate(H5S_SCALAR), WB_ERR_MEMORY, path);
    WB_TRY_HDF5(attribute = H5Acreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT),
                WB_ERR_DISK, path);
    WB_TRY_HDF5(H5Awrite(attribute, type, value), WB_ERR_DISK, path);
done:
    wb_hdf5_close(&attribute, H5Aclose);
    wb_hdf5_close(&space, H5Sclose);
    return status;
}

/* Fixed-length UTF-8 of `bytes` bytes, padded with NUL. */
static wb_status text_type(hid_t *type, size_t bytes, const char *path) {
    wb_status status = WB_OK;
    WB_TRY_HDF5(*type = H5Tcopy(H5T_C_S1), WB_ERR_MEMORY, path);
    WB_TRY_HDF5(H5Tset_size(*type, bytes > 0 ? bytes : 1), WB_ERR_INTERNAL, path);
    WB_TRY_HDF5(H5Tset_cset(*type, H5T_CSET_UTF8), WB_ERR_INTERNAL, path);
    WB_TRY_HDF5(H5Tset_strpad(*type, H5T_STR_NULLPAD), WB_ERR_INTERNAL, path);
done:
    return status;
}

static wb_status put_text(hid_t file, const char *path, const char *name, const char *text) {
    wb_status status = WB_OK;
    hid_t type = 0;
    WB_TRY(text_type(&type, strlen(text), path));
    WB_TRY(put_attribute(file, path, name, type, text));
done:
    wb_hdf5_close(&type, H5Tclose);
    return status;
}

static wb_status put_facts(hid_t file, const char *path, const wb_embeddings_facts *facts) {
    wb_status status = WB_OK;
    const uint8_t normalized = facts->normalized;
    WB_TRY(put_text(file, path, "model", facts->model));
    WB_TRY(put_text(file, path, "role", facts->role));
    WB_TRY(put_text(file, path, "writer", "widebatch " WB_VERSION));
    WB_TRY(put_attribute(file, path, "max_tokens", H5T_NATIVE_INT64, &facts->max_tokens));
    WB_TRY(put_attribute(file, path, "normalized", H5T_NATIVE_UINT8, &normalized));
done:
    return status;
}

/* An extendible dataset of [rows, width], or of [rows] where width is 0. */
static wb_status make_dataset(hid_t *dataset, hid_t file, const char *path, const char *name,
                              hid_t type, int64_t rows, int64_t width, int64_t chunk_rows) {
    wb_status status = WB_OK;
    hid_t space = 0;
    hid_t create = 0;
    hid_t access = 0;
    const int rank = width > 0 ? 2 : 1;
    const hsize_t extents[] = {(hsize_t)rows, (hsize_t)width};
    const hsize_t most[] = {H5S_UNLIMITED, (hsize_t)width};
    const hsize_t chunk[] = {(hsize_t)chunk_rows, (hsize_t)width};
    WB_TRY_HDF5(space = H5Screate_simple(rank, extents, most), WB_ERR_MEMORY, path);
    WB_TRY(wb_hdf5_create_properties(&create, H5P_DATASET_CREATE, path));
    WB_TRY_HDF5(H5Pset_chunk(create, rank, chunk), WB_ERR_INTERNAL, path);
    WB_TRY_HDF5(H5Pset_fletcher32(create), WB_ERR_INTERNAL, path);
    WB_TRY_HDF5(access = H5Pcreate(H5P_DATASET_ACCESS), WB_ERR_MEMORY, path);
    WB_TRY_HDF5(H5Pset_chunk_cache(access, 521, CHUNK_CACHE, 1.0), WB_ERR_INTERNAL, path);
    WB_TRY_HDF5(*dataset = H5Dcreate2(file, name, type, space, H5P_DEFAULT, create, access),
                WB_ERR_DISK, path);
done:
    wb_hdf5_close(&access, H5Pclose);
    wb_hdf5_close(&create, H5Pclose);
    wb_hdf5_close(&space, H5Sclose);
    return status;
}

wb_status wb_embeddings_create(wb_embeddings_writer **result, const char *path, int64_t width,
                               const wb_embeddings_facts *facts) {
    wb_status status = WB_OK;
    hid_t access = 0;
    hid_t create = 0;
    wb_embeddings_writer *writer = calloc(1, sizeof(*writer));
    WB_CHECK(writer, WB_ERR_MEMORY, "%s: no memory to write it", path);
    WB_CHECK(width > 0 && width <= WIDTH_MOST, WB_ERR_USAGE,
             "%s: embeddings of width %lld; 1 to %d are allowed", path, (long long)width,
             WIDTH_MOST);
    writer->width = width;
    const int length = snprintf(writer->temporary, WB_PATH, "%s.tmp", path);
    WB_CHECK(length > 0 && length < WB_PATH, WB_ERR_USAGE, "path too long: %.200s…", path);
    (void)snprintf(writer->path, WB_PATH, "%s", path);
    /* what is wrong with the place is said here in fewer words than by HDF5 */
    const int made = open(writer->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    WB_CHECK(made >= 0, WB_ERR_DISK, "%s: cannot create: %s", writer->temporary, strerror(errno));
    (void)close(made);
    WB_TRY(latest_access(&access, path));
    WB_TRY(wb_hdf5_create_properties(&create, H5P_FILE_CREATE, path));
    WB_TRY_HDF5(writer->file = H5Fcreate(writer->temporary, H5F_ACC_TRUNC, create, access),
                WB_ERR_DISK, writer->temporary);
    WB_CHECK(chmod(writer->temporary, 0600) == 0, WB_ERR_DISK, "%s: chmod: %s", writer->temporary,
             strerror(errno));
    WB_TRY(put_facts(writer->file, path, facts));
    WB_TRY(make_dataset(&writer->embeddings, writer->file, path, "embeddings", H5T_IEEE_F32LE, 0,
                        width, width < CHUNK_FLOATS ? CHUNK_FLOATS / width : 1));
    *result = writer;
    writer = NULL;
done:
    wb_hdf5_close(&create, H5Pclose);
    wb_hdf5_close(&access, H5Pclose);
    wb_embeddings_discard(writer);
    return status;
}

static wb_status keep_ids(wb_embeddings_writer *writer, int64_t rows, const char *const *ids) {
    for (int64_t i = 0; i < rows; i++) {
        const size_t bytes = strlen(ids[i]);
        if (bytes == 0 || bytes >= WB_EMBEDDINGS_ID || !is_utf8(ids[i], bytes)) {
            return WB_ERROR(WB_ERR_INPUT,
                            "%s: id %lld, \"%.60s\", has %zu bytes; an id has 1 to %d bytes of "
                            "UTF-8",
                            writer->path, (long long)(writer->rows + i), ids[i], bytes,
                            WB_EMBEDDINGS_ID - 1);
        }
        if (writer->ids_bytes + bytes + 1 > writer->ids_capacity) {
            const size_t capacity = 2 * writer->ids_capacity + WB_EMBEDDINGS_ID;
            char *grown = realloc(writer->ids, capacity);
            if (!grown) {
                return WB_ERROR(WB_ERR_MEMORY, "%s: no memory for %s of ids", writer->path,
                                wb_bytes_text(capacity).text);
            }
            writer->ids = grown;
            writer->ids_capacity = capacity;
        }
        memcpy(writer->ids + writer->ids_bytes, ids[i], bytes + 1);
        writer->ids_bytes += bytes + 1;
        writer->longest = bytes > writer->longest ? bytes : writer->longest;
    }
    return WB_OK;
}

/* Reads or writes rows [first, first + rows) of a dataset of rank 1 (width 0) or 2. */
static wb_status move_rows(hid_t dataset, hid_t memory_type, int64_t first, int64_t rows,
                           int64_t width, const void *from, void *to, const char *path) {
    wb_status status = WB_OK;
    hid_t file_space = 0;
    hid_t memory_space = 0;
    const hsize_t start[] = {(hsize_t)first, 0};
    const hsize_t count[] = {(hsize_t)rows, (hsize_t)width};
    WB_TRY_HDF5(file_space = H5Dget_space(dataset), WB_ERR_INPUT, path);
    WB_TRY_HDF5(memory_space = H5Screate_simple(width > 0 ? 2 : 1, count, NULL), WB_ERR_MEMORY,
                path);
    WB_TRY_HDF5(H5Sselect_hyperslab(file_space, H5S_SELECT_SET, start, NULL, count, NULL),
                WB_ERR_INPUT, path);
    if (from) {
        WB_TRY_HDF5(H5Dwrite(dataset, memory_type, memory_space, file_space, H5P_DEFAULT, from),
                    WB_ERR_DISK, path);
    } else {
        WB_TRY_HDF5(H5Dread(dataset, memory_type, memory_space, file_space, H5P_DEFAULT, to),
                    WB_ERR_INPUT, path);
    }
done:
    wb_hdf5_close(&memory_space, H5Sclose);
    wb_hdf5_close(&file_space, H5Sclose);
    return status;
}

wb_status wb_embeddings_append(wb_embeddings_writer *writer, int64_t rows, const float *values,
                               const char *const *ids) {
    wb_status status = WB_OK;
    const hsize_t extents[] = {(hsize_t)(writer->rows + rows), (hsize_t)writer->width};
    if (rows == 0) {
        return WB_OK;
    }
    WB_TRY(keep_ids(writer, rows, ids));
    WB_TRY_HDF5(H5Dset_extent(writer->embeddings, extents), WB_ERR_DISK, writer->temporary);
    WB_TRY(move_rows(writer->embeddings, H5T_NATIVE_FLOAT, writer->rows, rows, writer->width,
                     values, NULL, writer->temporary));
    writer->rows += rows;
done:
    return status;
}

static wb_status write_ids(wb_embeddings_writer *writer) {
    wb_status status = WB_OK;
    hid_t type = 0;
    hid_t dataset = 0;
    const size_t width = writer->longest > 0 ? writer->longest : 1;
    const char *next = writer->ids;
    char *block = malloc(CHUNK_IDS * width);
    WB_CHECK(block, WB_ERR_MEMORY, "%s: no memory for a block of ids", writer->path);
    WB_TRY(text_type(&type, width, writer->temporary));
    WB_TRY(make_dataset(&dataset, writer->file, writer->temporary, "ids", type, writer->rows, 0,
                        CHUNK_IDS));
    for (int64_t first = 0; first < writer->rows; first += CHUNK_IDS) {
        const int64_t left = writer->rows - first;
        const int64_t rows = left < CHUNK_IDS ? left : CHUNK_IDS;
        memset(block, 0, CHUNK_IDS * width);
        for (int64_t i = 0; i < rows; i++) {
            const size_t bytes = strlen(next);
            memcpy(block + (size_t)i * width, next, bytes);
            next += bytes + 1;
        }
        WB_TRY(move_rows(dataset, type, first, rows, 0, block, NULL, writer->temporary));
    }
    WB_TRY_HDF5(H5Dclose(dataset), WB_ERR_DISK, writer->temporary);
    dataset = 0;
done:
    wb_hdf5_close(&dataset, H5Dclose);
    wb_hdf5_close(&type, H5Tclose);
    free(block);
    return status;
}

wb_status wb_embeddings_commit(wb_embeddings_writer *writer) {
    wb_status status = WB_OK;
    WB_TRY(write_ids(writer));
    WB_TRY_HDF5(H5Dclose(writer->embeddings), WB_ERR_DISK, writer->temporary);
    writer->embeddings = 0;
    WB_TRY_HDF5(H5Fflush(writer->file, H5F_SCOPE_GLOBAL), WB_ERR_DISK, writer->temporary);
    WB_TRY_HDF5(H5Fclose(writer->file), WB_ERR_DISK, writer->temporary);
    writer->file = 0;
    WB_TRY(wb_file_publish(writer->temporary, writer->path));
    writer->temporary[0] = '\0';
done:
    wb_embeddings_discard(writer);
    return status;
}

void wb_embeddings_discard(wb_embeddings_writer *writer) {
    if (!writer) {
        return;
    }
    wb_hdf5_close(&writer->embeddings, H5Dclose);
    wb_hdf5_close(&writer->file, H5Fclose);
    if (writer->temporary[0] != '\0') {
        (void)unlink(writer->temporary);
    }
    free(writer->ids);
    free(writer);
}

struct wb_embeddings_reader {
    char path[WB_PATH];
    hid_t file, embeddings, ids;
    int64_t rows, width;
    wb_chunks chunks; /* of embeddings */
    size_t id_bytes;
    wb_embeddings_facts facts;
};

/* Before HDF5 sees the file: its checksummed superblock, and the length it promises. */
static wb_status check_superblock(const char *path, int64_t *size) {
    static const unsigned char signature[] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
    wb_status status = WB_OK;
    unsigned char head[SUPERBLOCK];
    uint64_t end = 0;
    struct stat info;
    const int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    WB_CHECK(file >= 0, WB_ERR_INPUT, "%s: cannot open: %s", path, strerror(errno));
    WB_CHECK(fstat(file, &info) == 0 && S_ISREG(info.st_mode), WB_ERR_INPUT,
             "%s: is not a regular file", path);
    WB_CHECK(info.st_size >= SUPERBLOCK, WB_ERR_INPUT, "%s: is no HDF5 file", path);
    WB_TRY(wb_file_read_at(file, path, 0, head, sizeof(head)));
    WB_CHECK(memcmp(head, signature, sizeof(signature)) == 0, WB_ERR_INPUT, "%s: is no HDF5 file",
             path);
    WB_CHECK(
        head[8] == 2 || head[8] == 3, WB_ERR_INPUT,
        "%s: HDF5's format without checksums; embeddings are written by `widebatch encode`, or "
        "with h5py.File(name, \"w\", libver=\"v110\")",
        path);
    memcpy(&end, head + 28, sizeof(end));
    WB_CHECK(end == (uint64_t)info.st_size, WB_ERR_INPUT,
             "%s: holds %lld bytes and should hold %llu; is the copy incomplete?", path,
             (long long)info.st_size, (unsigned long long)end);
    *size = info.st_size;
done:
    if (file >= 0) {
        (void)close(file);
    }
    return status;
}

static wb_status get_text(hid_t file, const char *path, const char *name, char *text,
                          size_t bytes) {
    wb_status status = WB_OK;
    hid_t attribute = 0;
    hid_t type = 0;
    hid_t space = 0;
    WB_TRY_HDF5(attribute = H5Aopen(file, name, H5P_DEFAULT), WB_ERR_INPUT, path);
    WB_TRY_HDF5(type = H5Aget_type(attribute), WB_ERR_INPUT, path);
    WB_TRY_HDF5(space = H5Aget_space(attribute), WB_ERR_INPUT, path);
    WB_CHECK(H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0 &&
                 H5Tget_size(type) < bytes && H5Sget_simple_extent_type(space) == H5S_SCALAR,
             WB_ERR_INPUT, "%s: attribute %s must be one fixed-length text below %zu bytes", path,
             name, bytes);
    memset(text, 0, bytes);
    WB_TRY_HDF5(H5Aread(attribute, type, text), WB_ERR_INPUT, path);
    WB_CHECK(is_utf8(text, strlen(text)), WB_ERR_INPUT, "%s: attribute %s is no UTF-8", path, name);
done:
    wb_hdf5_close(&space, H5Sclose);
    wb_hdf5_close(&type, H5Tclose);
    wb_hdf5_close(&attribute, H5Aclose);
    return status;
}

static wb_status get_integer(hid_t file, const char *path, const char *name, int64_t least,
                             int64_t most, int64_t *value) {
    wb_status status = WB_OK;
    hid_t attribute = 0;
    hid_t type = 0;
    hid_t space = 0;
    WB_TRY_HDF5(attribute = H5Aopen(file, name, H5P_DEFAULT), WB_ERR_INPUT, path);
    WB_TRY_HDF5(type = H5Aget_type(attribute), WB_ERR_INPUT, path);
    WB_TRY_HDF5(space = H5Aget_space(attribute), WB_ERR_INPUT, path);
    WB_CHECK(H5Tget_class(type) == H5T_INTEGER && H5Sget_simple_extent_type(space) == H5S_SCALAR,
             WB_ERR_INPUT, "%s: attribute %s must be one whole number", path, name);
    WB_TRY_HDF5(H5Aread(attribute, H5T_NATIVE_INT64, value), WB_ERR_INPUT, path);
    WB_CHECK(*value >= least && *value <= most, WB_ERR_INPUT,
             "%s: attribute %s = %lld; the allowed range is %lld to %lld", path, name,
             (long long)*value, (long long)least, (long long)most);
done:
    wb_hdf5_close(&space, H5Sclose);
    wb_hdf5_close(&type, H5Tclose);
    wb_hdf5_close(&attribute, H5Aclose);
    return status;
}

static wb_status get_facts(wb_embeddings_reader *reader) {
    wb_status status = WB_OK;
    wb_embeddings_facts *facts = &reader->facts;
    int64_t normalized = 0;
    WB_TRY(get_text(reader->file, reader->path, "model", facts->model, sizeof(facts->model)));
    WB_TRY(get_text(reader->file, reader->path, "role", facts->role, sizeof(facts->role)));
    WB_TRY(get_integer(reader->file, reader->path, "max_tokens", 0, INT32_MAX, &facts->max_tokens));
    WB_TRY(get_integer(reader->file, reader->path, "normalized", 0, 1, &normalized));
    facts->normalized = normalized == 1;
done:
    return status;
}

/* How a dataset is stored: in chunks of a bearable size, in this file, with no filter but the
 * checksum. */
static wb_status check_storage(hid_t dataset, const char *path, const char *name, int rank,
                               size_t element) {
    wb_status status = WB_OK;
    hid_t create = 0;
    hsize_t chunk[2] = {0, 1};
    WB_TRY_HDF5(create = H5Dget_create_plist(dataset), WB_ERR_INPUT, path);
    WB_CHECK(H5Pget_layout(create) == H5D_CHUNKED && H5Pget_external_count(create) == 0 &&
                 H5Pget_chunk(create, rank, chunk) == rank,
             WB_ERR_INPUT, "%s: dataset %s must be stored in chunks in this file", path, name);
    int64_t bytes = (int64_t)element;
    WB_CHECK(chunk[0] <= CHUNK_MOST && chunk[1] <= CHUNK_MOST &&
                 wb_multiply(bytes, (int64_t)chunk[0], &bytes) &&
                 wb_multiply(bytes, (int64_t)chunk[1], &bytes) && bytes <= CHUNK_MOST,
             WB_ERR_INPUT, "%s: dataset %s has chunks of more than %d bytes", path, name,
             CHUNK_MOST);
    for (int i = 0; i < H5Pget_nfilters(create); i++) {
        unsigned flags;
        unsigned settings;
        size_t values = 0;
        const H5Z_filter_t filter =
            H5Pget_filter2(create, (unsigned)i, &flags, &values, &settings, 0, NULL, NULL);
        WB_CHECK(filter == H5Z_FILTER_FLETCHER32, WB_ERR_INPUT,
                 "%s: dataset %s uses HDF5 filter %d; only the checksum Fletcher32 is allowed",
                 path, name, (int)filter);
    }
done:
    wb_hdf5_close(&create, H5Pclose);
    return status;
}

/* Opens a dataset of the expected rank; `extents` are filled, the type is the caller's to check. */
static wb_status open_dataset(hid_t *dataset, hid_t *type, hsize_t *extents, int rank, hid_t file,
                              const char *path, const char *name) {
    wb_status status = WB_OK;
    hid_t space = 0;
    H5L_info_t link;
    WB_TRY_HDF5(H5Lget_info(file, name, &link, H5P_DEFAULT), WB_ERR_INPUT, path);
    WB_CHECK(link.type == H5L_TYPE_HARD, WB_ERR_INPUT, "%s: %s is a link, not a dataset", path,
             name);
    WB_TRY_HDF5(*dataset = H5Dopen2(file, name, H5P_DEFAULT), WB_ERR_INPUT, path);
    WB_TRY_HDF5(*type = H5Dget_type(*dataset), WB_ERR_INPUT, path);
    WB_TRY_HDF5(space = H5Dget_space(*dataset), WB_ERR_INPUT, path);
    WB_CHECK(H5Sget_simple_extent_ndims(space) == rank &&
                 H5Sget_simple_extent_dims(space, extents, NULL) == rank,
             WB_ERR_INPUT, "%s: dataset %s must have %d dimensions", path, name, rank);
    WB_TRY(check_storage(*dataset, path, name, rank, H5Tget_size(*type)));
done:
    wb_hdf5_close(&space, H5Sclose);
    return status;
}

static wb_status open_embeddings(wb_embeddings_reader *reader, int64_t size) {
    wb_status status = WB_OK;
    hid_t type = 0;
    hsize_t extents[2] = {0};
    WB_TRY(open_dataset(&reader->embeddings, &type, extents, 2, reader->file, reader->path,
                        "embeddings"));
    WB_CHECK(H5Tequal(type, H5T_IEEE_F32LE) > 0, WB_ERR_INPUT,
             "%s: dataset embeddings must be float32", reader->path);
    WB_CHECK(extents[1] >= 1 && extents[1] <= WIDTH_MOST, WB_ERR_INPUT,
             "%s: embeddings have width %llu; 1 to %d are allowed", reader->path,
             (unsigned long long)extents[1], WIDTH_MOST);
    const uint64_t row_bytes = extents[1] * sizeof(float);
    WB_CHECK(extents[0] <= (uint64_t)size / row_bytes &&
                 H5Dget_storage_size(reader->embeddings) >= extents[0] * row_bytes,
             WB_ERR_INPUT, "%s: claims %llu embeddings and holds fewer", reader->path,
             (unsigned long long)extents[0]);
    reader->rows = (int64_t)extents[0];
    reader->width = (int64_t)extents[1];
    reader->chunks = wb_chunks_of(reader->file, reader->embeddings, reader->width);
done:
    wb_hdf5_close(&type, H5Tclose);
    return status;
}

static wb_status open_ids(wb_embeddings_reader *reader) {
    wb_status status = WB_OK;
    hid_t type = 0;
    hsize_t rows = 0;
    WB_TRY(open_dataset(&reader->ids, &type, &rows, 1, reader->file, reader->path, "ids"));
    WB_CHECK(H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0 &&
                 H5Tget_size(type) > 0 && H5Tget_size(type) < WB_EMBEDDINGS_ID,
             WB_ERR_INPUT, "%s: dataset ids must be fixed-length texts of 1 to %d bytes",
             reader->path, WB_EMBEDDINGS_ID - 1);
    WB_CHECK(rows == (uint64_t)reader->rows, WB_ERR_INPUT, "%s: %llu ids for %lld embeddings",
             reader->path, (unsigned long long)rows, (long long)reader->rows);
    reader->id_bytes = H5Tget_size(type);
done:
    wb_hdf5_close(&type, H5Tclose);
    return status;
}

wb_status wb_embeddings_open(wb_embeddings_reader **result, const char *path) {
    wb_status status = WB_OK;
    hid_t access = 0;
    int64_t size = 0;
    wb_embeddings_reader *reader = calloc(1, sizeof(*reader));
    WB_CHECK(reader, WB_ERR_MEMORY, "%s: no memory to open it", path);
    WB_CHECK(strlen(path) < WB_PATH, WB_ERR_USAGE, "path too long: %.200s…", path);
    (void)snprintf(reader->path, WB_PATH, "%s", path);
    WB_TRY(check_superblock(path, &size));
    WB_TRY(latest_access(&access, path));
    WB_TRY_HDF5(reader->file = H5Fopen(path, H5F_ACC_RDONLY, access), WB_ERR_INPUT, path);
    WB_TRY(get_facts(reader));
    WB_TRY(open_embeddings(reader, size));
    WB_TRY(open_ids(reader));
    *result = reader;
    reader = NULL;
done:
    wb_hdf5_close(&access, H5Pclose);
    wb_embeddings_close(reader);
    return status;
}

void wb_embeddings_close(wb_embeddings_reader *reader) {
    if (!reader) {
        return;
    }
    wb_hdf5_close(&reader->ids, H5Dclose);
    wb_hdf5_close(&reader->embeddings, H5Dclose);
    wb_hdf5_close(&reader->file, H5Fclose);
    free(reader);
}

int64_t wb_embeddings_rows(const wb_embeddings_reader *reader) {
    return reader->rows;
}

int64_t wb_embeddings_width(const wb_embeddings_reader *reader) {
    return reader->width;
}

const wb_embeddings_facts *wb_embeddings_facts_of(const wb_embeddings_reader *reader) {
    return &reader->facts;
}

static wb_status check_rows(const wb_embeddings_reader *reader, int64_t first, int64_t rows) {
    if (first < 0 || rows < 0 || first > reader->rows || rows > reader->rows - first) {
        return WB_ERROR(WB_ERR_USAGE, "%s: rows %lld to %lld of %lld", reader->path,
                        (long long)first, (long long)(first + rows), (long long)reader->rows);
    }
    return WB_OK;
}

/* Rows from a row on that are read at once, and whether they are a whole chunk. */
static int64_t next_rows(const wb_embeddings_reader *reader, int64_t row, int64_t end,
                         bool *is_chunk) {
    const int64_t size = reader->chunks.rows;
    if (reader->chunks.file < 0) {
        *is_chunk = false;
        return end - row;
    }
    const int64_t chunk_end = (row / size + 1) * size;
    *is_chunk = row % size == 0 && chunk_end <= end;
    return (chunk_end < end ? chunk_end : end) - row;
}

wb_status wb_embeddings_read(const wb_embeddings_reader *reader, int64_t first, int64_t rows,
                             float *values) {
    wb_status status = WB_OK;
    WB_TRY(check_rows(reader, first, rows));
    for (int64_t row = first, count; row < first + rows; row += count) {
        bool is_chunk;
        float *to = values + (row - first) * reader->width;
        count = next_rows(reader, row, first + rows, &is_chunk);
        if (!is_chunk ||
            !wb_chunks_read(&reader->chunks, reader->embeddings, row, reader->width, to)) {
            WB_TRY(move_rows(reader->embeddings, H5T_NATIVE_FLOAT, row, count, reader->width, NULL,
                             to, reader->path));
        }
    }
    int64_t bad = 0;
    for (int64_t i = 0; i < rows * reader->width; i++) {
        bad += !isfinite(values[i]);
    }
    WB_CHECK(bad == 0, WB_ERR_INPUT, "%s: rows %lld to %lld hold %lld values that are not finite",
             reader->path, (long long)first, (long long)(first + rows), (long long)bad);
done:
    return status;
}

wb_status wb_embeddings_read_ids(const wb_embeddings_reader *reader, int64_t first, int64_t rows,
                                 wb_embeddings_ids *ids) {
    wb_status status = WB_OK;
    hid_t type = 0;
    *ids = (wb_embeddings_ids){.stride = reader->id_bytes + 1, .rows = rows};
    WB_TRY(check_rows(reader, first, rows));
    ids->bytes = calloc((size_t)rows + 1, ids->stride);
    WB_CHECK(ids->bytes, WB_ERR_MEMORY, "%s: no memory for %lld ids", reader->path,
             (long long)rows);
    WB_TRY_HDF5(type = H5Tcopy(reader->ids), WB_ERR_INPUT, reader->path);
    WB_TRY_HDF5(H5Tset_size(type, ids->stride), WB_ERR_INTERNAL, reader->path);
    WB_TRY_HDF5(H5Tset_strpad(type, H5T_STR_NULLTERM), WB_ERR_INTERNAL, reader->path);
    if (rows > 0) {
        WB_TRY(move_rows(reader->ids, type, first, rows, 0, NULL, ids->bytes, reader->path));
    }
    for (int64_t i = 0; i < rows; i++) {
        const char *id = wb_embeddings_id(ids, i);
        WB_CHECK(id[0] != '\0' && is_utf8(id, strlen(id)), WB_ERR_INPUT,
                 "%s: id %lld is empty or no UTF-8", reader->path, (long long)(first + i));
    }
done:
    wb_hdf5_close(&type, H5Tclose);
    if (status != WB_OK) {
        wb_embeddings_ids_clear(ids);
    }
    return status;
}

void wb_embeddings_ids_clear(wb_embeddings_ids *ids) {
    free(ids->bytes);
    *ids = (wb_embeddings_ids){0};
}
