/* Opening a model: folder, overrides, tokenizer, encoder, weights. */
#include "model.h"

#include "exchange.h"
#include "files.h"
#include "log.h"
#include "memory.h"
#include "product.h"
#include "units.h"

#include <math.h>
#include <string.h>

/* A static model drawn from the seed needs a vocabulary only: a file, or any folder with one. */
static void describe_scratch(wb_model *model, const wb_config *config) {
    model->folder = (wb_model_folder){
        .spec = {.kind = WB_ENCODER_STATIC,
                 .vocabulary = wb_tokenizer_vocabulary(model->tokenizer),
                 .hidden = config->model_width,
                 .normalize = true},
    };
    model->from_scratch = true;
}

static void override_spec(wb_encoder_spec *spec, const wb_config *config) {
    if (strcmp(config->model_pooling, "auto") != 0) {
        spec->pooling =
            strcmp(config->model_pooling, "cls") == 0 ? WB_POOLING_CLS : WB_POOLING_MEAN;
    }
    if (strcmp(config->model_normalize, "auto") != 0) {
        spec->normalize = strcmp(config->model_normalize, "true") == 0;
    }
    if (config->model_dropout >= 0.0) {
        spec->dropout_hidden = spec->dropout_attention = config->model_dropout;
    }
}

/* A value of the configuration is as short as a prompt may be. */
_Static_assert((int)WB_PROMPT >= (int)WB_OPTION_TEXT, "prompts hold what options hold");

static void override_prompt(char *prompt, const char *value) {
    if (strcmp(value, "auto") != 0) {
        (void)snprintf(prompt, WB_PROMPT, "%s", value);
    }
}

wb_status wb_model_check_path(const wb_config *config) {
    wb_status status = WB_OK;
    const bool wants_static = strcmp(config->model_encoder, "static") == 0;
    WB_CHECK(config->model_path[0] != '\0', WB_ERR_CONFIG,
             "model.path is not set; it names a model folder, or a vocab.txt for a static encoder");
    const bool is_folder = wb_path_is_folder(config->model_path);
    WB_CHECK(is_folder || wants_static, WB_ERR_CONFIG, "model.path = %s: no such folder%s",
             config->model_path,
             wb_path_is_file(config->model_path)
                 ? "; a vocabulary file needs model.encoder = static"
                 : "; a model is a local Hugging Face or sentence-transformers folder, nothing is "
                   "downloaded");
done:
    return status;
}

static wb_status read_folder(wb_model *model, const wb_config *config) {
    wb_status status = WB_OK;
    const bool wants_static = strcmp(config->model_encoder, "static") == 0;
    const bool wants_bert = strcmp(config->model_encoder, "bert") == 0;
    WB_TRY(wb_model_check_path(config));
    const bool is_folder = wb_path_is_folder(config->model_path);
    if (is_folder) {
        const wb_status read = wb_model_folder_read(&model->folder, config->model_path);
        if (!wants_static) {
            WB_TRY(read);
        }
        wb_error_clear(); /* a folder with a vocabulary alone is enough to start from scratch */
        WB_CHECK(!wants_bert || model->folder.spec.kind == WB_ENCODER_BERT, WB_ERR_CONFIG,
                 "model.encoder = bert, but %s holds a static model", config->model_path);
        model->from_scratch =
            wants_static && (read != WB_OK || model->folder.spec.kind != WB_ENCODER_STATIC);
    } else {
        model->from_scratch = true;
    }
    WB_TRY(wb_tokenizer_open(&model->tokenizer,
                             model->from_scratch ? config->model_path : model->folder.tokenizer));
    if (model->from_scratch) {
        describe_scratch(model, config);
    }
    override_spec(&model->folder.spec, config);
    override_prompt(model->folder.query_prompt, config->model_query_prompt);
    override_prompt(model->folder.passage_prompt, config->model_passage_prompt);
    model->specials = model->folder.spec.kind == WB_ENCODER_BERT;
    WB_CHECK(wb_tokenizer_vocabulary(model->tokenizer) <= model->folder.spec.vocabulary,
             WB_ERR_INPUT, "%s: the tokenizer has %lld tokens, the model's table %lld rows",
             config->model_path, (long long)wb_tokenizer_vocabulary(model->tokenizer),
             (long long)model->folder.spec.vocabulary);
done:
    return status;
}

