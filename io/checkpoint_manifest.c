/* Manifests over jansson. */
#include "checkpoint_manifest.h"

#include "hash.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    FORMAT = 2,               /* of manifest and state.h5 */
    MANIFEST_MOST = 16 << 20, /* bytes */
    FILES_MOST = 100000,
};

static const char STATE_NAME[] = "state.h5";
static const char MANIFEST_NAME[] = "manifest.json";

/* ---- Writing
 * ------------------------------------------------------------------------------------------- */

static json_t *hex(uint64_t value) {
    char text[32];
    (void)snprintf(text, sizeof(text), "%016" PRIx64, value);
    return json_string(text);
}

/* The sum of a manifest: of its members in order of their names, without blanks, but for "sum". */
static wb_status sum_manifest(const json_t *root, uint64_t *sum) {
    wb_status status = WB_OK;
    char *text = NULL;
    json_t *rest = json_copy((json_t *)root);
    WB_CHECK(rest, WB_ERR_MEMORY, "no memory for a manifest");
    (void)json_object_del(rest, "sum");
    WB_TRY(wb_json_text(&text, rest, JSON_COMPACT | JSON_SORT_KEYS, "a manifest"));
    *sum = wb_hash(text, strlen(text));
done:
    free(text);
    json_decref(rest);
    return status;
}

static json_t *describe_shape(const wb_tensor *tensor) {
    json_t *shape = json_pack("[I]", (json_int_t)tensor->shape[0]);
    if (tensor->rank == 2) {
        (void)json_array_append_new(shape, json_integer(tensor->shape[1]));
    }
    return shape;
}

/* A tensor: its shape, for people, and for each array whose file holds it, and its sum. */
static json_t *list_tensors(const wb_checkpoint *state, const int64_t *holders,
                            const uint64_t *sums) {
    json_t *list = json_array();
    const int64_t tensors = state->table->length;
    for (int64_t i = 0; i < tensors; i++) {
        const wb_tensor *tensor = &state->table->tensors[i];
        json_t *parts = json_array();
        for (int64_t a = 0; a < wb_checkpoint_arrays(state); a++) {
            (void)json_array_append_new(parts, json_pack("{s: I, s: o}", "step",
                                                         (json_int_t)holders[a * tensors + i],
                                                         "xxh3", hex(sums[a * tensors + i])));
        }
        (void)json_array_append_new(list,
                                    json_pack("{s: s, s: o, s: o}", "name", tensor->name, "shape",
                                              describe_shape(tensor), "parts", parts));
    }
    return list;
}

static json_t *list_files(const wb_manifest_file *files, int64_t count) {
    json_t *list = json_array();
    for (int64_t i = 0; i < count; i++) {
        (void)json_array_append_new(list, json_pack("{s: I, s: s, s: I, s: o}", "step",
                                                    (json_int_t)files[i].step, "name", STATE_NAME,
                                                    "bytes", (json_int_t)files[i].bytes, "xxh3",
                                                    hex(files[i].sum)));
    }
    return list;
}

static json_t *list_arrays(const wb_checkpoint *state) {
    json_t *list = json_array();
    for (int64_t a = 0; a < wb_checkpoint_arrays(state); a++) {
        (void)json_array_append_new(list, json_string(wb_checkpoint_array_name(state, a)));
    }
    return list;
}

wb_status wb_manifest_write(const char *folder, const wb_checkpoint *state, const int64_t *holders,
                            const uint64_t *sums, const wb_manifest_file *files,
                            int64_t file_count) {
    wb_status status = WB_OK;
    char path[WB_PATH];
    uint64_t sum = 0;
    json_t *arrays = list_arrays(state), *tensors = list_tensors(state, holders, sums),
           *listed = list_files(files, file_count);
    const bool whole = (int64_t)json_array_size(arrays) == wb_checkpoint_arrays(state) &&
                       (int64_t)json_array_size(tensors) == state->table->length &&
                       (int64_t)json_array_size(listed) == file_count;
    json_t *root = json_pack(
        "{s: i, s: s, s: I, s: I, s: b, s: I, s: o, s: o, s: I, s: o, s: o, s: o}", "format",
        FORMAT, "writer", "widebatch " WB_VERSION, "step", (json_int_t)state->step, "total_steps",
        (json_int_t)state->total_steps, "finished", state->finished, "rows",
        (json_int_t)state->rows, "seed", hex(state->seed), "config_hash", hex(state->config_hash),
        "parameters", (json_int_t)state->table->total, "arrays", arrays, "tensors", tensors,
        "files", listed);
    WB_CHECK(root && whole, WB_ERR_MEMORY, "no memory for a manifest");
    WB_TRY(sum_manifest(root, &sum));
    WB_CHECK(json_object_set_new(root, "sum", hex(sum)) == 0, WB_ERR_MEMORY,
             "no memory for a manifest");
    WB_TRY(wb_path_join(path, folder, "%s", MANIFEST_NAME));
    WB_TRY(wb_json_write(root, path));
done:
    json_decref(root);
    return status;
}

