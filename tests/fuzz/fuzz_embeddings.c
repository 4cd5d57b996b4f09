/* Bytes as a file of embeddings: opened, and its first rows and ids read. HDF5 loses buffers of its
 * own when it turns a damaged file away, so leaks are left to the unit tests, which count handles.
 */
#include "embeddings_file.h"
#include "fuzz_input.h"
#include "hdf5_setup.h"

int __lsan_is_turned_off(void);

int __lsan_is_turned_off(void) {
    return 1;
}

static void read_rows(const wb_embeddings_reader *reader) {
    const int64_t width = wb_embeddings_width(reader);
    const int64_t all = wb_embeddings_rows(reader);
    const int64_t rows = all < 100 ? all : 100;
    wb_embeddings_ids ids;
    float *values = malloc((size_t)(rows * width + 1) * sizeof(float));
    (void)wb_embeddings_read(reader, all - rows, rows, values);
    wb_error_clear();
    if (wb_embeddings_read_ids(reader, 0, rows, &ids) == WB_OK) {
        wb_embeddings_ids_clear(&ids);
    }
    free(values);
}

static char path[] = "/tmp/fuzz_embeddings_XXXXXX";

static void remove_file(void) {
    (void)unlink(path);
}

/* HDF5 asks for the real path of a file, which one in memory does not have. */
static int make_file(void) {
    const int file = mkstemp(path);
    fuzz_require(file >= 0 && atexit(remove_file) == 0, "there is a file");
    fuzz_require(wb_io_init() == WB_OK, "HDF5 opens");
    return file;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    static int file = -1;
    wb_embeddings_reader *reader = NULL;
    file = file < 0 ? make_file() : file;
    fuzz_require(ftruncate(file, 0) == 0 && pwrite(file, data, bytes, 0) == (ssize_t)bytes,
                 "the file is written");
    if (wb_embeddings_open(&reader, path) == WB_OK) {
        read_rows(reader);
    }
    wb_embeddings_close(reader);
    wb_error_clear();
    return 0;
}
