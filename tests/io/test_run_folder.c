/* Run folders: one owner at a time, dead owners make way, living ones do not. */
#include "io_checks.h"

#include "checkpoint.h"
#include "hdf5_setup.h"
#include "json.h"
#include "run_folder.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char path[WB_PATH];
static char notice[512];
static const wb_run_owner nobody = {0};

static int fresh_folder(void **state) {
    (void)state;
    char folder[WB_PATH];
    assert_ok(wb_io_init());
    scratch_folder(folder, "run_folder", "runs");
    assert_ok(wb_path_join(path, folder, "tiny"));
    return 0;
}

static wb_status open_run(wb_run_folder **run, const wb_run_owner *owner) {
    return wb_run_folder_open(run, path, owner, notice, sizeof(notice));
}

static void put_lock(const char *format, const char *host, long long pid, const char *job) {
    char lock[WB_PATH];
    char text[512];
    struct stat info = {0};
    assert_ok(wb_folder_make(path));
    assert_ok(wb_path_join(lock, path, "run.lock"));
    put_text(lock, "");
    assert_int_equal(stat(lock, &info), 0);
    (void)snprintf(text, sizeof(text), format, job, host, pid, (long long)info.st_ino);
    put_text(lock, text);
}

#define LOCK                                                                                       \
    "{\"job\":\"%s\",\"restart\":0,\"host\":\"%s\",\"pid\":%lld,\"started\":1,\"beat\":1000,"      \
    "\"inode\":%lld}"
#define COPIED_LOCK                                                                                \
    "{\"job\":\"%s\",\"restart\":0,\"host\":\"%s\",\"pid\":%lld,\"started\":1,\"beat\":1000,"      \
    "\"inode\":1%lld}"

static void folders_are_made_and_private(void **state) {
    (void)state;
    static const char *const names[] = {"", "checkpoints", "eval", "export"};
    wb_run_folder *run = NULL;
    assert_ok(open_run(&run, &nobody));
    assert_string_equal(wb_run_folder_path(run), path);
    assert_string_equal(notice, "");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char inside[WB_PATH];
        struct stat info;
        assert_ok(wb_path_join(inside, path, "%s", names[i]));
        assert_int_equal(stat(inside, &info), 0);
        assert_int_equal(info.st_mode & 0777, 0700);
    }
    wb_run_folder_close(run);
}

static void second_owner_is_refused_until_the_first_closes(void **state) {
    (void)state;
    const wb_run_owner job = {.job = "123"};
    char pid[64];
    wb_run_folder *first = NULL;
    wb_run_folder *second = NULL;
    assert_ok(open_run(&first, &job));
    (void)snprintf(pid, sizeof(pid), "pid %d,", (int)getpid());
    assert_refused(open_run(&second, &nobody), WB_ERR_IN_USE, "in use by job 123, host ");
    assert_refused(open_run(&second, &nobody), WB_ERR_IN_USE, pid);
    assert_ok(wb_run_folder_beat(first));
    wb_run_folder_close(first);
    assert_ok(open_run(&second, &nobody));
    assert_string_equal(notice, "");
    wb_run_folder_close(second);
}

/* A child takes the folder and waits to be killed; returns when it holds it. */
static pid_t hold_in_child(const wb_run_owner *owner) {
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        wb_run_folder *run = NULL;
        const char opened = open_run(&run, owner) == WB_OK;
        (void)!write(ready[1], &opened, 1);
        for (;;) {
            (void)pause();
        }
    }
    char opened = 0;
    assert_int_equal(read(ready[0], &opened, 1), 1);
    assert_int_equal(opened, 1);
    (void)close(ready[0]);
    (void)close(ready[1]);
    return child;
}

static off_t lock_bytes(void) {
    char lock[WB_PATH];
    struct stat info;
    assert_ok(wb_path_join(lock, path, "run.lock"));
    assert_int_equal(stat(lock, &info), 0);
    return info.st_size;
}

static void killed_owner_makes_way_with_a_notice(void **state) {
    (void)state;
    wb_run_folder *run = NULL;
    const wb_run_owner long_name = {.job = "a-job-with-a-long-name"};
    const pid_t child = hold_in_child(&nobody);
    const off_t bytes = lock_bytes();
    assert_refused(open_run(&run, &nobody), WB_ERR_IN_USE, "in use by");
    siginfo_t end;
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitid(P_PID, (id_t)child, &end, WEXITED | WNOWAIT), 0);
    assert_ok(open_run(&run, &nobody)); /* dead, though its number still is in use */
    assert_non_null(strstr(notice, "its process is no more"));
    wb_run_folder_close(run);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_ok(open_run(&run, &long_name));
    assert_int_equal(lock_bytes(), bytes); /* no old end can stand behind a new text */
    wb_run_folder_close(run);
}

