/* Every call that io makes fails once: the n-th allocation, the n-th call for a file, the n-th call
 * of HDF5, the n-th path that gets too long, for n = 1, 2, … until there are no more. Each time the
 * operation either says so, with a message and a code that fits, or what it has done is whole;
 * nothing older is harmed, no file and no handle of HDF5 stays open, and the same operation then
 * succeeds. Under AddressSanitizer nothing leaks. */
#include "io_checks.h"

#include "checkpoint.h"
#include "checkpoint_writer.h"
#include "data_set.h"
#include "embeddings_file.h"
#include "failing_calls.h"
#include "hdf5_setup.h"
#include "json.h"
#include "metrics_log.h"
#include "model_folder.h"
#include "qrels.h"
#include "rng.h"
#include "run_folder.h"
#include "safetensors.h"
#include "tensor.h"
#include "testing.h"
#include "tokenizer.h"
#include "trec_run.h"
#include "units.h"

#include <dirent.h>

#define BERT WB_TEST_DATA "/models/sentence_transformers"

enum { ARRAYS = 3, STEPS = 3, WIDTH = 8, ROWS = 5 };

static char folder[WB_PATH]; /* of the scene */
static wb_tensor_table table;
static float history[STEPS + 1][ARRAYS][64]; /* after each step */

static const char *in_folder(const char *name) {
    static char paths[8][WB_PATH];
    static int next;
    char *const path = paths[next++ % 8];
    assert_in_range(snprintf(path, WB_PATH, "%s/%s", folder, name), 1, WB_PATH - 1);
    return path;
}

/* ---- Checkpoints
 * ------------------------------------------------------------------------------------------- */

static int make_history(void **state) {
    (void)state;
    assert_ok(wb_io_init());
    assert_ok(wb_tensor_add(&table, true, 4, 8, "words.weight"));
    assert_ok(wb_tensor_add(&table, false, 8, 0, "norm.bias"));
    assert_ok(wb_tensor_add(&table, true, 3, 8, "dense.weight"));
    assert_int_equal(table.total, 64);
    for (int step = 1; step <= STEPS; step++) {
        for (int a = 0; a < ARRAYS; a++) {
            for (int i = 0; i < 64; i++) { /* the first tensor changes once: the rest is new */
                history[step][a][i] = (float)(i < 32 && step > 1 ? 1 : step) + (float)(100 * a + i);
            }
        }
    }
    return 0;
}

static int drop_history(void **state) {
    (void)state;
    wb_tensor_table_clear(&table);
    return 0;
}

static wb_checkpoint state_of(int64_t step, float (*arrays)[64]) {
    return (wb_checkpoint){.step = step,
                           .total_steps = STEPS,
                           .config_hash = 5,
                           .finished = step == STEPS,
                           .table = &table,
                           .values = arrays[0],
                           .slots = ARRAYS - 1,
                           .slot_names = {"adamw.m", "adamw.v"},
                           .slot_values = {arrays[1], arrays[2]}};
}

static int64_t resumed; /* the step that read_newest found, 0 where none */

static wb_status read_newest(void) {
    static float arrays[ARRAYS][64];
    char rejected[4096];
    bool found = false;
    wb_checkpoint state = state_of(0, arrays);
    resumed = 0;
    const wb_status status =
        wb_checkpoint_read_newest(folder, &state, &found, rejected, sizeof(rejected));
    if (status == WB_OK && found) {
        resumed = state.step;
        assert_true(resumed == STEPS || rejected[0] != '\0'); /* passed over: it is told */
        assert_memory_equal(arrays, history[resumed], sizeof(arrays));
    }
    return status;
}

static wb_checkpoint_writer *writer;

static wb_status open_writer(void) {
    const wb_checkpoint_writing how = {
        .run_folder = folder, .life = "7.0", .keep = 2, .full_every = 3};
    return wb_checkpoint_writer_create(&writer, &how);
}

static wb_status write_step(int64_t step) {
    const wb_checkpoint state = state_of(step, history[step]);
    return wb_checkpoint_writer_write(writer, &state);
}

static void two_generations(void) {
    assert_ok(wb_folder_make(in_folder("checkpoints")));
    assert_ok(open_writer());
    assert_ok(write_step(1));
    assert_ok(write_step(2));
}

static void close_writer(void) {
    wb_checkpoint_writer_destroy(writer);
    writer = NULL;
}

