/* safetensors over pread and jansson. */
#include "safetensors.h"

#include "files.h"
#include "foreign_file.h"
#include "json.h"
#include "units.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensor bytes are little-endian");

enum {
    LENGTH_BYTES = 8,
    HEADER_MOST = 100 * 1000 * 1000, /* bytes, as in the reference implementation */
    TENSORS_MOST = 100 * 1000,
    DEPTH_MOST = 127, /* of objects and arrays, likewise */
    BLOCK = 1 << 14,  /* elements converted at once */
};

static const struct {
    const char *name;
    int64_t bits;
} dtypes[WB_DTYPE_COUNT] = {
#define WB_DTYPE_ROW(name, bits) {#name, bits},
    WB_DTYPE_TABLE(WB_DTYPE_ROW)
#undef WB_DTYPE_ROW
};

struct wb_safetensors {
    int file;
    char *path;
    struct stat opened; /* size and time when it was checked */
    int64_t buffer;     /* where tensor bytes begin in the file */
    wb_safetensors_entry *entries;
    int64_t count;
    const wb_safetensors_entry **by_name; /* [count], sorted */
};

const char *wb_dtype_name(wb_dtype dtype) {
    return dtypes[dtype].name;
}

/* Rules that a parsed header would no longer show: -0 is no count, and not even what is ignored may
 * be nested deeply. */
static wb_status check_zeros_and_depth(const char *text, size_t bytes, const char *path) {
    int depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < bytes; i++) {
        const char c = text[i];
        if (quoted) {
            i += c == '\\';
            quoted = c != '"';
        } else if (c == '-' && text[i + 1] == '0') { /* the last byte is no minus */
            return WB_ERROR(WB_ERR_INPUT, "%s: -0 at byte %zu; it must be a whole number", path,
                            LENGTH_BYTES + i);
        } else if ((c == '{' || c == '[') && ++depth > DEPTH_MOST) {
            return WB_ERROR(WB_ERR_INPUT, "%s: nested deeper than %d at byte %zu", path, DEPTH_MOST,
                            LENGTH_BYTES + i);
        } else {
            depth -= c == '}' || c == ']';
            quoted = c == '"';
        }
    }
    return WB_OK;
}

/* Rules on the bytes of the header before they are parsed. */
static wb_status check_header_text(const char *text, size_t bytes, const char *path) {
    if (text[0] != '{') {
        return WB_ERROR(WB_ERR_INPUT, "%s: the header begins with byte 0x%02x; it must be {", path,
                        (unsigned)(unsigned char)text[0]);
    }
    size_t end = bytes;
    while (text[end - 1] == ' ') {
        end--;
    }
    if (text[end - 1] != '}') {
        return WB_ERROR(WB_ERR_INPUT,
                        "%s: the header ends with byte 0x%02x; after the closing } only blanks are "
                        "allowed",
                        path, (unsigned)(unsigned char)text[end - 1]);
    }
    return check_zeros_and_depth(text, end, path);
}

static wb_status check_metadata(json_t *metadata, const char *path) {
    if (json_typeof(metadata) != JSON_OBJECT) {
        return WB_ERROR(WB_ERR_INPUT, "%s: __metadata__ must be an object of strings", path);
    }
    for (void *at = json_object_iter(metadata); at; at = json_object_iter_next(metadata, at)) {
        if (json_typeof(json_object_iter_value(at)) != JSON_STRING) {
            return WB_ERROR(WB_ERR_INPUT, "%s: __metadata__: \"%.100s\" must be a string", path,
                            json_object_iter_key(at));
        }
    }
    return WB_OK;
}

static wb_status read_dtype(wb_safetensors_entry *entry, const json_t *object, const char *where) {
    const char *name = NULL;
    const wb_status status = wb_json_string(object, "dtype", true, where, &name);
    if (status != WB_OK) {
        return status;
    }
    for (int i = 0; i < WB_DTYPE_COUNT; i++) {
        if (strcmp(dtypes[i].name, name) == 0) {
            entry->dtype = (wb_dtype)i;
            return WB_OK;
        }
    }
    return WB_ERROR(WB_ERR_INPUT, "%s: unknown dtype \"%.40s\"; weights are F32, F16, BF16 or F64",
                    where, name);
}

