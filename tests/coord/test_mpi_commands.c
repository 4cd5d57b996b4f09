/* The commands from their flags to their files, at 1 to 4 ranks. */
#include "checkpoint.h"
#include "commands_in_process.h"
#include "embeddings_file.h"
#include "hash.h"
#include "tiny_run.h"
#include "trec_run.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

static wb_comm *comm;
static tiny_run tiny;

/* What one rank wrote, the others may read. */
static void wait_for_all(void) {
    expect_ok(wb_agree(comm, WB_OK));
}

static const char *in_folder(const char *name) {
    static char paths[8][1024];
    static int next;
    char *path = paths[next++ % 8];
    (void)snprintf(path, sizeof(paths[0]), "%s/%s", tiny.folder, name);
    return path;
}

/* key=tiny.folder/name, for --set. */
static const char *assignment(const char *key, const char *name) {
    static char texts[8][1200];
    static int next;
    char *text = texts[next++ % 8];
    (void)snprintf(text, sizeof(texts[0]), "%s=%s%s%s", key, tiny.folder, name[0] ? "/" : "", name);
    return text;
}

/* Trains in folder `name` with more assignments, the last of them NULL. */
static wb_status train(wb_comm *ranks, const char *name, const char *const *more) {
    const char *words[64] = {"train"};
    int used = 1;
    const char *const usual[] = {assignment("run.dir", name),
                                 assignment("model.path", "model"),
                                 assignment("data.train", "beir"),
                                 "data.max_query_tokens=16",
                                 "data.max_passage_tokens=32",
                                 "memory.budget=64M",
                                 "batch.size=16",
                                 "optimizer.lr=1e-3",
                                 "optimizer.schedule=constant",
                                 "optimizer.warmup=0"};
    for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]); i++) {
        words[used++] = "--set";
        words[used++] = usual[i];
    }
    for (int i = 0; more[i]; i++) {
        if (strncmp(more[i], "--", 2) != 0) {
            words[used++] = "--set";
        }
        words[used++] = more[i];
    }
    return run_words(ranks, words);
}
#define TRAIN(ranks, name, ...) train(ranks, name, (const char *const[]){__VA_ARGS__, NULL})

/* A whole file, with a NUL after it. */
typedef struct file_text {
    char *data; /* owned by the caller */
    size_t bytes;
} file_text;

static file_text contents(const char *path) {
    file_text text = {0};
    expect_ok(wb_file_read(path, (size_t)64 << 20, &text.data, &text.bytes));
    return text;
}

static void expect_same_file(const char *a, const char *b) {
    file_text x = contents(a), y = contents(b);
    if (x.bytes != y.bytes || memcmp(x.data, y.data, x.bytes) != 0) {
        fail_msg("%s and %s differ", a, b);
    }
    free(x.data);
    free(y.data);
}

/* Number `key` of every step of a metrics.jsonl. */
static int metrics(double *values, const char *run, const char *key) {
    char path[1024], quoted[64];
    (void)snprintf(path, sizeof(path), "%s/metrics.jsonl", in_folder(run));
    (void)snprintf(quoted, sizeof(quoted), "\"%s\":", key);
    char *text = contents(path).data;
    int count = 0;
    for (const char *at = text; (at = strstr(at, quoted)); count++) {
        at += strlen(quoted);
        values[count] = strtod(at, NULL);
    }
    free(text);
    return count;
}

/* ---- Training
 * -------------------------------------------------------------------------------------------- */

static void a_run_leaves_what_is_promised(void **state) {
    (void)state;
    double losses[16], seconds[16];
    expect_ok(TRAIN(comm, "whole", "batch.steps=5", "checkpoint.every=2"));
    wait_for_all();
    assert_int_equal(metrics(losses, "whole", "loss_nats"), 5);
    assert_int_equal(metrics(seconds, "whole", "step_seconds"), 5);
    for (int i = 0; i < 5; i++) {
        assert_true(losses[i] > 0.0 && losses[i] < 20.0 && seconds[i] > 0.0);
    }
    static const char *const there[] = {"whole/config.yaml",
                                        "whole/log.txt",
                                        "whole/checkpoints/step-4/manifest.json",
                                        "whole/checkpoints/step-5/state.h5",
                                        "whole/export/model.safetensors",
                                        "whole/export/modules.json",
                                        "whole/export/vocab.txt"};
    for (size_t i = 0; i < sizeof(there) / sizeof(there[0]); i++) {
        if (!wb_path_is_file(in_folder(there[i]))) {
            fail_msg("%s is missing", there[i]);
        }
    }
    assert_false(wb_path_is_folder(in_folder("whole/checkpoints/step-2"))); /* two are kept */
    expect_ok(wb_checkpoint_verify(in_folder("whole/checkpoints/step-5")));
}

