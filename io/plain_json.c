/* One pass over the bytes, in blocks that vector registers hold. */
#include "plain_json.h"

#include "hash.h"
#include "id_index.h"
#include "json.h"
#include "unicode_text.h"

#include <stdint.h>
#include <string.h>

enum { DIGITS = 18, ESCAPED_KEY = 256 };

typedef struct cursor {
    const char *at, *end;
    int64_t values; /* met so far, as json.c counts them: what opens one, and what parts two */
} cursor;

/* depth: objects and arrays that the value lies in */
static bool take_value(cursor *c, int depth, wb_plain_value *value);

static void skip_blanks(cursor *c) {
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\r')) {
        c->at++;
    }
}

static bool take_byte(cursor *c, char wanted) {
    const bool is_there = c->at < c->end && *c->at == wanted;
    c->at += is_there ? 1 : 0;
    return is_there;
}

/* A mark that a value follows; false where that is one more than a line may have. */
static bool take_mark(cursor *c, char wanted) {
    return c->at < c->end && *c->at == wanted && c->values++ < WB_JSON_LINE_VALUES &&
           take_byte(c, wanted);
}

static bool take_word(cursor *c, const char *word) {
    const size_t bytes = strlen(word);
    const bool is_there = (size_t)(c->end - c->at) >= bytes && memcmp(c->at, word, bytes) == 0;
    c->at += is_there ? bytes : 0;
    return is_there;
}

/* ---- Strings
 * --------------------------------------------------------------------------------------------- */

/* Passes by what stands for itself; *high collects whether any of it is not ASCII. */
static void skip_quiet(cursor *c, bool *high) {
    enum { BLOCK = 64 };
    for (; c->end - c->at >= BLOCK; c->at += BLOCK) {
        const unsigned char *text = (const unsigned char *)c->at;
        unsigned char loud = 0, all = 0;
#pragma omp simd reduction(| : loud, all)
        for (int i = 0; i < BLOCK; i++) {
            loud |= (unsigned char)((text[i] < ' ') | (text[i] == '"') | (text[i] == '\\'));
            all |= text[i];
        }
        if (loud) {
            break;
        }
        *high = *high || all >= 0x80;
    }
    for (; c->at < c->end; c->at++) {
        const unsigned char byte = (unsigned char)*c->at;
        if (byte < ' ' || byte == '"' || byte == '\\') {
            return;
        }
        *high = *high || byte >= 0x80;
    }
}

/* The number of four hexadecimal digits, -1 where they are not there. */
static int32_t hex_of(const char *at, const char *end) {
    int32_t value = 0;
    if (end - at < 4) {
        return -1;
    }
    for (int i = 0; i < 4; i++) {
        const char c = at[i];
        const int digit = c >= '0' && c <= '9'   ? c - '0'
                          : c >= 'a' && c <= 'f' ? c - 'a' + 10
                          : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                 : -1;
        if (digit < 0) {
            return -1;
        }
        value = value * 16 + digit;
    }
    return value;
}

/* Reads an escape of a character by its number, two of them for one beyond 16 bits; 0 where it is
 * wrong, or NUL. */
static uint32_t take_numbered(const char **at, const char *end) {
    enum { HIGH = 0xD800, LOW = 0xDC00, BEYOND = 0xE000 };
    const int32_t first = hex_of(*at + 2, end);
    if (first < 0 || (first >= LOW && first < BEYOND)) {
        return 0;
    }
    *at += 6;
    if (first < HIGH || first >= BEYOND) {
        return (uint32_t)first;
    }
    const bool is_pair = end - *at >= 6 && (*at)[0] == '\\' && (*at)[1] == 'u';
    const int32_t second = is_pair ? hex_of(*at + 2, end) : -1;
    if (second < LOW || second >= BEYOND) {
        return 0;
    }
    *at += 6;
    return (uint32_t)(0x10000 + ((first - HIGH) << 10) + (second - LOW));
}

