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

/* HDF5 asks for the real path of a file, which one without a name does not have. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    static bool is_ready = false;
    wb_embeddings_reader *reader = NULL;
    is_ready = is_ready || wb_io_init() == WB_OK;
    fuzz_require(is_ready, "HDF5 opens");
    if (wb_embeddings_open(&reader, fuzz_folder_with("embeddings.h5", data, bytes)->file) ==
        WB_OK) {
        read_rows(reader);
    }
    wb_embeddings_close(reader);
    wb_error_clear();
    return 0;
}