/* ---- Reading
 * ------------------------------------------------------------------------------------------- */

static wb_status get_hex(const json_t *object, const char *key, const char *where,
                         uint64_t *value) {
    const char *text = NULL;
    const wb_status status = wb_json_string(object, key, true, where, &text);
    if (status != WB_OK) {
        return status;
    }
    if (strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16) {
        return WB_ERROR(WB_ERR_INPUT, "%s: \"%s\" must be 16 hexadecimal digits", where, key);
    }
    *value = strtoull(text, NULL, 16);
    return WB_OK;
}

static wb_status parse_facts(wb_manifest *m, const char *where) {
    wb_status status = WB_OK;
    wb_checkpoint *facts = &m->facts;
    int64_t format = 0;
    WB_TRY(wb_json_integer(m->root, "format", true, FORMAT, FORMAT, where, &format));
    WB_TRY(wb_json_integer(m->root, "step", true, 0, INT64_MAX, where, &facts->step));
    WB_TRY(wb_json_integer(m->root, "total_steps", true, 0, INT64_MAX, where, &facts->total_steps));
    WB_TRY(wb_json_bool(m->root, "finished", true, where, &facts->finished));
    WB_TRY(wb_json_integer(m->root, "rows", true, 0, INT64_MAX, where, &facts->rows));
    WB_TRY(get_hex(m->root, "seed", where, &facts->seed));
    WB_TRY(get_hex(m->root, "config_hash", where, &facts->config_hash));
    WB_TRY(wb_json_integer(m->root, "parameters", true, 0, INT64_MAX, where, &m->total));
done:
    return status;
}

static wb_status parse_files(wb_manifest *m, const char *where) {
    wb_status status = WB_OK;
    const json_t *list = json_object_get(m->root, "files");
    const int64_t count = (int64_t)json_array_size(list);
    WB_CHECK(count >= 1 && count <= FILES_MOST, WB_ERR_INPUT, "%s: \"files\" must list 1 to %d",
             where, FILES_MOST);
    m->files = calloc((size_t)count, sizeof(*m->files));
    WB_CHECK(m->files, WB_ERR_MEMORY, "%s: no memory to read it", where);
    for (; m->file_count < count; m->file_count++) {
        wb_manifest_file *file = &m->files[m->file_count];
        const json_t *entry = json_array_get(list, (size_t)m->file_count);
        const char *name = NULL;
        WB_TRY(wb_json_integer(entry, "step", true, 0, m->facts.step, where, &file->step));
        WB_TRY(wb_json_string(entry, "name", true, where, &name));
        WB_CHECK(strcmp(name, STATE_NAME) == 0, WB_ERR_INPUT, "%s: file %.60s is not known", where,
                 name);
        WB_TRY(wb_json_integer(entry, "bytes", true, 1, INT64_MAX, where, &file->bytes));
        WB_TRY(get_hex(entry, "xxh3", where, &file->sum));
    }
    WB_CHECK(m->files[0].step == m->facts.step, WB_ERR_INPUT,
             "%s: the first of \"files\" must be its own", where);
done:
    return status;
}

static bool is_listed(const wb_manifest *m, int64_t step) {
    for (int64_t i = 0; i < m->file_count; i++) {
        if (m->files[i].step == step) {
            return true;
        }
    }
    return false;
}

