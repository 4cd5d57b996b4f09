/* Bytes as the JSON files of a model folder, parted by NUL: config.json, modules.json,
 * 1_Pooling/config.json, sentence_bert_config.json, tokenizer_config.json, index of the weights.
 * An empty part leaves its file out. */
#include "files.h"
#include "fuzz_input.h"
#include "model_folder.h"

#include <string.h>

static const char *const names[] = {"config.json",           "modules.json",
                                    "1_Pooling/config.json", "sentence_bert_config.json",
                                    "tokenizer_config.json", "model.safetensors.index.json"};
enum { NAMES = sizeof(names) / sizeof(names[0]) };

static char folder[] = "/tmp/fuzz_model_XXXXXX";

static void put(const char *name, const void *data, size_t size) {
    char path[WB_PATH];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    (void)unlink(path);
    FILE *file = size > 0 ? fopen(path, "wb") : NULL;
    if (file) {
        (void)fwrite(data, 1, size, file);
        (void)fclose(file);
    }
}

static void remove_folder(void) {
    (void)wb_folder_remove(folder);
}

/* The folder, with the one shard that the seeds' index names. */
static void make_folder(void) {
    static const char header[] = "{\"embeddings.word_embeddings.weight\":"
                                 "{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}";
    char shard[8 + sizeof(header) - 1] = {(char)(sizeof(header) - 1)};
    char pooling[WB_PATH];
    memcpy(shard + 8, header, sizeof(header) - 1);
    fuzz_require(mkdtemp(folder) && atexit(remove_folder) == 0, "there is a folder");
    (void)snprintf(pooling, sizeof(pooling), "%s/1_Pooling", folder);
    (void)wb_folder_make(pooling);
    put("shard.safetensors", shard, sizeof(shard));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool made = false;
    const char *at = (const char *)data;
    const char *end = at + size;
    wb_model_folder model;
    if (!made) {
        make_folder();
        made = true;
    }
    for (size_t i = 0; i < NAMES; i++) {
        const char *stop = i + 1 < NAMES && at < end ? memchr(at, 0, (size_t)(end - at)) : NULL;
        stop = stop ? stop : end;
        put(names[i], at, (size_t)(stop - at));
        at = stop < end ? stop + 1 : end;
    }
    if (wb_model_folder_read(&model, folder) == WB_OK) {
        const wb_encoder_spec *spec = &model.spec;
        fuzz_require(spec->hidden > 0 && spec->vocabulary > 0, "sizes are positive");
        if (spec->kind == WB_ENCODER_BERT) {
            fuzz_require(spec->heads > 0 && spec->hidden % spec->heads == 0, "heads divide hidden");
            fuzz_require(model.max_tokens > 0 && model.max_tokens <= spec->positions,
                         "lengths stay within the positions");
            fuzz_require(spec->dropout_hidden >= 0 && spec->dropout_hidden < 1,
                         "something is kept");
        }
    }
    wb_error_clear();
    return 0;
}
