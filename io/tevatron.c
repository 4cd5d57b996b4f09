/* Lines are checked once and parsed again whenever they are read: where passages stand in the line
 * itself, without a tree if it is plain (plain_json.h). */
#include "tevatron.h"

#include "hash.h"
#include "lines.h"
#include "rng.h"
#include "text_record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef enum side { POSITIVES, NEGATIVES } side;

/* Members of a line that hold its passages, by side: with their texts, or as ids of the corpus. */
static const char *const text_keys[] = {"positive_passages", "negative_passages"};
static const char *const id_keys[] = {"positive_document_ids", "negative_document_ids"};

/* A line's passages: objects with their texts, or ids of the corpus. */
typedef struct passages {
    const json_t *arrays[2]; /* by side; NULL where there are none */
    bool are_ids;
} passages;

/* ---- What a line says ---- */

static wb_status find_passages(const json_t *line, const char *where, passages *found) {
    found->are_ids = !json_object_get(line, text_keys[POSITIVES]);
    for (int i = 0; i < 2; i++) {
        const char *key = (found->are_ids ? id_keys : text_keys)[i];
        found->arrays[i] = json_object_get(line, key);
        if (json_is_null(found->arrays[i])) {
            found->arrays[i] = NULL;
        }
        if (found->arrays[i] && !json_is_array(found->arrays[i])) {
            return WB_ERROR(WB_ERR_INPUT, "%s: \"%s\" must be an array", where, key);
        }
    }
    if (!found->arrays[POSITIVES]) {
        return WB_ERROR(WB_ERR_INPUT,
                        "%s: neither \"positive_passages\" nor \"positive_document_ids\" is there; "
                        "a training line holds \"query_id\", \"query\" and these (Tevatron's form)",
                        where);
    }
    return WB_OK;
}

static wb_status read_passage(const wb_tevatron *set, const passages *from, side which,
                              size_t index, const char *where, wb_text *text) {
    wb_status status = WB_OK;
    const json_t *passage = json_array_get(from->arrays[which], index);
    const char *id;
    char number[24];
    int64_t row;
    if (!from->are_ids) {
        char place[WB_WHERE + 64];
        (void)snprintf(place, sizeof(place), "%s: %s[%zu]", where, text_keys[which], index);
        return wb_text_record(text, passage, place);
    }
    WB_TRY(wb_text_record_id(passage, id_keys[which], where, number, &id));
    WB_TRY(wb_text_file_fetch(set->corpus, id, &row, text));
    WB_CHECK(row >= 0, WB_ERR_INPUT, "%s: the document \"%.100s\" is not in %s", where, id,
             wb_text_file_path(set->corpus));
done:
    return status;
}

/* ---- What a plain line says. `fits` is false where that is left to the tree. ---- */

typedef struct plain_line {
    wb_plain_object object;
    wb_plain_value arrays[2]; /* by side */
} plain_line;

static bool open_plain(plain_line *line, const char *text, size_t bytes) {
    if (!wb_plain_read(&line->object, text, bytes)) {
        return false;
    }
    for (int i = 0; i < 2; i++) {
        wb_plain_value array;
        const bool is_there = wb_plain_member(&line->object, text_keys[i], &array);
        const bool is_left_out = i == NEGATIVES && (!is_there || array.kind == WB_PLAIN_NULL);
        if (!is_left_out && (!is_there || array.kind != WB_PLAIN_ARRAY)) {
            return false;
        }
        line->arrays[i] = is_left_out ? (wb_plain_value){.text = "[]", .bytes = 2} : array;
    }
    return true;
}

static int64_t count_plain(wb_plain_value array) {
    wb_plain_value element;
    int64_t count = 0;
    while (wb_plain_element(&array, &element)) {
        count++;
    }
    return count;
}

