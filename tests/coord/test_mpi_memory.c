/* Memory that runs out at the n-th allocation of one rank, in every command: all ranks end with
 * WB_ERR_MEMORY and one message, none waits for another, and, under AddressSanitizer, nothing
 * leaks.
 *
 * The functions below stand in front of the C library's (ld --wrap), for calls from our own code
 * and for what jansson takes through us. libyaml's are refused by commands/check-faults; HDF5, BLAS
 * and MPI are left alone: what they do without memory is theirs. */
#include "commands_in_process.h"
#include "exchange.h"
#include "hash.h"
#include "json.h"
#include "tiny_run.h"

#include <errno.h>
#include <execinfo.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

static wb_comm *comm;
static tiny_run tiny;

/* ---- Allocations that fail
 * ------------------------------------------------------------------------------- */

static atomic_bool armed;
static atomic_long refused, calls;

/* The first allocation of each way that leads to one: a scene makes thousands of allocations on a
 * few hundred ways, and most faults sit on the rare ones. */
enum { WAYS = 4096, FRAMES = 24 };
static struct {
    uint64_t hash;
    long call;
} ways[WAYS];
static int way_count;
static pthread_mutex_t ways_lock = PTHREAD_MUTEX_INITIALIZER; /* a checkpoint's writer allocates */

static void record_way(long call) {
    void *frames[FRAMES];
    const uint64_t hash = wb_hash(frames, (size_t)backtrace(frames, FRAMES) * sizeof(*frames));
    (void)pthread_mutex_lock(&ways_lock);
    int i = 0;
    while (i < way_count && ways[i].hash != hash) {
        i++;
    }
    if (i == way_count && i < WAYS) {
        ways[i].hash = hash;
        ways[i].call = call;
        way_count++;
    }
    (void)pthread_mutex_unlock(&ways_lock);
}

static bool is_refused(void) {
    if (!armed) {
        return false;
    }
    const long call = ++calls;
    if (refused == 0) {
        record_way(call);
    }
    errno = call == refused ? ENOMEM : errno;
    return call == refused;
}

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *block, size_t bytes);
char *__real_strdup(const char *text);
void *__real_mmap(void *at, size_t bytes, int rights, int flags, int file, off_t offset);
FILE *__real_open_memstream(char **text, size_t *bytes);
ssize_t __real_getline(char **line, size_t *capacity, FILE *file);

void *__wrap_malloc(size_t bytes) {
    return is_refused() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes) {
    return is_refused() ? NULL : __real_calloc(count, bytes);
}

void *__wrap_realloc(void *block, size_t bytes) {
    return is_refused() ? NULL : __real_realloc(block, bytes);
}

char *__wrap_strdup(const char *text) {
    return is_refused() ? NULL : __real_strdup(text);
}

void *__wrap_mmap(void *at, size_t bytes, int rights, int flags, int file, off_t offset) {
    return is_refused() ? MAP_FAILED : __real_mmap(at, bytes, rights, flags, file, offset);
}

FILE *__wrap_open_memstream(char **text, size_t *bytes) {
    return is_refused() ? NULL : __real_open_memstream(text, bytes);
}

ssize_t __wrap_getline(char **line, size_t *capacity, FILE *file) {
    return is_refused() ? -1 : __real_getline(line, capacity, file);
}

/* ---- Commands
 * ------------------------------------------------------------------------------------------------------
 */

static const char *in_folder(const char *name) {
    static char paths[16][1200];
    static int next;
    char *path = paths[next++ % 16];
    (void)snprintf(path, sizeof(paths[0]), "%s/%s", tiny.folder, name);
    return path;
}

static const char *set(const char *key, const char *name) {
    static char texts[16][1400];
    static int next;
    char *text = texts[next++ % 16];
    (void)snprintf(text, sizeof(texts[0]), "%s=%s", key, in_folder(name));
    return text;
}

static wb_status train(const char *run, const char *data, const char *steps, const char *more) {
    return RUN(comm, "train", "--set", set("run.dir", run), "--set", set("model.path", "model"),
               "--set", set("data.train", data), "--set", set("data.eval", "beir"), "--set",
               "data.eval_split=train", "--set", "memory.budget=64M", "--set",
               "data.max_query_tokens=16", "--set", "data.max_passage_tokens=32", "--set",
               "batch.size=8", "--set", steps, "--set", "checkpoint.every=1", "--set", more);
}

static void forget_run(void) {
    if (wb_comm_rank(comm) == 0) {
        expect_ok(wb_folder_remove(in_folder("run")));
    }
    expect_ok(wb_agree(comm, WB_OK));
}

static wb_status train_new(void) {
    return train("run", "beir", "batch.steps=2", "run.check_every=1");
}

static void begin_run(void) {
    forget_run();
    expect_ok(train("run", "beir", "batch.steps=1", "run.check_every=1"));
}

