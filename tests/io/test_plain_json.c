/* Objects read without a tree: what is read, what is left to jansson, and that both read alike. */
#include "io_checks.h"
#include "plain_json.h"
#include "text_record.h"

#include "rng.h"

static bool reads(const char *text, size_t bytes) {
    wb_plain_object object;
    return wb_plain_read(&object, text, bytes);
}

/* A line that the plain reader takes is one that jansson takes, with the same id and text. */
static bool agrees(const char *line, size_t bytes) {
    wb_text plain = {0}, tree = {0};
    json_t *object = NULL;
    bool fits;
    assert_ok(wb_text_record_line(&plain, line, bytes, &fits));
    if (reads(line, bytes)) {
        assert_ok(wb_json_parse_line(&object, line, bytes, "line", 1));
    }
    if (fits) {
        assert_ok(wb_text_record(&tree, object, "line"));
        assert_string_equal(plain.id, tree.id);
        assert_int_equal(plain.bytes, tree.bytes);
        assert_memory_equal(plain.text, tree.text, tree.bytes + 1);
    }
    json_decref(object);
    wb_text_clear(&plain);
    wb_text_clear(&tree);
    return fits;
}

static const char *const plain_lines[] = {
    "{\"_id\": \"a\", \"title\": \"T\", \"text\": \"x\"}",
    "\t{ \"docid\" :7,\"text\":\"\" } \r",
    "{\"_id\":0,\"text\":\"x\",\"title\":null}",
    "{\"_id\":null,\"id\":\"b\",\"text\":null,\"query\":\"x\",\"title\":\"\"}",
    "{\"_id\":\"a\",\"text\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\u20AC\\ud83d\\uDE00\"}",
    "{\"_id\":\"\\u0061\",\"title\":\"\\u0022\",\"text\":\"a\\u005cb\\u000a\"}",
    "{\"_id\":\"\xC3\xA9\",\"text\":\"\xE8\xAF\xAD\xE8\xA8\x80 \xF0\x9F\x98\x80 "
    "\xEF\xBF\xBD\x7F\"}",
    "{\"_id\":\"a\",\"text\":\"x\",\"metadata\":{\"url\":\"\",\"n\":[1,-2,0.5,-0,1e-05,2.5E+199,"
    "0.00012345678901234567,3e-4000,[],{}],\"ok\":"
    "true,"
    "\"no\":false,\"none\":null}}",
    "{\"_id\":999999999999999999,\"text\":\"sixty-four bytes and more of a text that is plain, so "
    "that whole blocks pass by at once, and then one with a \\n in it, and a rest\",\"\":\"\"}",
    "{\"\\u005fid\":\"a\",\"t\\u0065xt\":\"x\",\"\\u0069\\u0064\":\"b\",\"\\u00e9\":1,\"e\":2}",
};

static const char *const left_lines[] = {
    "",
    "[]",
    "{",
    "{}x",
    "{\"_id\":\"a\",\"text\":\"x\"",
    "{\"_id\":\"a\",\"text\":\"x\",}",
    "{\"_id\":\"a\",\"text\":\"x\" \"query\":\"x\"}",
    "{\"_id\":\"a\",\"text\":\"x\"}{}",
    "{\"_id\":\"a\",\"text\":\"x\",\"text\":\"x\"}",
    "{\"_id\":\"a\",\"text\":\"x\",\"m\":{\"k\":1,\"k\":1}}",
    "{\"_id\":\"a\",\"text\":\"x\",\"\\u0061\":1,\"a\":1}",
    "{\"_id\":\"a\",\"text\":\"\\u0000\"}",
    "{\"_id\":\"a\",\"text\":\"\\ud800\"}",
    "{\"_id\":\"a\",\"text\":\"\\ud800\\u0041\"}",
    "{\"_id\":\"a\",\"text\":\"\\ud800\\ue000\"}",
    "{\"_id\":\"a\",\"text\":\"\\udc00\"}",
    "{\"_id\":\"a\",\"text\":\"\\u12g4\"}",
    "{\"_id\":\"a\",\"text\":\"\\x\"}",
    "{\"_id\":\"a\",\"text\":\"\t\"}",
    "{\"_id\":\"a\",\"text\":\"\xC0\x80\"}",
    "{\"_id\":\"a\",\"text\":\"\xED\xA0\x80\"}",
    "{\"_id\":\"a\",\"text\":\"\xF4\x90\x80\x80\"}",
    "{\"_id\":\"a\",\"text\":\"\xC3\"}",
    "{\"_id\":\"a\",\"text\":\"x\",\"n\":01}",
    "{\"_id\":\"a\",\"text\":\"x\",\"n\":1.}",
    "{\"_id\":\"a\",\"text\":\"x\",\"n\":.5}",
    "{\"_id\":\"a\",\"text\":\"x\",\"n\":+1}",
    "{\"_id\":\"a\",\"text\":\"x\",\"n\":-}",
    "{\"_id\":\"a\",\"text\":\"x\",\"n\":1e300}",
    "{\"_id\":\"a\",\"text\":\"x\",\"n\":1e0100}",
    "{\"_id\":\"a\",\"text\":\"x\",\"n\":1e}",
    "{\"_id\":\"a\",\"text\":\"x\",\"n\":1e+-5}",
    "{\"_id\":\"a\",\"text\":\"x\",\"n\":e5}",
    "{\"_id\":\"a\",\"text\":\"x\",\"n\":9999999999999999999}",
    "{\"_id\":\"a\",\"text\":\"x\",\"n\":truer}",
    "{\"_id\":\"a\",\"text\":\"x\",\"n\":[1,]}",
    "{\"_id\":-4,\"text\":\"x\"}",
    "{\"_id\":1.5,\"text\":\"x\"}",
    "{\"_id\":\"\",\"text\":\"x\"}",
    "{\"_id\":\"a\\tb\",\"text\":\"x\"}",
    "{\"_id\":\"a\",\"text\":5}",
    "{\"_id\":\"a\",\"text\":\"x\",\"title\":5}",
    "{\"_id\":\"a\"}",
    "{\"text\":\"x\"}",
};