static wb_status read_element(const wb_plain_value *element, wb_text *text, bool *fits) {
    wb_plain_object object;
    *fits =
        element->kind == WB_PLAIN_OBJECT && wb_plain_read(&object, element->text, element->bytes);
    return *fits ? wb_text_record_plain(text, &object, fits) : WB_OK;
}

/* texts[i] becomes element wanted[i] of the array. */
static wb_status read_elements(wb_plain_value array, const int64_t *wanted, int64_t count,
                               wb_text *texts, bool *fits) {
    wb_status status = WB_OK;
    wb_plain_value element;
    for (int64_t at = 0; *fits && wb_plain_element(&array, &element); at++) {
        for (int64_t i = 0; *fits && i < count; i++) {
            if (wanted[i] == at) {
                WB_TRY(read_element(&element, &texts[i], fits));
            }
        }
    }
done:
    return status;
}

/* ---- Opening ---- */

static wb_status open_corpus(wb_tevatron *set, const char *where) {
    wb_status status = WB_OK;
    char path[WB_PATH];
    const char *slash = strrchr(set->path, '/');
    char folder[WB_PATH] = ".";
    if (slash) {
        (void)snprintf(folder, sizeof(folder), "%.*s", (int)(slash - set->path), set->path);
    }
    WB_TRY(wb_path_join(path, folder, "corpus.jsonl"));
    WB_CHECK(wb_path_is_file(path), WB_ERR_INPUT,
             "%s: documents are named by id, but their texts are missing: no %s", where, path);
    WB_TRY(wb_text_file_open(&set->corpus, path));
done:
    return status;
}

static wb_status grow(wb_tevatron *set) {
    const int64_t capacity = set->capacity > 0 ? 2 * set->capacity : 1024;
    int64_t *begins = realloc(set->begins, (size_t)capacity * sizeof(*begins));
    set->begins = begins ? begins : set->begins;
    int64_t *ends = realloc(set->ends, (size_t)capacity * sizeof(*ends));
    set->ends = ends ? ends : set->ends;
    int64_t *counts = realloc(set->counts, 2 * (size_t)capacity * sizeof(*counts));
    set->counts = counts ? counts : set->counts;
    if (!begins || !ends || !counts) {
        return WB_ERROR(WB_ERR_MEMORY, "%s: no memory for the offsets of %lld rows", set->path,
                        (long long)capacity);
    }
    set->capacity = capacity;
    return WB_OK;
}

static wb_status check_passages(wb_tevatron *set, const passages *from, const char *where,
                                wb_text *scratch) {
    wb_status status = WB_OK;
    if (from->are_ids && !set->corpus) {
        WB_TRY(open_corpus(set, where));
    }
    for (int which = POSITIVES; which <= NEGATIVES; which++) {
        for (size_t i = 0; i < json_array_size(from->arrays[which]); i++) {
            WB_TRY(read_passage(set, from, (side)which, i, where, scratch));
        }
    }
done:
    return status;
}

/* Counts passages, by side, and reads each. */
static wb_status check_plain(const wb_lines *lines, wb_text *scratch, int64_t counts[2],
                             bool *fits) {
    wb_status status = WB_OK;
    plain_line line;
    wb_plain_value element;
    *fits = open_plain(&line, lines->text, lines->bytes);
    if (*fits) {
        WB_TRY(wb_text_record_plain(scratch, &line.object, fits));
    }
    for (int which = POSITIVES; *fits && which <= NEGATIVES; which++) {
        counts[which] = 0;
        while (*fits && wb_plain_element(&line.arrays[which], &element)) {
            WB_TRY(read_element(&element, scratch, fits));
            counts[which]++;
        }
    }
done:
    return status;
}

