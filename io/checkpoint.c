/* Checkpoints: manifests, publishing a generation, finding the newest good one. */
#include "checkpoint.h"

#include "checkpoint_state.h"
#include "files.h"
#include "hash.h"
#include "json.h"
#include "units.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
    FORMAT = 1,               /* of manifest and state.h5 */
    MANIFEST_MOST = 16 << 20, /* bytes */
    BLOCK = 1 << 20,          /* bytes hashed at once */
    SPACE_RESERVE = 16 << 20, /* bytes to leave free for logs and metrics */
};

static const char STATE_NAME[] = "state.h5";
static const char MANIFEST_NAME[] = "manifest.json";

/* What manifest.json says. */
typedef struct manifest {
    wb_checkpoint facts; /* the numbers only */
    int64_t bytes;       /* of state.h5 */
    uint64_t sum;        /* XXH3 of state.h5 */
    int64_t tensors, total;
} manifest;

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
    text = json_dumps(rest, JSON_COMPACT | JSON_SORT_KEYS);
    WB_CHECK(text, WB_ERR_MEMORY, "no memory for a manifest");
    *sum = wb_hash(text, strlen(text));
done:
    free(text);
    json_decref(rest);
    return status;
}

/* Names and shapes, for people: reading a checkpoint asks for the tensors of the model. */
static json_t *list_tensors(const wb_tensor_table *table) {
    json_t *list = json_array();
    for (int64_t i = 0; i < table->length; i++) {
        const wb_tensor *tensor = &table->tensors[i];
        json_t *shape = json_pack("[I]", (json_int_t)tensor->shape[0]);
        if (tensor->rank == 2) {
            (void)json_array_append_new(shape, json_integer(tensor->shape[1]));
        }
        (void)json_array_append_new(
            list, json_pack("{s: s, s: o}", "name", tensor->name, "shape", shape));
    }
    return list;
}

static wb_status build_manifest(json_t **root, const wb_checkpoint *state,
                                const wb_state_image *written) {
    wb_status status = WB_OK;
    uint64_t sum = 0;
    json_t *slots = json_array();
    json_t *tensors = list_tensors(state->table);
    for (int64_t i = 0; i < state->slots; i++) {
        (void)json_array_append_new(slots, json_string(state->slot_names[i]));
    }
    const bool listed = (int64_t)json_array_size(slots) == state->slots &&
                        (int64_t)json_array_size(tensors) == state->table->length;
    *root = json_pack("{s: i, s: s, s: I, s: I, s: b, s: I, s: o, s: o, s: I, s: o, s: o, s: [{s: "
                      "s, s: I, s: o}]}",
                      "format", FORMAT, "writer", "widebatch " WB_VERSION, "step",
                      (json_int_t)state->step, "total_steps", (json_int_t)state->total_steps,
                      "finished", state->finished, "rows", (json_int_t)state->rows, "seed",
                      hex(state->seed), "config_hash", hex(state->config_hash), "parameters",
                      (json_int_t)state->table->total, "slots", slots, "tensors", tensors, "files",
                      "name", STATE_NAME, "bytes", (json_int_t)written->size, "xxh3",
                      hex(wb_hash(written->bytes, written->size)));
    WB_CHECK(*root && listed, WB_ERR_MEMORY, "no memory for a manifest");
    WB_TRY(sum_manifest(*root, &sum));
    WB_CHECK(json_object_set_new(*root, "sum", hex(sum)) == 0, WB_ERR_MEMORY,
             "no memory for a manifest");
done:
    return status;
}

static wb_status write_manifest(const char *folder, const wb_checkpoint *state,
                                const wb_state_image *written) {
    wb_status status = WB_OK;
    char path[WB_PATH];
    json_t *root = NULL;
    WB_TRY(wb_path_join(path, folder, "%s", MANIFEST_NAME));
    WB_TRY(build_manifest(&root, state, written));
    WB_TRY(wb_json_write(root, path));
done:
    json_decref(root);
    return status;
}

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

