/* Weights in one file or in shards. */
#include "model_weights.h"

#include "json.h"

#include <stdlib.h>
#include <string.h>

enum { SHARDS_MOST = 256, INDEX_MOST = 64 << 20 };

typedef struct shard {
    char name[256];
    wb_safetensors *file;
} shard;

struct wb_model_weights {
    char path[WB_PATH];
    shard *shards; /* [count]; one without a name where there is no index */
    int count;
    json_t *index;     /* NULL where there is one file */
    const json_t *map; /* tensor -> shard name, borrowed from index */
};

wb_status wb_model_weights_locate(char path[WB_PATH], const char *folder) {
    wb_status status = WB_OK;
    char pickled[WB_PATH];
    WB_TRY(wb_path_join(path, folder, "model.safetensors"));
    if (wb_path_is_file(path)) {
        return WB_OK;
    }
    WB_TRY(wb_path_join(path, folder, "model.safetensors.index.json"));
    if (wb_path_is_file(path)) {
        return WB_OK;
    }
    WB_TRY(wb_path_join(pickled, folder, "pytorch_model.bin"));
    WB_CHECK(!wb_path_is_file(pickled), WB_ERR_INPUT,
             "%s: no pickle is read, since loading one runs its code; convert it once with "
             "python -c \"from transformers import AutoModel; "
             "AutoModel.from_pretrained('%s').save_pretrained('%s', safe_serialization=True)\"",
             pickled, folder, folder);
    WB_CHECK(false, WB_ERR_INPUT,
             "%s: no weights; model.safetensors or model.safetensors.index.json must be there",
             folder);
done:
    return status;
}

static shard *shard_of(const wb_model_weights *weights, const char *name) {
    for (int i = 0; i < weights->count; i++) {
        if (strcmp(weights->shards[i].name, name) == 0) {
            return &weights->shards[i];
        }
    }
    return NULL;
}

/* Opens a shard the index names, once. Its name must stay inside the folder. */
static wb_status open_shard(wb_model_weights *weights, const char *folder, const json_t *name) {
    wb_status status = WB_OK;
    char path[WB_PATH];
    const char *text = json_string_value(name);
    WB_CHECK(text && text[0] != '\0' && text[0] != '.' && !strchr(text, '/') &&
                 strlen(text) < sizeof(weights->shards->name),
             WB_ERR_INPUT, "%s: \"%.100s\" is no plain file name beside the index", weights->path,
             text ? text : "(not a string)");
    if (shard_of(weights, text)) {
        return WB_OK;
    }
    WB_CHECK(weights->count < SHARDS_MOST, WB_ERR_INPUT, "%s: more than %d shards", weights->path,
             SHARDS_MOST);
    WB_TRY(wb_path_join(path, folder, "%s", text));
    shard *next = &weights->shards[weights->count];
    WB_TRY(wb_safetensors_open(&next->file, path));
    (void)snprintf(next->name, sizeof(next->name), "%s", text);
    weights->count++;
done:
    return status;
}

static wb_status open_index(wb_model_weights *weights) {
    wb_status status = WB_OK;
    char folder[WB_PATH];
    const char *name;
    json_t *value;
    (void)snprintf(folder, sizeof(folder), "%s", weights->path);
    *strrchr(folder, '/') = '\0';
    WB_TRY(wb_json_read(&weights->index, weights->path, INDEX_MOST));
    weights->map = json_object_get(weights->index, "weight_map");
    WB_CHECK(json_is_object(weights->map), WB_ERR_INPUT, "%s: \"weight_map\" must be an object",
             weights->path);
    json_object_foreach((json_t *)weights->map, name, value) {
        WB_TRY(open_shard(weights, folder, value));
    }
done:
    return status;
}

wb_status wb_model_weights_open(wb_model_weights **result, const char *path) {
    wb_status status = WB_OK;
    const char *dot = strrchr(path, '.');
    wb_model_weights *weights = calloc(1, sizeof(*weights));
    WB_CHECK(weights, WB_ERR_MEMORY, "%s: no memory to open it", path);
    (void)snprintf(weights->path, sizeof(weights->path), "%s", path);
    weights->shards = calloc(SHARDS_MOST, sizeof(*weights->shards));
    WB_CHECK(weights->shards, WB_ERR_MEMORY, "%s: no memory to open it", path);
    if (dot && strcmp(dot, ".json") == 0) {
        WB_TRY(open_index(weights));
    } else {
        WB_TRY(wb_safetensors_open(&weights->shards[0].file, path));
        weights->count = 1;
    }
    *result = weights;
    weights = NULL;
done:
    wb_model_weights_close(weights);
    return status;
}

void wb_model_weights_close(wb_model_weights *weights) {
    if (!weights) {
        return;
    }
    for (int i = 0; i < weights->count; i++) {
        wb_safetensors_close(weights->shards[i].file);
    }
    json_decref(weights->index);
    free(weights->shards);
    free(weights);
}

const wb_safetensors_entry *wb_model_weights_find(const wb_model_weights *weights, const char *name,
                                                  const wb_safetensors **file) {
    const shard *at = weights->shards;
    if (weights->map) {
        const char *shard_name = json_string_value(json_object_get(weights->map, name));
        at = shard_name ? shard_of(weights, shard_name) : NULL;
    }
    if (!at) {
        return NULL;
    }
    *file = at->file;
    return wb_safetensors_find(at->file, name);
}

/* Length of what stands before `ending` in `name`: 0, or up to and with a dot; -1 if it differs. */
static int64_t prefix_length(const char *name, const char *ending) {
    const size_t length = strlen(name);
    const size_t tail = strlen(ending);
    if (length < tail || strcmp(name + length - tail, ending) != 0) {
        return -1;
    }
    const size_t head = length - tail;
    return head == 0 || name[head - 1] == '.' ? (int64_t)head : -1;
}

wb_status wb_model_weights_prefix(const wb_model_weights *weights, const char *name, char *prefix,
                                  size_t bytes, bool *found) {
    wb_status status = WB_OK;
    const char *first = NULL;
    for (int s = 0; s < weights->count; s++) {
        const wb_safetensors *file = weights->shards[s].file;
        for (int64_t i = 0; i < wb_safetensors_count(file); i++) {
            const char *candidate = wb_safetensors_at(file, i)->name;
            const int64_t head = prefix_length(candidate, name);
            if (head < 0) {
                continue;
            }
            WB_CHECK(!first, WB_ERR_INPUT,
                     "%s: holds several models, by %.100s and %.100s; keep the tensors of one",
                     weights->path, first, candidate);
            WB_CHECK((size_t)head < bytes, WB_ERR_INPUT,
                     "%s: tensor %.100s: at most %zu characters may stand before %s", weights->path,
                     candidate, bytes - 1, name);
            first = candidate;
            memcpy(prefix, candidate, (size_t)head);
            prefix[head] = '\0';
        }
    }
    *found = first != NULL;
done:
    return status;
}
