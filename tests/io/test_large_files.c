/* The worst that a large file can ask of its reader: time in proportion to its bytes, and memory in
 * proportion too. Each is read in a process of its own; what it took is printed. */
#include "data_set.h"
#include "io_checks.h"
#include "json.h"
#include "model_folder.h"
#include "qrels.h"
#include "safetensors.h"
#include "text_file.h"
#include "tokenizer.h"
#include "trec_run.h"

#include <sys/wait.h>
#include <time.h>

#define FOLDER WB_TEST_SCRATCH "/large-files"

/* ---- Files of about so many bytes
 * ------------------------------------------------------------------------ */

typedef void maker(FILE *out, size_t bytes);

static bool is_short(FILE *out, size_t bytes) {
    return (size_t)ftello(out) < bytes;
}

static void repeat(FILE *out, const char *text, int count) {
    for (int i = 0; i < count; i++) {
        (void)fputs(text, out);
    }
}

static void blank_lines(FILE *out, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) {
        (void)fputc('\n', out);
    }
}

static void one_line(FILE *out, size_t bytes) {
    for (size_t i = 0; i < bytes || i <= WB_LINE_CAP; i++) {
        (void)fputc('a', out);
    }
}

static void judgements_of_new_names(FILE *out, size_t bytes) {
    for (int i = 0; is_short(out, bytes); i++) {
        (void)fprintf(out, "%x 0 %x 1\n", (unsigned)i, (unsigned)i);
    }
}

static void judgements_of_one_query(FILE *out, size_t bytes) {
    for (int i = 0; is_short(out, bytes); i++) {
        (void)fprintf(out, "q 0 %x 1\n", (unsigned)i);
    }
}

static void judgements_of_one_document(FILE *out, size_t bytes) {
    for (int i = 0; is_short(out, bytes); i++) {
        (void)fprintf(out, "%x 0 d 1\n", (unsigned)i);
    }
}

/* Each query judges the same documents, and no two lines of a query are neighbours. */
static void judgements_in_turn(FILE *out, size_t bytes) {
    enum { QUERIES = 4096 };
    for (int i = 0; is_short(out, bytes); i++) {
        (void)fprintf(out, "%x 0 %x 1\n", (unsigned)i % QUERIES, (unsigned)i / QUERIES);
    }
}

static void results_of_new_names(FILE *out, size_t bytes) {
    for (int i = 0; is_short(out, bytes); i++) {
        (void)fprintf(out, "%x 0 %x 1 1 t\n", (unsigned)i, (unsigned)i);
    }
}

static void results_of_many_queries(FILE *out, size_t bytes) {
    enum { DEPTH = 1000 };
    for (int i = 0; is_short(out, bytes); i++) {
        (void)fprintf(out, "%x Q0 d%d %d 0.%d t\n", (unsigned)i / DEPTH, i % DEPTH * 7919,
                      i % DEPTH + 1, DEPTH - i % DEPTH);
    }
}

static void empty_texts(FILE *out, size_t bytes) {
    for (int i = 0; is_short(out, bytes); i++) {
        (void)fprintf(out, "{\"_id\":\"%x\",\"text\":\"\"}\n", (unsigned)i);
    }
}

static void escaped_texts(FILE *out, size_t bytes) {
    for (int i = 0; is_short(out, bytes); i++) {
        (void)fprintf(out, "{\"_id\":%d,\"text\":\"", i);
        repeat(out, "\\u00e9", 10000);
        (void)fputs("\"}\n", out);
    }
}

static void longest_texts(FILE *out, size_t bytes) {
    for (int i = 0; is_short(out, bytes); i++) {
        (void)fprintf(out, "{\"_id\":%d,\"text\":\"", i);
        repeat(out, "\\u00e9", (int)(WB_LINE_CAP / 6 - 100));
        (void)fputs("\"}\n", out);
    }
}

