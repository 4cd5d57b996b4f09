/* Writing: which parts, in which order on disk, under which names. */
#include "checkpoint_writer.h"

#include "checkpoint_manifest.h"
#include "checkpoint_state.h"
#include "files.h"
#include "hash.h"
#include "units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { SPACE_RESERVE = 16 << 20 }; /* bytes to leave free for logs and metrics */

/* Where the parts of one generation stand. */
typedef struct placement {
    int64_t *holders; /* [parts] */
    uint64_t *sums;   /* [parts] */
    wb_manifest_file *files;
    int64_t file_count;
} placement;

struct wb_checkpoint_writer {
    wb_checkpoint_writing how;
    char checkpoints[WB_PATH], life[128];
    char run_folder[WB_PATH];
    int64_t parts;  /* of a generation; 0 before the first */
    placement last; /* of the newest generation written */
    int64_t since_full;
    wb_state_image image; /* of its file */
};

static void clear_placement(placement *p) {
    free(p->holders);
    free(p->sums);
    free(p->files);
    *p = (placement){0};
}

wb_status wb_checkpoint_writer_create(wb_checkpoint_writer **writer,
                                      const wb_checkpoint_writing *how) {
    wb_status status = WB_OK;
    wb_checkpoint_writer *w = calloc(1, sizeof(*w));
    WB_CHECK(w, WB_ERR_MEMORY, "no memory to write checkpoints");
    w->how = *how;
    (void)snprintf(w->life, sizeof(w->life), "%s", how->life);
    WB_TRY(wb_path_join(w->checkpoints, how->run_folder, "checkpoints"));
    (void)snprintf(w->run_folder, sizeof(w->run_folder), "%s", how->run_folder);
    *writer = w;
    w = NULL;
done:
    free(w);
    return status;
}

void wb_checkpoint_writer_destroy(wb_checkpoint_writer *w) {
    if (w) {
        clear_placement(&w->last);
        wb_state_image_clear(&w->image);
        free(w);
    }
}

/* ---- Which parts
 * -------------------------------------------------------------------------------------- */

static bool is_in_place(const wb_checkpoint_writer *w, const wb_manifest_file *file) {
    char path[WB_PATH];
    struct stat info;
    return wb_path_join(path, w->checkpoints, "step-%" PRId64 "/state.h5", file->step) == WB_OK &&
           stat(path, &info) == 0 && info.st_size == file->bytes;
}

/* Whether the next generation may lean on older ones. */
static bool may_lean(const wb_checkpoint_writer *w, const wb_checkpoint *state) {
    bool may = w->parts > 0 && w->since_full + 1 < w->how.full_every;
    for (int64_t i = 0; i < w->last.file_count; i++) {
        may = may && w->last.files[i].step < state->step && is_in_place(w, &w->last.files[i]);
    }
    return may;
}

static void place_parts(placement *p, const wb_checkpoint_writer *w, const wb_checkpoint *state,
                        bool leans) {
    const int64_t tensors = state->table->length;
    for (int64_t part = 0; part < wb_checkpoint_arrays(state) * tensors; part++) {
        const wb_tensor *tensor = &state->table->tensors[part % tensors];
        const float *values = wb_checkpoint_array(state, part / tensors) + tensor->offset;
        p->sums[part] = wb_hash(values, wb_float_bytes(tensor->count));
        p->holders[part] =
            leans && p->sums[part] == w->last.sums[part] ? w->last.holders[part] : state->step;
    }
}

/* Its own file, of which bytes and sum are not known yet, and those of the parts that stay. A file
 * of this very step is one that is replaced. */
static void list_files(placement *p, const placement *last, int64_t step, int64_t parts) {
    p->files[0] = (wb_manifest_file){.step = step};
    p->file_count = 1;
    for (int64_t i = 0; i < last->file_count; i++) {
        bool needed = false;
        for (int64_t part = 0; part < parts; part++) {
            needed = needed || p->holders[part] == last->files[i].step;
        }
        if (needed && last->files[i].step != step) {
            p->files[p->file_count++] = last->files[i];
        }
    }
}