/* Non-negative integers of an array member of `least` to `most` elements. */
static wb_status read_array(const json_t *object, const char *key, size_t least, size_t most,
                            const char *where, int64_t *out, int *length) {
    const json_t *array = json_object_get(object, key);
    if (!json_is_array(array)) {
        return WB_ERROR(WB_ERR_INPUT, "%s: \"%s\" must be an array", where, key);
    }
    const size_t size = json_array_size(array);
    if (size < least || size > most) {
        return WB_ERROR(WB_ERR_INPUT, "%s: \"%s\" has %zu elements; %zu to %zu are allowed", where,
                        key, size, least, most);
    }
    for (size_t i = 0; i < size; i++) {
        const json_t *value = json_array_get(array, i);
        if (json_typeof(value) != JSON_INTEGER || json_integer_value(value) < 0) {
            return WB_ERROR(WB_ERR_INPUT,
                            "%s: \"%s\"[%zu] must be a whole number from 0 to 2^63 - 1", where, key,
                            i);
        }
        out[i] = json_integer_value(value);
    }
    *length = (int)size;
    return WB_OK;
}

/* The range must hold exactly shape x dtype. */
static wb_status check_size(wb_safetensors_entry *entry, const char *where) {
    int64_t bits = 0;
    entry->count = 1;
    for (int i = 0; i < entry->rank; i++) {
        if (!wb_multiply(entry->count, entry->shape[i], &entry->count)) {
            return WB_ERROR(WB_ERR_INPUT, "%s: the product of the shape leaves 63 bits", where);
        }
    }
    if (!wb_multiply(entry->count, dtypes[entry->dtype].bits, &bits)) {
        return WB_ERROR(WB_ERR_INPUT, "%s: %lld elements of %s leave 63 bits", where,
                        (long long)entry->count, dtypes[entry->dtype].name);
    }
    if (bits % 8 != 0) {
        return WB_ERROR(WB_ERR_INPUT, "%s: %lld elements of %s do not end on a byte", where,
                        (long long)entry->count, dtypes[entry->dtype].name);
    }
    if (entry->begin > entry->end) {
        return WB_ERROR(WB_ERR_INPUT, "%s: data_offsets begin at %lld, after their end %lld", where,
                        (long long)entry->begin, (long long)entry->end);
    }
    if (entry->end - entry->begin != bits / 8) {
        return WB_ERROR(WB_ERR_INPUT, "%s: data_offsets span %lld bytes; shape and dtype need %lld",
                        where, (long long)(entry->end - entry->begin), (long long)(bits / 8));
    }
    return WB_OK;
}

static wb_status read_entry(wb_safetensors_entry *entry, const char *name, const json_t *object,
                            const char *path) {
    wb_status status = WB_OK;
    char where[WB_PATH + 200];
    int64_t offsets[2] = {0};
    int length = 0;
    (void)snprintf(where, sizeof(where), "%s: tensor %.160s", path, name);
    WB_CHECK(json_typeof(object) == JSON_OBJECT, WB_ERR_INPUT, "%s: must be an object", where);
    entry->name = strdup(name);
    WB_CHECK(entry->name, WB_ERR_MEMORY, "%s: no memory for its name", where);
    WB_TRY(read_dtype(entry, object, where));
    WB_TRY(read_array(object, "shape", 0, WB_SAFETENSORS_RANK, where, entry->shape, &entry->rank));
    WB_TRY(read_array(object, "data_offsets", 2, 2, where, offsets, &length));
    entry->begin = offsets[0];
    entry->end = offsets[1];
    WB_TRY(check_size(entry, where));
done:
    return status;
}

static wb_status read_entries(wb_safetensors *file, json_t *header) {
    wb_status status = WB_OK;
    const size_t size = json_object_size(header);
    WB_CHECK(size <= TENSORS_MOST, WB_ERR_INPUT, "%s: %zu tensors; at most %d are allowed",
             file->path, size, TENSORS_MOST);
    file->entries = calloc(size + 1, sizeof(*file->entries));
    file->by_name = calloc(size + 1, sizeof(*file->by_name));
    WB_CHECK(file->entries && file->by_name, WB_ERR_MEMORY, "%s: no memory for %zu tensors",
             file->path, size);
    for (void *at = json_object_iter(header); at; at = json_object_iter_next(header, at)) {
        const char *name = json_object_iter_key(at);
        json_t *value = json_object_iter_value(at);
        if (strcmp(name, "__metadata__") == 0) {
            WB_TRY(check_metadata(value, file->path));
        } else {
            WB_TRY(read_entry(&file->entries[file->count++], name, value, file->path));
        }
    }
done:
    return status;
}