static void texts_with_many_values(FILE *out, size_t bytes) {
    for (int i = 0; is_short(out, bytes); i++) {
        (void)fprintf(out, "{\"_id\":%d,\"text\":\"\",\"more\":[0", i);
        repeat(out, ",0", WB_JSON_LINE_VALUES - 10);
        (void)fputs("]}\n", out);
    }
}

static void texts_with_many_members(FILE *out, size_t bytes) {
    for (int i = 0; is_short(out, bytes); i++) {
        (void)fprintf(out, "{\"_id\":%d,\"text\":\"\"", i);
        for (int member = 0; member < WB_JSON_LINE_VALUES - 10; member++) {
            (void)fprintf(out, ",\"%x\":0", (unsigned)member);
        }
        (void)fputs("}\n", out);
    }
}

static void nested_texts(FILE *out, size_t bytes) {
    for (int i = 0; is_short(out, bytes); i++) {
        (void)fprintf(out, "{\"_id\":%d,\"text\":\"\",\"more\":", i);
        repeat(out, "[", WB_JSON_DEPTH - 1);
        repeat(out, "]", WB_JSON_DEPTH - 1);
        (void)fputs("}\n", out);
    }
}

static void rows_of_one_passage(FILE *out, size_t bytes) {
    for (int i = 0; is_short(out, bytes); i++) {
        (void)fprintf(out,
                      "{\"query_id\":%d,\"query\":\"\",\"positive_passages\":[{\"docid\":%d,"
                      "\"text\":\"\"}]}\n",
                      i, i);
    }
}

static void rows_of_many_passages(FILE *out, size_t bytes) {
    for (int i = 0; is_short(out, bytes); i++) {
        (void)fprintf(out,
                      "{\"query_id\":%d,\"query\":\"\",\"positive_passages\":[{\"docid\":1,"
                      "\"text\":\"\"}],\"negative_passages\":[{\"docid\":0,\"text\":\"\"}",
                      i);
        for (int passage = 0; passage < WB_JSON_LINE_VALUES / 3 - 10; passage++) {
            (void)fprintf(out, ",{\"docid\":%d,\"text\":\"\"}", passage);
        }
        (void)fputs("]}\n", out);
    }
}

static void special_tokens(FILE *out) {
    (void)fputs("[PAD]\n[UNK]\n[CLS]\n[SEP]\n", out);
}

static void most_tokens(FILE *out, size_t bytes) {
    enum { TOKENS = (1 << 20) - 5 };
    (void)bytes;
    special_tokens(out);
    for (int i = 0; i < TOKENS; i++) {
        (void)fprintf(out, "%x\n", (unsigned)i);
    }
}

/* Tokens that have hardly a beginning in common: each byte is a unit of the trie. */
static void long_tokens(FILE *out, size_t bytes) {
    (void)bytes;
    special_tokens(out);
    for (int i = 0; is_short(out, (size_t)15 << 20); i++) {
        (void)fprintf(out, "%x%0120x\n", (unsigned)i, (unsigned)i);
    }
}

static void vocabulary_of_most_values(FILE *out, size_t bytes) {
    (void)bytes;
    (void)fputs("{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"[UNK]\":0", out);
    for (int i = 1; i < WB_JSON_VALUES - 10; i++) {
        (void)fprintf(out, ",\"%x\":%d", (unsigned)i, i);
    }
    (void)fputs("}}}", out);
}

static void numbers(FILE *out, size_t bytes) {
    (void)fputs("[0", out);
    while (is_short(out, bytes < (size_t)15 << 20 ? bytes : (size_t)15 << 20)) {
        (void)fputs(",0", out);
    }
    (void)fputs("]", out);
}

/* The length of a header stands before it. */
static void put_header(FILE *out, const char *text, size_t bytes) {
    const uint64_t length = bytes;
    (void)fwrite(&length, sizeof(length), 1, out);
    (void)fwrite(text, 1, bytes, out);
}