/* Whatever happened, a whole generation is there, at least that before. */
static void a_generation_is_whole(bool succeeded) {
    static float arrays[ARRAYS][64];
    char rejected[4096];
    bool found = false;
    wb_checkpoint state = state_of(0, arrays);
    assert_ok(wb_checkpoint_read_newest(folder, &state, &found, rejected, sizeof(rejected)));
    assert_true(found);
    assert_true(state.step == 3 || (!succeeded && state.step == 2));
    assert_memory_equal(arrays, history[state.step], sizeof(arrays));
}

static wb_status write_third(void) {
    return write_step(3);
}

static void three_generations(void) {
    two_generations();
    assert_ok(write_step(3));
    close_writer();
}

static void found_one(bool succeeded) {
    assert_true(!succeeded || resumed > 0);
}

static wb_status write_first(void) {
    const wb_checkpoint state = state_of(3, history[3]);
    return wb_checkpoint_write(folder, &state);
}

static void is_there(bool succeeded) {
    if (succeeded) {
        a_generation_is_whole(true);
    }
}

static wb_status prune(void) {
    return wb_checkpoint_prune(folder, 2, -1);
}

/* Two more than are kept, one that says it is another, and what a killed writer left. */
static void many_generations(void) {
    for (int step = 0; step <= STEPS; step++) {
        const wb_checkpoint state = state_of(step, history[step]);
        assert_ok(wb_checkpoint_write(folder, &state));
    }
    assert_ok(wb_folder_make(in_folder("checkpoints/step-4")));
    assert_ok(wb_file_copy(in_folder("checkpoints/step-3/manifest.json"),
                           in_folder("checkpoints/step-4/manifest.json")));
    assert_ok(wb_folder_make(in_folder("checkpoints/step-5.7.0.tmp")));
}

/* One that could not be read once is passed over, and step 1 is kept for it. */
static void few_are_left(bool succeeded) {
    a_generation_is_whole(true);
    for (int step = 2; step <= STEPS + 1; step++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "checkpoints/step-%d", step);
        assert_true(wb_path_is_folder(in_folder(name)));
    }
    assert_true(!succeeded || !wb_path_is_folder(in_folder("checkpoints/step-0")));
    assert_true(!succeeded || !wb_path_is_folder(in_folder("checkpoints/step-5.7.0.tmp")));
}

static wb_status peek(void) {
    wb_checkpoint facts;
    bool found = false;
    const wb_status status = wb_checkpoint_peek(folder, &facts, &found);
    resumed = status == WB_OK && found ? facts.step : 0;
    return status;
}

static FILE *sink;

static void open_sink(void) {
    three_generations();
    sink = fopen("/dev/null", "w");
    assert_non_null(sink);
}

static void close_sink(void) {
    assert_int_equal(fclose(sink), 0);
}

static wb_status describe(void) {
    return wb_checkpoint_describe(folder, sink);
}

static wb_status describe_model(void) {
    return wb_checkpoint_describe(BERT, sink);
}

/* ---- The run folder and the metrics
 * -------------------------------------------------------------------------------- */

static int64_t restarts;
static wb_run_folder *earlier;

/* Each try is a later life of the job: what an earlier one could not give back, it takes over. */
static wb_status hold_folder(void) {
    wb_status status = WB_OK;
    wb_run_folder *run = NULL;
    char notice[256], text[256];
    const wb_run_owner owner = {.job = "7", .restart = ++restarts};
    wb_run_state what;
    WB_TRY(wb_run_folder_open(&run, in_folder("run"), &owner, notice, sizeof(notice)));
    WB_TRY(wb_run_folder_beat(run));
    WB_TRY(wb_run_folder_write_config(run, "run: {dir: run}\n"));
    WB_TRY(wb_run_folder_holder(in_folder("run"), text, sizeof(text)));
    WB_TRY(wb_run_folder_state(in_folder("run"), &what));
done:
    wb_run_folder_close(run);
    return status;
}

/* An earlier life that goes on, cut off, with the kernel's lock in its hand. */
static void hold_it_before(void) {
    char notice[256];
    const wb_run_owner owner = {.job = "7", .restart = ++restarts};
    assert_ok(wb_run_folder_open(&earlier, in_folder("run"), &owner, notice, sizeof(notice)));
}

static void give_it_back(void) {
    wb_run_folder_close(earlier);
    wb_error_clear();
}

