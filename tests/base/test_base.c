/* Status, arenas, units and the tensor table. */
#include "arena.h"
#include "hash.h"
#include "log.h"
#include "packed.h"
#include "tensor.h"
#include "testing.h"
#include "units.h"

static wb_status find_fault(int level) {
    wb_status status = WB_OK;
    WB_CHECK(level > 0, WB_ERR_INPUT, "file %s: level %d", "x", level);
    WB_TRY(find_fault(level - 1));
done:
    return status;
}

static void the_first_error_is_kept_with_its_path(void **state) {
    (void)state;
    wb_error_clear();
    assert_int_equal(find_fault(2), WB_ERR_INPUT);
    assert_string_equal(wb_error_message(), "file x: level 0");
    (void)WB_ERROR(WB_ERR_DISK, "a consequence");
    assert_string_equal(wb_error_message(), "file x: level 0");
    assert_non_null(strstr(wb_error_backtrace(), "find_fault(level - 1) (test_base.c:"));
    wb_error_replace("another rank's");
    assert_string_equal(wb_error_message(), "another rank's");
    wb_error_clear();
    assert_string_equal(wb_error_message(), "");
}

static void exit_codes_are_the_documented_ones(void **state) {
    (void)state;
    static const struct {
        wb_status status;
        int code;
    } wanted[] = {{WB_OK, 0},           {WB_ERR_USAGE, 2},      {WB_ERR_CONFIG, 2},
                  {WB_ERR_INPUT, 3},    {WB_ERR_CHECKPOINT, 4}, {WB_ERR_NUMERIC, 5},
                  {WB_ERR_DIVERGED, 6}, {WB_ERR_DISK, 7},       {WB_ERR_MEMORY, 8},
                  {WB_ERR_IN_USE, 9},   {WB_ERR_STUCK, 10},     {WB_STOPPED, 75}};
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        assert_int_equal(wb_status_exit_code(wanted[i].status), wanted[i].code);
        assert_true(strlen(wb_status_meaning(wanted[i].status)) > 3);
    }
    assert_int_equal(wb_status_exit_code(WB_STATUS_COUNT), 1);
}

static void arenas_hand_out_aligned_blocks_and_take_them_back(void **state) {
    (void)state;
    wb_arena *arena;
    float *a, *b;
    int64_t *c;
    int32_t *d;
    expect_ok(wb_arena_create(&arena, "test", 4096));
    expect_ok(wb_arena_floats(arena, 3, &a));
    const size_t mark = wb_arena_mark(arena);
    expect_ok(wb_arena_floats(arena, 100, &b));
    expect_ok(wb_arena_int64s(arena, 0, &c));
    expect_ok(wb_arena_int32s(arena, 1, &d));
    assert_int_equal((uintptr_t)a % 64, 0);
    assert_int_equal((uintptr_t)b % 64, 0);
    assert_int_equal(wb_arena_left(arena), 4096 - 64 - 448 - 64);
    b[99] = 1.0f;
    wb_arena_release(arena, mark);
    assert_int_equal(wb_arena_left(arena), 4096 - 64);
    assert_int_equal(wb_arena_peak(arena), 64 + 448 + 64);
    wb_arena_destroy(arena);
    wb_arena_destroy(NULL);
}

static void an_arena_says_what_did_not_fit(void **state) {
    (void)state;
    wb_arena *arena;
    float *block;
    void *bytes;
    expect_ok(wb_arena_create(&arena, "chunk", 4096));
    expect_error(wb_arena_floats(arena, 2000, &block), WB_ERR_MEMORY, "chunk arena holds 4.0 KiB");
    expect_error(wb_arena_floats(arena, INT64_MAX / 2, &block), WB_ERR_MEMORY, "chunk");
    expect_error(wb_arena_floats(arena, -1, &block), WB_ERR_MEMORY, "chunk");
    expect_error(wb_arena_take(arena, SIZE_MAX, &bytes), WB_ERR_MEMORY, "chunk");
    wb_arena_destroy(arena);
    expect_error(wb_arena_create(&arena, "huge", SIZE_MAX / 2), WB_ERR_MEMORY, "cannot reserve");
}