static wb_status check_tree(wb_tevatron *set, const wb_lines *lines, wb_text *scratch,
                            int64_t counts[2]) {
    wb_status status = WB_OK;
    json_t *line = NULL;
    passages from;
    char where[WB_WHERE];
    (void)snprintf(where, sizeof(where), "%s:%lld", set->path, (long long)lines->number);
    WB_TRY(wb_json_parse_line(&line, lines->text, lines->bytes, set->path, lines->number));
    WB_CHECK(json_is_object(line), WB_ERR_INPUT, "%s: is no JSON object", where);
    WB_TRY(find_passages(line, where, &from));
    WB_TRY(wb_text_record(scratch, line, where));
    WB_TRY(check_passages(set, &from, where, scratch));
    counts[POSITIVES] = (int64_t)json_array_size(from.arrays[POSITIVES]);
    counts[NEGATIVES] = (int64_t)json_array_size(from.arrays[NEGATIVES]);
done:
    json_decref(line);
    return status;
}

static wb_status add_line(wb_tevatron *set, const wb_lines *lines, wb_text *scratch) {
    wb_status status = WB_OK;
    int64_t counts[2];
    bool is_plain;
    WB_TRY(check_plain(lines, scratch, counts, &is_plain));
    if (!is_plain) {
        WB_TRY(check_tree(set, lines, scratch, counts));
    }
    const int64_t positives = counts[POSITIVES], negatives = counts[NEGATIVES];
    if (positives == 0) {
        set->dropped++;
        goto done;
    }
    if (set->rows == set->capacity) {
        WB_TRY(grow(set));
    }
    set->negatives = set->rows == 0 || negatives < set->negatives ? negatives : set->negatives;
    set->positives = positives > set->positives ? positives : set->positives;
    set->most_negatives = negatives > set->most_negatives ? negatives : set->most_negatives;
    set->counts[2 * set->rows + POSITIVES] = positives;
    set->counts[2 * set->rows + NEGATIVES] = negatives;
    set->begins[set->rows] = lines->offset;
    set->ends[set->rows++] = lines->position;
done:
    return status;
}

int64_t wb_tevatron_rows_below(const wb_tevatron *set, int64_t negatives) {
    int64_t rows = 0;
    for (int64_t i = 0; i < set->rows; i++) {
        rows += set->counts[2 * i + NEGATIVES] < negatives ? 1 : 0;
    }
    return rows;
}

static wb_status scan(wb_tevatron *set) {
    wb_status status = WB_OK;
    wb_text scratch = {0};
    wb_lines lines;
    bool more = true;
    WB_TRY(wb_lines_open(&lines, set->path));
    WB_TRY(wb_lines_next(&lines, &more));
    while (more) {
        if (!wb_lines_is_empty(&lines)) {
            WB_TRY(add_line(set, &lines, &scratch));
        }
        WB_TRY(wb_lines_next(&lines, &more));
    }
done:
    wb_lines_close(&lines);
    wb_text_clear(&scratch);
    return status;
}

wb_status wb_tevatron_open(wb_tevatron *set, const char *path) {
    wb_status status = WB_OK;
    *set = (wb_tevatron){.file = -1};
    WB_CHECK(strlen(path) < sizeof(set->path), WB_ERR_USAGE, "path too long: %.200s…", path);
    (void)strcpy(set->path, path);
    set->file = open(path, O_RDONLY | O_CLOEXEC);
    WB_CHECK(set->file >= 0, WB_ERR_INPUT, "%s: cannot open: %s", path, strerror(errno));
    WB_TRY(scan(set));
done:
    if (status != WB_OK) {
        wb_tevatron_close(set);
    }
    return status;
}

void wb_tevatron_close(wb_tevatron *set) {
    if (set->file >= 0) {
        (void)close(set->file);
    }
    wb_text_file_close(set->corpus);
    free(set->begins);
    free(set->ends);
    free(set->counts);
    *set = (wb_tevatron){.file = -1};
}

/* ---- Reading ---- */

/* The positive that a draw chooses. */
static int64_t choose_positive(const wb_tevatron *set, int64_t row, int64_t draw) {
    const int64_t count = set->counts[2 * row + POSITIVES];
    return (row % count + draw % count) % count;
}