static void begin_log(void) {
    assert_ok(log_steps(in_folder("metrics.jsonl"), 0, 1, 5));
}

static wb_status continue_log(void) {
    return log_steps(in_folder("metrics.jsonl"), 3, 4, 6);
}

static void log_is_whole(bool succeeded) {
    if (succeeded) {
        char *const text = get_bytes(in_folder("metrics.jsonl"), NULL);
        int lines = 0;
        for (const char *at = text; (at = strchr(at, '\n')); at++) {
            lines++;
        }
        assert_int_equal(lines, 7); /* the schema's and six steps' */
        free(text);
    }
}

/* ---- Models, tokenizers, tensors
 * ------------------------------------------------------------------------------------ */

static char long_file[(6 << 20) + 12345];

static wb_status write_tensors(void) {
    return wb_safetensors_write(in_folder("one.safetensors"), &table, history[1][0], "bert.");
}

static void tensors_are_there(void) {
    assert_ok(write_tensors());
}

static wb_status read_tensors(void) {
    wb_status status = WB_OK;
    wb_safetensors *file = NULL;
    float values[64];
    WB_TRY(wb_safetensors_open(&file, in_folder("one.safetensors")));
    assert_int_equal(wb_safetensors_count(file), 3);
    const wb_safetensors_entry *const entry = wb_safetensors_find(file, "bert.words.weight");
    assert_non_null(entry);
    WB_TRY(wb_safetensors_read(file, entry, values));
    assert_memory_equal(values, history[1][0], 32 * sizeof(float));
done:
    wb_safetensors_close(file);
    return status;
}

static void fill_long_file(void) {
    for (size_t i = 0; i < sizeof(long_file); i++) {
        long_file[i] = (char)(i % 251);
    }
}

/* Of several parts, the last of which is not whole. */
static wb_status write_long_file(void) {
    return wb_file_write(in_folder("long"), long_file, sizeof(long_file));
}

static wb_status write_and_read_long_file(void) {
    uint64_t sum = 0;
    const wb_status status =
        wb_file_write_and_read(in_folder("long"), long_file, sizeof(long_file), &sum);
    assert_true(status != WB_OK || sum == wb_hash(long_file, sizeof(long_file)));
    return status;
}

static void long_file_is_whole(bool succeeded) {
    char *found = NULL;
    size_t bytes = 0;
    if (succeeded) {
        assert_ok(wb_file_read(in_folder("long"), sizeof(long_file), &found, &bytes));
        assert_int_equal(bytes, sizeof(long_file));
        assert_true(memcmp(found, long_file, bytes) == 0);
        free(found);
    }
}

static void tensors_are_whole(bool succeeded) {
    if (succeeded || wb_path_is_file(in_folder("one.safetensors"))) {
        assert_ok(read_tensors());
    }
}

/* One tensor of three numbers in bfloat16: 1, 2 and 3. */
static void make_halves(void) {
    static const char header[] =
        "{\"a\":{\"dtype\":\"BF16\",\"shape\":[3],\"data_offsets\":[0,6]}}";
    static const uint16_t halves[] = {0x3f80, 0x4000, 0x4040};
    const uint64_t length = sizeof(header) - 1;
    char bytes[sizeof(length) + sizeof(header) - 1 + sizeof(halves)];
    memcpy(bytes, &length, sizeof(length));
    memcpy(bytes + sizeof(length), header, length);
    memcpy(bytes + sizeof(length) + length, halves, sizeof(halves));
    put_bytes(in_folder("half.safetensors"), bytes, sizeof(bytes));
}

static wb_status read_halves(void) {
    wb_status status = WB_OK;
    wb_safetensors *file = NULL;
    float values[3];
    WB_TRY(wb_safetensors_open(&file, in_folder("half.safetensors")));
    WB_TRY(wb_safetensors_read(file, wb_safetensors_at(file, 0), values));
    assert_true(values[0] == 1.0f && values[1] == 2.0f && values[2] == 3.0f);
done:
    wb_safetensors_close(file);
    return status;
}

static wb_tokenizer *tokenizer;

static void open_tokenizer(void) {
    assert_ok(wb_tokenizer_open(&tokenizer, BERT));
}

static void close_tokenizer(void) {
    wb_tokenizer_close(tokenizer);
    tokenizer = NULL;
}