static int by_range(const void *a, const void *b) {
    const wb_safetensors_entry *x = a;
    const wb_safetensors_entry *y = b;
    if (x->begin != y->begin) {
        return x->begin < y->begin ? -1 : 1;
    }
    return (x->end > y->end) - (x->end < y->end);
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(const wb_safetensors_entry *const *)a)->name,
                  (*(const wb_safetensors_entry *const *)b)->name);
}

static int name_of(const void *name, const void *b) {
    return strcmp(name, (*(const wb_safetensors_entry *const *)b)->name);
}

static wb_status check_tiling(wb_safetensors *file) {
    const size_t count = (size_t)file->count;
    int64_t end = 0;
    qsort(file->entries, count, sizeof(*file->entries), by_range);
    for (int64_t i = 0; i < file->count; i++) {
        const wb_safetensors_entry *entry = &file->entries[i];
        file->by_name[i] = entry;
        if (entry->begin != end) {
            return WB_ERROR(WB_ERR_INPUT,
                            "%s: tensor %.160s begins at %lld, %s the end %lld of the one before; "
                            "tensors must follow each other from 0",
                            file->path, entry->name, (long long)entry->begin,
                            entry->begin < end ? "overlapping" : "leaving a hole after",
                            (long long)end);
        }
        end = entry->end;
    }
    const int64_t present = (int64_t)file->opened.st_size - file->buffer;
    if (end != present) {
        return WB_ERROR(WB_ERR_INPUT, "%s: the tensors take %lld bytes, the file holds %lld%s",
                        file->path, (long long)end, (long long)present,
                        end > present ? "; is it an incomplete download?" : "");
    }
    qsort(file->by_name, count, sizeof(const wb_safetensors_entry *), by_name);
    return WB_OK;
}

static wb_status open_regular(wb_safetensors *file, const char *path) {
    file->path = strdup(path);
    if (!file->path) {
        return WB_ERROR(WB_ERR_MEMORY, "%s: no memory to open it", path);
    }
    file->file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file->file < 0) {
        return WB_ERROR(WB_ERR_INPUT, "%s: cannot open: %s", path, strerror(errno));
    }
    if (fstat(file->file, &file->opened) != 0 || !S_ISREG(file->opened.st_mode)) {
        return WB_ERROR(WB_ERR_INPUT, "%s: is not a regular file", path);
    }
    return WB_OK;
}

/* *bytes is what the file claims as its header, within the file and the bound. */
static wb_status read_header_length(const wb_safetensors *file, size_t *bytes) {
    const uint64_t size = (uint64_t)file->opened.st_size;
    uint64_t length = 0;
    if (size < LENGTH_BYTES) {
        return WB_ERROR(WB_ERR_INPUT, "%s: %llu bytes are too few for a safetensors file",
                        file->path, (unsigned long long)size);
    }
    const wb_status status = wb_file_read_at(file->file, file->path, 0, &length, LENGTH_BYTES);
    if (status != WB_OK) {
        return status;
    }
    if (length == 0 || length > HEADER_MOST || length > size - LENGTH_BYTES) {
        char head[WB_FOREIGN_HEAD] = "";
        const size_t there = size < sizeof(head) ? (size_t)size : sizeof(head);
        wb_status known = wb_file_read_at(file->file, file->path, 0, head, there);
        known = known == WB_OK ? wb_foreign_file_check(file->path, head, there) : known;
        if (known != WB_OK) {
            return known;
        }
        return WB_ERROR(WB_ERR_INPUT,
                        "%s: the header claims %llu bytes; the file has %llu after its length, and "
                        "1 to %d are allowed",
                        file->path, (unsigned long long)length,
                        (unsigned long long)(size - LENGTH_BYTES), HEADER_MOST);
    }
    *bytes = (size_t)length;
    return WB_OK;
}

