/* The tensor table. */
#include "tensor.h"

#include "units.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static wb_status grow(wb_tensor_table *table) {
    if (table->length < table->capacity) {
        return WB_OK;
    }
    const int64_t capacity = table->capacity > 0 ? 2 * table->capacity : 64;
    wb_tensor *rows = realloc(table->tensors, (size_t)capacity * sizeof(*rows));
    if (!rows) {
        return WB_ERROR(WB_ERR_MEMORY, "no memory for a table of %lld tensors",
                        (long long)capacity);
    }
    table->tensors = rows;
    table->capacity = capacity;
    return WB_OK;
}

wb_status wb_tensor_add(wb_tensor_table *table, bool decay, int64_t rows, int64_t columns,
                        const char *name, ...) {
    wb_status status = WB_OK;
    WB_TRY(grow(table));
    wb_tensor *tensor = &table->tensors[table->length];
    va_list arguments;
    va_start(arguments, name);
    const int length = vsnprintf(tensor->name, sizeof(tensor->name), name, arguments);
    va_end(arguments);
    WB_CHECK(length > 0 && length < WB_TENSOR_NAME, WB_ERR_INPUT,
             "tensor name of %d characters; at most %d are allowed", length, WB_TENSOR_NAME - 1);
    tensor->rank = columns > 0 ? 2 : 1;
    tensor->shape[0] = rows;
    tensor->shape[1] = columns > 0 ? columns : 1;
    tensor->decay = decay;
    tensor->offset = table->total;
    int64_t total;
    const bool fits = wb_multiply(rows, tensor->shape[1], &tensor->count) &&
                      !__builtin_add_overflow(table->total, tensor->count, &total) &&
                      total < INT64_MAX / 64;
    WB_CHECK(fits, WB_ERR_INPUT, "tensor %s of %lld x %lld elements is too large", tensor->name,
             (long long)rows, (long long)columns);
    table->total = total;
    table->length++;
done:
    return status;
}

const wb_tensor *wb_tensor_find(const wb_tensor_table *table, const char *name) {
    for (int64_t i = 0; i < table->length; i++) {
        if (strcmp(table->tensors[i].name, name) == 0) {
            return &table->tensors[i];
        }
    }
    return NULL;
}

void wb_tensor_table_clear(wb_tensor_table *table) {
    free(table->tensors);
    *table = (wb_tensor_table){0};
}
