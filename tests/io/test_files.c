/* Drafts: what was appended is what stands there, however long and in whatever pieces, and most of
 * a long one is on disk before its end. */
#include "files.h"
#include "hash.h"
#include "lying_disk.h"
#include "testing.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <unistd.h>

#define PATH WB_TEST_SCRATCH "/draft"

enum {
    PART = 1 << 20, /* of files.c */
    ON_THE_WAY = 4, /* likewise, parts */
    PAGE = 4096,
    TMPFS = 0x01021994, /* its pages are the file */
};

/* No two parts alike, nor any two pages of one. */
static unsigned char *pattern(size_t bytes) {
    uint32_t *words = malloc(bytes + sizeof(uint32_t));
    assert_non_null(words);
    for (size_t i = 0; i <= bytes / sizeof(uint32_t); i++) {
        words[i] = (uint32_t)i * 2654435761u;
    }
    return (unsigned char *)words;
}

static void append_in_pieces(wb_draft *draft, const unsigned char *data, size_t bytes,
                             size_t piece) {
    for (size_t at = 0; at < bytes; at += piece) {
        expect_ok(wb_draft_append(draft, data + at, bytes - at < piece ? bytes - at : piece));
    }
}

static void holds(const unsigned char *data, size_t bytes) {
    char *found = NULL;
    size_t size = 0;
    expect_ok(wb_file_read(PATH, SIZE_MAX / 2, &found, &size));
    assert_int_equal(size, bytes);
    assert_true(memcmp(found, data, bytes) == 0);
    free(found);
}

static void a_draft_is_what_was_appended(void **state) {
    (void)state;
    const size_t sizes[] = {0,        1,        PART - 1,     PART,
                            PART + 1, 2 * PART, 3 * PART - 1, 3 * PART + 12345};
    const size_t pieces[] = {SIZE_MAX / 2, PART, PART - 1, PART / 2 + 7, 2 * PART + 1};
    unsigned char *data = pattern(4 * PART);
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        for (size_t p = 0; p < sizeof(pieces) / sizeof(pieces[0]); p++) {
            wb_draft draft = WB_DRAFT_NONE;
            expect_ok(wb_draft_begin(&draft, PATH));
            append_in_pieces(&draft, data, sizes[s], pieces[p]);
            expect_ok(wb_draft_commit(&draft));
            wb_draft_discard(&draft);
            holds(data, sizes[s]);
        }
    }
    free(data);
}

static void a_long_draft_that_is_discarded_leaves_what_was_there(void **state) {
    (void)state;
    unsigned char *data = pattern(3 * PART);
    wb_draft draft = WB_DRAFT_NONE;
    expect_ok(wb_file_write(PATH, "old", 3));
    expect_ok(wb_draft_begin(&draft, PATH));
    append_in_pieces(&draft, data, 3 * PART, 1000 * 1000);
    wb_draft_discard(&draft);
    holds((const unsigned char *)"old", 3);
    assert_false(wb_path_is_file(PATH ".tmp"));
    free(data);
}

/* Pages of an open file that the system holds in memory. */
static int64_t pages_held(int file, size_t bytes) {
    int64_t held = 0;
    unsigned char *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, file, 0);
    unsigned char *there = calloc(bytes / PAGE + 1, 1);
    assert_true(map != MAP_FAILED && there);
    assert_int_equal(mincore(map, bytes, there), 0);
    for (size_t i = 0; i < (bytes + PAGE - 1) / PAGE; i++) {
        held += there[i] & 1;
    }
    (void)munmap(map, bytes);
    free(there);
    return held;
}

static bool file_system_forgets(int file) {
    struct statfs info;
    assert_int_equal(fstatfs(file, &info), 0);
    return info.f_type != TMPFS && sysconf(_SC_PAGESIZE) == PAGE;
}

/* The system forgets only what is on disk: what then is left was being written or on its way, and
 * stands in pages that it holds in larger blocks. */
static void a_long_draft_is_on_disk_before_its_end(void **state) {
    (void)state;
    const size_t bytes = 48 * PART + 12345;
    unsigned char *data = pattern(bytes);
    wb_draft draft = WB_DRAFT_NONE;
    expect_ok(wb_draft_begin(&draft, PATH));
    append_in_pieces(&draft, data, bytes, 1000 * 1000);
    const int file = open(PATH ".tmp", O_RDONLY | O_CLOEXEC);
    assert_true(file >= 0);
    wb_file_forget(file, 0, 0);
    const int64_t during = pages_held(file, bytes);
    expect_ok(wb_draft_commit(&draft));
    if (file_system_forgets(file)) {
        print_message("# of %zu pages %lld are not on disk\n", bytes / PAGE, (long long)during);
        assert_true(during <= (ON_THE_WAY + 3) * PART / PAGE);
    }
    (void)close(file);
    holds(data, bytes);
    free(data);
}