wb_status wb_safetensors_open(wb_safetensors **result, const char *path) {
    wb_status status = WB_OK;
    char *text = NULL;
    json_t *header = NULL;
    size_t bytes = 0;
    wb_safetensors *file = calloc(1, sizeof(*file));
    WB_CHECK(file, WB_ERR_MEMORY, "%s: no memory to open it", path);
    file->file = -1;
    WB_TRY(open_regular(file, path));
    WB_TRY(read_header_length(file, &bytes));
    text = malloc(bytes);
    WB_CHECK(text, WB_ERR_MEMORY, "%s: no memory for a header of %s", path,
             wb_bytes_text(bytes).text);
    WB_TRY(wb_file_read_at(file->file, path, LENGTH_BYTES, text, bytes));
    WB_TRY(check_header_text(text, bytes, path));
    WB_TRY(wb_json_parse(&header, text, bytes, path, 1));
    file->buffer = LENGTH_BYTES + (int64_t)bytes;
    WB_TRY(read_entries(file, header));
    WB_TRY(check_tiling(file));
    *result = file;
    file = NULL;
done:
    json_decref(header);
    free(text);
    wb_safetensors_close(file);
    return status;
}

void wb_safetensors_close(wb_safetensors *file) {
    if (!file) {
        return;
    }
    for (int64_t i = 0; i < file->count; i++) {
        free(file->entries[i].name);
    }
    free(file->entries);
    free(file->by_name);
    free(file->path);
    if (file->file >= 0) {
        (void)close(file->file);
    }
    free(file);
}

int64_t wb_safetensors_count(const wb_safetensors *file) {
    return file->count;
}

const wb_safetensors_entry *wb_safetensors_at(const wb_safetensors *file, int64_t i) {
    return &file->entries[i];
}

const wb_safetensors_entry *wb_safetensors_find(const wb_safetensors *file, const char *name) {
    const wb_safetensors_entry *const *found = bsearch(
        name, file->by_name, (size_t)file->count, sizeof(const wb_safetensors_entry *), name_of);
    return found ? *found : NULL;
}

static float from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static float from_half(uint16_t half) {
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    const uint32_t exponent = (half >> 10) & 0x1fu;
    const uint32_t fraction = half & 0x3ffu;
    if (exponent == 0) {
        const float magnitude = (float)fraction * 0x1p-24f;
        return sign ? -magnitude : magnitude;
    }
    const uint32_t widened = exponent == 31 ? 255 : exponent + 112;
    return from_bits(sign | widened << 23 | fraction << 13);
}

static void convert(float *values, const void *raw, int64_t count, wb_dtype dtype) {
    for (int64_t i = 0; i < count; i++) {
        if (dtype == WB_DTYPE_F16) {
            values[i] = from_half(((const uint16_t *)raw)[i]);
        } else if (dtype == WB_DTYPE_BF16) {
            values[i] = from_bits((uint32_t)((const uint16_t *)raw)[i] << 16);
        } else {
            values[i] = (float)((const double *)raw)[i];
        }
    }
}

static wb_status check_finite(const float *values, const wb_safetensors_entry *entry,
                              const char *path) {
    int64_t bad = 0;
    for (int64_t i = 0; i < entry->count; i++) {
        bad += !isfinite(values[i]);
    }
    if (bad == 0) {
        return WB_OK;
    }
    int64_t first = 0;
    while (isfinite(values[first])) {
        first++;
    }
    return WB_ERROR(
        WB_ERR_INPUT,
        "%s: tensor %.160s: %lld of %lld values are not finite, the first (%g) at %lld; "
        "the model is damaged",
        path, entry->name, (long long)bad, (long long)entry->count, (double)values[first],
        (long long)first);
}

static wb_status read_converted(const wb_safetensors *file, const wb_safetensors_entry *entry,
                                float *values) {
    wb_status status = WB_OK;
    const int64_t size = dtypes[entry->dtype].bits / 8;
    void *block = malloc((size_t)(BLOCK * size));
    WB_CHECK(block, WB_ERR_MEMORY, "%s: no memory for a block of values", file->path);
    for (int64_t done = 0; done < entry->count; done += BLOCK) {
        const int64_t count = entry->count - done < BLOCK ? entry->count - done : BLOCK;
        WB_TRY(wb_file_read_at(file->file, file->path, file->buffer + entry->begin + done * size,
                               block, (size_t)(count * size)));
        convert(values + done, block, count, entry->dtype);
    }
done:
    free(block);
    return status;
}

static wb_status check_unchanged(const wb_safetensors *file) {
    struct stat now;
    if (fstat(file->file, &now) != 0 || now.st_size != file->opened.st_size ||
        now.st_mtim.tv_sec != file->opened.st_mtim.tv_sec ||
        now.st_mtim.tv_nsec != file->opened.st_mtim.tv_nsec) {
        return WB_ERROR(WB_ERR_INPUT, "%s: the file changed while it was being read", file->path);
    }
    return WB_OK;
}

