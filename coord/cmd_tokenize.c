/* widebatch tokenize: what the model sees of a text. */
#include "commands.h"
#include "tokenizer.h"
#include "units.h"

#include <stdlib.h>
#include <string.h>

enum { MODEL, MAX_TOKENS, COUNT };
const wb_flag wb_tokenize_flags[] = {
    [MODEL] = {"model", WB_FLAG_REQUIRED, "DIR", NULL, "model folder, or a vocab.txt"},
    [MAX_TOKENS] = {"max-tokens", WB_FLAG_REQUIRED, "N", NULL,
                    "longest line of ids, [CLS] and [SEP] included"},
    [COUNT] = {"count", WB_FLAG_SWITCH, NULL, NULL,
               "print how many tokens there are and how fast, not the ids"},
};
const int wb_tokenize_flag_count = sizeof(wb_tokenize_flags) / sizeof(wb_tokenize_flags[0]);

/* The lines of standard input, one after the other. */
typedef struct reading {
    const wb_tokenizer *tokenizer;
    int64_t max_tokens;
    int32_t *ids; /* [max_tokens], of the line read last; owned */
    int64_t count;
    char *line; /* owned */
    size_t capacity, bytes;
    double seconds; /* spent on tokenizing alone */
} reading;

static wb_status read_line(reading *r, bool *more) {
    wb_status status = WB_OK;
    const ssize_t length = getline(&r->line, &r->capacity, stdin);
    *more = length >= 0;
    if (*more) {
        const double began = wb_now();
        r->bytes = (size_t)length - (length > 0 && r->line[length - 1] == '\n' ? 1 : 0);
        WB_TRY(wb_tokenizer_encode(r->tokenizer, r->line, r->bytes, true, r->max_tokens, r->ids,
                                   &r->count));
        r->seconds += wb_now() - began;
    }
done:
    return status;
}

static wb_status print_ids(reading *r) {
    wb_status status = WB_OK;
    bool more = false;
    WB_TRY(read_line(r, &more));
    while (more) {
        for (int64_t i = 0; i < r->count; i++) {
            (void)printf(i == 0 ? "%d" : " %d", r->ids[i]);
        }
        (void)putchar('\n');
        WB_TRY(read_line(r, &more));
    }
done:
    return status;
}

static wb_status print_count(reading *r) {
    wb_status status = WB_OK;
    int64_t lines = 0, tokens = 0;
    size_t bytes = 0;
    bool more = false;
    WB_TRY(read_line(r, &more));
    while (more) {
        lines++;
        tokens += r->count;
        bytes += r->bytes;
        WB_TRY(read_line(r, &more));
    }
    const double seconds = r->seconds > 0.0 ? r->seconds : 1e-9;
    (void)printf("%s lines, %s of text, %s tokens in %s: %s tokens/s, %.1f MB/s\n",
                 wb_count_text(lines).text, wb_bytes_text(bytes).text, wb_count_text(tokens).text,
                 wb_seconds_text(seconds).text,
                 wb_count_text((int64_t)((double)tokens / seconds)).text,
                 (double)bytes / seconds * 1e-6);
done:
    return status;
}

static wb_status tokenize(const wb_arguments *arguments) {
    wb_status status = WB_OK;
    wb_tokenizer *tokenizer = NULL;
    reading r = {0};
    WB_TRY(
        wb_argument_count("max-tokens", arguments->values[MAX_TOKENS], 2, 1 << 20, &r.max_tokens));
    WB_TRY(wb_tokenizer_open(&tokenizer, arguments->values[MODEL]));
    r.tokenizer = tokenizer;
    r.ids = malloc((size_t)r.max_tokens * sizeof(*r.ids));
    WB_CHECK(r.ids, WB_ERR_MEMORY, "no memory for %lld tokens", (long long)r.max_tokens);
    WB_TRY(arguments->values[COUNT] ? print_count(&r) : print_ids(&r));
    WB_CHECK(fflush(stdout) == 0, WB_ERR_DISK, "cannot write to standard output");
done:
    free(r.line);
    free(r.ids);
    wb_tokenizer_close(tokenizer);
    return status;
}

wb_status wb_command_tokenize(const wb_arguments *arguments, wb_comm *comm) {
    return wb_agree(comm, wb_comm_rank(comm) == 0 ? tokenize(arguments) : WB_OK);
}