static void a_finished_run_says_so_and_changes_nothing(void **state) {
    (void)state;
    static const char *const files[] = {"whole/export/model.safetensors", "whole/metrics.jsonl",
                                        "whole/config.yaml",
                                        "whole/checkpoints/step-5/manifest.json"};
    enum { FILES = sizeof(files) / sizeof(files[0]) };
    struct stat before[FILES], after;
    wait_for_all();
    for (int i = 0; i < FILES; i++) {
        assert_int_equal(stat(in_folder(files[i]), &before[i]), 0);
    }
    wait_for_all();
    expect_ok(TRAIN(comm, "whole", "batch.steps=5", "checkpoint.every=2"));
    wait_for_all();
    for (int i = 0; i < FILES; i++) {
        assert_int_equal(stat(in_folder(files[i]), &after), 0);
        assert_int_equal(before[i].st_ino, after.st_ino);
        assert_int_equal(before[i].st_mtim.tv_sec, after.st_mtim.tv_sec);
        assert_int_equal(before[i].st_mtim.tv_nsec, after.st_mtim.tv_nsec);
    }
    char *log = contents(in_folder("whole/log.txt")).data;
    assert_non_null(strstr(log, "is finished: 5 steps are done and exported"));
    free(log);
}

/* The same whether in one go or in parts, on one rank or on all. */
static void a_run_in_parts_ends_with_the_bits_of_an_unbroken_one(void **state) {
    (void)state;
    double one[16], parts[16];
    wb_comm *first;
    expect_ok(wb_comm_first(&first, comm, 1));
    expect_ok(TRAIN(comm, "one", "batch.steps=6"));
    expect_ok(TRAIN(comm, "parts", "batch.steps=2", "checkpoint.every=1"));
    wait_for_all();
    expect_ok(TRAIN(first, "parts", "batch.steps=3"));
    wait_for_all();
    expect_ok(TRAIN(comm, "parts", "batch.steps=6", "memory.budget=180K"));
    wait_for_all();
    expect_same_file(in_folder("one/export/model.safetensors"),
                     in_folder("parts/export/model.safetensors"));
    assert_int_equal(metrics(one, "one", "loss_nats"), 6);
    assert_int_equal(metrics(parts, "parts", "loss_nats"), 6);
    assert_memory_equal(one, parts, 6 * sizeof(double));
    wb_comm_destroy(first);
}

static void the_loss_does_not_depend_on_the_number_of_ranks(void **state) {
    (void)state;
    static const char *const modes[] = {"reduce.mode=ordered", "reduce.mode=fast"};
    wb_comm *first;
    expect_ok(wb_comm_first(&first, comm, 1));
    for (int i = 0; i < 2; i++) {
        double alone[16], all[16];
        expect_ok(TRAIN(first, i == 0 ? "alone" : "alone-fast", "batch.steps=4", modes[i]));
        expect_ok(TRAIN(comm, i == 0 ? "all" : "all-fast", "batch.steps=4", modes[i]));
        wait_for_all();
        assert_int_equal(metrics(alone, i == 0 ? "alone" : "alone-fast", "loss_nats"), 4);
        assert_int_equal(metrics(all, i == 0 ? "all" : "all-fast", "loss_nats"), 4);
        for (int step = 0; step < 4; step++) {
            const double difference = fabs(alone[step] - all[step]);
            if (!(difference <= (i == 0 ? 0.0 : 1e-6 * alone[step]))) {
                fail_msg("%s, step %d: loss %.9g alone, %.9g on all", modes[i], step, alone[step],
                         all[step]);
            }
        }
    }
    expect_same_file(in_folder("alone/export/model.safetensors"),
                     in_folder("all/export/model.safetensors"));
    wb_comm_destroy(first);
}

static void a_learned_temperature_goes_on_where_it_stopped(void **state) {
    (void)state;
    double whole[8], parts[8];
    expect_ok(TRAIN(comm, "learned", "batch.steps=5", "loss.learn_temperature=true"));
    expect_ok(TRAIN(comm, "learned-parts", "batch.steps=2", "loss.learn_temperature=true"));
    expect_ok(TRAIN(comm, "learned-parts", "batch.steps=5", "loss.learn_temperature=true"));
    wait_for_all();
    assert_int_equal(metrics(whole, "learned", "temperature"), 5);
    assert_int_equal(metrics(parts, "learned-parts", "temperature"), 5);
    for (int i = 0; i < 5; i++) {
        assert_true(whole[i] == parts[i]);
        assert_true(i == 0 || whole[i] != whole[i - 1]);
    }
    expect_same_file(in_folder("learned/export/model.safetensors"),
                     in_folder("learned-parts/export/model.safetensors"));
}