wb_status wb_safetensors_read(const wb_safetensors *file, const wb_safetensors_entry *entry,
                              float *values) {
    wb_status status = WB_OK;
    switch (entry->dtype) {
    case WB_DTYPE_F32:
        WB_TRY(wb_file_read_at(file->file, file->path, file->buffer + entry->begin, values,
                               wb_float_bytes(entry->count)));
        break;
    case WB_DTYPE_F16:
    case WB_DTYPE_BF16:
    case WB_DTYPE_F64:
        WB_TRY(read_converted(file, entry, values));
        break;
    default:
        WB_CHECK(false, WB_ERR_INPUT,
                 "%s: tensor %.160s has dtype %s; weights must be F32, F16, BF16 or F64",
                 file->path, entry->name, dtypes[entry->dtype].name);
    }
    WB_TRY(check_unchanged(file));
    WB_TRY(check_finite(values, entry, file->path));
done:
    return status;
}

/* Adds a table's entries to the header; *end moves on by the bytes they take. */
static wb_status describe_part(json_t *header, const wb_safetensors_part *part, const char *prefix,
                               int64_t *end) {
    for (int64_t i = 0; i < part->table->length; i++) {
        const wb_tensor *tensor = &part->table->tensors[i];
        char name[2 * WB_TENSOR_NAME];
        (void)snprintf(name, sizeof(name), "%s%s", prefix ? prefix : "", tensor->name);
        const json_int_t begin = *end;
        *end += tensor->count * (int64_t)sizeof(float);
        json_t *shape = tensor->rank == 1 ? json_pack("[I]", (json_int_t)tensor->shape[0])
                                          : json_pack("[I, I]", (json_int_t)tensor->shape[0],
                                                      (json_int_t)tensor->shape[1]);
        json_t *entry = json_pack("{s: s, s: o, s: [I, I]}", "dtype", "F32", "shape", shape,
                                  "data_offsets", begin, (json_int_t)*end);
        if (!entry || json_object_set_new(header, name, entry) != 0) {
            return WB_ERROR(WB_ERR_MEMORY, "no memory for a safetensors header");
        }
    }
    return WB_OK;
}

/* *text: the length, the JSON and blanks up to a multiple of 8 bytes; owned by the caller. */
static wb_status build_header(char **text, size_t *bytes, const wb_safetensors_part *parts,
                              int64_t count, const char *prefix) {
    wb_status status = WB_OK;
    int64_t end = 0;
    char *json = NULL;
    json_t *header = json_pack("{s: {s: s}}", "__metadata__", "format", "pt");
    WB_CHECK(header, WB_ERR_MEMORY, "no memory for a safetensors header");
    for (int64_t i = 0; i < count; i++) {
        WB_TRY(describe_part(header, &parts[i], prefix, &end));
    }
    WB_TRY(wb_json_text(&json, header, JSON_COMPACT, "a safetensors header"));
    const size_t used = strlen(json);
    const uint64_t length = (used + 7) / 8 * 8;
    *bytes = LENGTH_BYTES + (size_t)length;
    *text = malloc(*bytes);
    WB_CHECK(*text, WB_ERR_MEMORY, "no memory for a safetensors header");
    memset(*text, ' ', *bytes);
    memcpy(*text, &length, LENGTH_BYTES);
    memcpy(*text + LENGTH_BYTES, json, used);
done:
    free(json);
    json_decref(header);
    return status;
}

wb_status wb_safetensors_write_parts(const char *path, const wb_safetensors_part *parts,
                                     int64_t count, const char *prefix) {
    wb_status status = WB_OK;
    char *header = NULL;
    size_t bytes = 0;
    wb_draft draft = WB_DRAFT_NONE;
    WB_TRY(build_header(&header, &bytes, parts, count, prefix));
    WB_TRY(wb_draft_begin(&draft, path));
    WB_TRY(wb_draft_append(&draft, header, bytes));
    for (int64_t i = 0; i < count; i++) {
        WB_TRY(wb_draft_append(&draft, parts[i].values, wb_float_bytes(parts[i].table->total)));
    }
    WB_TRY(wb_draft_commit(&draft));
done:
    wb_draft_discard(&draft);
    free(header);
    return status;
}

wb_status wb_safetensors_write(const char *path, const wb_tensor_table *table, const float *values,
                               const char *prefix) {
    const wb_safetensors_part part = {.table = table, .values = values};
    return wb_safetensors_write_parts(path, &part, 1, prefix);
}
