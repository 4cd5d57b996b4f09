/* Embeddings on disk: the .h5 file of `encode`, read by `search` and by h5py.
 *
 *     embeddings [n, d] float32, chunks of rows with Fletcher32     ids [n] fixed-length UTF-8
 *     attributes: model, max_tokens, role, normalized, writer
 *
 * Rows are appended in blocks; the file gets its name only when it is complete. A reader takes this
 * layout in HDF5's checksummed format (libver "v110") and nothing else.
 */
#ifndef WB_EMBEDDINGS_FILE_H
#define WB_EMBEDDINGS_FILE_H

#include "status.h"

#include <stdint.h>

enum { WB_EMBEDDINGS_TEXT = 512, WB_EMBEDDINGS_ID = 1024 };

typedef struct wb_embeddings_facts {
    char model[WB_EMBEDDINGS_TEXT]; /* folder or name of the model */
    char role[32];                  /* "query" or "passage" */
    int64_t max_tokens;
    bool normalized; /* rows are unit vectors */
} wb_embeddings_facts;

typedef struct wb_embeddings_writer wb_embeddings_writer;
typedef struct wb_embeddings_reader wb_embeddings_reader;

/* Local. Begins PATH.tmp for rows of `width` values. Errors: WB_ERR_DISK, WB_ERR_MEMORY. */
wb_status wb_embeddings_create(wb_embeddings_writer **writer, const char *path, int64_t width,
                               const wb_embeddings_facts *facts);

/* Local. Appends rows; an id has 1 to WB_EMBEDDINGS_ID - 1 bytes of UTF-8.
 *   values [rows, width]   ids [rows]   borrowed for the call (ids are kept as copies)
 * Errors: WB_ERR_DISK, WB_ERR_MEMORY, WB_ERR_INPUT (an id). */
wb_status wb_embeddings_append(wb_embeddings_writer *writer, int64_t rows, const float *values,
                               const char *const *ids);

/* Local. Completes the file under its name, durably, and frees the writer, also on error, when
 * nothing is left behind. Error: WB_ERR_DISK. */
wb_status wb_embeddings_commit(wb_embeddings_writer *writer);

/* Local. Removes what was written and frees the writer. NULL-safe. */
void wb_embeddings_discard(wb_embeddings_writer *writer);

/* Local. Opens a file and checks its layout. Close with wb_embeddings_close, which takes NULL.
 * Errors: WB_ERR_INPUT, WB_ERR_MEMORY. */
wb_status wb_embeddings_open(wb_embeddings_reader **reader, const char *path);
void wb_embeddings_close(wb_embeddings_reader *reader);

int64_t wb_embeddings_rows(const wb_embeddings_reader *reader);
int64_t wb_embeddings_width(const wb_embeddings_reader *reader);
const wb_embeddings_facts *wb_embeddings_facts_of(const wb_embeddings_reader *reader);

/* Local. Rows [first, first + rows), which must exist.
 *   values [rows, width]   filled
 * Errors: WB_ERR_INPUT where a value is not finite or a chunk's checksum is wrong. */
wb_status wb_embeddings_read(const wb_embeddings_reader *reader, int64_t first, int64_t rows,
                             float *values);

/* Ids of some rows: NUL-terminated strings at equal distances in one block. */
typedef struct wb_embeddings_ids {
    char *bytes; /* [rows, stride], owned: free with wb_embeddings_ids_clear */
    size_t stride;
    int64_t rows;
} wb_embeddings_ids;

static inline const char *wb_embeddings_id(const wb_embeddings_ids *ids, int64_t row) {
    return ids->bytes + (size_t)row * ids->stride;
}

/* Local. Ids of rows [first, first + rows). Errors: WB_ERR_INPUT (empty, or not UTF-8),
 * WB_ERR_MEMORY. */
wb_status wb_embeddings_read_ids(const wb_embeddings_reader *reader, int64_t first, int64_t rows,
                                 wb_embeddings_ids *ids);
void wb_embeddings_ids_clear(wb_embeddings_ids *ids);

#endif
