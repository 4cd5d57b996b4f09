/* One pass over the bytes, in blocks that vector registers hold. */
#include "plain_json.h"

#include "json.h"
#include "unicode_text.h"

#include <stdint.h>
#include <string.h>

enum { DIGITS = 18, EXPONENT = 2 };

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

static int take_digits(cursor *c) {
    int digits = 0;
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9' && digits <= DIGITS) {
        c->at++;
        digits++;
    }
    return digits;
}

/* With few digits, so that it is in the range of its type. */
static bool take_number(cursor *c, wb_plain_value *value) {
    const bool negative = take_byte(c, '-');
    const bool begins_with_0 = c->at < c->end && *c->at == '0';
    const int digits = take_digits(c);
    if (digits == 0 || digits > DIGITS || (begins_with_0 && digits > 1)) {
        return false;
    }
    value->kind = negative ? WB_PLAIN_OTHER : WB_PLAIN_INTEGER;
    if (take_byte(c, '.')) {
        value->kind = WB_PLAIN_OTHER;
        const int decimals = take_digits(c);
        if (decimals == 0 || decimals > DIGITS) {
            return false;
        }
    }
    if (take_byte(c, 'e') || take_byte(c, 'E')) {
        value->kind = WB_PLAIN_OTHER;
        (void)(take_byte(c, '-') || take_byte(c, '+'));
        const int exponent = take_digits(c);
        return exponent > 0 && exponent <= EXPONENT;
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

/* A key that is none of the object's so far; those with escapes are left to jansson. */
static bool take_key(cursor *c, wb_plain_object *object) {
    if (object->count == WB_PLAIN_MEMBERS) {
        return false;
    }
    wb_plain_value *key = &object->keys[object->count];
    if (!take_string(c, key) || key->escaped) {
        return false;
    }
    for (int i = 0; i < object->count; i++) {
        if (object->keys[i].bytes == key->bytes &&
            memcmp(object->keys[i].text, key->text, key->bytes) == 0) {
            return false;
        }
    }
    return true;
}

static bool take_object(cursor *c, int depth, wb_plain_object *object) {
    object->count = 0;
    if (!take_mark(c, '{')) {
        return false;
    }
    skip_blanks(c);
    if (take_byte(c, '}')) {
        return true;
    }
    do {
        skip_blanks(c);
        if (!take_key(c, object)) {
            return false;
        }
        skip_blanks(c);
        if (!take_byte(c, ':')) {
            return false;
        }
        skip_blanks(c);
        if (!take_value(c, depth, &object->values[object->count])) {
            return false;
        }
        object->count++;
        skip_blanks(c);
    } while (take_mark(c, ','));
    return take_byte(c, '}');
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

const wb_plain_value *wb_plain_member(const wb_plain_object *object, const char *key) {
    const size_t bytes = strlen(key);
    for (int i = 0; i < object->count; i++) {
        if (object->keys[i].bytes == bytes && memcmp(object->keys[i].text, key, bytes) == 0) {
            return &object->values[i];
        }
    }
    return NULL;
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