/* Reads an escape at a backslash; 0 where it is wrong, or NUL. */
static uint32_t take_escape(const char **at, const char *end) {
    static const char names[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    if (end - *at < 2) {
        return 0;
    }
    const char name = (*at)[1];
    if (name == 'u') {
        return take_numbered(at, end);
    }
    const char *found = name == '\0' ? NULL : strchr(names, name);
    *at += 2;
    return found ? (uint32_t)meant[found - names] : 0;
}

static bool take_string(cursor *c, wb_plain_value *value) {
    bool high = false;
    *value = (wb_plain_value){.kind = WB_PLAIN_STRING, .text = c->at + 1};
    if (!take_byte(c, '"')) {
        return false;
    }
    for (;;) {
        skip_quiet(c, &high);
        if (c->at < c->end && *c->at == '\\') {
            value->escaped = true;
            if (take_escape(&c->at, c->end) == 0) {
                return false;
            }
            continue;
        }
        value->bytes = (size_t)(c->at - value->text);
        return take_byte(c, '"') &&
               (!high || wb_utf8_valid(value->text, value->bytes) == value->bytes);
    }
}

size_t wb_plain_copy(char *to, const wb_plain_value *value) {
    const char *at = value->text, *const end = at + value->bytes;
    char *const first = to;
    if (!value->escaped) {
        memcpy(to, at, value->bytes);
        return value->bytes;
    }
    while (at < end) {
        const char *escape = memchr(at, '\\', (size_t)(end - at));
        const size_t bytes = (size_t)((escape ? escape : end) - at);
        memcpy(to, at, bytes);
        to += bytes;
        at += bytes;
        to += escape ? wb_utf8_encode(take_escape(&at, end), to) : 0;
    }
    return (size_t)(to - first);
}

/* ---- Other values
 * ---------------------------------------------------------------------------------------- */

static int64_t take_digits(cursor *c) {
    const char *const begin = c->at;
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9') {
        c->at++;
    }
    return c->at - begin;
}

/* Behind an e. Below 10^200, so that no number with DIGITS digits before its point is infinite. */
static bool take_exponent(cursor *c) {
    const bool is_below_0 = take_byte(c, '-');
    if (!is_below_0) {
        (void)take_byte(c, '+');
    }
    const char *const begin = c->at;
    const int64_t digits = take_digits(c);
    return is_below_0
               ? digits > 0
               : digits == 1 || digits == 2 || (digits == 3 && (*begin == '1' || *begin == '0'));
}

/* Where it is in the range of its type whatever its digits are. */
static bool take_number(cursor *c, wb_plain_value *value) {
    const bool negative = take_byte(c, '-');
    const bool begins_with_0 = c->at < c->end && *c->at == '0';
    const int64_t digits = take_digits(c);
    if (digits == 0 || digits > DIGITS || (begins_with_0 && digits > 1)) {
        return false;
    }
    value->kind = negative ? WB_PLAIN_OTHER : WB_PLAIN_INTEGER;
    if (take_byte(c, '.')) {
        value->kind = WB_PLAIN_OTHER;
        if (take_digits(c) == 0) {
            return false;
        }
    }
    if (take_byte(c, 'e') || take_byte(c, 'E')) {
        value->kind = WB_PLAIN_OTHER;
        return take_exponent(c);
    }
    return true;
}

static bool take_array(cursor *c, int depth) {
    wb_plain_value element;
    if (!take_mark(c, '[')) {
        return false;
    }
    skip_blanks(c);
    if (take_byte(c, ']')) {
        return true;
    }
    do {
        skip_blanks(c);
        if (!take_value(c, depth, &element)) {
            return false;
        }
        skip_blanks(c);
    } while (take_mark(c, ','));
    return take_byte(c, ']');
}

/* ---- Objects
 * --------------------------------------------------------------------------------------------- */

/* The keys of an object with more members than an object keeps, by where they stand. */
typedef struct key_set {
    wb_id_index places;
    int64_t count;
    const char *base; /* places are counted from here */
} key_set;

static size_t key_text(const char **text, char plain[ESCAPED_KEY], const wb_plain_value *key) {
    *text = key->escaped ? plain : key->text;
    return key->escaped ? wb_plain_copy(plain, key) : key->bytes;
}

static bool is_same_key(const wb_plain_value *a, const wb_plain_value *b) {
    char a_plain[ESCAPED_KEY], b_plain[ESCAPED_KEY];
    const char *a_text, *b_text;
    const size_t bytes = key_text(&a_text, a_plain, a);
    return key_text(&b_text, b_plain, b) == bytes && memcmp(a_text, b_text, bytes) == 0;
}

/* False where the key is there. */
static bool put_key(key_set *set, const wb_plain_value *key) {
    char plain[ESCAPED_KEY];
    const char *text;
    const size_t bytes = key_text(&text, plain, key);
    const uint64_t hash = wb_hash(text, bytes);
    wb_plain_value other;
    uint64_t step = 0;
    int64_t place;
    while ((place = wb_id_index_next(&set->places, hash, &step)) >= 0) {
        cursor c = {.at = set->base + place, .end = key->text};
        if (take_string(&c, &other) && is_same_key(&other, key)) {
            return false;
        }
    }
    if (wb_id_index_reserve(&set->places, set->count + 1) != WB_OK) {
        wb_error_clear(); /* jansson will say so */
        return false;
    }
    wb_id_index_put(&set->places, hash, key->text - 1 - set->base);
    set->count++;
    return true;
}

