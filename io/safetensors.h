/* safetensors: named tensors in one file, in and out.
 *
 *     [ 8 bytes N ][ N bytes of JSON, may end in blanks ][ tensor bytes, packed, row-major ]
 *       little-endian   {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, …}
 *
 * The file is trusted with nothing: lengths, types, shapes and ranges are checked before a byte of
 * a tensor is read, ranges must tile the buffer from its first byte to its last, and values must be
 * finite. Bytes are read with pread, never mapped, so a file that shrinks is an error and no crash.
 */
#ifndef WB_SAFETENSORS_H
#define WB_SAFETENSORS_H

#include "status.h"
#include "tensor.h"

#include <stdint.h>

enum { WB_SAFETENSORS_RANK = 8 };

/* name in the file, bits of an element */
#define WB_DTYPE_TABLE(X)                                                                          \
    X(BOOL, 8)                                                                                     \
    X(U8, 8)                                                                                       \
    X(I8, 8)                                                                                       \
    X(I16, 16)                                                                                     \
    X(U16, 16)                                                                                     \
    X(I32, 32)                                                                                     \
    X(U32, 32)                                                                                     \
    X(I64, 64)                                                                                     \
    X(U64, 64)                                                                                     \
    X(F4, 4)                                                                                       \
    X(F6_E2M3, 6)                                                                                  \
    X(F6_E3M2, 6)                                                                                  \
    X(F8_E5M2, 8)                                                                                  \
    X(F8_E4M3, 8)                                                                                  \
    X(F8_E8M0, 8)                                                                                  \
    X(F8_E4M3FNUZ, 8)                                                                              \
    X(F8_E5M2FNUZ, 8)                                                                              \
    X(F16, 16)                                                                                     \
    X(BF16, 16)                                                                                    \
    X(F32, 32)                                                                                     \
    X(F64, 64)                                                                                     \
    X(C64, 64)

typedef enum wb_dtype {
#define WB_DTYPE_ENUM(name, bits) WB_DTYPE_##name,
    WB_DTYPE_TABLE(WB_DTYPE_ENUM)
#undef WB_DTYPE_ENUM
        WB_DTYPE_COUNT
} wb_dtype;

typedef struct wb_safetensors_entry {
    char *name;
    wb_dtype dtype;
    int rank;
    int64_t shape[WB_SAFETENSORS_RANK];
    int64_t count;      /* elements */
    int64_t begin, end; /* bytes, from the start of the tensor buffer */
} wb_safetensors_entry;

typedef struct wb_safetensors wb_safetensors;

/* Local. The name of a dtype as it stands in files. */
const char *wb_dtype_name(wb_dtype dtype);

/* Local. Opens `path` and checks everything but the values. Close with wb_safetensors_close, which
 * takes NULL. Errors: WB_ERR_INPUT with path and tensor; WB_ERR_MEMORY. */
wb_status wb_safetensors_open(wb_safetensors **file, const char *path);
void wb_safetensors_close(wb_safetensors *file);

/* Local. Entries, in the order of their bytes in the file. Borrowed until the file is closed. */
int64_t wb_safetensors_count(const wb_safetensors *file);
const wb_safetensors_entry *wb_safetensors_at(const wb_safetensors *file, int64_t i);

/* Local. The entry called `name`, or NULL. Borrowed likewise. */
const wb_safetensors_entry *wb_safetensors_find(const wb_safetensors *file, const char *name);

/* Local. Reads an entry of `file` as float: F32, F16 and BF16 exactly, F64 rounded to nearest.
 *   values [entry->count]   filled
 * Errors: WB_ERR_INPUT where the dtype is another, a value is not finite (also after rounding), or
 * the file changed since it was opened. */
wb_status wb_safetensors_read(const wb_safetensors *file, const wb_safetensors_entry *entry,
                              float *values);

/* Some tensors to write: a table and its flat array. */
typedef struct wb_safetensors_part {
    const wb_tensor_table *table;
    const float *values; /* [table->total] */
} wb_safetensors_part;

/* Local. Writes all tensors of a table, or of several, as F32 with metadata format=pt, each name
 * behind `prefix` (NULL: none). Values go out straight from their arrays; the file is there whole
 * or not at all. Errors: WB_ERR_DISK, WB_ERR_MEMORY. */
wb_status wb_safetensors_write(const char *path, const wb_tensor_table *table, const float *values,
                               const char *prefix);
wb_status wb_safetensors_write_parts(const char *path, const wb_safetensors_part *parts,
                                     int64_t count, const char *prefix);

#endif