static void a_static_encoder_trains_from_a_vocabulary_alone(void **state) {
    (void)state;
    double losses[32];
    expect_ok(TRAIN(comm, "static", assignment("model.path", "model/vocab.txt"),
                    "model.encoder=static", "model.width=12", "optimizer.lr=0.05",
                    "optimizer.weight_decay=0", "batch.epochs=8", "batch.steps=0",
                    assignment("data.train", "tevatron.jsonl")));
    wait_for_all();
    assert_int_equal(metrics(losses, "static", "loss_nats"), 16);
    assert_true(losses[15] < losses[0]);
    assert_true(wb_path_is_file(in_folder("static/export/model.safetensors")));
}

static void a_dry_run_writes_nothing(void **state) {
    (void)state;
    expect_ok(TRAIN(comm, "dry", "batch.steps=5", "--dry-run"));
    wait_for_all();
    struct stat there;
    assert_int_equal(stat(in_folder("dry"), &there), -1);
}

/* The assignment of a key that the last error advises. */
static const char *advised(const char *key) {
    static char found[4][200];
    static int next;
    char *text = found[next++ % 4];
    const char *const at = strstr(wb_error_message(), key);
    if (!at) {
        fail_msg("no advice of %s: %s", key, wb_error_message());
    }
    (void)snprintf(text, sizeof(found[0]), "%.*s", (int)strcspn(at, " "), at);
    return text;
}

/* The search takes half a megabyte; where that is there, chunks decide. The advice is exact. */
static void an_evaluation_without_memory_is_refused_before_it_begins(void **state) {
    (void)state;
    const char *const large = "memory.budget=530K", *const wide = "memory.chunk_tokens=1000000";
#define EVALUATE(...)                                                                              \
    TRAIN(comm, "evaluated", assignment("data.eval", "beir"), "data.eval_split=train",             \
          "batch.steps=1", __VA_ARGS__)
    assert_int_equal(EVALUATE("memory.budget=500K", "--dry-run"), WB_ERR_MEMORY);
    assert_null(strstr(wb_error_message(), "memory.chunk_tokens="));
    const char *budget = advised("memory.budget=");
    wb_error_clear();
    expect_ok(EVALUATE(budget, "--dry-run"));
    assert_int_equal(EVALUATE(large, wide, "--dry-run"), WB_ERR_MEMORY);
    const char *const chunk = advised("memory.chunk_tokens=");
    budget = advised("memory.budget=");
    char more[100];
    (void)snprintf(more, sizeof(more), "memory.chunk_tokens=%lld",
                   strtoll(strchr(chunk, '=') + 1, NULL, 10) + 1);
    wb_error_clear();
    expect_ok(EVALUATE(large, chunk, "--dry-run"));
    expect_error(EVALUATE(large, more, "--dry-run"), WB_ERR_MEMORY, chunk);
    expect_error(EVALUATE(large, wide), WB_ERR_MEMORY, "beir: work in chunks of 1000000 tokens");
    wait_for_all();
    expect_ok(EVALUATE(budget, wide));
#undef EVALUATE
}

/* The guide is wider than the model: its chunk is the one for which there is no room. */
static void a_guide_without_memory_is_refused_with_advice(void **state) {
    (void)state;
#define GUIDE(...)                                                                                 \
    TRAIN(comm, "guided", assignment("model.path", "model/vocab.txt"), "model.encoder=static",     \
          "model.width=8", assignment("loss.filter_model", "model"), "loss.filter=absolute",       \
          "batch.steps=1", __VA_ARGS__)
    assert_int_equal(GUIDE("memory.budget=60K", "memory.chunk_tokens=1000000"), WB_ERR_MEMORY);
    assert_non_null(strstr(wb_error_message(), "loss.filter_model: work in chunks of 1000000"));
    const char *const chunk = advised("memory.chunk_tokens=");
    (void)advised("memory.budget=");
    wb_error_clear();
    expect_ok(GUIDE("memory.budget=60K", chunk));
#undef GUIDE
}

/* ---- Refusals
 * -----------------------------------------------------------------------------------------------
 */