/* What the sum must be of: the bytes on disk, not those in memory. */
static uint64_t sum_on_disk(void) {
    char *found = NULL;
    size_t size = 0;
    expect_ok(wb_file_read(PATH, SIZE_MAX / 2, &found, &size));
    const uint64_t sum = wb_hash(found, size);
    free(found);
    return sum;
}

static void what_is_read_back_is_what_stands_there(void **state) {
    (void)state;
    const size_t sizes[] = {0,        1,        PART - 1,     PART,
                            PART + 1, 2 * PART, 3 * PART - 1, 7 * PART + 12345};
    unsigned char *data = pattern(8 * PART);
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        uint64_t sum = 0;
        expect_ok(wb_file_write_and_read(PATH, data, sizes[s], &sum));
        assert_true(sum == wb_hash(data, sizes[s]));
        holds(data, sizes[s]);
    }
    free(data);
}

static long wrong_write;

static bool flips_a_bit(long n, int file, unsigned char *data, size_t bytes) {
    (void)file;
    data[bytes / 3] = (unsigned char)(data[bytes / 3] ^ (n == wrong_write ? 4 : 0));
    return true;
}

static bool loses_a_write(long n, int file, unsigned char *data, size_t bytes) {
    (void)file;
    (void)data;
    (void)bytes;
    return n != wrong_write;
}

/* Whichever of its parts it is. */
static void a_part_that_is_wrong_on_disk_is_seen(void **state) {
    (void)state;
    enum { PARTS = 7 };
    const size_t bytes = (PARTS - 1) * PART + 12345;
    unsigned char *data = pattern(bytes);
    for (wrong_write = 1; wrong_write <= PARTS; wrong_write++) {
        uint64_t sum = 0;
        wb_disk_set(flips_a_bit);
        expect_ok(wb_file_write_and_read(PATH, data, bytes, &sum));
        assert_true(sum != wb_hash(data, bytes));
        assert_true(sum == sum_on_disk());
        wb_disk_set(loses_a_write);
        expect_error(wb_file_write_and_read(PATH, data, bytes, &sum), WB_ERR_DISK,
                     "the file ends before");
        assert_false(wb_path_is_file(PATH ".tmp"));
    }
    wb_disk_set(NULL);
    free(data);
}

static int64_t most_held;

static bool counts_pages(long n, int file, unsigned char *data, size_t bytes) {
    (void)data;
    const int reading = open(PATH ".tmp", O_RDONLY | O_CLOEXEC);
    assert_true(reading >= 0);
    if (n > 1 && file_system_forgets(file)) {
        const int64_t held = pages_held(reading, (size_t)n * bytes);
        most_held = held > most_held ? held : most_held;
    }
    (void)close(reading);
    return true;
}

/* At most what is being written, what is on its way, and what the system holds in larger blocks. */
static void what_was_read_back_is_forgotten(void **state) {
    (void)state;
    const size_t bytes = 48 * PART;
    unsigned char *data = pattern(bytes);
    uint64_t sum = 0;
    most_held = 0;
    wb_disk_set(counts_pages);
    expect_ok(wb_file_write_and_read(PATH, data, bytes, &sum));
    wb_disk_set(NULL);
    print_message("# of %zu pages at most %lld were held\n", bytes / PAGE, (long long)most_held);
    assert_true(most_held <= (ON_THE_WAY + 3) * PART / PAGE);
    holds(data, bytes);
    free(data);
}

/* A stream that is full, as one in memory is where there is none. */
static void a_stream_that_did_not_hold_all_is_told(void **state) {
    (void)state;
    char *text = NULL;
    size_t bytes = 0;
    FILE *stream = fopen("/dev/full", "w");
    assert_non_null(stream);
    assert_true(fputs("text", stream) >= 0);
    expect_error(wb_memstream_close(stream, WB_OK, "a card"), WB_ERR_MEMORY,
                 "no memory for a card");
    stream = open_memstream(&text, &bytes);
    assert_non_null(stream);
    assert_int_equal(wb_memstream_close(stream, WB_ERR_INPUT, "a card"), WB_ERR_INPUT);
    free(text);
    stream = open_memstream(&text, &bytes);
    assert_non_null(stream);
    assert_true(fputs("text", stream) >= 0);
    expect_ok(wb_memstream_close(stream, WB_OK, "a card"));
    assert_string_equal(text, "text");
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_draft_is_what_was_appended),
        cmocka_unit_test(a_long_draft_that_is_discarded_leaves_what_was_there),
        cmocka_unit_test(a_long_draft_is_on_disk_before_its_end),
        cmocka_unit_test(what_is_read_back_is_what_stands_there),
        cmocka_unit_test(a_part_that_is_wrong_on_disk_is_seen),
        cmocka_unit_test(what_was_read_back_is_forgotten),
        cmocka_unit_test(a_stream_that_did_not_hold_all_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