static void most_tensors(FILE *out, size_t bytes) {
    enum { TENSOR = 700 }; /* bytes: as many as there may be, in 64 MiB */
    char *text = NULL;
    size_t length = 0;
    FILE *header = open_memstream(&text, &length);
    assert_non_null(header);
    for (int i = 0; i < (int)(bytes / TENSOR); i++) {
        (void)fprintf(header, "%c\"%0*x\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}",
                      i == 0 ? '{' : ',', TENSOR - 54, (unsigned)i);
    }
    (void)fputs("}", header);
    assert_int_equal(fclose(header), 0);
    put_header(out, text, length);
    free(text);
}

static void padding(FILE *out, size_t bytes) {
    char *text = malloc(bytes);
    assert_non_null(text);
    memset(text, ' ', bytes);
    memcpy(text, "{}", 2);
    put_header(out, text, bytes);
    free(text);
}

/* ---- Their readers
 * --------------------------------------------------------------------------------------- */

typedef wb_status reader(const char *path);

static wb_status as_judgements(const char *path) {
    wb_trec_rows rows;
    return wb_qrels_read(&rows, path);
}

static wb_status as_results(const char *path) {
    wb_trec_rows rows;
    return wb_trec_run_read(&rows, path);
}

static wb_status as_texts(const char *path) {
    wb_text_file *file;
    return wb_text_file_open(&file, path);
}

static wb_status as_rows(const char *path) {
    wb_data_set *set;
    return wb_data_set_open(&set, path, NULL);
}

static wb_status as_vocabulary(const char *path) {
    wb_tokenizer *tokenizer;
    return wb_tokenizer_open(&tokenizer, path);
}

static wb_status as_tensors(const char *path) {
    wb_safetensors *file;
    return wb_safetensors_open(&file, path);
}

static wb_status as_tokenizer_json(const char *path) {
    return rename(path, FOLDER "/tokenizer.json") == 0 ? as_vocabulary(FOLDER) : WB_ERR_DISK;
}

static wb_status as_model_config(const char *path) {
    wb_model_folder folder;
    return rename(path, FOLDER "/config.json") == 0 ? wb_model_folder_read(&folder, FOLDER)
                                                    : WB_ERR_DISK;
}

/* ---- What they may take
 * ---------------------------------------------------------------------------------- */

typedef struct form {
    const char *name;
    maker *make;
    reader *read;
    double seconds;      /* of a processor, for 64 MiB */
    double times;        /* of the file's bytes in memory */
    const char *refusal; /* part of the message; NULL where it is read */
} form;

static const form forms[] = {
    {"judgements, names new in each line", judgements_of_new_names, as_judgements, 3, 6, NULL},
    {"judgements of one query", judgements_of_one_query, as_judgements, 2.5, 5, NULL},
    {"judgements of one document", judgements_of_one_document, as_judgements, 2.5, 5, NULL},
    {"judgements, queries in turn", judgements_in_turn, as_judgements, 1, 3, NULL},
    {"results, names new in each line", results_of_new_names, as_results, 3, 6, NULL},
    {"results, 1,000 a query", results_of_many_queries, as_results, 1, 2, NULL},
    {"judgements, blank lines", blank_lines, as_judgements, 1, 1, "no rows"},
    {"judgements, one line", one_line, as_judgements, 1, 2, "the line is longer than"},
    {"texts, empty", empty_texts, as_texts, 1, 2, NULL},
    {"texts, escaped", escaped_texts, as_texts, 1, 1, NULL},
    {"texts, longest", longest_texts, as_texts, 1, 3, NULL},
    {"texts with many values", texts_with_many_values, as_texts, 1, 1, NULL},
    {"texts with many members", texts_with_many_members, as_texts, 1.5, 1, NULL},
    {"texts, nested", nested_texts, as_texts, 1, 1, NULL},
    {"texts, blank lines", blank_lines, as_texts, 1, 1, NULL},
    {"texts, one line", one_line, as_texts, 1, 2, "the line is longer than"},
    {"training rows of one passage", rows_of_one_passage, as_rows, 1, 2, NULL},
    {"training rows of many passages", rows_of_many_passages, as_rows, 1, 1, NULL},
    {"a vocabulary of a million tokens", most_tokens, as_vocabulary, 8, 24, NULL},
    {"a vocabulary of long tokens", long_tokens, as_vocabulary, 3, 10, "trie units"},
    {"tokenizer.json of a million tokens", vocabulary_of_most_values, as_tokenizer_json, 8, 12,
     "normalizer"},
    {"tokenizer.json, numbers", numbers, as_tokenizer_json, 1, 2, "more than 1048576 values"},
    {"config.json, numbers", numbers, as_model_config, 1, 2, "more than 1048576 values"},
    {"safetensors of most tensors", most_tensors, as_tensors, 2, 6, NULL},
    {"safetensors, padded", padding, as_tensors, 1, 2, NULL},
};