static void a_run_is_not_continued_with_another_fixed_key(void **state) {
    (void)state;
    expect_error(TRAIN(comm, "whole", "batch.steps=9", "batch.size=12"), WB_ERR_CONFIG,
                 "the run began with batch.size = 16, now it is 12");
    expect_error(TRAIN(comm, "whole", "batch.steps=9", "loss.temperature=0.06"), WB_ERR_CONFIG,
                 "loss.temperature = 0.05");
    wait_for_all();
    if (wb_comm_rank(comm) == 0) { /* what it began with is unknown: its checkpoints know */
        expect_ok(wb_folder_remove(in_folder("unknown")));
        expect_ok(wb_folder_make(in_folder("unknown")));
        assert_int_equal(rename(in_folder("one/checkpoints"), in_folder("unknown/checkpoints")), 0);
    }
    wait_for_all();
    expect_error(TRAIN(comm, "unknown", "batch.steps=9", "batch.size=12"), WB_ERR_CHECKPOINT, "");
}

static void a_run_whose_checkpoints_are_damaged_is_refused_on_all_ranks(void **state) {
    (void)state;
    expect_ok(TRAIN(comm, "damaged", "batch.steps=2", "checkpoint.every=1"));
    wait_for_all();
    if (wb_comm_rank(comm) == 0) {
        FILE *file = fopen(in_folder("damaged/checkpoints/step-2/state.h5"), "r+");
        assert_int_equal(fseek(file, 3000, SEEK_SET), 0);
        (void)fputs("damage", file);
        (void)fclose(file);
    }
    wait_for_all();
    /* the older generation is taken */
    expect_ok(TRAIN(comm, "damaged", "batch.steps=3", "checkpoint.every=0"));
    wait_for_all();
    if (wb_comm_rank(comm) == 0) {
        static const char *const steps[] = {"step-1", "step-2", "step-3"};
        for (int i = 0; i < 3; i++) {
            char path[128];
            (void)snprintf(path, sizeof(path), "damaged/checkpoints/%s/state.h5", steps[i]);
            (void)truncate(in_folder(path), 100);
        }
    }
    wait_for_all();
    expect_error(TRAIN(comm, "damaged", "batch.steps=4"), WB_ERR_CHECKPOINT, "step-3");
    expect_error(RUN(comm, "export", "--run", in_folder("damaged"), "--output", in_folder("none")),
                 WB_ERR_CHECKPOINT, "step-3");
}

static void a_damaged_line_is_refused_on_all_ranks_with_its_place(void **state) {
    (void)state;
    if (wb_comm_rank(comm) == 0) {
        expect_ok(wb_folder_make(in_folder("broken/qrels")));
        expect_ok(wb_file_copy(in_folder("beir/queries.jsonl"), in_folder("broken/queries.jsonl")));
        expect_ok(
            wb_file_copy(in_folder("beir/qrels/train.tsv"), in_folder("broken/qrels/train.tsv")));
        char *corpus = contents(in_folder("beir/corpus.jsonl")).data;
        char *line = corpus;
        for (int i = 0; i < 4; i++) {
            line = strchr(line, '\n') + 1;
        }
        *line = '[';
        expect_ok(wb_file_write(in_folder("broken/corpus.jsonl"), corpus, strlen(corpus)));
        free(corpus);
    }
    wait_for_all();
    expect_error(TRAIN(comm, "refused", assignment("data.train", "broken")), WB_ERR_INPUT,
                 "broken/corpus.jsonl:5");
    expect_error(TRAIN(comm, "refused", assignment("data.eval", "broken"), "data.eval_split=train",
                       "batch.steps=1"),
                 WB_ERR_INPUT, "broken/corpus.jsonl:5");
    expect_error(RUN(comm, "encode", "--model", in_folder("model"), "--input",
                     in_folder("broken/corpus.jsonl"), "--output", in_folder("refused.h5")),
                 WB_ERR_INPUT, "broken/corpus.jsonl:5");
    wait_for_all();
    struct stat there;
    assert_int_equal(stat(in_folder("refused.h5"), &there), -1);
    assert_int_equal(stat(in_folder("refused.h5.tmp"), &there), -1);
}