/* The order of a row's negatives: a random one that depends on the row only. */
static void shuffle(int64_t *order, int64_t count, int64_t row) {
    enum { PLACE_OF_NEGATIVES = 1 };
    const wb_rng_key key = {.seed = (uint64_t)row,
                            .site = wb_rng_site(WB_RNG_SHUFFLE, PLACE_OF_NEGATIVES)};
    for (int64_t i = 0; i < count; i++) {
        const int64_t other = (int64_t)wb_rng_below((uint64_t)i + 1, key, (uint32_t)i);
        order[i] = order[other];
        order[other] = i;
    }
}

/* The negatives that a draw chooses: chosen [negatives] filled. Errors: WB_ERR_CONFIG where there
 * are fewer, WB_ERR_MEMORY. */
static wb_status choose_negatives(const wb_tevatron *set, int64_t row, int64_t draw,
                                  int64_t negatives, int64_t *chosen) {
    wb_status status = WB_OK;
    const int64_t count = set->counts[2 * row + NEGATIVES];
    int64_t *order = NULL;
    WB_CHECK(negatives <= count, WB_ERR_CONFIG,
             "%s, line at byte %lld: %lld negatives wanted, %lld are there; ask for fewer",
             set->path, (long long)set->begins[row], (long long)negatives, (long long)count);
    if (negatives == 0) {
        goto done;
    }
    order = malloc((size_t)count * sizeof(*order));
    WB_CHECK(order, WB_ERR_MEMORY, "%s: no memory for %lld negatives", set->path, (long long)count);
    shuffle(order, count, row);
    const int64_t first = draw % count * (negatives % count) % count;
    for (int64_t i = 0; i < negatives; i++) {
        chosen[i] = order[(first + i) % count];
    }
done:
    free(order);
    return status;
}

/* texts[i] becomes negative chosen[i]. */
static wb_status read_negatives(const wb_tevatron *set, const passages *from, const int64_t *chosen,
                                int64_t negatives, const char *where, wb_text *texts) {
    wb_status status = WB_OK;
    for (int64_t i = 0; i < negatives; i++) {
        WB_TRY(read_passage(set, from, NEGATIVES, (size_t)chosen[i], where, &texts[i]));
    }
done:
    return status;
}

/* Each row has as many names as the one with most passages needs. */
wb_status wb_tevatron_name_texts(const wb_tevatron *set, int64_t row, int64_t draw,
                                 int64_t negatives, uint64_t *names) {
    wb_status status = WB_OK;
    const uint64_t first = (uint64_t)(row * (1 + set->positives + set->most_negatives));
    int64_t *chosen = calloc((size_t)negatives + 1, sizeof(*chosen));
    WB_CHECK(chosen, WB_ERR_MEMORY, "%s: no memory for %lld negatives", set->path,
             (long long)negatives);
    WB_TRY(choose_negatives(set, row, draw, negatives, chosen));
    names[0] = first;
    names[1] = first + 1 + (uint64_t)choose_positive(set, row, draw);
    for (int64_t i = 0; i < negatives; i++) {
        names[2 + i] = first + 1 + (uint64_t)(set->positives + chosen[i]);
    }
done:
    free(chosen);
    return status;
}

/* Reads a row's line again, to text->line; it must still have as many passages. */
static wb_status fetch_line(const wb_tevatron *set, int64_t row, wb_text *text, plain_line *line,
                            size_t *bytes, bool *fits) {
    wb_status status = WB_OK;
    const int64_t *counts = set->counts + 2 * row;
    WB_TRY(
        wb_text_record_fetch(text, set->file, set->path, set->begins[row], set->ends[row], bytes));
    *fits = open_plain(line, text->line, *bytes) &&
            count_plain(line->arrays[POSITIVES]) == counts[POSITIVES] &&
            count_plain(line->arrays[NEGATIVES]) == counts[NEGATIVES];
done:
    return status;
}

