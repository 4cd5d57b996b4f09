/* The table of a model's parameters: declared once by the encoder, used for everything.
 *
 * Names are Hugging Face's. Values, gradients and optimizer state are flat arrays of `total`
 * floats that share the table's offsets, so a reduction, an optimizer update or a checkpoint walks
 * one array and asks the table only where a tensor begins.
 */
#ifndef WB_TENSOR_H
#define WB_TENSOR_H

#include "status.h"

#include <stdint.h>

enum { WB_TENSOR_NAME = 112, WB_TENSOR_RANK = 2 };

typedef struct wb_tensor {
    char name[WB_TENSOR_NAME];
    int rank;                      /* number of dimensions, 1 or 2 */
    int64_t shape[WB_TENSOR_RANK]; /* row-major; shape[1] is 1 where rank is 1 */
    int64_t offset;                /* first element in the flat arrays */
    int64_t count;                 /* elements */
    bool decay;                    /* weight decay applies (not on biases and layer norms) */
} wb_tensor;

typedef struct wb_tensor_table {
    wb_tensor *tensors; /* [length], owned; in order of offset, without gaps */
    int64_t length, capacity;
    int64_t total; /* elements of the flat arrays */
} wb_tensor_table;

/* Local. Appends a tensor after the last; `columns` is 0 for a vector. `name` is a printf format.
 * Errors: WB_ERR_MEMORY; WB_ERR_INPUT where the size leaves int64_t or the name is too long. */
wb_status wb_tensor_add(wb_tensor_table *table, bool decay, int64_t rows, int64_t columns,
                        const char *name, ...) __attribute__((format(printf, 5, 6)));

/* Local. The tensor called `name`, or NULL. Borrowed from the table. */
const wb_tensor *wb_tensor_find(const wb_tensor_table *table, const char *name);

/* Local. Frees the rows and empties the table. */
void wb_tensor_table_clear(wb_tensor_table *table);

#endif