enum { FORMS = sizeof(forms) / sizeof(forms[0]) };

/* What reading took, told by the process that read. */
typedef struct cost {
    double seconds, mib;
    wb_status status;
    char message[256];
} cost;

/* A line of /proc/self/status, in MiB. */
static double memory_now(const char *key) {
    char line[256];
    double kib = 0.0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof(line), file)) {
        if (strncmp(line, key, strlen(key)) == 0) {
            kib = strtod(line + strlen(key), NULL);
        }
    }
    (void)fclose(file);
    return kib / 1024.0;
}

static double processor_seconds(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static cost measure(reader *read_it, const char *path) {
    cost found = {.status = WB_ERR_INTERNAL};
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) {
        const double began = processor_seconds(), before = memory_now("VmRSS:");
        found.status = read_it(path);
        found.seconds = processor_seconds() - began;
        found.mib = memory_now("VmHWM:") - before;
        (void)snprintf(found.message, sizeof(found.message), "%s", wb_error_message());
        _exit(write(ends[1], &found, sizeof(found)) == sizeof(found) ? 0 : 1);
    }
    assert_true(child > 0);
    (void)close(ends[1]);
    assert_int_equal(read(ends[0], &found, sizeof(found)), sizeof(found));
    (void)close(ends[0]);
    assert_int_equal(waitpid(child, NULL, 0), child);
    return found;
}

static void large_files_take_what_their_bytes_allow(void **state) {
    (void)state;
    enum { BUSY = 5 }; /* times slower: other processors, and work beside it */
    const char *const is_long = getenv("WB_TEST_LONG");
    const size_t bytes = (size_t)(is_long && strcmp(is_long, "1") == 0 ? 64 : 8) << 20;
    for (int i = 0; i < FORMS; i++) {
        const form *f = &forms[i];
        char folder[WB_PATH];
        scratch_folder(folder, "large", "files");
        FILE *out = fopen(FOLDER "/file", "wb");
        assert_non_null(out);
        f->make(out, bytes);
        const double mib = (double)ftello(out) / 1048576.0;
        assert_int_equal(fclose(out), 0);
        const cost took = measure(f->read, FOLDER "/file");
        print_message("%-36s %5.1f MiB: %5.2f s, %6.1f MiB\n", f->name, mib, took.seconds,
                      took.mib);
        if (f->refusal ? took.status != WB_ERR_INPUT || !strstr(took.message, f->refusal)
                       : took.status != WB_OK) {
            fail_msg("%s: status %d, \"%s\"", f->name, (int)took.status, took.message);
        }
        if (took.seconds > BUSY * f->seconds * mib / 64.0 + 0.1 ||
            took.mib > f->times * mib + 4.0) {
            fail_msg("%s: %.2f s and %.1f MiB for %.1f MiB", f->name, took.seconds, took.mib, mib);
        }
    }
    assert_ok(wb_folder_remove(FOLDER));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_files_take_what_their_bytes_allow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