/* One precision for all ranks, though their processors may differ. */
static wb_status choose_precision(wb_model *model, const wb_config *config, wb_comm *comm) {
    wb_status status = WB_OK;
    wb_encoder_spec *spec = &model->folder.spec;
    const bool may = strcmp(config->model_precision, "fp32") != 0 && spec->kind == WB_ENCODER_BERT;
    const bool has = wb_product_has_bf16();
    double ranks = has ? 1.0 : 0.0;
    WB_TRY_ALL(comm, !may || has || strcmp(config->model_precision, "auto") == 0
                         ? WB_OK
                         : WB_ERROR(WB_ERR_CONFIG,
                                    "model.precision = bf16, but a processor or build here has no "
                                    "bf16 products (AVX-512 BF16 or AMX, and oneDNN); try auto"));
    WB_TRY(wb_reduce_sums(comm, &ranks, 1));
    spec->precision = may && ranks == (double)wb_comm_world(comm) ? WB_BF16 : WB_FP32;
done:
    return status;
}

static const char log_scale_name[] = "loss.log_scale";
static const double most_scale = 100.0;

static wb_status fill_params(wb_model *model, const wb_config *config, int rank) {
    const wb_tensor_table *table = wb_encoder_table(model->encoder);
    if (model->log_scale) {
        *model->log_scale = (float)-log(config->loss_temperature);
        wb_model_clamp_temperature(model);
    }
    if (model->from_scratch) {
        wb_encoder_init(model->encoder, model->params, (uint64_t)config->run_seed);
        return WB_OK;
    }
    return rank == 0 ? wb_model_folder_load(&model->folder, table, model->params) : WB_OK;
}

static wb_status build_table(wb_model *model, bool learns_temperature) {
    wb_status status = WB_OK;
    const wb_tensor_table *encoder = wb_encoder_table(model->encoder);
    for (int64_t i = 0; i < encoder->length; i++) {
        const wb_tensor *from = &encoder->tensors[i];
        WB_TRY(wb_tensor_add(&model->table, from->decay, from->shape[0],
                             from->rank == 2 ? from->shape[1] : 0, "%s", from->name));
    }
    if (learns_temperature) {
        WB_TRY(wb_tensor_add(&model->table, false, 1, 0, log_scale_name));
    }
done:
    return status;
}

static wb_status build(wb_model *model, const wb_config *config) {
    wb_status status = WB_OK;
    const bool learns_temperature = strcmp(config->loss_learn_temperature, "true") == 0;
    WB_CHECK(!learns_temperature || config->loss_temperature * most_scale >= 1.0, WB_ERR_CONFIG,
             "loss.temperature = %g; at least %g is allowed where it is learned",
             config->loss_temperature, 1.0 / most_scale);
    WB_TRY(wb_encoder_create(&model->encoder, &model->folder.spec));
    WB_TRY(build_table(model, learns_temperature));
    const int64_t total = model->table.total;
    WB_TRY(wb_arena_create(&model->arena, "parameters", wb_float_bytes(total)));
    WB_TRY(wb_arena_floats(model->arena, total, &model->params));
    const wb_tensor *log_scale = wb_tensor_find(&model->table, log_scale_name);
    model->log_scale = log_scale ? model->params + log_scale->offset : NULL;
done:
    return status;
}

