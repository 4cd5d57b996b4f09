/* Bytes as a safetensors file: opened, and every tensor read. */
#include "fuzz_input.h"
#include "safetensors.h"

static void read_tensors(const wb_safetensors *file) {
    for (int64_t i = 0; i < wb_safetensors_count(file); i++) {
        const wb_safetensors_entry *entry = wb_safetensors_at(file, i);
        fuzz_require(wb_safetensors_find(file, entry->name) == entry, "a name finds its tensor");
        if (entry->count < 1 << 20) {
            float *values = malloc((size_t)(entry->count + 1) * sizeof(float));
            (void)wb_safetensors_read(file, entry, values);
            wb_error_clear();
            free(values);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    fuzz_file input = fuzz_file_open(data, bytes);
    wb_safetensors *file = NULL;
    if (wb_safetensors_open(&file, input.path) == WB_OK) {
        read_tensors(file);
    }
    wb_safetensors_close(file);
    fuzz_file_close(&input);
    return 0;
}
