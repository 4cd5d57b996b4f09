/* The watchdog's findings, and what must not trip it. A rank that really hangs:
 * commands/check-life.
 */
#include "tiny_run.h"
#include "watchdog.h"

#include <unistd.h>

static wb_comm *comm;

static wb_watch_note note(int64_t step, int64_t calls, double seconds, const char *phase) {
    wb_watch_note made = {.fresh = true, .step = step, .calls = calls, .seconds = seconds};
    (void)snprintf(made.phase, sizeof(made.phase), "%s", phase);
    (void)snprintf(made.host, sizeof(made.host), "n7");
    return made;
}

static void a_rank_without_a_fresh_note_does_not_answer(void **state) {
    (void)state;
    char text[512];
    wb_watch_note notes[4];
    for (int r = 0; r < 4; r++) {
        notes[r] = note(11, 90, 61.0, "reduce");
    }
    notes[2] = (wb_watch_note){.fresh = false};
    wb_watchdog_judge(text, sizeof(text), notes, 4);
    assert_string_equal(text, "rank 2 of 4: no answer; 3 wait in \"reduce\" of step 12 for 61 s");
    notes[0] = notes[2];
    wb_watchdog_judge(text, sizeof(text), notes, 4);
    assert_string_equal(text,
                        "rank 0, 2 of 4: no answer; 2 wait in \"reduce\" of step 12 for 61 s");
}

static void the_rank_that_began_fewest_calls_is_waited_for(void **state) {
    (void)state;
    char text[512];
    wb_watch_note notes[] = {note(11, 90, 55.0, "gather"), note(11, 89, 61.0, "encode"),
                             note(11, 90, 55.0, "gather")};
    wb_watchdog_judge(text, sizeof(text), notes, 3);
    assert_string_equal(text,
                        "rank 1 of 3 on host n7: in \"encode\" of step 12 for 61 s; 2 wait in "
                        "\"gather\" of step 12 for 55 s");
    wb_watchdog_judge(text, sizeof(text), notes + 1, 1);
    assert_string_equal(text, "rank 0 of 1 on host n7: in \"encode\" of step 12 for 61 s");
}

static void a_rank_ahead_of_most_is_named_too(void **state) {
    (void)state;
    char text[512];
    wb_watch_note notes[] = {note(11, 90, 61.0, "gather"), note(11, 91, 59.0, "loss"),
                             note(11, 90, 61.0, "gather")};
    wb_watchdog_judge(text, sizeof(text), notes, 3);
    assert_string_equal(text,
                        "rank 0, 2 of 3 on host n7: in \"gather\" of step 12 for 61 s; rank 1 "
                        "is ahead of them, in \"loss\" of step 12 for 59 s");
}

static void many_ranks_fit_into_the_sentence(void **state) {
    (void)state;
    enum { WORLD = 1000 };
    char text[512], small[20];
    wb_watch_note *notes = calloc(WORLD, sizeof(*notes));
    notes[500] = note(3, 8, 62.0, "loss");
    wb_watchdog_judge(text, sizeof(text), notes, WORLD);
    assert_string_equal(text, "rank 0, 1, 2, 3, 4, 5, 6, 7, … of 1000: no answer; 1 wait in "
                              "\"loss\" of step 4 for 62 s");
    wb_watchdog_judge(small, sizeof(small), notes, WORLD);
    assert_int_equal(strlen(small), sizeof(small) - 1);
    free(notes);
}

/* 0.1 s are allowed, ten times as many before the first step. */
static void long_phases_and_slow_steps_are_let_be(void **state) {
    (void)state;
    const tiny_run run = tiny_make(comm, "watchdog");
    wb_timetable time;
    wb_watchdog *watchdog;
    wb_timetable_start(&time);
    expect_ok(wb_watchdog_start(&watchdog, run.folder, 0.1, &time, comm));
    wb_timetable_enter(&time, WB_PHASE_EVALUATE);
    for (int part = 0; part < 2; part++) {
        (void)usleep(700000); /* ten times the patience for each */
        wb_timetable_go_on(&time);
    }
    wb_timetable_enter(&time, WB_PHASE_BACKWARD);
    (void)usleep(300000); /* the first step */
    wb_watchdog_step(watchdog, 1, 0.3);
    wb_timetable_enter(&time, WB_PHASE_BACKWARD);
    (void)usleep(300000); /* as slow as the first */
    wb_timetable_enter(&time, WB_PHASE_CHECKPOINT);
    wb_watchdog_step(watchdog, 2, 0.001);
    wb_watchdog_step(watchdog, 3, 0.001); /* ten medians are 0.01 s, 0.1 s are allowed */
    (void)usleep(300000);
    wb_watchdog_stop(watchdog);
    wb_watchdog_stop(NULL);
    wb_watchdog_step(NULL, 1, 1.0);
    expect_ok(wb_watchdog_start(&watchdog, run.folder, 0.0, &time, comm));
    assert_null(watchdog);
    char finding[1024];
    (void)snprintf(finding, sizeof(finding), "%s/stuck.txt", run.folder);
    assert_false(wb_path_is_file(finding));
}

