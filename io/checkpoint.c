/* Checkpoints: finding the newest good generation, and keeping enough of them. */
#include "checkpoint.h"

#include "checkpoint_manifest.h"
#include "checkpoint_state.h"
#include "files.h"
#include "hash.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PART = 4 << 20 }; /* bytes that the system forgets at once */

/* What verifying reads of a generation. */
typedef enum reading {
    MANIFEST_ONLY,    /* its files were read a moment ago */
    OLDER_FILES,      /* its own was, but must be there and of its length */
    FILES_ONCE_MORE,  /* and the system may forget them: new files find memory that was in use,
                         which costs less than new memory, and what others read stays */
    FILES_TO_BE_READ, /* and the system keeps them */
} reading;

static wb_status sum_file(int file, const char *path, reading how, int64_t bytes, uint64_t *sum) {
    wb_status status = WB_OK;
    wb_file_sum so_far;
    WB_TRY(wb_file_sum_begin(&so_far, path));
    /* The disk reads ahead; asked for parts by name, the system would hold each page by itself. */
    (void)posix_fadvise(file, 0, 0, POSIX_FADV_SEQUENTIAL);
    while (so_far.read < bytes) {
        const int64_t at = so_far.read, left = bytes - at;
        WB_TRY(wb_file_sum_read(&so_far, file, path, at + (left < PART ? left : PART)));
        if (how == FILES_ONCE_MORE) {
            wb_file_forget(file, at, so_far.read - at);
        }
    }
    *sum = wb_hasher_sum(so_far.hasher);
done:
    wb_file_sum_end(&so_far);
    return status;
}

static wb_status verify_file(const wb_manifest_file *it, const char *path, reading how) {
    wb_status status = WB_OK;
    struct stat info;
    uint64_t sum = it->sum;
    const int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    WB_CHECK(file >= 0 && fstat(file, &info) == 0, WB_ERR_INPUT, "%s: cannot open: %s", path,
             strerror(errno));
    WB_CHECK(S_ISREG(info.st_mode), WB_ERR_INPUT, "%s: is not a regular file", path);
    WB_CHECK(info.st_size == it->bytes, WB_ERR_INPUT, "%s: %lld bytes; its manifest says %lld",
             path, (long long)info.st_size, (long long)it->bytes);
    if (how != OLDER_FILES) {
        WB_TRY(sum_file(file, path, how, it->bytes, &sum));
    }
    WB_CHECK(sum == it->sum, WB_ERR_INPUT,
             "%s: damaged: its sum is %016" PRIx64 ", its manifest says %016" PRIx64, path, sum,
             it->sum);
done:
    if (file >= 0) {
        (void)close(file);
    }
    return status;
}

/* The manifest, and the files that it leans on. To be cleared also on error. */
static wb_status verify(wb_manifest *found, const char *folder, reading how) {
    wb_status status = WB_OK;
    WB_TRY(wb_manifest_read(found, folder));
    for (int64_t i = 0; how != MANIFEST_ONLY && i < found->file_count; i++) {
        char path[WB_PATH];
        WB_TRY(wb_manifest_file_path(path, found, folder, found->files[i].step));
        WB_TRY(verify_file(&found->files[i], path,
                           how == OLDER_FILES && i > 0 ? FILES_ONCE_MORE : how));
    }
done:
    return status == WB_ERR_INPUT ? WB_ERR_CHECKPOINT : status;
}

static wb_status verify_only(const char *step_folder, reading how) {
    wb_manifest found;
    const wb_status status = verify(&found, step_folder, how);
    wb_manifest_clear(&found);
    return status;
}

wb_status wb_checkpoint_verify(const char *step_folder) {
    return verify_only(step_folder, FILES_TO_BE_READ);
}