static void reused_process_number_is_not_taken_for_the_owner(void **state) {
    (void)state;
    char host[256] = "";
    wb_run_folder *run = NULL;
    assert_int_equal(gethostname(host, sizeof(host) - 1), 0);
    put_lock(LOCK, host, getppid(), ""); /* alive, but started at another time */
    assert_ok(open_run(&run, &nobody));
    assert_non_null(strstr(notice, "its process is no more"));
    wb_run_folder_close(run);
}

static bool gone(const char *job) {
    return strcmp(job, "41") == 0;
}

static void owner_on_another_host_stays_unless_known_gone(void **state) {
    (void)state;
    wb_run_folder *run = NULL;
    const wb_run_owner asks = {.job = "99", .job_is_gone = gone};
    put_lock(LOCK, "node7.elsewhere", 4711, "42");
    assert_refused(open_run(&run, &nobody), WB_ERR_IN_USE,
                   "in use by job 42, host node7.elsewhere, pid 4711");
    assert_refused(open_run(&run, &asks), WB_ERR_IN_USE, "remove");
    put_lock(LOCK, "node7.elsewhere", 4711, "41");
    assert_ok(open_run(&run, &asks));
    assert_non_null(strstr(notice, "its job is no more"));
    wb_run_folder_close(run);
}

static void requeued_job_takes_over_from_its_earlier_life(void **state) {
    (void)state;
    wb_run_folder *run = NULL;
    const wb_run_owner same_life = {.job = "42"};
    const wb_run_owner next_life = {.job = "42", .restart = 1};
    put_lock(LOCK, "node7.elsewhere", 4711, "42");
    assert_refused(open_run(&run, &same_life), WB_ERR_IN_USE, "in use by job 42");
    assert_ok(open_run(&run, &next_life));
    assert_non_null(strstr(notice, "an earlier life of this job"));
    wb_run_folder_close(run);
}

/* A node that was cut off goes on, with the kernel's lock in its hand. */
static void an_earlier_life_that_still_runs_loses_the_folder(void **state) {
    (void)state;
    wb_run_folder *first = NULL, *next = NULL, *third = NULL;
    const wb_run_owner life = {.job = "42", .restart = 1};
    const wb_run_owner next_life = {.job = "42", .restart = 2};
    char name[WB_RUN_LIFE_NAME];
    assert_ok(open_run(&first, &life));
    wb_run_folder_life(first, name);
    assert_string_equal(name, "42.1");
    assert_refused(open_run(&third, &nobody), WB_ERR_IN_USE, "in use by job 42");
    assert_ok(open_run(&next, &next_life));
    assert_non_null(strstr(notice, "an earlier life of this job"));
    assert_refused(wb_run_folder_beat(first), WB_ERR_IN_USE, "another job has taken this run over");
    wb_run_folder_close(first);
    assert_ok(wb_run_folder_beat(next));
    assert_refused(open_run(&third, &life), WB_ERR_IN_USE, "in use by job 42");
    wb_run_folder_close(next);
    assert_ok(open_run(&third, &nobody));
    wb_run_folder_close(third);
}

/* The kernel's lock in somebody's hand, whatever run.lock says: only who is known to have been cut
 * off loses the folder. */
static void a_lock_in_somebodys_hand_is_respected(void **state) {
    (void)state;
    static const struct {
        const char *job; /* NULL: the file is empty */
        bool here, another_inode;
        wb_run_owner us;
        const char *refused, *notice; /* one of them */
    } cases[] = {
        {NULL, false, false, {0}, "in use by a job that has only just begun; wait", NULL},
        {"", true, false, {0}, "in use by job (none), host ", NULL},
        {"42", false, true, {.job = "42", .restart = 1}, "in use by job 42, host ", NULL},
        {"42", true, false, {.job = "42"}, "in use by job 42, host ", NULL},
        {"42", true, false, {.job = "42", .restart = 1}, NULL, "its process is no more"},
        {"41", false, false, {.job = "99", .job_is_gone = gone}, NULL, "its job is no more"},
    };
    const struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char host[256] = "", lock[WB_PATH];
    assert_int_equal(gethostname(host, sizeof(host) - 1), 0);
    assert_ok(wb_path_join(lock, path, "run.lock"));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        wb_run_folder *run = NULL;
        assert_ok(wb_folder_remove(path));
        put_lock(cases[i].another_inode ? COPIED_LOCK : LOCK,
                 cases[i].here ? host : "node7.elsewhere", getppid(),
                 cases[i].job ? cases[i].job : "");
        const int hand = open(lock, O_RDWR | O_CLOEXEC);
        assert_true(hand >= 0);
        assert_int_equal(fcntl(hand, F_OFD_SETLK, &whole), 0);
        if (!cases[i].job) {
            assert_int_equal(ftruncate(hand, 0), 0);
        }
        char *const before = get_bytes(lock, NULL);
        if (cases[i].refused) {
            assert_refused(open_run(&run, &cases[i].us), WB_ERR_IN_USE, cases[i].refused);
            assert_string_equal(notice, "");
            char *const after = get_bytes(lock, NULL);
            assert_string_equal(after, before); /* nothing is written over it */
            free(after);
        } else {
            assert_ok(open_run(&run, &cases[i].us));
            assert_non_null(strstr(notice, cases[i].notice));
            wb_run_folder_close(run);
        }
        free(before);
        (void)close(hand);
    }
}