static wb_status parse_tensor(wb_manifest *m, int64_t i, const char *where) {
    wb_status status = WB_OK;
    const json_t *entry = json_array_get(json_object_get(m->root, "tensors"), (size_t)i);
    const json_t *parts = json_object_get(entry, "parts");
    WB_TRY(wb_json_string(entry, "name", true, where, &m->tensor_names[i]));
    for (int64_t a = 0; a < m->arrays; a++) {
        const json_t *part = json_array_get(parts, (size_t)a);
        int64_t *holder = &m->holders[a * m->tensors + i];
        WB_TRY(wb_json_integer(part, "step", true, 0, INT64_MAX, where, holder));
        WB_TRY(get_hex(part, "xxh3", where, &m->sums[a * m->tensors + i]));
        WB_CHECK(is_listed(m, *holder), WB_ERR_INPUT,
                 "%s: tensor %.200s stands in a file of step %lld, which is not listed", where,
                 m->tensor_names[i], (long long)*holder);
    }
done:
    return status;
}

static wb_status parse_parts(wb_manifest *m, const char *where) {
    wb_status status = WB_OK;
    const json_t *arrays = json_object_get(m->root, "arrays");
    m->arrays = (int64_t)json_array_size(arrays);
    m->tensors = (int64_t)json_array_size(json_object_get(m->root, "tensors"));
    WB_CHECK(m->arrays >= 1 && m->arrays <= WB_CHECKPOINT_ARRAYS, WB_ERR_INPUT,
             "%s: \"arrays\" must list 1 to %d", where, WB_CHECKPOINT_ARRAYS);
    for (int64_t a = 0; a < m->arrays; a++) {
        m->array_names[a] = json_string_value(json_array_get(arrays, (size_t)a));
        WB_CHECK(m->array_names[a], WB_ERR_INPUT, "%s: \"arrays\" must list texts", where);
    }
    const size_t parts = (size_t)(m->arrays * m->tensors) + 1;
    m->tensor_names = calloc((size_t)m->tensors + 1, sizeof(*m->tensor_names));
    m->holders = calloc(parts, sizeof(*m->holders));
    m->sums = calloc(parts, sizeof(*m->sums));
    WB_CHECK(m->tensor_names && m->holders && m->sums, WB_ERR_MEMORY, "%s: no memory to read it",
             where);
    for (int64_t i = 0; i < m->tensors; i++) {
        WB_TRY(parse_tensor(m, i, where));
    }
done:
    return status;
}

int64_t wb_manifest_step_of(const char *name) {
    char again[64];
    int64_t step = -1;
    if (sscanf(name, "step-%" SCNd64, &step) != 1 || step < 0) {
        return -1;
    }
    (void)snprintf(again, sizeof(again), "step-%" PRId64, step);
    return strcmp(again, name) == 0 ? step : -1;
}

wb_status wb_manifest_read(wb_manifest *m, const char *folder) {
    wb_status status = WB_OK;
    char path[WB_PATH];
    const char *slash = strrchr(folder, '/');
    const int64_t step = wb_manifest_step_of(slash ? slash + 1 : folder);
    uint64_t claimed = 0, sum = 0;
    *m = (wb_manifest){0};
    WB_TRY(wb_path_join(path, folder, "%s", MANIFEST_NAME));
    WB_TRY(wb_json_read(&m->root, path, MANIFEST_MOST));
    WB_TRY(get_hex(m->root, "sum", path, &claimed));
    WB_TRY(sum_manifest(m->root, &sum));
    WB_CHECK(sum == claimed, WB_ERR_INPUT, "%s: damaged or edited: its sum does not fit", path);
    WB_TRY(parse_facts(m, path));
    WB_TRY(parse_files(m, path));
    WB_TRY(parse_parts(m, path));
    WB_CHECK(step < 0 || step == m->facts.step, WB_ERR_INPUT,
             "%s: is of step %lld, its folder is named step-%lld", path, (long long)m->facts.step,
             (long long)step);
done:
    return status;
}

void wb_manifest_clear(wb_manifest *m) {
    free(m->tensor_names);
    free(m->holders);
    free(m->sums);
    free(m->files);
    json_decref(m->root);
    *m = (wb_manifest){0};
}

wb_status wb_manifest_file_path(char path[WB_PATH], const wb_manifest *m, const char *folder,
                                int64_t step) {
    return step == m->facts.step
               ? wb_path_join(path, folder, "%s", STATE_NAME)
               : wb_path_join(path, folder, "../step-%" PRId64 "/%s", step, STATE_NAME);
}