static wb_status read_tokenizer(void) {
    wb_tokenizer *opened = NULL;
    const wb_status status = wb_tokenizer_open(&opened, BERT);
    wb_tokenizer_close(opened);
    return status;
}

static void make_vocabulary(void) {
    enum { MORE = 1200 };
    char text[64 + 16 * MORE] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##b\n";
    for (int i = 0; i < MORE; i++) {
        (void)snprintf(text + strlen(text), 16, "t%04d\n", i);
    }
    put_text(in_folder("vocab.txt"), text);
    put_text(in_folder("tokenizer_config.json"), "{\"do_lower_case\": true}\n");
}

/* A token that only is an added one: words are made of fewer than there are. */
static void make_added_tokens(void) {
    put_text(in_folder("tokenizer.json"),
             "{\"added_tokens\": [{\"id\": 5, \"content\": \"[X]\"}],"
             "\"normalizer\": {\"type\": \"BertNormalizer\"},"
             "\"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"},"
             "\"post_processor\": {\"type\": \"BertProcessing\", \"sep\": [\"[SEP]\", 3],"
             " \"cls\": [\"[CLS]\", 2]},"
             "\"model\": {\"type\": \"WordPiece\", \"vocab\": {\"[PAD]\": 0, \"[UNK]\": 1,"
             " \"[CLS]\": 2, \"[SEP]\": 3, \"a\": 4}}}");
}

static wb_status read_vocabulary(void) {
    wb_tokenizer *opened = NULL;
    const wb_status status = wb_tokenizer_open(&opened, folder);
    wb_tokenizer_close(opened);
    return status;
}

static wb_status export_tokenizer(void) {
    return wb_tokenizer_export(tokenizer, folder);
}

static void open_vocabulary(void) { /* of which other files are generated */
    make_vocabulary();
    assert_ok(wb_tokenizer_open(&tokenizer, in_folder("vocab.txt")));
}

static wb_model_folder model;
static wb_tensor_table model_table;
static float *model_values;

static wb_status read_model(void) {
    wb_model_folder read;
    return wb_model_folder_read(&read, BERT);
}

/* The tensors that the folder's own file has. */
static void open_model(void) {
    wb_safetensors *file = NULL;
    assert_ok(wb_model_folder_read(&model, BERT));
    assert_ok(wb_safetensors_open(&file, BERT "/model.safetensors"));
    for (int64_t i = 0; i < wb_safetensors_count(file); i++) {
        const wb_safetensors_entry *const entry = wb_safetensors_at(file, i);
        if (entry->dtype != WB_DTYPE_F32 || strstr(entry->name, "pooler")) {
            continue;
        }
        assert_ok(wb_tensor_add(&model_table, entry->rank > 1, entry->shape[0],
                                entry->rank > 1 ? entry->shape[1] : 0, "%s", entry->name));
    }
    wb_safetensors_close(file);
    model_values = calloc((size_t)model_table.total, sizeof(float));
    assert_non_null(model_values);
    open_tokenizer();
}

static void close_model(void) {
    close_tokenizer();
    free(model_values);
    wb_tensor_table_clear(&model_table);
}

static wb_status load_model(void) {
    return wb_model_folder_load(&model, &model_table, model_values);
}

static wb_status export_model(void) {
    const wb_model_card card = {.name = "m", .similarity = "cosine", .training = "None."};
    return wb_model_folder_export(&model, in_folder("export"), &model_table, model_values,
                                  tokenizer, &card);
}

static void export_is_whole(bool succeeded) {
    wb_model_folder read;
    if (succeeded || wb_path_is_folder(in_folder("export"))) {
        assert_ok(wb_model_folder_read(&read, in_folder("export")));
    }
}

/* ---- Representations, texts, judgements, results
 * ----------------------------------------------------------------------- */

static wb_status write_embeddings(void) {
    wb_status status = WB_OK;
    static const char *const ids[ROWS] = {"a", "b", "c", "d", "é"};
    const wb_embeddings_facts facts = {.model = "m", .role = "passage", .max_tokens = 8};
    wb_embeddings_writer *out = NULL;
    WB_TRY(wb_embeddings_create(&out, in_folder("e.h5"), WIDTH, &facts));
    WB_TRY(wb_embeddings_append(out, 2, history[1][0], ids));
    WB_TRY(wb_embeddings_append(out, ROWS - 2, history[1][0] + (size_t)2 * WIDTH, ids + 2));
    status = wb_embeddings_commit(out);
    out = NULL;
done:
    wb_embeddings_discard(out);
    return status;
}

