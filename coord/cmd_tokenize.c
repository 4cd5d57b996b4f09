/* widebatch tokenize: what the model sees of a text. */
#include "commands.h"
#include "tokenizer.h"

#include <stdlib.h>
#include <string.h>

enum { MODEL, MAX_TOKENS };
const wb_flag wb_tokenize_flags[] = {
    [MODEL] = {"model", WB_FLAG_REQUIRED, "DIR", NULL, "model folder, or a vocab.txt"},
    [MAX_TOKENS] = {"max-tokens", WB_FLAG_REQUIRED, "N", NULL,
                    "longest line of ids, [CLS] and [SEP] included"},
};
const int wb_tokenize_flag_count = sizeof(wb_tokenize_flags) / sizeof(wb_tokenize_flags[0]);

static wb_status print_lines(const wb_tokenizer *tokenizer, int64_t max_tokens) {
    wb_status status = WB_OK;
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length;
    int32_t *ids = malloc((size_t)max_tokens * sizeof(*ids));
    WB_CHECK(ids, WB_ERR_MEMORY, "no memory for %lld tokens", (long long)max_tokens);
    while ((length = getline(&line, &capacity, stdin)) >= 0) {
        const size_t bytes = (size_t)length - (length > 0 && line[length - 1] == '\n' ? 1 : 0);
        int64_t count = 0;
        WB_TRY(wb_tokenizer_encode(tokenizer, line, bytes, true, max_tokens, ids, &count));
        for (int64_t i = 0; i < count; i++) {
            (void)printf(i == 0 ? "%d" : " %d", ids[i]);
        }
        (void)putchar('\n');
    }
    WB_CHECK(fflush(stdout) == 0, WB_ERR_DISK, "cannot write to standard output");
done:
    free(line);
    free(ids);
    return status;
}

static wb_status tokenize(const wb_arguments *arguments) {
    wb_status status = WB_OK;
    wb_tokenizer *tokenizer = NULL;
    int64_t max_tokens;
    WB_TRY(wb_argument_count("max-tokens", arguments->values[MAX_TOKENS], 2, 1 << 20, &max_tokens));
    WB_TRY(wb_tokenizer_open(&tokenizer, arguments->values[MODEL]));
    WB_TRY(print_lines(tokenizer, max_tokens));
done:
    wb_tokenizer_close(tokenizer);
    return status;
}

wb_status wb_command_tokenize(const wb_arguments *arguments, wb_comm *comm) {
    return wb_agree(comm, wb_comm_rank(comm) == 0 ? tokenize(arguments) : WB_OK);
}