/* 2 s are allowed for a part; rank 0 waits for 3 s, the others have a new part every 0.5 s. */
static void who_waits_in_an_evaluation_lets_the_others_go_on(void **state) {
    (void)state;
    if (wb_comm_world(comm) != 2 && wb_comm_world(comm) != 3) {
        skip();
    }
    const tiny_run run = tiny_make(comm, "evaluation");
    wb_timetable time;
    wb_watchdog *watchdog;
    wb_timetable_start(&time);
    expect_ok(wb_watchdog_start(&watchdog, run.folder, 0.2, &time, comm));
    wb_timetable_enter(&time, WB_PHASE_EVALUATE);
    for (int part = 0; part < 6 && wb_comm_rank(comm) > 0; part++) {
        (void)usleep(500000);
        wb_timetable_go_on(&time);
    }
    expect_ok(wb_agree(comm, WB_OK));
    wb_watchdog_stop(watchdog);
}

/* 2 s are allowed for an answer, 20 for the first step: rank 0 waits for 3.5 s, the others, too
 * quick to note anything unasked, answer. */
static void who_waits_in_the_first_step_is_answered(void **state) {
    (void)state;
    if (wb_comm_world(comm) != 2 && wb_comm_world(comm) != 3) {
        skip();
    }
    const tiny_run run = tiny_make(comm, "answers");
    wb_timetable time;
    wb_watchdog *watchdog;
    wb_timetable_start(&time);
    expect_ok(wb_watchdog_start(&watchdog, run.folder, 2.0, &time, comm));
    wb_timetable_enter(&time, WB_PHASE_ENCODE);
    for (int part = 0; part < 35 && wb_comm_rank(comm) > 0; part++) {
        (void)usleep(100000);
        wb_timetable_enter(&time, WB_PHASE_ENCODE);
    }
    expect_ok(wb_agree(comm, WB_OK));
    wb_watchdog_stop(watchdog);
}

/* 0.2 s are allowed: rank 0 works for 0.4 s and then waits for 0.6 s, less than ten times as long,
 * for others that are in one part all the while. */
static void who_waits_in_the_first_step_allows_what_it_took(void **state) {
    (void)state;
    if (wb_comm_world(comm) != 2 && wb_comm_world(comm) != 3) {
        skip();
    }
    const tiny_run run = tiny_make(comm, "allows");
    wb_timetable time;
    wb_watchdog *watchdog;
    wb_timetable_start(&time);
    expect_ok(wb_watchdog_start(&watchdog, run.folder, 0.2, &time, comm));
    wb_timetable_enter(&time, WB_PHASE_READ);
    (void)usleep(100000);
    wb_timetable_enter(&time, WB_PHASE_ENCODE);
    (void)usleep(wb_comm_rank(comm) > 0 ? 900000 : 300000);
    expect_ok(wb_agree(comm, WB_OK));
    wb_watchdog_stop(watchdog);
}

int main(int argc, char **argv) {
    expect_ok(wb_comm_create(&comm, &argc, &argv));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rank_without_a_fresh_note_does_not_answer),
        cmocka_unit_test(the_rank_that_began_fewest_calls_is_waited_for),
        cmocka_unit_test(a_rank_ahead_of_most_is_named_too),
        cmocka_unit_test(many_ranks_fit_into_the_sentence),
        cmocka_unit_test(long_phases_and_slow_steps_are_let_be),
        cmocka_unit_test(who_waits_in_an_evaluation_lets_the_others_go_on),
        cmocka_unit_test(who_waits_in_the_first_step_is_answered),
        cmocka_unit_test(who_waits_in_the_first_step_allows_what_it_took),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    wb_comm_destroy(comm);
    return failed;
}