static void embeddings_are_there(void) {
    assert_ok(write_embeddings());
}

static wb_status read_embeddings(void) {
    wb_status status = WB_OK;
    wb_embeddings_reader *in = NULL;
    wb_embeddings_ids ids = {0};
    float values[ROWS * WIDTH];
    WB_TRY(wb_embeddings_open(&in, in_folder("e.h5")));
    assert_int_equal(wb_embeddings_rows(in), ROWS);
    WB_TRY(wb_embeddings_read(in, 0, ROWS, values));
    assert_memory_equal(values, history[1][0], sizeof(values));
    WB_TRY(wb_embeddings_read_ids(in, 0, ROWS, &ids));
    assert_string_equal(wb_embeddings_id(&ids, ROWS - 1), "é");
done:
    wb_embeddings_ids_clear(&ids);
    wb_embeddings_close(in);
    return status;
}

static void embeddings_are_whole(bool succeeded) {
    if (succeeded || wb_path_is_file(in_folder("e.h5"))) {
        assert_ok(read_embeddings());
    }
}

static void make_beir(void) {
    assert_ok(wb_folder_make(in_folder("qrels")));
    put_text(in_folder("corpus.jsonl"), "{\"_id\": \"d1\", \"title\": \"t\", \"text\": \"w\"}\n"
                                        "{\"_id\": \"d2\", \"text\": \"w\\u00e9\"}\n");
    put_text(in_folder("queries.jsonl"), "{\"_id\": \"q1\", \"text\": \"x\"}\n"
                                         "{\"_id\": \"q2\", \"text\": \"y\"}\n");
    put_text(in_folder("qrels/train.tsv"),
             "query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t1\nq1\td2\t1\n");
    put_text(in_folder("rows.jsonl"),
             "{\"query_id\": \"q\", \"query\": \"x\", \"positive_passages\": [{\"docid\": \"1\", "
             "\"title\": \"t\", \"text\": \"w\"}], \"negative_passages\": [{\"docid\": \"2\", "
             "\"title\": \"\", \"text\": \"v\"}]}\n");
}

static wb_status read_rows(const char *path) {
    wb_status status = WB_OK;
    wb_data_set *set = NULL;
    uint64_t names[4];
    int64_t count;
    WB_TRY(wb_data_set_open(&set, path, "train"));
    for (int64_t row = 0; row < wb_data_set_rows(set); row++) {
        WB_TRY(wb_data_set_positive_keys(set, row, names, &count));
        WB_TRY(wb_data_set_own_keys(set, row, names, &count));
        WB_TRY(wb_data_set_name_texts(set, row, 0, 0, names));
    }
done:
    wb_data_set_close(set);
    return status;
}

static wb_status read_beir(void) {
    return read_rows(folder);
}

static wb_status read_tevatron(void) {
    return read_rows(in_folder("rows.jsonl"));
}

static wb_status read_qrels(void) {
    wb_trec_rows qrels;
    const wb_status status = wb_qrels_read(&qrels, in_folder("qrels/train.tsv"));
    wb_trec_rows_clear(&qrels);
    return status;
}

static wb_status write_results(void) {
    wb_status status = WB_OK;
    wb_trec_run_writer *out = NULL;
    WB_TRY(wb_trec_run_create(&out, in_folder("run.trec"), "t"));
    WB_TRY(wb_trec_run_add(out, "q1", "d1", 1, 0.5f));
    WB_TRY(wb_trec_run_add(out, "q1", "d2", 2, 0.25f));
    status = wb_trec_run_commit(out);
    out = NULL;
done:
    wb_trec_run_discard(out);
    return status;
}

static wb_status read_results(void) {
    wb_trec_rows run;
    const wb_status status = wb_trec_run_read(&run, in_folder("run.trec"));
    assert_true(status != WB_OK || run.count == 2);
    wb_trec_rows_clear(&run);
    return status;
}

static void results_are_there(void) {
    assert_ok(write_results());
}

static void results_are_whole(bool succeeded) {
    if (succeeded || wb_path_is_file(in_folder("run.trec"))) {
        assert_ok(read_results());
    }
}

/* ---- A folder that is whole or gone
 * ----------------------------------------------------------------------------------------- */

