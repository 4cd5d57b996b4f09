/* Rows of two tables. */
#include "card.h"

#include "files.h"

#include <stdlib.h>
#include <string.h>

/* The last name of a path: what stands before it is nobody's business. */
static const char *name_of(const char *path, char name[WB_OPTION_TEXT]) {
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/') {
        end--;
    }
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/') {
        begin--;
    }
    (void)snprintf(name, WB_OPTION_TEXT, "%.*s", (int)(end - begin), path + begin);
    return name;
}

static void print_training(FILE *out, const wb_model *model, const wb_config *config,
                           int64_t steps) {
    char base[WB_OPTION_TEXT], data[WB_OPTION_TEXT];
    (void)fprintf(out, "| | |\n|---|---|\n| %s | %s |\n",
                  model->from_scratch ? "from scratch, vocabulary of" : "base model",
                  name_of(config->model_path, base));
    (void)fprintf(out, "| data | %s |\n", name_of(config->data_train, data));
    (void)fprintf(out, "| steps | %lld of %lld queries |\n", (long long)steps,
                  (long long)config->batch_size);
    (void)fprintf(out, "| loss | InfoNCE over the whole batch, temperature %.4g%s%s%s |\n",
                  wb_model_temperature(model, config), model->log_scale ? " (learned)" : "",
                  config->loss_widths[0] != '\0' ? ", Matryoshka widths " : "",
                  config->loss_widths);
    (void)fprintf(out, "| optimizer | %s, learning rate %g, %s, warm-up %g, weight decay %g |\n",
                  config->optimizer_name, config->optimizer_lr, config->optimizer_schedule,
                  config->optimizer_warmup, config->optimizer_weight_decay);
    (void)fprintf(out, "| precision, seed | %s, %lld |\n| program | widebatch " WB_VERSION " |\n",
                  model->folder.spec.precision == WB_BF16 ? "bf16" : "fp32",
                  (long long)config->run_seed);
}

static void print_measures(FILE *out, const wb_config *config, const wb_measures *before,
                           const wb_measures *after) {
    char data[WB_OPTION_TEXT];
    (void)fprintf(out, "\n## Evaluation\n\n%lld queries of %s (%s)\n\n| |%s after |\n|---|%s---|\n",
                  (long long)after->queries, name_of(config->data_eval, data),
                  config->data_eval_split, before ? " before |" : "", before ? "---|" : "");
    for (int i = 0; i < WB_MEASURES_SHOWN; i++) {
        const wb_measure shown = wb_measures_shown[i];
        (void)fprintf(out, "| %s |", wb_measure_name(shown));
        if (before) {
            (void)fprintf(out, " %.4f |", before->values[shown]);
        }
        (void)fprintf(out, " %.4f |\n", after->values[shown]);
    }
}

static wb_status write_training(char **text, const wb_model *model, const wb_config *config,
                                const wb_card_run *run) {
    wb_status status = WB_OK;
    size_t bytes = 0;
    *text = NULL;
    FILE *out = open_memstream(text, &bytes);
    WB_CHECK(out, WB_ERR_MEMORY, "no memory for the model card");
    print_training(out, model, config, run->steps);
    if (run->after) {
        print_measures(out, config, run->before, run->after);
    }
    WB_TRY(wb_memstream_close(out, WB_OK, "the model card"));
done:
    return status;
}

wb_status wb_card_export(const wb_model *model, const wb_config *config, const wb_card_run *run,
                         const char *out) {
    wb_status status = WB_OK;
    char name[WB_OPTION_TEXT], *training = NULL;
    wb_model_card card = {.name = name_of(run->name, name),
                          .similarity = model->folder.spec.normalize ? "cosine" : "dot",
                          .query_prompt = wb_model_prompt(model, WB_QUERY),
                          .passage_prompt = wb_model_prompt(model, WB_PASSAGE)};
    WB_TRY(wb_model_max_tokens(model, config->data_max_query_tokens, "data.max_query_tokens",
                               &card.query_tokens));
    WB_TRY(wb_model_max_tokens(model, config->data_max_passage_tokens, "data.max_passage_tokens",
                               &card.passage_tokens));
    WB_TRY(write_training(&training, model, config, run));
    card.training = training;
    WB_TRY(wb_model_folder_export(&model->folder, out, wb_encoder_table(model->encoder),
                                  model->params, model->tokenizer, &card));
done:
    free(training);
    return status;
}