/* The first keys are looked through; with more of them, all are put into the set. */
static bool is_new_key(const wb_plain_object *object, key_set *set, const wb_plain_value *key) {
    bool is_new = true;
    for (int i = 0; is_new && i < object->count && object->count < WB_PLAIN_MEMBERS; i++) {
        is_new = !is_same_key(&object->keys[i], key);
    }
    if (object->count == WB_PLAIN_MEMBERS) {
        for (int i = 0; is_new && set->count < WB_PLAIN_MEMBERS; i++) {
            is_new = put_key(set, &object->keys[i]);
        }
        is_new = is_new && put_key(set, key);
    }
    return is_new;
}

/* A key, the colon and blanks. */
static bool take_key(cursor *c, wb_plain_value *key) {
    skip_blanks(c);
    if (!take_string(c, key) || (key->escaped && key->bytes > ESCAPED_KEY)) {
        return false;
    }
    skip_blanks(c);
    if (!take_byte(c, ':')) {
        return false;
    }
    skip_blanks(c);
    return true;
}

static bool take_members(cursor *c, int depth, wb_plain_object *object, key_set *set) {
    do {
        wb_plain_value key, value;
        const char *const begin = c->at;
        if (!take_key(c, &key) || !is_new_key(object, set, &key) || !take_value(c, depth, &value)) {
            return false;
        }
        if (object->count < WB_PLAIN_MEMBERS) {
            object->keys[object->count] = key;
            object->values[object->count++] = value;
        } else if (!object->others) {
            object->others = begin;
        }
        skip_blanks(c);
    } while (take_mark(c, ','));
    object->end = c->at;
    return take_byte(c, '}');
}

static bool take_object(cursor *c, int depth, wb_plain_object *object) {
    key_set set = {.base = c->at};
    object->count = 0;
    object->others = object->end = NULL;
    if (!take_mark(c, '{')) {
        return false;
    }
    skip_blanks(c);
    const bool taken = take_byte(c, '}') || take_members(c, depth, object, &set);
    wb_id_index_clear(&set.places);
    return taken;
}

static bool take_kind(cursor *c, int depth, wb_plain_value *value) {
    wb_plain_object nested;
    switch (*c->at) {
    case '"':
        return take_string(c, value);
    case '{':
        value->kind = WB_PLAIN_OBJECT;
        return depth < WB_JSON_DEPTH && take_object(c, depth + 1, &nested);
    case '[':
        value->kind = WB_PLAIN_ARRAY;
        return depth < WB_JSON_DEPTH && take_array(c, depth + 1);
    case 't':
        return take_word(c, "true");
    case 'f':
        return take_word(c, "false");
    case 'n':
        value->kind = WB_PLAIN_NULL;
        return take_word(c, "null");
    default:
        return take_number(c, value);
    }
}

static bool take_value(cursor *c, int depth, wb_plain_value *value) {
    *value = (wb_plain_value){.kind = WB_PLAIN_OTHER, .text = c->at};
    if (c->at == c->end || !take_kind(c, depth, value)) {
        return false;
    }
    if (value->kind != WB_PLAIN_STRING) {
        value->bytes = (size_t)(c->at - value->text);
    }
    return true;
}

/* ---- The whole
 * ------------------------------------------------------------------------------------------- */

bool wb_plain_read(wb_plain_object *object, const char *text, size_t bytes) {
    cursor c = {.at = text, .end = text + bytes};
    skip_blanks(&c);
    const bool is_object = take_object(&c, 1, object);
    skip_blanks(&c);
    return is_object && c.at == c.end;
}

bool wb_plain_member(const wb_plain_object *object, const char *key, wb_plain_value *value) {
    const wb_plain_value wanted = {.text = key, .bytes = strlen(key)};
    for (int i = 0; i < object->count; i++) {
        if (is_same_key(&object->keys[i], &wanted)) {
            *value = object->values[i];
            return true;
        }
    }
    cursor c = {.at = object->others, .end = object->end};
    wb_plain_value other;
    while (c.at && take_key(&c, &other) && take_value(&c, 1, value)) {
        if (is_same_key(&other, &wanted)) {
            return true;
        }
        skip_blanks(&c);
        c.at = take_mark(&c, ',') ? c.at : NULL;
    }
    return false;
}

/* The array shrinks from its front: its text begins at the byte before its next element. */
bool wb_plain_element(wb_plain_value *array, wb_plain_value *element) {
    cursor c = {.at = array->text + 1, .end = array->text + array->bytes};
    skip_blanks(&c);
    if (c.at >= c.end || !take_value(&c, 1, element)) {
        return false;
    }
    skip_blanks(&c);
    *array = (wb_plain_value){WB_PLAIN_ARRAY, false, c.at, (size_t)(c.end - c.at)};
    return true;
}