wb_status wb_checkpoint_verify_written(const char *step_folder) {
    return verify_only(step_folder, OLDER_FILES);
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

/* *folder is NULL where the run has no checkpoints yet. */
static wb_status open_generations(DIR **folder, const char *path) {
    *folder = opendir(path);
    return *folder || errno == ENOENT
               ? WB_OK
               : WB_ERROR(WB_ERR_CHECKPOINT, "%s: cannot list it: %s", path, strerror(errno));
}

/* A run without checkpoints has none; steps are owned by the caller, also on error. */
static wb_status list_generations(generations *all, const char *run_folder) {
    wb_status status = WB_OK;
    DIR *folder = NULL;
    *all = (generations){0};
    WB_TRY(wb_path_join(all->folder, run_folder, "checkpoints"));
    WB_TRY(open_generations(&folder, all->folder));
    while (folder) {
        const char *name;
        WB_TRY(wb_folder_next(folder, all->folder, &name));
        if (!name) {
            break;
        }
        const int64_t step = wb_manifest_step_of(name);
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

/* Which array of the manifest is called `name`. */
static wb_status find_array(const wb_manifest *found, const char *name, const char *folder,
                            int64_t *index) {
    for (*index = 0; *index < found->arrays; ++*index) {
        if (strcmp(found->array_names[*index], name) == 0) {
            return WB_OK;
        }
    }
    return WB_ERROR(WB_ERR_CHECKPOINT, "%s: holds no %s; was it written with another optimizer?",
                    folder, name);
}

/* holders and sums [arrays, tensors] of the state's arrays, in their order. */
static wb_status map_parts(int64_t *holders, uint64_t *sums, const wb_checkpoint *state,
                           const wb_manifest *found, const char *folder) {
    wb_status status = WB_OK;
    const int64_t tensors = state->table->length;
    for (int64_t i = 0; i < tensors; i++) {
        WB_CHECK(strcmp(found->tensor_names[i], state->table->tensors[i].name) == 0,
                 WB_ERR_CHECKPOINT, "%s: lacks tensor %s of the model's %lld; has %.200s there",
                 folder, state->table->tensors[i].name, (long long)tensors, found->tensor_names[i]);
    }
    for (int64_t a = 0; a < wb_checkpoint_arrays(state); a++) {
        int64_t from = 0;
        WB_TRY(find_array(found, wb_checkpoint_array_name(state, a), folder, &from));
        const size_t count = (size_t)tensors;
        memcpy(holders + a * tensors, found->holders + from * tensors, count * sizeof(*holders));
        memcpy(sums + a * tensors, found->sums + from * tensors, count * sizeof(*sums));
    }
done:
    return status;
}

/* What was read is what was written, each tensor by itself. */
static wb_status check_parts(const wb_checkpoint *state, const uint64_t *sums, const char *folder) {
    const int64_t tensors = state->table->length;
    for (int64_t part = 0; part < wb_checkpoint_arrays(state) * tensors; part++) {
        const wb_tensor *tensor = &state->table->tensors[part % tensors];
        const float *values = wb_checkpoint_array(state, part / tensors) + tensor->offset;
        if (wb_hash(values, (size_t)tensor->count * sizeof(*values)) != sums[part]) {
            return WB_ERROR(WB_ERR_CHECKPOINT, "%s: tensor %s of %s is not what was written",
                            folder, tensor->name, wb_checkpoint_array_name(state, part / tensors));
        }
    }
    return WB_OK;
}

static wb_status read_parts(wb_checkpoint *state, const wb_manifest *found, const char *folder) {
    wb_status status = WB_OK;
    const size_t parts = (size_t)(wb_checkpoint_arrays(state) * state->table->length) + 1;
    int64_t *holders = calloc(parts, sizeof(*holders));
    uint64_t *sums = calloc(parts, sizeof(*sums));
    WB_CHECK(holders && sums, WB_ERR_MEMORY, "%s: no memory to read it", folder);
    WB_TRY(map_parts(holders, sums, state, found, folder));
    for (int64_t i = 0; i < found->file_count; i++) {
        char path[WB_PATH];
        WB_TRY(wb_manifest_file_path(path, found, folder, found->files[i].step));
        WB_TRY(wb_state_read(state, holders, found->files[i].step, path));
    }
    WB_TRY(check_parts(state, sums, folder));
done:
    free(holders);
    free(sums);
    return status;
}

static wb_status adopt(wb_checkpoint *state, const wb_manifest *found, const char *folder) {
    wb_status status = WB_OK;
    const wb_checkpoint *facts = &found->facts;
    WB_CHECK(facts->config_hash == state->config_hash, WB_ERR_CHECKPOINT,
             "%s: was written under another configuration (%016" PRIx64 ", now %016" PRIx64
             "); use the configuration it began with, or another run name",
             folder, facts->config_hash, state->config_hash);
    WB_CHECK(found->tensors == state->table->length && found->total == state->table->total,
             WB_ERR_CHECKPOINT, "%s: holds %lld tensors of %lld values; the model has %lld of %lld",
             folder, (long long)found->tensors, (long long)found->total,
             (long long)state->table->length, (long long)state->table->total);
    WB_TRY(read_parts(state, found, folder));
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
    (void)snprintf(rejected + used, bytes - used, "%s%s", used > 0 ? "\n" : "", wb_error_message());
    wb_error_clear();
}

wb_status wb_checkpoint_read_newest(const char *run_folder, wb_checkpoint *state, bool *found,
                                    char *rejected, size_t rejected_bytes) {
    wb_status status = WB_OK;
    generations all = {0};
    wb_manifest candidate = {0};
    *found = false;
    rejected[0] = '\0';
    WB_TRY(list_generations(&all, run_folder));
    for (int64_t i = 0; i < all.count && !*found; i++) {
        char folder[WB_PATH];
        WB_TRY(generation_path(folder, &all, i));
        wb_manifest_clear(&candidate);
        status = verify(&candidate, folder, FILES_TO_BE_READ);
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
    wb_manifest_clear(&candidate);
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
        wb_manifest candidate;
        WB_TRY(generation_path(folder, &all, i));
        status = wb_manifest_read(&candidate, folder);
        if (status == WB_OK) {
            *facts = candidate.facts;
            *found = true;
        }
        wb_manifest_clear(&candidate);
        WB_CHECK(status != WB_ERR_MEMORY, status, "%s: cannot read it", folder);
        status = WB_OK;
        wb_error_clear();
    }
done:
    free(all.steps);
    return status;
}

static wb_status remove_leftovers(const char *checkpoints) {
    wb_status status = WB_OK;
    DIR *folder = NULL;
    WB_TRY(open_generations(&folder, checkpoints));
    while (folder) {
        const char *name;
        WB_TRY(wb_folder_next(folder, checkpoints, &name));
        if (!name) {
            break;
        }
        const size_t length = strlen(name);
        if (strncmp(name, "step-", 5) == 0 && strcmp(name + length - 4, ".tmp") == 0) {
            char path[WB_PATH];
            WB_TRY(wb_path_join(path, checkpoints, "%s", name));
            WB_TRY(wb_folder_remove(path));
        }
    }
done:
    if (folder) {
        (void)closedir(folder);
    }
    return status;
}

/* ---- Pruning
 * ------------------------------------------------------------------------------------------ */

/* What pruning knows of each generation, newest first. */
typedef struct survey {
    generations all;
    wb_manifest *manifests; /* [count], cleared where not verified */
    bool *good, *kept;      /* [count] */
    int64_t newest;         /* the newest good one */
    int64_t verified;       /* the step of one that need not be read again */
} survey;

/* The good one that comes next after `from`, or `count`. Where none was good so far, the error of
 * the last one stays. */
static wb_status next_good(survey *s, int64_t from, int64_t *next) {
    wb_status status = WB_OK;
    for (*next = from; *next < s->all.count; ++*next) {
        char path[WB_PATH];
        WB_TRY(generation_path(path, &s->all, *next));
        wb_error_clear();
        const bool known = s->all.steps[*next] == s->verified;
        status = verify(&s->manifests[*next], path, known ? MANIFEST_ONLY : FILES_ONCE_MORE);
        if (status == WB_OK) {
            s->good[*next] = true;
            break;
        }
        wb_manifest_clear(&s->manifests[*next]);
        WB_CHECK(status == WB_ERR_CHECKPOINT, status, "%s: cannot verify it", path);
    }
done:
    return status;
}

static bool leans_on(const wb_manifest *manifest, int64_t step) {
    for (int64_t i = 0; i < manifest->file_count; i++) {
        if (manifest->files[i].step == step) {
            return true;
        }
    }
    return false;
}

static bool share_a_file(const wb_manifest *a, const wb_manifest *b) {
    for (int64_t i = 0; i < a->file_count; i++) {
        if (leans_on(b, a->files[i].step)) {
            return true;
        }
    }
    return false;
}

/* Damage to one file must not take all generations: the newest good one that shares no file with
 * the newest of all is kept too. `second` is the good one after that, or `count`. */
static wb_status keep_independent(survey *s, int64_t second) {
    wb_status status = WB_OK;
    const wb_manifest *newest = &s->manifests[s->newest];
    bool found = second < s->all.count && !share_a_file(newest, &s->manifests[second]);
    for (int64_t i = second + 1; !found && i < s->all.count; i++) {
        WB_TRY(next_good(s, i, &i));
        s->kept[i] = found = !share_a_file(newest, &s->manifests[i]);
    }
done:
    if (status == WB_ERR_CHECKPOINT) { /* there is none */
        wb_error_clear();
        status = WB_OK;
    }
    return status;
}

/* Kept: the newest good one, `keep` in all from there on and at least one more good one, one that
 * is independent, and what any of these leans on. Damaged ones before the newest good one stay. */
static wb_status choose_kept(survey *s, int64_t keep) {
    wb_status status = WB_OK;
    int64_t second = 0;
    WB_TRY(next_good(s, 0, &s->newest));
    status = next_good(s, s->newest + 1, &second);
    wb_error_clear();
    WB_CHECK(status == WB_OK || status == WB_ERR_CHECKPOINT, status, "%s: cannot verify it",
             s->all.folder);
    status = WB_OK;
    const int64_t last = second >= s->newest + keep ? second : s->newest + keep - 1;
    for (int64_t i = 0; i < s->all.count && i <= last; i++) {
        s->kept[i] = true;
    }
    WB_TRY(keep_independent(s, second));
    for (int64_t i = 0; i < s->all.count; i++) {
        char path[WB_PATH];
        WB_TRY(generation_path(path, &s->all, i));
        if (s->kept[i] && !s->good[i]) {
            status = wb_manifest_read(&s->manifests[i], path);
            WB_CHECK(status != WB_ERR_MEMORY, status, "%s: cannot tell what it leans on", path);
            if (status != WB_OK) { /* it leans on nothing that can be known */
                wb_manifest_clear(&s->manifests[i]);
                wb_error_clear();
                status = WB_OK;
            }
        }
    }
    for (int64_t i = s->all.count - 1; i >= 0; i--) {
        for (int64_t by = 0; by < i && !s->kept[i]; by++) {
            s->kept[i] = s->kept[by] && leans_on(&s->manifests[by], s->all.steps[i]);
        }
    }
done:
    return status;
}

static void clear_survey(survey *s) {
    for (int64_t i = 0; s->manifests && i < s->all.count; i++) {
        wb_manifest_clear(&s->manifests[i]);
    }
    free(s->manifests);
    free(s->good);
    free(s->kept);
    free(s->all.steps);
}

wb_status wb_checkpoint_prune(const char *run_folder, int64_t keep, int64_t verified) {
    wb_status status = WB_OK;
    survey s = {.verified = verified};
    char path[WB_PATH];
    WB_CHECK(keep >= 2, WB_ERR_CONFIG, "keeping %lld checkpoints; at least 2 are kept",
             (long long)keep);
    WB_TRY(list_generations(&s.all, run_folder));
    WB_TRY(remove_leftovers(s.all.folder));
    if (s.all.count <= keep) {
        goto done;
    }
    s.manifests = calloc((size_t)s.all.count, sizeof(*s.manifests));
    s.good = calloc((size_t)s.all.count, sizeof(*s.good));
    s.kept = calloc((size_t)s.all.count, sizeof(*s.kept));
    WB_CHECK(s.manifests && s.good && s.kept, WB_ERR_MEMORY, "%s: no memory to prune it",
             s.all.folder);
    WB_TRY(choose_kept(&s, keep));
    for (int64_t i = 0; i < s.all.count; i++) {
        if (!s.kept[i]) {
            WB_TRY(generation_path(path, &s.all, i));
            WB_TRY(wb_folder_remove(path));
        }
    }
done:
    clear_survey(&s);
    return status;
}