static wb_status train_others(void) {
    return train("run", "many.jsonl", "batch.steps=2", "batch.no_duplicates=true");
}

static wb_status encode(void) {
    return RUN(comm, "encode", "--model", in_folder("model"), "--input",
               in_folder("beir/queries.jsonl"), "--output", in_folder("out.h5"));
}

static wb_status search(void) {
    return RUN(comm, "search", "--queries", in_folder("queries.h5"), "--corpus",
               in_folder("queries.h5"), "--k", "3", "--output", in_folder("out.trec"));
}

static wb_status inspect(void) {
    return RUN(comm, "inspect", in_folder("kept"));
}

static wb_status export_run(void) {
    return RUN(comm, "export", "--run", in_folder("kept"), "--output", in_folder("exported"));
}

static const struct {
    const char *name;
    wb_status (*run)(void);
    void (*before)(void);
} scenes[] = {
    {"train", train_new, forget_run},   {"train with many", train_others, forget_run},
    {"continue", train_new, begin_run}, {"encode", encode, NULL},
    {"search", search, NULL},           {"inspect", inspect, NULL},
    {"export", export_run, NULL},
};

/* Runs a scene in which this rank's allocation `n` fails; 0: none, and records the ways. */
static wb_status run_scene(size_t scene, long n) {
    json_t *nothing = NULL;
    expect_ok(wb_json_parse(&nothing, "{}", 2, "nothing", 1)); /* forgets what failed before */
    json_decref(nothing);
    if (scenes[scene].before) {
        scenes[scene].before();
    }
    calls = 0;
    refused = n;
    armed = true;
    const wb_status status = scenes[scene].run();
    armed = false;
    return status;
}

/* Returns whether the command failed for it. A command may also end well: what it lacked memory for
 * was clearing up. */
static bool check_refused(size_t scene, int rank, long n) {
    /* the call after the last never comes: no rank but one is refused anything, or records */
    const wb_status status = run_scene(scene, wb_comm_rank(comm) == rank ? n : LONG_MAX);
    if (status != WB_OK && (status != WB_ERR_MEMORY || wb_error_message()[0] == '\0')) {
        fail_msg("%s: allocation %ld of rank %d refused: status %d: %s\n%s", scenes[scene].name, n,
                 rank, (int)status, wb_error_message(), wb_error_backtrace());
    }
    expect_ok(wb_agree(comm, WB_OK));
    return status != WB_OK;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    const char *const longer = getenv("WB_TEST_LONG");
#ifdef WB_DEV /* ten times as slow */
    const int few = 2, many = 40;
#else
    const int few = 16, many = WAYS;
#endif
    const int draws = longer && *longer == '1' ? many : few;
    uint64_t seed = test_seed();
    expect_ok(wb_broadcast(comm, &seed, (int64_t)sizeof(seed)));
    for (size_t scene = 0; scene < sizeof(scenes) / sizeof(scenes[0]); scene++) {
        way_count = 0;
        expect_ok(run_scene(scene, 0));
        const long took = calls;
        int tries = way_count < draws ? way_count : draws; /* in all of rank 0's ways, or in some */
        expect_ok(wb_broadcast(comm, &tries, (int64_t)sizeof(tries)));
        int failed = 0;
        for (int i = 0; i < tries; i++) {
            const wb_rng_key key = {.seed = seed,
                                    .example = (uint32_t)i,
                                    .site = wb_rng_site(WB_RNG_TEST, (uint32_t)scene)};
            const int rank = (int)wb_rng_below((uint64_t)wb_comm_world(comm), key, 0);
            const int drawn = (int)wb_rng_below((uint64_t)way_count, key, 1);
            const int way = tries < draws && i < way_count ? i : drawn;
            failed += check_refused(scene, rank, ways[way].call);
        }
        if (wb_comm_rank(comm) == 0) {
            (void)printf("# %s: memory refused on %d of %d ways (%ld allocations), %d times the "
                         "end of it\n",
                         scenes[scene].name, tries, way_count, took, failed);
        }
        assert_true(failed >= tries * 3 / 4 || wb_comm_world(comm) > 1);
    }
}

int main(int argc, char **argv) {
    expect_ok(wb_comm_create(&comm, &argc, &argv));
    expect_ok(wb_io_init());
    wb_log_init(wb_comm_rank(comm), WB_LOG_QUIET);
    tiny = tiny_make(comm, "memory");
    expect_ok(train("kept", "beir", "batch.steps=2", "run.check_every=1"));
    expect_ok(encode());
    if (wb_comm_rank(comm) == 0) {
        expect_ok(wb_file_copy(in_folder("out.h5"), in_folder("queries.h5")));
    }
    expect_ok(wb_agree(comm, WB_OK));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_may_fail),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    wb_comm_destroy(comm);
    return failed;
}