static wb_status parse_manifest(manifest *found, const json_t *root, const char *where) {
    wb_status status = WB_OK;
    wb_checkpoint *facts = &found->facts;
    int64_t format = 0;
    const char *name = NULL;
    const json_t *file = json_array_get(json_object_get(root, "files"), 0);
    WB_TRY(wb_json_integer(root, "format", true, FORMAT, FORMAT, where, &format));
    WB_TRY(wb_json_integer(root, "step", true, 0, INT64_MAX, where, &facts->step));
    WB_TRY(wb_json_integer(root, "total_steps", true, 0, INT64_MAX, where, &facts->total_steps));
    WB_TRY(wb_json_bool(root, "finished", true, where, &facts->finished));
    WB_TRY(wb_json_integer(root, "rows", true, 0, INT64_MAX, where, &facts->rows));
    WB_TRY(get_hex(root, "seed", where, &facts->seed));
    WB_TRY(get_hex(root, "config_hash", where, &facts->config_hash));
    found->tensors = (int64_t)json_array_size(json_object_get(root, "tensors"));
    WB_TRY(wb_json_integer(root, "parameters", true, 0, INT64_MAX, where, &found->total));
    WB_TRY(wb_json_string(file, "name", true, where, &name));
    WB_CHECK(strcmp(name, STATE_NAME) == 0, WB_ERR_INPUT, "%s: file %.60s is not known", where,
             name);
    WB_TRY(wb_json_integer(file, "bytes", true, 1, INT64_MAX, where, &found->bytes));
    WB_TRY(get_hex(file, "xxh3", where, &found->sum));
done:
    return status;
}

/* The step in the name of a generation, or -1 for any other name. */
static int64_t step_of(const char *name) {
    char again[64];
    int64_t step = -1;
    if (sscanf(name, "step-%" SCNd64, &step) != 1 || step < 0) {
        return -1;
    }
    (void)snprintf(again, sizeof(again), "step-%" PRId64, step);
    return strcmp(again, name) == 0 ? step : -1;
}

static wb_status read_manifest(manifest *found, const char *folder) {
    wb_status status = WB_OK;
    char path[WB_PATH];
    json_t *root = NULL;
    const char *slash = strrchr(folder, '/');
    const int64_t step = step_of(slash ? slash + 1 : folder);
    uint64_t claimed = 0;
    uint64_t sum = 0;
    memset(found, 0, sizeof(*found));
    WB_TRY(wb_path_join(path, folder, "%s", MANIFEST_NAME));
    WB_TRY(wb_json_read(&root, path, MANIFEST_MOST));
    WB_TRY(get_hex(root, "sum", path, &claimed));
    WB_TRY(sum_manifest(root, &sum));
    WB_CHECK(sum == claimed, WB_ERR_INPUT, "%s: damaged or edited: its sum does not fit", path);
    WB_TRY(parse_manifest(found, root, path));
    WB_CHECK(step < 0 || step == found->facts.step, WB_ERR_INPUT,
             "%s: is of step %lld, its folder is named step-%lld", path,
             (long long)found->facts.step, (long long)step);
done:
    json_decref(root);
    return status;
}

static wb_status check_space(const char *folder, size_t needed) {
    struct statvfs info;
    if (statvfs(folder, &info) != 0) {
        return WB_ERROR(WB_ERR_DISK, "%s: cannot ask for free space: %s", folder, strerror(errno));
    }
    const uint64_t unit = info.f_frsize;
    const uint64_t available = (uint64_t)info.f_bavail * unit;
    const uint64_t total = (uint64_t)info.f_blocks * unit;
    const uint64_t reserve = total / 16 < SPACE_RESERVE ? total / 16 : SPACE_RESERVE;
    if (available < needed + reserve) {
        return WB_ERROR(WB_ERR_DISK,
                        "%s: %s free; a checkpoint takes %s and %s are left for logs: free some "
                        "space and start the same command again",
                        folder, wb_bytes_text((size_t)available).text, wb_bytes_text(needed).text,
                        wb_bytes_text((size_t)reserve).text);
    }
    return WB_OK;
}