static wb_status parse_line(const wb_tevatron *set, int64_t row, const wb_text *text, size_t bytes,
                            char where[WB_WHERE], json_t **line, passages *from) {
    wb_status status = WB_OK;
    const int64_t *counts = set->counts + 2 * row;
    WB_TRY(wb_text_record_parse(line, text->line, bytes, set->path, set->begins[row], where));
    WB_TRY(find_passages(*line, where, from));
    WB_CHECK((int64_t)json_array_size(from->arrays[POSITIVES]) == counts[POSITIVES] &&
                 (int64_t)json_array_size(from->arrays[NEGATIVES]) == counts[NEGATIVES] &&
                 (!from->are_ids || set->corpus),
             WB_ERR_INPUT, "%s: the line is no longer what was checked", where);
done:
    return status;
}

/* chosen: a positive, then negatives. */
static wb_status read_chosen(const wb_tevatron *set, int64_t row, const int64_t *chosen,
                             int64_t negatives, wb_text *texts) {
    wb_status status = WB_OK;
    json_t *tree = NULL;
    plain_line line;
    passages from;
    size_t bytes;
    bool fits;
    char where[WB_WHERE];
    WB_TRY(fetch_line(set, row, &texts[0], &line, &bytes, &fits));
    if (fits) {
        WB_TRY(wb_text_record_plain(&texts[0], &line.object, &fits));
        WB_TRY(read_elements(line.arrays[POSITIVES], chosen, 1, &texts[1], &fits));
        WB_TRY(read_elements(line.arrays[NEGATIVES], chosen + 1, negatives, &texts[2], &fits));
    }
    if (!fits) {
        WB_TRY(parse_line(set, row, &texts[0], bytes, where, &tree, &from));
        WB_TRY(wb_text_record(&texts[0], tree, where));
        WB_TRY(read_passage(set, &from, POSITIVES, (size_t)chosen[0], where, &texts[1]));
        WB_TRY(read_negatives(set, &from, chosen + 1, negatives, where, &texts[2]));
    }
done:
    json_decref(tree);
    return status;
}

wb_status wb_tevatron_read(const wb_tevatron *set, int64_t row, int64_t draw, int64_t negatives,
                           wb_text *texts) {
    wb_status status = WB_OK;
    int64_t *chosen = calloc((size_t)negatives + 1, sizeof(*chosen));
    WB_CHECK(chosen, WB_ERR_MEMORY, "%s: no memory for %lld negatives", set->path,
             (long long)negatives);
    chosen[0] = choose_positive(set, row, draw);
    WB_TRY(choose_negatives(set, row, draw, negatives, chosen + 1));
    WB_TRY(read_chosen(set, row, chosen, negatives, texts));
done:
    free(chosen);
    return status;
}

wb_status wb_tevatron_positive_keys(const wb_tevatron *set, int64_t row, uint64_t *keys,
                                    int64_t *count) {
    wb_status status = WB_OK;
    json_t *tree = NULL;
    plain_line line;
    passages from;
    size_t bytes;
    bool fits;
    char where[WB_WHERE];
    wb_text text = {0};
    *count = set->counts[2 * row + POSITIVES];
    WB_TRY(fetch_line(set, row, &text, &line, &bytes, &fits));
    for (int64_t i = 0; fits && i < *count; i++) {
        wb_plain_value element;
        fits = wb_plain_element(&line.arrays[POSITIVES], &element);
        if (fits) {
            WB_TRY(read_element(&element, &text, &fits));
            keys[i] = wb_hash(text.text, text.bytes);
        }
    }
    if (fits) {
        goto done;
    }
    WB_TRY(parse_line(set, row, &text, bytes, where, &tree, &from));
    for (int64_t i = 0; i < *count; i++) {
        WB_TRY(read_passage(set, &from, POSITIVES, (size_t)i, where, &text));
        keys[i] = wb_hash(text.text, text.bytes);
    }
done:
    json_decref(tree);
    wb_text_clear(&text);
    return status;
}