static void copied_folder_is_free(void **state) {
    (void)state;
    wb_run_folder *first = NULL;
    wb_run_folder *second = NULL;
    char from[WB_PATH];
    char to[WB_PATH];
    assert_ok(open_run(&first, &nobody));
    assert_ok(wb_path_join(from, path, "run.lock"));
    assert_ok(wb_path_join(to, path, "copy"));
    assert_ok(wb_folder_make(to));
    assert_ok(wb_path_join(to, path, "copy/run.lock"));
    assert_ok(wb_file_copy(from, to));
    assert_ok(wb_path_join(to, path, "copy"));
    assert_ok(wb_run_folder_open(&second, to, &nobody, notice, sizeof(notice)));
    assert_non_null(strstr(notice, "this folder is a copy"));
    wb_run_folder_close(second);
    wb_run_folder_close(first);
}

static void owner_notices_that_it_was_replaced(void **state) {
    (void)state;
    wb_run_folder *run = NULL;
    char lock[WB_PATH];
    assert_ok(open_run(&run, &nobody));
    put_lock(LOCK, "node7.elsewhere", 4711, "42");
    assert_refused(wb_run_folder_beat(run), WB_ERR_IN_USE, "taken this run over (node7.elsewhere)");
    wb_run_folder_close(run);
    assert_ok(wb_path_join(lock, path, "run.lock"));
    char *text = get_bytes(lock, NULL);
    assert_non_null(strstr(text, "node7")); /* the new owner's words stay */
    free(text);
    assert_int_equal(unlink(lock), 0);
    assert_ok(open_run(&run, &nobody));
    assert_int_equal(unlink(lock), 0);
    assert_refused(wb_run_folder_beat(run), WB_ERR_IN_USE, "run.lock was replaced");
    wb_run_folder_close(run);
    assert_string_equal(wb_error_message(), "");
}

/* Whose run.lock says anything else stops, and leaves those words as they are. */
static void any_other_words_are_another_owners(void **state) {
    (void)state;
    static const char *const members[] = {NULL, "pid", "started"}; /* NULL: no words at all */
    char host[256] = "", lock[WB_PATH], who[512];
    assert_int_equal(gethostname(host, sizeof(host) - 1), 0);
    assert_ok(wb_path_join(lock, path, "run.lock"));
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        wb_run_folder *run = NULL;
        json_t *words = NULL;
        assert_ok(open_run(&run, &nobody));
        assert_ok(wb_json_read(&words, lock, 4096));
        if (members[i]) {
            assert_int_equal(json_object_set_new(words, members[i], json_integer(1)), 0);
        }
        char *const text = members[i] ? json_dumps(words, JSON_COMPACT) : strdup("");
        assert_non_null(text);
        put_text(lock, text);
        assert_refused(wb_run_folder_beat(run), WB_ERR_IN_USE, members[i] ? host : "was emptied");
        assert_ok(wb_run_folder_holder(path, who, sizeof(who)));
        assert_int_equal(who[0] != '\0', members[i] != NULL);
        (void)(i > 0 ? WB_ERROR(WB_ERR_DISK, "the first error") : WB_OK);
        wb_run_folder_close(run); /* which is no error, and hides none */
        assert_string_equal(wb_error_message(), i > 0 ? "the first error" : "");
        wb_error_clear();
        char *const left = get_bytes(lock, NULL);
        assert_string_equal(left, text);
        free(left);
        free(text);
        json_decref(words);
        assert_int_equal(unlink(lock), 0);
    }
}