static void make_export(void) {
    assert_ok(wb_folder_make(in_folder("export")));
    put_text(in_folder("export/model.safetensors"), "weights");
    put_text(in_folder("export/modules.json"), "[]");
}

static wb_status withdraw_export(void) {
    return wb_folder_withdraw(in_folder("export"));
}

static void export_is_whole_or_gone(bool succeeded) {
    if (wb_path_is_folder(in_folder("export"))) {
        assert_false(succeeded);
        assert_true(wb_path_is_file(in_folder("export/model.safetensors")));
        assert_true(wb_path_is_file(in_folder("export/modules.json")));
    }
    assert_ok(withdraw_export());
    assert_false(wb_path_is_folder(in_folder("export")));
    assert_false(wb_path_is_folder(in_folder("export.old.tmp")));
}

/* ---- Every call fails once
 * ------------------------------------------------------------------------------------------------
 */

static void nothing(void) {}

static void whatever(bool succeeded) {
    (void)succeeded;
}

static const struct {
    const char *name;
    void (*before)(void);
    wb_status (*run)(void);
    void (*check)(bool succeeded);
    void (*after)(void);
} scenes[] = {
    {"the first checkpoint", nothing, write_first, is_there, nothing},
    {"the next checkpoint", two_generations, write_third, a_generation_is_whole, close_writer},
    {"resume", three_generations, read_newest, found_one, nothing},
    {"prune", three_generations, prune, a_generation_is_whole, nothing},
    {"prune many", many_generations, prune, few_are_left, nothing},
    {"peek", three_generations, peek, found_one, nothing},
    {"describe a run", open_sink, describe, a_generation_is_whole, close_sink},
    {"describe a model", open_sink, describe_model, whatever, close_sink},
    {"hold a folder", nothing, hold_folder, whatever, nothing},
    {"take a folder over", hold_it_before, hold_folder, whatever, give_it_back},
    {"continue the metrics", begin_log, continue_log, log_is_whole, nothing},
    {"write a long file", fill_long_file, write_long_file, long_file_is_whole, nothing},
    {"write and read a long file", fill_long_file, write_and_read_long_file, long_file_is_whole,
     nothing},
    {"write tensors", nothing, write_tensors, tensors_are_whole, nothing},
    {"read tensors", tensors_are_there, read_tensors, tensors_are_whole, nothing},
    {"read halves", make_halves, read_halves, whatever, nothing},
    {"read a tokenizer", nothing, read_tokenizer, whatever, nothing},
    {"read added tokens", make_added_tokens, read_vocabulary, whatever, nothing},
    {"read a vocabulary", make_vocabulary, read_vocabulary, whatever, nothing},
    {"copy a tokenizer", open_tokenizer, export_tokenizer, whatever, close_tokenizer},
    {"export a vocabulary", open_vocabulary, export_tokenizer, whatever, close_tokenizer},
    {"read a model", nothing, read_model, whatever, nothing},
    {"load a model", open_model, load_model, whatever, close_model},
    {"export a model", open_model, export_model, export_is_whole, close_model},
    {"withdraw a model", make_export, withdraw_export, export_is_whole_or_gone, nothing},
    {"write embeddings", nothing, write_embeddings, embeddings_are_whole, nothing},
    {"read embeddings", embeddings_are_there, read_embeddings, embeddings_are_whole, nothing},
    {"read BEIR", make_beir, read_beir, whatever, nothing},
    {"read Tevatron", make_beir, read_tevatron, whatever, nothing},
    {"read judgements", make_beir, read_qrels, whatever, nothing},
    {"write results", nothing, write_results, results_are_whole, nothing},
    {"read results", results_are_there, read_results, results_are_whole, nothing},
};

static int open_files(void) {
    int count = 0;
    DIR *const files = opendir("/proc/self/fd");
    assert_non_null(files);
    while (readdir(files)) {
        count++;
    }
    (void)closedir(files);
    return count;
}

static long open_handles(void) {
    long all = 0;
    for (int type = H5I_FILE; type < H5I_NTYPES; type++) {
        hsize_t count = 0;
        (void)H5Inmembers((H5I_type_t)type, &count);
        all += (long)count;
    }
    return all;
}

