/* HDF5 says where a chunk lies; its bytes are read and added up here. */
#include "embeddings_chunk.h"

#include "files.h"

#include <string.h>

enum { CHECKSUM = 4 };

/* Sums of 16-bit words stay below 2^16 in the way of HDF5: a sum that is not 0 never becomes 0. */
static uint64_t fold(uint64_t sum) {
    enum { MODULUS = 65535 };
    return sum == 0 ? 0 : (sum - 1) % MODULUS + 1;
}

/* HDF5's Fletcher32 of big-endian words: the sum of all, and the sum of the sums so far. A block's
 * part of the latter is the words times how many follow, in 32 bits.
 * Source: Fletcher 1982, as in H5checksum.c. */
static uint32_t fletcher32(const void *data, int64_t words) {
    enum { BLOCK = 256 };
    const uint8_t *bytes = data;
    uint64_t sum = 0, sums = 0;
    for (int64_t at = 0; at < words; at += BLOCK) {
        const int count = words - at < BLOCK ? (int)(words - at) : BLOCK;
        uint16_t block[BLOCK];
        uint32_t first = 0, second = 0;
        memcpy(block, bytes + 2 * at, 2 * (size_t)count);
#pragma omp simd reduction(+ : first, second)
        for (int i = 0; i < count; i++) {
            const uint32_t word = (uint16_t)(block[i] << 8 | block[i] >> 8);
            first += word;
            second += word * (uint32_t)(count - i);
        }
        sums = fold(sums + (uint64_t)count * sum + second);
        sum = fold(sum + first);
    }
    return (uint32_t)(sums << 16 | sum);
}

wb_chunks wb_chunks_of(hid_t file, hid_t dataset, int64_t width) {
    wb_chunks chunks = {.file = -1};
    hsize_t extents[2];
    void *handle = NULL;
    hid_t create = H5Dget_create_plist(dataset);
    if (create >= 0 && H5Pget_chunk(create, 2, extents) == 2 && H5Pget_nfilters(create) == 1 &&
        extents[0] > 0 && extents[1] == (hsize_t)width &&
        H5Fget_vfd_handle(file, H5P_DEFAULT, &handle) >= 0) {
        chunks = (wb_chunks){.file = *(int *)handle, .rows = (int64_t)extents[0]};
    }
    wb_hdf5_close(&create, H5Pclose);
    return chunks;
}

bool wb_chunks_read(const wb_chunks *chunks, hid_t dataset, int64_t row, int64_t width,
                    float *values) {
    const hsize_t place[] = {(hsize_t)row, 0};
    const size_t bytes = (size_t)(chunks->rows * width) * sizeof(*values);
    unsigned filters_left_out = 1;
    haddr_t address = HADDR_UNDEF;
    hsize_t stored = 0;
    unsigned char checksum[CHECKSUM];
    if (H5Dget_chunk_info_by_coord(dataset, place, &filters_left_out, &address, &stored) < 0 ||
        filters_left_out != 0 || address == HADDR_UNDEF || address > INT64_MAX - bytes ||
        stored != bytes + CHECKSUM ||
        wb_file_read_at(chunks->file, "", (int64_t)address, values, bytes) != WB_OK ||
        wb_file_read_at(chunks->file, "", (int64_t)(address + bytes), checksum, CHECKSUM) !=
            WB_OK) {
        wb_error_clear();
        return false;
    }
    const uint32_t sum = fletcher32(values, (int64_t)bytes / 2);
    const uint32_t expected = (uint32_t)checksum[0] | (uint32_t)checksum[1] << 8 |
                              (uint32_t)checksum[2] << 16 | (uint32_t)checksum[3] << 24;
    return sum == expected;
}