static wb_status move_latest(const char *checkpoints, int64_t step) {
    wb_status status = WB_OK;
    char link[WB_PATH];
    char temporary[WB_PATH];
    char target[64];
    (void)snprintf(target, sizeof(target), "step-%" PRId64, step);
    WB_TRY(wb_path_join(link, checkpoints, "latest"));
    WB_TRY(wb_path_join(temporary, checkpoints, "latest.tmp"));
    (void)unlink(temporary);
    WB_CHECK(symlink(target, temporary) == 0 && rename(temporary, link) == 0, WB_ERR_DISK,
             "%s: cannot point to %s: %s", link, target, strerror(errno));
    WB_TRY(wb_folder_sync(checkpoints));
done:
    return status;
}

static wb_status write_generation(const char *temporary, const wb_checkpoint *state) {
    wb_status status = WB_OK;
    char path[WB_PATH];
    wb_state_image built = {0};
    WB_TRY(wb_folder_remove(temporary));
    WB_TRY(wb_folder_make(temporary));
    WB_TRY(wb_path_join(path, temporary, "%s", STATE_NAME));
    WB_TRY(wb_state_build(&built, state, path));
    WB_TRY(wb_file_write(path, built.bytes, built.size));
    WB_TRY(write_manifest(temporary, state, &built));
done:
    free(built.bytes);
    return status;
}

wb_status wb_checkpoint_write(const char *run_folder, const wb_checkpoint *state) {
    wb_status status = WB_OK;
    char checkpoints[WB_PATH];
    char temporary[WB_PATH] = "";
    char final[WB_PATH];
    WB_TRY(wb_path_join(checkpoints, run_folder, "checkpoints"));
    WB_TRY(wb_path_join(final, checkpoints, "step-%" PRId64, state->step));
    WB_TRY(wb_folder_make(checkpoints));
    WB_TRY(check_space(checkpoints, wb_state_bytes(state)));
    WB_TRY(wb_path_join(temporary, checkpoints, "step-%" PRId64 ".tmp", state->step));
    WB_TRY(write_generation(temporary, state));
    WB_TRY(wb_folder_publish(temporary, final));
    temporary[0] = '\0';
    WB_TRY(move_latest(checkpoints, state->step));
done:
    if (status != WB_OK && temporary[0] != '\0') {
        (void)wb_folder_remove(temporary);
    }
    return status;
}

static wb_status sum_file(const char *path, int64_t *bytes, uint64_t *sum) {
    wb_status status = WB_OK;
    wb_hasher *hasher = NULL;
    struct stat info;
    void *block = malloc(BLOCK);
    const int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    WB_CHECK(file >= 0 && fstat(file, &info) == 0 && S_ISREG(info.st_mode), WB_ERR_INPUT,
             "%s: cannot open: %s", path, strerror(errno));
    WB_CHECK(block, WB_ERR_MEMORY, "%s: no memory to verify it", path);
    WB_TRY(wb_hasher_create(&hasher));
    for (int64_t at = 0; at < info.st_size; at += BLOCK) {
        const int64_t left = info.st_size - at;
        const size_t size = left < BLOCK ? (size_t)left : BLOCK;
        WB_TRY(wb_file_read_at(file, path, at, block, size));
        wb_hasher_add(hasher, block, size);
    }
    *bytes = info.st_size;
    *sum = wb_hasher_sum(hasher);
done:
    if (file >= 0) {
        (void)close(file);
    }
    wb_hasher_destroy(hasher);
    free(block);
    return status;
}