static bool fits(wb_fault kind, wb_status status) {
    switch (status) {
    case WB_ERR_MEMORY:
        return true;
    case WB_ERR_DISK:
    case WB_ERR_INPUT:
    case WB_ERR_CHECKPOINT:
        return kind != WB_FAULT_MEMORY;
    case WB_ERR_IN_USE: /* a lock that cannot be read might be somebody's */
        return kind == WB_FAULT_FILES;
    case WB_ERR_INTERNAL: /* what only fails where the program is wrong */
        return kind == WB_FAULT_HDF5;
    case WB_ERR_USAGE:
        return kind == WB_FAULT_PATHS;
    default:
        return false;
    }
}

/* Runs a scene whose call number n fails; returns how many calls there were. */
static long fail_call(size_t scene, wb_fault kind, long n) {
    scratch_folder(folder, "call_faults", "scene");
    scenes[scene].before();
    wb_error_clear();
    const int files = open_files();
    const long handles = open_handles();
    wb_faults_arm(kind, n);
    const wb_status status = scenes[scene].run();
    const long calls = wb_faults_disarm();
    const char *const what = wb_fault_name();
    if (status != WB_OK && (!fits(kind, status) || wb_error_message()[0] == '\0')) {
        fail_msg("%s: call %ld (%s) fails: status %d, \"%s\"", scenes[scene].name, n, what,
                 (int)status, wb_error_message());
    }
    if (status == WB_OK && wb_error_message()[0] != '\0') {
        fail_msg("%s: call %ld (%s) fails: done, and \"%s\" is left for the next to say",
                 scenes[scene].name, n, what, wb_error_message());
    }
    if (open_files() != files || open_handles() != handles) {
        fail_msg("%s: call %ld (%s) fails: %d files and %ld handles stay open", scenes[scene].name,
                 n, what, open_files() - files, open_handles() - handles);
    }
    if (getenv("WB_TEST_TELL")) {
        (void)fprintf(stderr, "%s: %ld %s: %d %s\n", scenes[scene].name, n, what, (int)status,
                      status == WB_OK ? "" : wb_error_message());
    }
    json_t *nothing_at_all = NULL;
    assert_ok(wb_json_parse(&nothing_at_all, "{}", 2, "nothing", 1)); /* forgets what was refused */
    json_decref(nothing_at_all);
    scenes[scene].check(status == WB_OK);
    if (status != WB_OK) {
        wb_error_clear();
        const wb_status again = scenes[scene].run();
        if (again != WB_OK) {
            fail_msg("%s: after call %ld (%s) has failed, not even again: %s", scenes[scene].name,
                     n, what, wb_error_message());
        }
        scenes[scene].check(true);
    }
    scenes[scene].after();
    return calls;
}

/* All calls in the long form; else the first that comes from each place in the program, by the
 * functions that lead there, and some ten more of each scene. */
static void fail_every(wb_fault kind) {
    const char *const is_long = getenv("WB_TEST_LONG");
    const bool all = is_long && strcmp(is_long, "1") == 0;
    const wb_rng_key key = {.seed = test_seed(), .site = wb_rng_site(WB_RNG_TEST, (uint32_t)kind)};
    uint32_t words[4];
    uint32_t drawn = 0;
    long failed = 0, seen = 0;
    for (size_t scene = 0; scene < sizeof(scenes) / sizeof(scenes[0]); scene++) {
        const long calls = fail_call(scene, kind, 0);
        for (long n = 1; n <= calls; n++) {
            wb_rng_block(words, key, drawn++);
            if (all || wb_fault_is_first_of_its_place(n) || words[0] % (uint32_t)calls < 10) {
                (void)fail_call(scene, kind, n);
                failed++;
            }
        }
        seen += calls;
    }
    print_message("# %ld of %ld calls failed\n", failed, seen);
}

static void every_allocation(void **state) {
    (void)state;
    fail_every(WB_FAULT_MEMORY);
}

static void every_call_for_a_file(void **state) {
    (void)state;
    fail_every(WB_FAULT_FILES);
}

static void every_call_of_hdf5(void **state) {
    (void)state;
    fail_every(WB_FAULT_HDF5);
}

static void every_path_that_is_put_together(void **state) {
    (void)state;
    fail_every(WB_FAULT_PATHS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation),
        cmocka_unit_test(every_call_for_a_file),
        cmocka_unit_test(every_call_of_hdf5),
        cmocka_unit_test(every_path_that_is_put_together),
    };
    return cmocka_run_group_tests(tests, make_history, drop_history);
}