static void names_become_parts_of_paths(void **state) {
    (void)state;
    static char longest[WB_PATH + 1];
    char name[WB_RUN_LIFE_NAME];
    wb_run_folder *run = NULL;
    const wb_run_owner job = {.job = "a/b/c", .restart = 3};
    assert_ok(open_run(&run, &job));
    wb_run_folder_life(run, name);
    assert_string_equal(name, "a_b_c.3");
    wb_run_folder_close(run);
    char host[256] = "", expected[300];
    assert_int_equal(gethostname(host, sizeof(host) - 1), 0);
    (void)snprintf(expected, sizeof(expected), "%s.%d", host, (int)getpid());
    assert_ok(open_run(&run, &nobody));
    wb_run_folder_life(run, name);
    assert_string_equal(name, expected);
    wb_run_folder_close(run);
    memset(longest, 'a', WB_PATH);
    run = NULL;
    assert_refused(wb_run_folder_open(&run, longest, &nobody, notice, sizeof(notice)), WB_ERR_USAGE,
                   "path too long: aaa");
    assert_null(run);
}

/* A holder of whom something is not known might be alive. */
static void lock_that_lacks_a_member_is_respected(void **state) {
    (void)state;
    static const char *const members[] = {"\"job\":\"1\"", "\"restart\":0", "\"host\":\"h\"",
                                          "\"pid\":7",     "\"started\":1", "\"beat\":2",
                                          "\"inode\":3"};
    enum { MEMBERS = sizeof(members) / sizeof(members[0]) };
    wb_run_folder *run = NULL;
    char lock[WB_PATH], who[512];
    assert_ok(wb_folder_make(path));
    assert_ok(wb_path_join(lock, path, "run.lock"));
    for (int missing = 0; missing <= MEMBERS; missing++) {
        char text[512] = "{";
        for (int i = 0; i < MEMBERS; i++) {
            if (i != missing) {
                const size_t used = strlen(text);
                (void)snprintf(text + used, sizeof(text) - used, "%s%s", used > 1 ? "," : "",
                               members[i]);
            }
        }
        put_text(lock, strcat(text, "}"));
        wb_error_clear();
        const wb_status status = wb_run_folder_holder(path, who, sizeof(who));
        if (missing == MEMBERS) { /* whole: a copy of another folder's, so it makes way */
            assert_int_equal(status, WB_OK);
            assert_non_null(strstr(who, "job 1, host h, pid 7"));
            assert_ok(open_run(&run, &nobody));
            wb_run_folder_close(run);
        } else {
            assert_int_equal(status, WB_ERR_IN_USE);
            assert_refused(open_run(&run, &nobody), WB_ERR_IN_USE, "is missing");
        }
    }
}

static void unreadable_lock_is_respected(void **state) {
    (void)state;
    wb_run_folder *run = NULL;
    char lock[WB_PATH];
    assert_ok(wb_folder_make(path));
    assert_ok(wb_path_join(lock, path, "run.lock"));
    static const char *const texts[] = {"{\"job\":\"4", "[]", "\377", "{\"job\":1}"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        put_text(lock, texts[i]);
        assert_refused(open_run(&run, &nobody), WB_ERR_IN_USE, "run.lock");
    }
}

/* Of many processes that start at once, one gets the folder. */
static void one_of_many_starters_wins(void **state) {
    (void)state;
    enum { STARTERS = 20 };
    pid_t children[STARTERS];
    int go[2];
    int won[2];
    assert_int_equal(pipe(go), 0);
    assert_int_equal(pipe(won), 0);
    for (int i = 0; i < STARTERS; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) {
            char byte;
            wb_run_folder *run = NULL;
            (void)close(go[1]);
            (void)!read(go[0], &byte, 1); /* returns when the parent closes its end */
            byte = (char)open_run(&run, &nobody);
            (void)!write(won[1], &byte, 1);
            for (;;) {
                (void)pause();
            }
        }
    }
    (void)close(go[0]);
    (void)close(go[1]);
    int winners = 0;
    for (int i = 0; i < STARTERS; i++) {
        char result = 0;
        assert_int_equal(read(won[0], &result, 1), 1);
        winners += result == (char)WB_OK;
    }
    for (int i = 0; i < STARTERS; i++) {
        (void)kill(children[i], SIGKILL);
        (void)waitpid(children[i], NULL, 0);
    }
    (void)close(won[0]);
    (void)close(won[1]);
    assert_int_equal(winners, 1);
}

