/* Whole chunks of embeddings, from the file to their place with their checksum looked at: several
 * times as fast as through HDF5, which copies twice and adds two bytes at a time. */
#ifndef WB_EMBEDDINGS_CHUNK_H
#define WB_EMBEDDINGS_CHUNK_H

#include "hdf5_setup.h"

#include <stdbool.h>
#include <stdint.h>

/* How a dataset lies in its file. */
typedef struct wb_chunks {
    int file;     /* borrowed from HDF5; -1: chunks are not read here */
    int64_t rows; /* of a chunk, which is as wide as the dataset */
} wb_chunks;

/* Local. What is known of a dataset of [.., width] float32. */
wb_chunks wb_chunks_of(hid_t file, hid_t dataset, int64_t width);

/* Local. Fills `values` with the chunk that begins at a row. False where it is not as the writer
 * here leaves chunks, or damaged: HDF5 is to read it, or to say what is wrong. */
bool wb_chunks_read(const wb_chunks *chunks, hid_t dataset, int64_t row, int64_t width,
                    float *values);

#endif