static wb_status place(placement *p, wb_checkpoint_writer *w, const wb_checkpoint *state) {
    wb_status status = WB_OK;
    const int64_t parts = wb_checkpoint_arrays(state) * state->table->length;
    const bool leans = may_lean(w, state);
    p->holders = calloc((size_t)parts + 1, sizeof(*p->holders));
    p->sums = calloc((size_t)parts + 1, sizeof(*p->sums));
    p->files = calloc((size_t)w->last.file_count + 1, sizeof(*p->files));
    WB_CHECK(p->holders && p->sums && p->files, WB_ERR_MEMORY,
             "no memory for the manifest of step %lld", (long long)state->step);
    WB_CHECK(w->parts == 0 || w->parts == parts, WB_ERR_INTERNAL,
             "a writer of %lld parts gets %lld", (long long)w->parts, (long long)parts);
    place_parts(p, w, state, leans);
    list_files(p, &w->last, state->step, parts);
done:
    return status;
}

/* ---- On disk
 * ------------------------------------------------------------------------------------------ */

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

static wb_status write_generation(const char *temporary, placement *p, wb_state_image *image,
                                  const wb_checkpoint *state) {
    wb_status status = WB_OK;
    char path[WB_PATH];
    uint64_t sum = 0;
    WB_TRY(wb_folder_remove(temporary));
    WB_TRY(wb_folder_make(temporary));
    WB_TRY(wb_path_join(path, temporary, "state.h5"));
    WB_TRY(wb_state_build(image, state, p->holders, path));
    p->files[0].bytes = (int64_t)image->size;
    p->files[0].sum = wb_hash(image->bytes, image->size);
    WB_TRY(wb_file_write_and_read(path, image->bytes, image->size, &sum));
    WB_CHECK(sum == p->files[0].sum, WB_ERR_CHECKPOINT,
             "%s: damaged: the sum of what was written is %016" PRIx64
             ", read back it is %016" PRIx64,
             path, p->files[0].sum, sum);
    WB_TRY(wb_manifest_write(temporary, state, p->holders, p->sums, p->files, p->file_count));
done:
    return status;
}

/* Verified under its first name: what does not verify never gets the other. */
static wb_status publish(wb_checkpoint_writer *w, const char *temporary, int64_t step) {
    wb_status status = WB_OK;
    char final[WB_PATH];
    WB_TRY(wb_path_join(final, w->checkpoints, "step-%" PRId64, step));
    WB_TRY(wb_checkpoint_verify_written(temporary));
    if (w->how.may_publish) {
        WB_TRY(w->how.may_publish(w->how.context));
    }
    WB_TRY(wb_folder_publish(temporary, final));
    WB_TRY(move_latest(w->checkpoints, step));
done:
    return status;
}

wb_status wb_checkpoint_writer_write(wb_checkpoint_writer *w, const wb_checkpoint *state) {
    wb_status status = WB_OK;
    char temporary[WB_PATH] = "";
    placement next = {0};
    WB_TRY(place(&next, w, state));
    WB_TRY(wb_folder_make(w->checkpoints));
    WB_TRY(check_space(w->checkpoints, wb_state_bytes(state, next.holders)));
    WB_TRY(
        wb_path_join(temporary, w->checkpoints, "step-%" PRId64 ".%s.tmp", state->step, w->life));
    WB_TRY(write_generation(temporary, &next, &w->image, state));
    WB_TRY(publish(w, temporary, state->step));
    w->since_full = next.file_count > 1 ? w->since_full + 1 : 0;
    w->parts = wb_checkpoint_arrays(state) * state->table->length;
    clear_placement(&w->last);
    w->last = next;
    next = (placement){0};
    WB_TRY(wb_checkpoint_prune(w->run_folder, w->how.keep, state->step));
done:
    if (status != WB_OK && temporary[0] != '\0') {
        (void)wb_folder_remove(temporary);
    }
    clear_placement(&next);
    return status;
}

wb_status wb_checkpoint_write(const char *run_folder, const wb_checkpoint *state) {
    wb_status status = WB_OK;
    wb_checkpoint_writer *writer = NULL;
    const wb_checkpoint_writing how = {
        .run_folder = run_folder, .life = "once", .keep = INT64_MAX, .full_every = 1};
    WB_TRY(wb_checkpoint_writer_create(&writer, &how));
    WB_TRY(wb_checkpoint_writer_write(writer, state));
done:
    wb_checkpoint_writer_destroy(writer);
    return status;
}