static wb_status verify(manifest *found, const char *folder) {
    wb_status status = WB_OK;
    char path[WB_PATH];
    int64_t bytes = 0;
    uint64_t sum = 0;
    WB_TRY(read_manifest(found, folder));
    WB_TRY(wb_path_join(path, folder, "%s", STATE_NAME));
    WB_TRY(sum_file(path, &bytes, &sum));
    WB_CHECK(bytes == found->bytes, WB_ERR_INPUT, "%s: %lld bytes; its manifest says %lld", path,
             (long long)bytes, (long long)found->bytes);
    WB_CHECK(sum == found->sum, WB_ERR_INPUT,
             "%s: damaged: its sum is %016" PRIx64 ", its manifest says %016" PRIx64, path, sum,
             found->sum);
done:
    return status == WB_ERR_INPUT ? WB_ERR_CHECKPOINT : status;
}

wb_status wb_checkpoint_verify(const char *step_folder) {
    manifest found;
    return verify(&found, step_folder);
}

typedef struct generations {
    char folder[WB_PATH]; /* RUN/checkpoints */
    int64_t *steps;       /* [count], newest first; owned */
    int64_t count, capacity;
} generations;

static int newest_first(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a;
    const int64_t y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

static wb_status add_step(generations *all, int64_t step) {
    if (all->count == all->capacity) {
        const int64_t capacity = 2 * all->capacity + 16;
        int64_t *grown = realloc(all->steps, (size_t)capacity * sizeof(*grown));
        if (!grown) {
            return WB_ERROR(WB_ERR_MEMORY, "%s: no memory to list it", all->folder);
        }
        all->steps = grown;
        all->capacity = capacity;
    }
    all->steps[all->count++] = step;
    return WB_OK;
}

/* A run without checkpoints has none; steps are owned by the caller, also on error. */
static wb_status list_generations(generations *all, const char *run_folder) {
    wb_status status = WB_OK;
    DIR *folder = NULL;
    *all = (generations){0};
    WB_TRY(wb_path_join(all->folder, run_folder, "checkpoints"));
    folder = opendir(all->folder);
    if (!folder) {
        WB_CHECK(errno == ENOENT, WB_ERR_CHECKPOINT, "%s: cannot list it: %s", all->folder,
                 strerror(errno));
        return WB_OK;
    }
    for (const struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
        const int64_t step = step_of(entry->d_name);
        if (step >= 0) {
            WB_TRY(add_step(all, step));
        }
    }
    if (all->count > 1) {
        qsort(all->steps, (size_t)all->count, sizeof(*all->steps), newest_first);
    }
done:
    if (folder) {
        (void)closedir(folder);
    }
    return status;
}

static wb_status generation_path(char path[WB_PATH], const generations *all, int64_t i) {
    return wb_path_join(path, all->folder, "step-%" PRId64, all->steps[i]);
}

static wb_status adopt(wb_checkpoint *state, const manifest *found, const char *folder) {
    wb_status status = WB_OK;
    char path[WB_PATH];
    const wb_checkpoint *facts = &found->facts;
    WB_CHECK(facts->config_hash == state->config_hash, WB_ERR_CHECKPOINT,
             "%s: was written under another configuration (%016" PRIx64 ", now %016" PRIx64
             "); use the configuration it began with, or another run name",
             folder, facts->config_hash, state->config_hash);
    WB_CHECK(found->tensors == state->table->length && found->total == state->table->total,
             WB_ERR_CHECKPOINT, "%s: holds %lld tensors of %lld values; the model has %lld of %lld",
             folder, (long long)found->tensors, (long long)found->total,
             (long long)state->table->length, (long long)state->table->total);
    WB_TRY(wb_path_join(path, folder, "%s", STATE_NAME));
    WB_TRY(wb_state_read(state, path));
    state->step = facts->step;
    state->total_steps = facts->total_steps;
    state->rows = facts->rows;
    state->seed = facts->seed;
    state->finished = facts->finished;
done:
    return status;
}

/* Notes the kept error as the reason for passing over a generation, and forgets it. */
static void note_rejected(char *rejected, size_t bytes) {
    const size_t used = strlen(rejected);
    if (used + 1 < bytes) {
        (void)snprintf(rejected + used, bytes - used, "%s%s", used > 0 ? "\n" : "",
                       wb_error_message());
    }
    wb_error_clear();
}

wb_status wb_checkpoint_read_newest(const char *run_folder, wb_checkpoint *state, bool *found,
                                    char *rejected, size_t rejected_bytes) {
    wb_status status = WB_OK;
    generations all = {0};
    *found = false;
    rejected[0] = '\0';
    WB_TRY(list_generations(&all, run_folder));
    for (int64_t i = 0; i < all.count && !*found; i++) {
        char folder[WB_PATH];
        manifest candidate;
        WB_TRY(generation_path(folder, &all, i));
        status = verify(&candidate, folder);
        if (status == WB_ERR_CHECKPOINT) {
            note_rejected(rejected, rejected_bytes);
            status = WB_OK;
            continue;
        }
        WB_TRY(status);
        WB_TRY(adopt(state, &candidate, folder));
        *found = true;
    }
    WB_CHECK(*found || all.count == 0, WB_ERR_CHECKPOINT,
             "%s: none of %lld checkpoints can be used:\n%s", all.folder, (long long)all.count,
             rejected);
done:
    free(all.steps);
    return status;
}

wb_status wb_checkpoint_peek(const char *run_folder, wb_checkpoint *facts, bool *found) {
    wb_status status = WB_OK;
    generations all = {0};
    *found = false;
    WB_TRY(list_generations(&all, run_folder));
    for (int64_t i = 0; i < all.count && !*found; i++) {
        char folder[WB_PATH];
        manifest candidate;
        WB_TRY(generation_path(folder, &all, i));
        if (read_manifest(&candidate, folder) == WB_OK) {
            *facts = candidate.facts;
            *found = true;
        } else {
            wb_error_clear();
        }
    }
done:
    free(all.steps);
    return status;
}

static wb_status remove_leftovers(const char *checkpoints) {
    wb_status status = WB_OK;
    DIR *folder = opendir(checkpoints);
    if (!folder) {
        return WB_OK;
    }
    for (const struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
        const size_t length = strlen(entry->d_name);
        if (strncmp(entry->d_name, "step-", 5) == 0 && length > 4 &&
            strcmp(entry->d_name + length - 4, ".tmp") == 0) {
            char path[WB_PATH];
            WB_TRY(wb_path_join(path, checkpoints, "%s", entry->d_name));
            WB_TRY(wb_folder_remove(path));
        }
    }
done:
    (void)closedir(folder);
    return status;
}

/* The index of the newest generation that verifies; where none does, the oldest one's error. */
static wb_status newest_good(int64_t *index, const generations *all) {
    wb_status status = WB_OK;
    for (int64_t i = 0; i < all->count; i++) {
        char path[WB_PATH];
        wb_error_clear();
        WB_TRY(generation_path(path, all, i));
        status = wb_checkpoint_verify(path);
        if (status == WB_OK) {
            *index = i;
            break;
        }
    }
done:
    return status;
}

wb_status wb_checkpoint_prune(const char *run_folder, int64_t keep) {
    wb_status status = WB_OK;
    generations all = {0};
    char path[WB_PATH];
    int64_t first = 0;
    WB_CHECK(keep >= 2, WB_ERR_CONFIG, "keeping %lld checkpoints; at least 2 are kept",
             (long long)keep);
    WB_TRY(list_generations(&all, run_folder));
    WB_TRY(remove_leftovers(all.folder));
    if (all.count > keep) {
        WB_TRY(newest_good(&first, &all));
    }
    for (int64_t i = first + keep; i < all.count; i++) {
        WB_TRY(generation_path(path, &all, i));
        WB_TRY(wb_folder_remove(path));
    }
done:
    free(all.steps);
    return status;
}