enum {
    PLAIN = sizeof(plain_lines) / sizeof(plain_lines[0]),
    LEFT = sizeof(left_lines) / sizeof(left_lines[0])
};

static void plain_lines_are_read_as_jansson_reads_them(void **state) {
    (void)state;
    for (int i = 0; i < PLAIN; i++) {
        if (!agrees(plain_lines[i], strlen(plain_lines[i]))) {
            fail_msg("left to jansson: %s", plain_lines[i]);
        }
    }
}

static void other_lines_are_left_to_jansson(void **state) {
    (void)state;
    for (int i = 0; i < LEFT; i++) {
        if (agrees(left_lines[i], strlen(left_lines[i]))) {
            fail_msg("read: %s", left_lines[i]);
        }
    }
    assert_false(agrees("{\"_id\":\"a\",\"text\":\"a\0b\"}", 24));
    assert_false(agrees("{\"_id\":\"a\",\"text\":\"a\"}\0", 23));
}

/* Whatever the place of a quotation mark, a backslash or a wrong byte in a block of 64. */
static void every_place_in_a_block_is_looked_at(void **state) {
    (void)state;
    enum { MOST = 200 };
    static const struct {
        const char *bytes;
        bool fits;
    } parts[] = {{"\\\"", true}, {"\xC3\xA9", true}, {"\x1F", false}, {"\xFF", false}, {"", true}};
    for (size_t part = 0; part < sizeof(parts) / sizeof(parts[0]); part++) {
        for (int place = 0; place < MOST; place++) {
            char line[2 * MOST];
            const int bytes =
                snprintf(line, sizeof(line), "{\"_id\":\"a\",\"text\":\"%.*s%s%.*s\"}", place,
                         "                                                                        "
                         "                                                                        "
                         "                                                        ",
                         parts[part].bytes, (MOST - place) % 70,
                         "......................................................................");
            assert_int_equal(agrees(line, (size_t)bytes), parts[part].fits);
        }
    }
}

/* Bytes changed, dropped and doubled at random: what is still read is read alike. */
static void damaged_lines_are_read_alike_or_left(void **state) {
    (void)state;
    enum { ROUNDS = 40000 };
    static const char alphabet[] = "\"\\{}[]:,u0d8ce1.-\t \x80\xC3\xA9\xED\xFF";
    const wb_rng_key key = {.seed = 1};
    int64_t read = 0;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        char line[512];
        const char *from = plain_lines[wb_rng_below(PLAIN, key, 4 * round)];
        size_t bytes = strlen(from);
        memcpy(line, from, bytes);
        const size_t at = (size_t)wb_rng_below(bytes, key, 4 * round + 1);
        const uint64_t what = wb_rng_below(3, key, 4 * round + 2);
        if (what == 0) {
            line[at] = alphabet[wb_rng_below(sizeof(alphabet) - 1, key, 4 * round + 3)];
        } else if (what == 1) {
            memmove(line + at, line + at + 1, --bytes - at);
        } else {
            memmove(line + at + 1, line + at, bytes++ - at);
        }
        read += agrees(line, bytes) ? 1 : 0;
    }
    assert_true(read > ROUNDS / 10 && read < ROUNDS);
}

