/* What `inspect` prints: facts first, then a line a tensor. Written for eyes, not for programs. */
#include "checkpoint.h"

#include "checkpoint_manifest.h"
#include "model_folder.h"
#include "safetensors.h"
#include "units.h"

#include <inttypes.h>
#include <string.h>

/* A count that leaves 63 bits is told as 0: a manifest's shapes are for people, nothing checks
 * them. */
static void print_shape(FILE *out, const char *name, const int64_t *shape, int rank,
                        const char *dtype) {
    int64_t count = 1;
    char text[32 * WB_SAFETENSORS_RANK] = "";
    for (int i = 0; i < rank; i++) {
        const size_t used = strlen(text);
        (void)snprintf(text + used, sizeof(text) - used, "%s%lld", i > 0 ? " x " : "",
                       (long long)shape[i]);
        count = wb_multiply(count, shape[i], &count) ? count : 0;
    }
    (void)fprintf(out, "  %-60s %-5s %-16s %14s\n", name, dtype, text, wb_count_text(count).text);
}

static wb_status describe_safetensors(const char *path, FILE *out) {
    wb_status status = WB_OK;
    wb_safetensors *file = NULL;
    int64_t values = 0;
    WB_TRY(wb_safetensors_open(&file, path));
    const int64_t count = wb_safetensors_count(file);
    for (int64_t i = 0; i < count; i++) {
        values += wb_safetensors_at(file, i)->count;
    }
    (void)fprintf(out, "%s\n  %s tensors, %s values\n\n", path, wb_count_text(count).text,
                  wb_count_text(values).text);
    for (int64_t i = 0; i < count; i++) {
        const wb_safetensors_entry *entry = wb_safetensors_at(file, i);
        print_shape(out, entry->name, entry->shape, entry->rank, wb_dtype_name(entry->dtype));
    }
done:
    wb_safetensors_close(file);
    return status;
}

/* A whole number or a text of the manifest, as it stands there. */
static void print_member(FILE *out, const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    if (json_is_integer(value)) {
        (void)fprintf(out, "  %-14s %s\n", key, wb_count_text(json_integer_value(value)).text);
    } else if (json_is_boolean(value)) {
        (void)fprintf(out, "  %-14s %s\n", key, json_is_true(value) ? "yes" : "no");
    } else if (json_is_string(value)) {
        (void)fprintf(out, "  %-14s %s\n", key, json_string_value(value));
    }
}

static void print_manifest(FILE *out, const wb_manifest *manifest) {
    static const char *const keys[] = {"writer", "step",        "total_steps", "finished",
                                       "rows",   "config_hash", "parameters"};
    for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++) {
        print_member(out, manifest->root, keys[k]);
    }
    (void)fprintf(out, "  %-14s %" PRIu64 "\n", "seed", manifest->facts.seed);
    for (int64_t i = 0; i < manifest->arrays; i++) {
        (void)fprintf(out, "  %-14s %s\n", i == 0 ? "arrays" : "", manifest->array_names[i]);
    }
    for (int64_t i = 0; i < manifest->file_count; i++) {
        const wb_manifest_file *file = &manifest->files[i];
        (void)fprintf(out, "  %-14s step-%" PRId64 "/state.h5, %s, xxh3 %016" PRIx64 "\n",
                      i == 0 ? "files" : "", file->step, wb_bytes_text((size_t)file->bytes).text,
                      file->sum);
    }
    (void)fputc('\n', out);
    const json_t *tensors = json_object_get(manifest->root, "tensors");
    for (int64_t i = 0; i < manifest->tensors; i++) {
        const json_t *dimensions = json_object_get(json_array_get(tensors, (size_t)i), "shape");
        int64_t shape[WB_TENSOR_RANK] = {0};
        const int rank = json_array_size(dimensions) == 2 ? 2 : 1;
        for (int r = 0; r < rank; r++) {
            shape[r] = json_integer_value(json_array_get(dimensions, (size_t)r));
        }
        print_shape(out, manifest->tensor_names[i], shape, rank, "F32");
    }
}

static wb_status describe_generation(const char *folder, FILE *out) {
    wb_status status = WB_OK;
    wb_manifest manifest = {0};
    WB_TRY(wb_checkpoint_verify(folder));
    WB_TRY(wb_manifest_read(&manifest, folder));
    (void)fprintf(out, "%s\n  %-14s verified\n", folder, "state");
    print_manifest(out, &manifest);
done:
    wb_manifest_clear(&manifest);
    return status;
}

static wb_status describe_newest(const char *run_folder, FILE *out) {
    wb_status status = WB_OK;
    char path[WB_PATH];
    wb_checkpoint facts;
    bool found = false;
    WB_TRY(wb_checkpoint_peek(run_folder, &facts, &found));
    WB_CHECK(found, WB_ERR_CHECKPOINT, "%s: holds no checkpoint", run_folder);
    WB_TRY(wb_path_join(path, run_folder, "checkpoints/step-%" PRId64, facts.step));
    WB_TRY(describe_generation(path, out));
done:
    return status;
}

static void print_spec(FILE *out, const wb_model_folder *folder) {
    const wb_encoder_spec *spec = &folder->spec;
    (void)fprintf(out, "%s\n  %-14s %s\n  %-14s %s\n  %-14s %lld\n", folder->path, "encoder",
                  spec->kind == WB_ENCODER_STATIC ? "static" : "bert", "vocabulary",
                  wb_count_text(spec->vocabulary).text, "hidden", (long long)spec->hidden);
    if (spec->kind == WB_ENCODER_BERT) {
        (void)fprintf(out,
                      "  %-14s %lld\n  %-14s %lld\n  %-14s %lld\n  %-14s %lld\n  %-14s %lld\n"
                      "  %-14s %s\n",
                      "layers", (long long)spec->layers, "heads", (long long)spec->heads,
                      "intermediate", (long long)spec->intermediate, "positions",
                      (long long)spec->positions, "max tokens", (long long)folder->max_tokens,
                      "pooling", spec->pooling == WB_POOLING_CLS ? "cls" : "mean");
    }
    if (folder->query_prompt[0] != '\0' || folder->passage_prompt[0] != '\0') {
        (void)fprintf(out, "  %-14s \"%s\"\n  %-14s \"%s\"\n", "query prompt", folder->query_prompt,
                      "passage prompt", folder->passage_prompt);
    }
    (void)fprintf(out, "  %-14s %s\n\n", "normalised", spec->normalize ? "yes" : "no");
}

static wb_status describe_model(const char *path, FILE *out) {
    wb_status status = WB_OK;
    wb_model_folder folder;
    WB_TRY(wb_model_folder_read(&folder, path));
    print_spec(out, &folder);
    const char *dot = strrchr(folder.weights, '.');
    if (strcmp(dot, ".safetensors") == 0) {
        WB_TRY(describe_safetensors(folder.weights, out));
    } else {
        (void)fprintf(out, "%s\n  shards: inspect them one by one\n", folder.weights);
    }
done:
    return status;
}

wb_status wb_checkpoint_describe(const char *path, FILE *out) {
    wb_status status = WB_OK;
    char inside[WB_PATH];
    if (wb_path_is_file(path)) {
        WB_TRY(describe_safetensors(path, out));
        return WB_OK;
    }
    WB_TRY(wb_path_join(inside, path, "manifest.json"));
    if (wb_path_is_file(inside)) {
        WB_TRY(describe_generation(path, out));
        return WB_OK;
    }
    WB_TRY(wb_path_join(inside, path, "checkpoints"));
    WB_TRY(wb_path_is_folder(inside) ? describe_newest(path, out) : describe_model(path, out));
done:
    return status;
}