static void state_follows_the_run(void **state) {
    (void)state;
    wb_run_state found;
    wb_run_folder *run = NULL;
    assert_ok(wb_run_folder_state(path, &found));
    assert_int_equal(found, WB_RUN_EMPTY);
    assert_ok(open_run(&run, &nobody));
    assert_ok(wb_run_folder_state(path, &found));
    assert_int_equal(found, WB_RUN_EMPTY);
    assert_ok(wb_run_folder_write_config(run, "batch:\n  size: 64\n"));
    assert_ok(wb_run_folder_state(path, &found));
    assert_int_equal(found, WB_RUN_UNFINISHED);
    wb_tensor_table table = {0};
    float value = 1;
    assert_ok(wb_tensor_add(&table, false, 1, 0, "a"));
    wb_checkpoint checkpoint = {.step = 1, .total_steps = 2, .table = &table, .values = &value};
    assert_ok(wb_checkpoint_write(path, &checkpoint));
    assert_ok(wb_run_folder_state(path, &found));
    assert_int_equal(found, WB_RUN_UNFINISHED);
    checkpoint.step = 2;
    checkpoint.finished = true;
    assert_ok(wb_checkpoint_write(path, &checkpoint));
    assert_ok(wb_run_folder_state(path, &found));
    assert_int_equal(found, WB_RUN_FINISHED);
    wb_tensor_table_clear(&table);
    wb_run_folder_close(run);
}

static void a_configuration_that_is_no_runs_is_not_replaced(void **state) {
    (void)state;
    wb_run_folder *run = NULL;
    char config[WB_PATH], lock[WB_PATH], *text = NULL;
    size_t bytes = 0;
    assert_ok(wb_path_join(config, path, "config.yaml"));
    assert_ok(wb_path_join(lock, path, "run.lock"));
    assert_ok(wb_folder_make(path));
    put_text(config, "# widebatc");
    assert_refused(wb_run_folder_check_place(path), WB_ERR_USAGE, config);
    assert_refused(open_run(&run, &nobody), WB_ERR_USAGE, "no run has left it there");
    assert_false(wb_path_is_file(lock));
    assert_ok(wb_file_read(config, 100, &text, &bytes));
    assert_string_equal(text, "# widebatc");
    free(text);
    assert_int_equal(unlink(config), 0);
    assert_ok(open_run(&run, &nobody));
    wb_run_folder_close(run);
}

/* People remove it when they do not trust its word. */
static void a_run_without_its_lock_is_known_by_its_configuration(void **state) {
    (void)state;
    wb_run_folder *run = NULL;
    char lock[WB_PATH];
    assert_ok(open_run(&run, &nobody));
    assert_ok(wb_run_folder_write_config(run, "batch:\n"));
    wb_run_folder_close(run);
    assert_ok(wb_path_join(lock, path, "run.lock"));
    assert_int_equal(unlink(lock), 0);
    assert_ok(open_run(&run, &nobody));
    wb_run_folder_close(run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(folders_are_made_and_private, fresh_folder),
        cmocka_unit_test_setup(second_owner_is_refused_until_the_first_closes, fresh_folder),
        cmocka_unit_test_setup(killed_owner_makes_way_with_a_notice, fresh_folder),
        cmocka_unit_test_setup(reused_process_number_is_not_taken_for_the_owner, fresh_folder),
        cmocka_unit_test_setup(owner_on_another_host_stays_unless_known_gone, fresh_folder),
        cmocka_unit_test_setup(requeued_job_takes_over_from_its_earlier_life, fresh_folder),
        cmocka_unit_test_setup(an_earlier_life_that_still_runs_loses_the_folder, fresh_folder),
        cmocka_unit_test_setup(a_lock_in_somebodys_hand_is_respected, fresh_folder),
        cmocka_unit_test_setup(any_other_words_are_another_owners, fresh_folder),
        cmocka_unit_test_setup(names_become_parts_of_paths, fresh_folder),
        cmocka_unit_test_setup(copied_folder_is_free, fresh_folder),
        cmocka_unit_test_setup(owner_notices_that_it_was_replaced, fresh_folder),
        cmocka_unit_test_setup(lock_that_lacks_a_member_is_respected, fresh_folder),
        cmocka_unit_test_setup(unreadable_lock_is_respected, fresh_folder),
        cmocka_unit_test_setup(one_of_many_starters_wins, fresh_folder),
        cmocka_unit_test_setup(state_follows_the_run, fresh_folder),
        cmocka_unit_test_setup(a_configuration_that_is_no_runs_is_not_replaced, fresh_folder),
        cmocka_unit_test_setup(a_run_without_its_lock_is_known_by_its_configuration, fresh_folder),
    };
    return cmocka_run_group_tests_name("run_folder", tests, NULL, NULL);
}