static void wrong_options_are_refused_on_all_ranks(void **state) {
    (void)state;
    static const struct {
        const char *assignment, *message;
        wb_status status;
    } cases[] = {
        {"model.path=", "model.path is not set", WB_ERR_CONFIG},
        {"model.path=no/such/folder", "model.path = no/such/folder: no such folder", WB_ERR_CONFIG},
        {"data.train=", "data.train is not set", WB_ERR_CONFIG},
        {"data.train=no/such/data", "no/such/data", WB_ERR_INPUT},
        {"data.split=dev", "qrels/dev.tsv", WB_ERR_INPUT},
        {"data.hard_negatives=1", "data.hard_negatives = 1, but ", WB_ERR_CONFIG},
        {"data.max_passage_tokens=33", "data.max_passage_tokens = 33, but the model has only 32",
         WB_ERR_CONFIG},
        {"batch.size=41", "batch.size = 41, but the data has 40 training rows", WB_ERR_CONFIG},
        {"memory.budget=9K", "memory.budget of 9.0 KiB is too small", WB_ERR_MEMORY},
        {"loss.temperature=1e-6", "", WB_OK},
        {"loss.filter_model=no/such", "loss.filter_model = no/such, but loss.filter = none",
         WB_ERR_CONFIG},
        {"optimizer.lr=fast", "optimizer.lr = fast; a number is needed", WB_ERR_CONFIG}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (wb_comm_rank(comm) == 0) {
            expect_ok(wb_folder_remove(in_folder("wrong")));
        }
        wait_for_all();
        expect_error(TRAIN(comm, "wrong", "batch.steps=1", cases[i].assignment), cases[i].status,
                     cases[i].message);
    }
    expect_error(TRAIN(comm, "wrong", assignment("model.path", "model/vocab.txt")), WB_ERR_CONFIG,
                 "a vocabulary file needs model.encoder = static");
    expect_error(TRAIN(comm, "wrong", "loss.filter=absolute", "loss.filter_model=no/such"),
                 WB_ERR_CONFIG, "loss.filter_model = no/such: no such folder");
    wait_for_all();
    expect_error(TRAIN(comm, "wrong", "data.eval_every=2"), WB_ERR_CONFIG,
                 "data.eval_every = 2, but data.eval is not set");
    wait_for_all();
    expect_error(
        TRAIN(comm, "wrong2", assignment("model.path", "static/export"), "model.encoder=bert"),
        WB_ERR_CONFIG, "holds a static model");
}

/* ---- Retrieval
 * -------------------------------------------------------------------------------------------- */

static void evaluation_stands_before_and_after(void **state) {
    (void)state;
    expect_ok(TRAIN(comm, "measured", "batch.steps=3", assignment("data.eval", "beir"),
                    "data.eval_split=train"));
    wait_for_all();
    static const char *const steps[] = {"0", "3"};
    for (int i = 0; i < 2; i++) {
        char report[128], trec[128];
        (void)snprintf(report, sizeof(report), "measured/eval/step-%s.txt", steps[i]);
        (void)snprintf(trec, sizeof(trec), "measured/eval/step-%s.trec", steps[i]);
        char *text = contents(in_folder(report)).data;
        assert_non_null(strstr(text, "num_q                 \tall\t40\n"));
        assert_non_null(strstr(text, "ndcg_cut_10           \tall\t0."));
        free(text);
        wb_trec_rows run;
        expect_ok(wb_trec_run_read(&run, in_folder(trec)));
        assert_int_equal(run.queries.count, TINY_ROWS);
        assert_int_equal(run.count, TINY_ROWS * TINY_ROWS); /* all passages: fewer than 100 */
        wb_trec_rows_clear(&run);
    }
}

static bool is_measured(int step) {
    char report[128];
    (void)snprintf(report, sizeof(report), "between/eval/step-%d.txt", step);
    return wb_path_is_file(in_folder(report));
}

static wb_status train_between(const char *steps, const char *data) {
    const wb_status status = TRAIN(comm, "between", steps, assignment("data.eval", data),
                                   "data.eval_split=train", "data.eval_every=2");
    wait_for_all();
    return status;
}