static void elements_come_off_an_array_in_order(void **state) {
    (void)state;
    static const char text[] = "{\"a\": [ \"x\\n\" , 7,[1,2] ,{\"b\":1}], \"e\": [ ]}";
    static const wb_plain_kind kinds[] = {WB_PLAIN_STRING, WB_PLAIN_INTEGER, WB_PLAIN_ARRAY,
                                          WB_PLAIN_OBJECT};
    static const char *const texts[] = {"x\\n", "7", "[1,2]", "{\"b\":1}"};
    wb_plain_object object;
    wb_plain_value element;
    wb_plain_value array, empty;
    assert_true(wb_plain_read(&object, text, strlen(text)));
    assert_true(wb_plain_member(&object, "a", &array) && wb_plain_member(&object, "e", &empty));
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        assert_true(wb_plain_element(&array, &element));
        assert_int_equal(element.kind, kinds[i]);
        assert_int_equal(element.bytes, strlen(texts[i]));
        assert_memory_equal(element.text, texts[i], element.bytes);
    }
    assert_false(wb_plain_element(&array, &element));
    assert_false(wb_plain_element(&array, &element));
    assert_false(wb_plain_element(&empty, &element));
    assert_false(wb_plain_member(&object, "b", &element));
}

/* A line with `members` others, each tenth with an escape in its key, of which the last is called
 * as number `twin`; at `place` among them stand an id and a text. */
static size_t line_of_members(char *line, int members, int twin, int place) {
    char *at = line;
    for (int i = 0; i < members; i++) {
        const int number = i == members - 1 ? twin : i;
        if (i == place) {
            at += sprintf(at, "%c\"_id\":\"a\",\"text\":\"x\"", i == 0 ? '{' : ',');
        }
        at += sprintf(at, i % 10 == 9 ? "%c \"\\u006b%d\" : {\"k0\": 1}" : "%c\"k%d\":1",
                      at == line ? '{' : ',', number);
    }
    return (size_t)(at + sprintf(at, "}") - line);
}

static void many_members_are_read_and_none_twice(void **state) {
    (void)state;
    static const int counts[] = {2,
                                 WB_PLAIN_MEMBERS - 2,
                                 WB_PLAIN_MEMBERS - 1,
                                 WB_PLAIN_MEMBERS,
                                 WB_PLAIN_MEMBERS + 1,
                                 400,
                                 20000};
    char *line = malloc((size_t)20010 * 40);
    assert_non_null(line);
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        const int members = counts[i], last = members - 1;
        const int places[] = {0, members / 2, last};
        for (int place = 0; place < 3; place++) {
            const int at = places[place];
            assert_true(agrees(line, line_of_members(line, members, last, at)));
            assert_false(reads(line, line_of_members(line, members, 0, at)));
            assert_false(reads(line, line_of_members(line, members, members / 2 - 1, at)));
            assert_false(reads(line, line_of_members(line, members, last - 1, at)));
        }
    }
    free(line);
}

/* As many values as a line may have, and one more: plainly and as a tree alike. */
static void values_are_counted_as_for_a_tree(void **state) {
    (void)state;
    const size_t bytes = 2 * (size_t)WB_JSON_LINE_VALUES + 64;
    char *text = malloc(bytes);
    assert_non_null(text);
    for (int values = WB_JSON_LINE_VALUES - 1; values <= WB_JSON_LINE_VALUES; values++) {
        char *at = text + sprintf(text, "{\"k\":[1");
        for (int i = 1; i < values; i++) {
            at += sprintf(at, ",1");
        }
        at += sprintf(at, "]}");
        json_t *tree = NULL;
        const bool is_allowed = values < WB_JSON_LINE_VALUES;
        const wb_status read = wb_json_parse_line(&tree, text, (size_t)(at - text), "line", 1);
        assert_int_equal(read, is_allowed ? WB_OK : WB_ERR_INPUT);
        assert_int_equal(reads(text, (size_t)(at - text)), is_allowed);
        json_decref(tree);
    }
    wb_error_clear();
    free(text);
}

static void depth_is_bounded_as_for_a_tree(void **state) {
    (void)state;
    char text[4 * WB_JSON_DEPTH];
    for (int depth = WB_JSON_DEPTH - 1; depth <= WB_JSON_DEPTH; depth++) {
        json_t *tree = NULL;
        const size_t arrays = (size_t)depth, bytes = 5 + 2 * arrays + 1;
        memcpy(text, "{\"k\":", 5);
        memset(text + 5, '[', arrays);
        memset(text + 5 + arrays, ']', arrays);
        text[bytes - 1] = '}';
        const bool is_allowed = depth < WB_JSON_DEPTH; /* the object is one of them */
        assert_int_equal(wb_json_parse_line(&tree, text, bytes, "line", 1),
                         is_allowed ? WB_OK : WB_ERR_INPUT);
        assert_int_equal(reads(text, bytes), is_allowed);
        json_decref(tree);
    }
    wb_error_clear();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_lines_are_read_as_jansson_reads_them),
        cmocka_unit_test(other_lines_are_left_to_jansson),
        cmocka_unit_test(every_place_in_a_block_is_looked_at),
        cmocka_unit_test(damaged_lines_are_read_alike_or_left),
        cmocka_unit_test(elements_come_off_an_array_in_order),
        cmocka_unit_test(many_members_are_read_and_none_twice),
        cmocka_unit_test(values_are_counted_as_for_a_tree),
        cmocka_unit_test(depth_is_bounded_as_for_a_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