static void sizes_and_times_read_as_people_write_them(void **state) {
    (void)state;
    assert_string_equal(wb_bytes_text(999).text, "999 B");
    assert_string_equal(wb_bytes_text(1536).text, "1.5 KiB");
    assert_string_equal(wb_bytes_text((size_t)3 << 40).text, "3.0 TiB");
    assert_string_equal(wb_count_text(0).text, "0");
    assert_string_equal(wb_count_text(1234567).text, "1,234,567");
    assert_string_equal(wb_count_text(-123).text, "-123");
    assert_string_equal(wb_seconds_text(0.25).text, "250 ms");
    assert_string_equal(wb_seconds_text(12.34).text, "12.3 s");
    assert_string_equal(wb_seconds_text(125).text, "2 min 05 s");
    assert_string_equal(wb_seconds_text(3720).text, "1 h 02 min");
    size_t bytes = 7;
    assert_true(wb_parse_bytes("512M", &bytes) && bytes == (size_t)512 << 20);
    assert_true(wb_parse_bytes("1.5 GiB", &bytes) && bytes == (size_t)3 << 29);
    assert_true(wb_parse_bytes("2kb", &bytes) && bytes == 2048);
    assert_true(wb_parse_bytes("4096", &bytes) && bytes == 4096);
    static const char *const bad[] = {"", "M", "-1", "1X", "1 MM", "nan", "1iB", "1e30T"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        bytes = 7;
        assert_false(wb_parse_bytes(bad[i], &bytes));
        assert_int_equal(bytes, 7);
    }
    static const struct {
        const char *text;
        double seconds;
    } times[] = {{"90", 90},           {"0", 0},
                 {"45m", 2700},        {"1h30m", 5400},
                 {"1.5h", 5400},       {"2d", 172800},
                 {"1d2h3m4s", 93784},  {"0.5s", 0.5},
                 {"12:00:00", 43200},  {"100:00:01", 360001},
                 {"1-02:03:04", 93784}};
    double seconds = 7.0;
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        assert_true(wb_parse_seconds(times[i].text, &seconds) && seconds == times[i].seconds);
    }
    static const char *const no_times[] = {
        "",         "h",       "-1",       "1m1h",       "1h1h",   "1h30",     "1 h",
        "1hm",      "nan",     "1e30",     "0x1p99s",    "1s2",    "1:30",     "1:60:00",
        "1:00:60",  "1:-1:00", "-1:00:00", "1--1:00:00", "1-1:00", "1:00:00x", "1:00:00:00",
        " 1:00:00", "1: 0:00", ":00:00",   "1-"};
    for (size_t i = 0; i < sizeof(no_times) / sizeof(no_times[0]); i++) {
        seconds = 7.0;
        if (wb_parse_seconds(no_times[i], &seconds) || seconds != 7.0) {
            fail_msg("\"%s\" is taken for a time", no_times[i]);
        }
    }
    int64_t product = 0;
    assert_true(wb_multiply(1 << 20, 1 << 20, &product) && product == (int64_t)1 << 40);
    assert_false(wb_multiply(INT64_MAX, 2, &product));
    assert_false(wb_multiply(-1, 2, &product));
    const double now = wb_now();
    assert_true(wb_now() >= now);
}

static void tensors_stand_in_one_flat_array_without_gaps(void **state) {
    (void)state;
    wb_tensor_table table = {0};
    for (int i = 0; i < 100; i++) {
        expect_ok(wb_tensor_add(&table, i % 2 == 0, 3, i % 3, "layer.%d", i));
    }
    int64_t offset = 0;
    for (int64_t i = 0; i < table.length; i++) {
        assert_int_equal(table.tensors[i].offset, offset);
        assert_int_equal(table.tensors[i].rank, i % 3 == 0 ? 1 : 2);
        offset += table.tensors[i].count;
    }
    assert_int_equal(table.total, offset);
    assert_ptr_equal(wb_tensor_find(&table, "layer.42"), &table.tensors[42]);
    assert_null(wb_tensor_find(&table, "layer.100"));
    expect_error(wb_tensor_add(&table, true, INT64_MAX / 2, 16, "huge"), WB_ERR_INPUT, "too large");
    char name[200];
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    expect_error(wb_tensor_add(&table, true, 1, 1, "%s", name), WB_ERR_INPUT, "characters");
    assert_int_equal(table.length, 100);
    wb_tensor_table_clear(&table);
}

static void a_slice_of_packed_sequences_counts_its_own_tokens(void **state) {
    (void)state;
    const int64_t offsets[] = {0, 3, 3, 10};
    const wb_packed packed = {.offsets = offsets, .n = 3};
    const wb_packed slice = wb_packed_slice(&packed, 1, 2), none = wb_packed_slice(&packed, 3, 0);
    assert_int_equal(wb_packed_tokens(&packed), 10);
    assert_int_equal(wb_packed_tokens(&slice), 7);
    assert_int_equal(wb_packed_tokens(&none), 0);
}

static void the_log_reaches_its_file_from_rank_0_alone(void **state) {
    (void)state;
    char text[256];
    const char *const path = WB_TEST_SCRATCH "/log.txt";
    (void)remove(path);
    wb_log_init(0, WB_LOG_RUN);
    expect_ok(wb_log_open(path));
    wb_log(WB_LOG_RUN, "said %d", 1);
    wb_log(WB_LOG_CHUNK, "too fine");
    wb_log_init(1, WB_LOG_RUN);
    wb_log(WB_LOG_RUN, "not rank 0");
    wb_log_init(0, WB_LOG_RUN);
    expect_ok(wb_log_open(NULL));
    FILE *in = fopen(path, "r");
    assert_non_null(in);
    assert_non_null(fgets(text, sizeof(text), in));
    assert_string_equal(text, "said 1\n");
    assert_null(fgets(text, sizeof(text), in));
    (void)fclose(in);
    expect_error(wb_log_open("/no/such/folder/log.txt"), WB_ERR_DISK, "/no/such/folder");
    wb_log_bar("a bar is drawn on a terminal only");
    assert_true(wb_hash("abc", 3) != wb_hash("abd", 3));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_error_is_kept_with_its_path),
        cmocka_unit_test(exit_codes_are_the_documented_ones),
        cmocka_unit_test(arenas_hand_out_aligned_blocks_and_take_them_back),
        cmocka_unit_test(an_arena_says_what_did_not_fit),
        cmocka_unit_test(sizes_and_times_read_as_people_write_them),
        cmocka_unit_test(tensors_stand_in_one_flat_array_without_gaps),
        cmocka_unit_test(a_slice_of_packed_sequences_counts_its_own_tokens),
        cmocka_unit_test(the_log_reaches_its_file_from_rank_0_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