/* Rank 0. Adds a line to the measures after a step. */
static void mark_measures(int step) {
    char path[128];
    (void)snprintf(path, sizeof(path), "between/eval/step-%d.txt", step);
    FILE *file = fopen(in_folder(path), "a");
    assert_non_null(file);
    assert_true(fputs("marked\n", file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static bool has_text(const char *path, const char *wanted) {
    char *text = contents(in_folder(path)).data;
    const bool is_there = strstr(text, wanted) != NULL;
    free(text);
    return is_there;
}

/* What a life has measured is not measured again; what it left of later steps goes. */
static void evaluations_stand_in_between(void **state) {
    (void)state;
    expect_ok(train_between("batch.steps=4", "beir"));
    for (int step = 0; step <= 4; step++) {
        assert_int_equal(is_measured(step), step % 2 == 0);
    }
    if (wb_comm_rank(comm) == 0) {
        mark_measures(4);
        expect_ok(wb_file_write(in_folder("between/eval/step-5.txt"), "old", 3));
        expect_ok(wb_file_write(in_folder("between/eval/mine.txt"), "mine", 4));
    }
    wait_for_all();
    expect_ok(train_between("batch.steps=7", "beir"));
    assert_true(has_text("between/eval/step-4.txt", "\nmarked\n"));
    assert_false(is_measured(5));
    assert_true(is_measured(6) && is_measured(7));
    assert_true(wb_path_is_file(in_folder("between/eval/mine.txt")));
}

static void an_evaluation_that_was_left_is_made_by_who_continues(void **state) {
    (void)state;
    expect_ok(train_between("batch.steps=8", "beir"));
    wait_for_all();
    if (wb_comm_rank(comm) == 0) {
        assert_int_equal(unlink(in_folder("between/eval/step-8.txt")), 0);
    }
    wait_for_all();
    expect_ok(train_between("batch.steps=9", "beir"));
    assert_true(is_measured(8) && is_measured(9));
}

/* The card tells what an earlier life has measured, unless that was on other data. */
static void what_an_earlier_life_has_measured_is_told(void **state) {
    (void)state;
    static const char card[] = "between/export/README.md";
    assert_true(has_text(card, "\n| | before | after |\n"));
    wait_for_all();
    if (wb_comm_rank(comm) == 0) { /* dies between the last evaluation and the export */
        expect_ok(wb_folder_remove(in_folder("between/export")));
        mark_measures(9);
    }
    wait_for_all();
    expect_ok(train_between("batch.steps=9", "beir"));
    assert_true(has_text("between/eval/step-9.txt", "\nmarked\n"));
    assert_true(has_text(card, "\n| | before | after |\n"));
    wait_for_all();
    if (wb_comm_rank(comm) == 0) {
        mark_measures(0);
        expect_ok(wb_folder_remove(in_folder("between/export")));
    }
    wait_for_all();
    expect_ok(train_between("batch.steps=9", "beir/../beir"));
    assert_false(has_text("between/eval/step-9.txt", "marked"));
    assert_true(has_text("between/eval/step-0.txt", "marked"));
    assert_true(has_text(card, "\n| | after |\n"));
}

/* Ids and representations of a file of embeddings; both owned by the caller. */
static int64_t embeddings(const char *path, wb_embeddings_ids *ids, float **values,
                          int64_t *width) {
    wb_embeddings_reader *reader;
    expect_ok(wb_embeddings_open(&reader, path));
    const int64_t rows = wb_embeddings_rows(reader);
    *width = wb_embeddings_width(reader);
    *values = malloc((size_t)(rows * *width + 1) * sizeof(float));
    expect_ok(wb_embeddings_read(reader, 0, rows, *values));
    expect_ok(wb_embeddings_read_ids(reader, 0, rows, ids));
    wb_embeddings_close(reader);
    return rows;
}

static void check_encoding(wb_comm *first, const char *input, int64_t rows, char letter) {
    wb_embeddings_ids ids, alone_ids;
    float *values, *alone_values;
    int64_t width;
    expect_ok(RUN(first, "encode", "--model", in_folder("whole/export"), "--input",
                  in_folder(input), "--output", in_folder("alone.h5")));
    expect_ok(RUN(comm, "encode", "--model", in_folder("whole/export"), "--input", in_folder(input),
                  "--output", in_folder("all.h5"), "--chunk-tokens", "100"));
    wait_for_all();
    assert_int_equal(embeddings(in_folder("all.h5"), &ids, &values, &width), rows);
    assert_int_equal(width, 16);
    assert_int_equal(embeddings(in_folder("alone.h5"), &alone_ids, &alone_values, &width), rows);
    for (int64_t i = 0; i < rows; i++) {
        char wanted[32];
        (void)snprintf(wanted, sizeof(wanted), "%c%lld", letter, (long long)i);
        assert_string_equal(wb_embeddings_id(&ids, i), wanted);
        assert_string_equal(wb_embeddings_id(&alone_ids, i), wanted);
    }
    assert_memory_equal(values, alone_values, (size_t)(rows * width) * sizeof(*values));
    wb_embeddings_ids_clear(&ids);
    wb_embeddings_ids_clear(&alone_ids);
    free(values);
    free(alone_values);
    wait_for_all();
}

static void encodings_do_not_depend_on_the_number_of_ranks(void **state) {
    (void)state;
    wb_comm *first;
    expect_ok(wb_comm_first(&first, comm, 1));
    if (wb_comm_rank(comm) == 0) {
        char *corpus = contents(in_folder("beir/corpus.jsonl")).data;
        char *end = strchr(strchr(corpus, '\n') + 1, '\n') + 1;
        expect_ok(wb_file_write(in_folder("two.jsonl"), corpus, (size_t)(end - corpus)));
        expect_ok(wb_file_write(in_folder("none.jsonl"), "\n", 1));
        free(corpus);
    }
    wait_for_all();
    check_encoding(first, "beir/corpus.jsonl", TINY_ROWS, 'd');
    check_encoding(first, "beir/queries.jsonl", TINY_ROWS, 'q');
    check_encoding(first, "two.jsonl", 2, 'd'); /* more ranks than rows */
    check_encoding(first, "none.jsonl", 0, 'd');
    wb_comm_destroy(first);
}

/* Every result has its plain score, and no passage that is left out has a better one. */
static void expect_best(const wb_trec_rows *run, int64_t query, const double *scores, int64_t rows,
                        int64_t k) {
    bool listed[TINY_ROWS] = {false};
    double least = INFINITY;
    assert_int_equal(run->first[query + 1] - run->first[query], k);
    for (int64_t i = run->first[query]; i < run->first[query + 1]; i++) {
        const int64_t row = strtoll(wb_trec_rows_docid(run, i) + 1, NULL, 10);
        assert_in_range(row, 0, rows - 1);
        assert_false(listed[row]);
        listed[row] = true;
        assert_true(fabs((double)run->rows[i].score - scores[row]) < 1e-6);
        assert_true((double)run->rows[i].score <= least);
        least = (double)run->rows[i].score;
    }
    for (int64_t row = 0; row < rows; row++) {
        assert_true(listed[row] || scores[row] < least + 1e-6);
    }
}

static void search_equals_comparing_all_with_all(void **state) {
    (void)state;
    static const int64_t depths[] = {1, 7, 100};
    expect_ok(RUN(comm, "encode", "--model", in_folder("whole/export"), "--input",
                  in_folder("beir/corpus.jsonl"), "--output", in_folder("corpus.h5")));
    expect_ok(RUN(comm, "encode", "--model", in_folder("whole/export"), "--input",
                  in_folder("beir/queries.jsonl"), "--output", in_folder("queries.h5"), "--role",
                  "query", "--max-tokens", "16"));
    wait_for_all();
    wb_embeddings_ids ids, query_ids;
    float *p, *q;
    int64_t d;
    const int64_t rows = embeddings(in_folder("corpus.h5"), &ids, &p, &d);
    const int64_t queries = embeddings(in_folder("queries.h5"), &query_ids, &q, &d);
    for (int i = 0; i < 3; i++) {
        char k[16];
        wb_trec_rows run;
        (void)snprintf(k, sizeof(k), "%lld", (long long)depths[i]);
        expect_ok(RUN(comm, "search", "--queries", in_folder("queries.h5"), "--corpus",
                      in_folder("corpus.h5"), "--k", k, "--output", in_folder("run.trec")));
        wait_for_all();
        expect_ok(wb_trec_run_read(&run, in_folder("run.trec")));
        assert_int_equal(run.queries.count, queries);
        for (int64_t query = 0; query < queries; query++) {
            double scores[TINY_ROWS] = {0.0};
            for (int64_t j = 0; j < rows * d; j++) {
                scores[j / d] += (double)q[query * d + j % d] * (double)p[j];
            }
            assert_string_equal(run.queries.strings[query], wb_embeddings_id(&query_ids, query));
            expect_best(&run, query, scores, rows, depths[i] < rows ? depths[i] : rows);
        }
        wb_trec_rows_clear(&run);
        wait_for_all();
    }
    wb_embeddings_ids_clear(&ids);
    wb_embeddings_ids_clear(&query_ids);
    free(p);
    free(q);
}

static void wrong_retrieval_flags_are_refused_on_all_ranks(void **state) {
    (void)state;
    const char *const model = in_folder("whole/export"), *const input = in_folder("two.jsonl");
    const char *const out = in_folder("refused.h5");
    expect_error(
        RUN(comm, "encode", "--model", model, "--input", input, "--output", out, "--role", "both"),
        WB_ERR_USAGE, "--role both; query or passage is needed");
    expect_error(RUN(comm, "encode", "--model", model, "--input", input, "--output", out,
                     "--max-tokens", "2"),
                 WB_ERR_USAGE, "--max-tokens 2; at least 3 are needed");
    expect_error(RUN(comm, "encode", "--model", model, "--input", input, "--output", out,
                     "--max-tokens", "33"),
                 WB_ERR_CONFIG, "--max-tokens = 33, but the model has only 32 positions");
    expect_error(RUN(comm, "encode", "--model", model, "--input", in_folder("missing.jsonl"),
                     "--output", out),
                 WB_ERR_INPUT, "missing.jsonl");
    expect_error(RUN(comm, "encode", "--model", model, "--input", input, "--output",
                     in_folder("no/such/folder/x.h5")),
                 WB_ERR_DISK, "no/such/folder");
    expect_ok(RUN(comm, "encode", "--model", in_folder("static/export"), "--input", input,
                  "--output", in_folder("narrow.h5")));
    wait_for_all();
    expect_error(RUN(comm, "search", "--queries", in_folder("narrow.h5"), "--corpus",
                     in_folder("corpus.h5"), "--k", "3", "--output", in_folder("x.trec")),
                 WB_ERR_INPUT, "they are of different models");
    expect_error(RUN(comm, "search", "--queries", in_folder("queries.h5"), "--corpus",
                     in_folder("corpus.h5"), "--k", "0", "--output", in_folder("x.trec")),
                 WB_ERR_USAGE, "--k 0; an integer from 1");
}

static void export_writes_what_the_run_exported(void **state) {
    (void)state;
    expect_ok(RUN(comm, "export", "--run", in_folder("whole"), "--output", in_folder("again")));
    wait_for_all();
    static const char *const files[] = {"model.safetensors", "config.json", "modules.json",
                                        "tokenizer.json", "1_Pooling/config.json"};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char run[128], again[128];
        (void)snprintf(run, sizeof(run), "whole/export/%s", files[i]);
        (void)snprintf(again, sizeof(again), "again/%s", files[i]);
        expect_same_file(in_folder(run), in_folder(again));
    }
    expect_error(RUN(comm, "export", "--run", in_folder("missing"), "--output", in_folder("x")),
                 WB_ERR_USAGE, "missing: is no run's folder");
}

static void bench_measures_and_writes_nothing(void **state) {
    (void)state;
    expect_error(RUN(comm, "bench", "--steps", "0"), WB_ERR_USAGE, "--steps 0");
    expect_error(RUN(comm, "verify", "--rows", "1"), WB_ERR_USAGE, "--rows 1");
    expect_ok(RUN(comm, "bench", "--steps", "1", "--set", assignment("run.dir", "benched"), "--set",
                  assignment("model.path", "model"), "--set", assignment("data.train", "beir"),
                  "--set", "batch.size=8", "--set", "data.max_query_tokens=16", "--set",
                  "data.max_passage_tokens=32"));
    wait_for_all();
    struct stat there;
    assert_int_equal(stat(in_folder("benched"), &there), -1);
}

int main(int argc, char **argv) {
    expect_ok(wb_comm_create(&comm, &argc, &argv));
    expect_ok(wb_io_init());
    wb_log_init(wb_comm_rank(comm), WB_LOG_RUN);
    tiny = tiny_make(comm, "commands");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_leaves_what_is_promised),
        cmocka_unit_test(a_finished_run_says_so_and_changes_nothing),
        cmocka_unit_test(a_run_in_parts_ends_with_the_bits_of_an_unbroken_one),
        cmocka_unit_test(the_loss_does_not_depend_on_the_number_of_ranks),
        cmocka_unit_test(a_learned_temperature_goes_on_where_it_stopped),
        cmocka_unit_test(a_static_encoder_trains_from_a_vocabulary_alone),
        cmocka_unit_test(a_dry_run_writes_nothing),
        cmocka_unit_test(an_evaluation_without_memory_is_refused_before_it_begins),
        cmocka_unit_test(a_guide_without_memory_is_refused_with_advice),
        cmocka_unit_test(a_run_is_not_continued_with_another_fixed_key),
        cmocka_unit_test(a_run_whose_checkpoints_are_damaged_is_refused_on_all_ranks),
        cmocka_unit_test(a_damaged_line_is_refused_on_all_ranks_with_its_place),
        cmocka_unit_test(wrong_options_are_refused_on_all_ranks),
        cmocka_unit_test(evaluation_stands_before_and_after),
        cmocka_unit_test(evaluations_stand_in_between),
        cmocka_unit_test(an_evaluation_that_was_left_is_made_by_who_continues),
        cmocka_unit_test(what_an_earlier_life_has_measured_is_told),
        cmocka_unit_test(encodings_do_not_depend_on_the_number_of_ranks),
        cmocka_unit_test(search_equals_comparing_all_with_all),
        cmocka_unit_test(wrong_retrieval_flags_are_refused_on_all_ranks),
        cmocka_unit_test(export_writes_what_the_run_exported),
        cmocka_unit_test(bench_measures_and_writes_nothing),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    wb_comm_destroy(comm);
    return failed;
}