wb_status wb_model_open(wb_model *model, const wb_config *config, wb_comm *comm) {
    wb_status status = WB_OK;
    *model = (wb_model){0};
    WB_TRY_ALL(comm, read_folder(model, config));
    WB_TRY(choose_precision(model, config, comm));
    WB_TRY_ALL(comm, build(model, config));
    const size_t bytes = wb_float_bytes(wb_encoder_table(model->encoder)->total);
    WB_TRY(wb_memory_sharers(&model->sharers, comm));
    WB_TRY_ALL(comm, wb_memory_check_ranks(model->sharers, bytes, 0));
    WB_TRY_ALL(comm, fill_params(model, config, wb_comm_rank(comm)));
    if (!model->from_scratch) {
        WB_TRY(wb_broadcast(comm, model->params, (int64_t)bytes));
    }
    wb_encoder_convert(model->encoder, model->params);
done:
    return status;
}

void wb_model_log(const wb_model *model, const char *role) {
    const wb_tensor_table *table = wb_encoder_table(model->encoder);
    wb_log(WB_LOG_RUN, "%s: %s encoder, %s parameters in %lld tensor%s, width %lld%s%s", role,
           model->specials ? "bert" : "static", wb_count_text(table->total).text,
           (long long)table->length, table->length > 1 ? "s" : "",
           (long long)model->folder.spec.hidden,
           model->folder.spec.precision == WB_BF16 ? ", bf16" : "",
           model->from_scratch ? ", from scratch" : "");
    if (model->folder.query_prompt[0] != '\0' || model->folder.passage_prompt[0] != '\0') {
        wb_log(WB_LOG_RUN, "%s: \"%s\" before each query, \"%s\" before each passage", role,
               model->folder.query_prompt, model->folder.passage_prompt);
    }
}

wb_status wb_model_open_folder(wb_model *model, const char *path, const char *precision,
                               wb_comm *comm) {
    wb_status status = WB_OK;
    wb_config config;
    wb_origins *origins = NULL;
    *model = (wb_model){0};
    WB_TRY_ALL(comm, wb_options_defaults(&config, &origins));
    WB_TRY_ALL(comm, wb_options_set(&config, origins, "model.path", path, "--model"));
    WB_TRY_ALL(comm, wb_options_set(&config, origins, "model.normalize", "auto", "--model"));
    WB_TRY_ALL(comm, wb_options_set(&config, origins, "model.precision", precision, "--precision"));
    WB_TRY(wb_model_open(model, &config, comm));
    wb_model_log(model, "model");
done:
    wb_origins_destroy(origins);
    return status;
}

double wb_model_temperature(const wb_model *model, const wb_config *config) {
    return model->log_scale ? exp(-(double)*model->log_scale) : config->loss_temperature;
}

void wb_model_clamp_temperature(wb_model *model) {
    if (model->log_scale) {
        *model->log_scale = fminf(*model->log_scale, (float)log(most_scale));
    }
}

const char *wb_model_prompt(const wb_model *model, wb_role role) {
    return role == WB_QUERY ? model->folder.query_prompt : model->folder.passage_prompt;
}

void wb_model_close(wb_model *model) {
    wb_tokenizer_close(model->tokenizer);
    wb_encoder_destroy(model->encoder);
    wb_arena_destroy(model->arena);
    wb_tensor_table_clear(&model->table);
    *model = (wb_model){0};
}

wb_status wb_model_max_tokens(const wb_model *model, int64_t wanted, const char *key,
                              int64_t *tokens) {
    enum { STATIC_DEFAULT = 8192 };
    const int64_t positions = model->specials ? model->folder.spec.positions : INT64_MAX;
    const int64_t usual = model->folder.max_tokens > 0 ? model->folder.max_tokens : STATIC_DEFAULT;
    *tokens = wanted > 0 ? wanted : (usual < positions ? usual : positions);
    if (*tokens > positions) {
        return WB_ERROR(WB_ERR_CONFIG, "%s = %lld, but the model has only %lld positions", key,
                        (long long)wanted, (long long)positions);
    }
    return WB_OK;
}
