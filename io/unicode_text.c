/* The only user of utf8proc. */
#include "unicode_text.h"

#include <utf8proc.h>

enum { UNICODE_END = 0x110000, SURROGATES = 0xD800, SURROGATES_END = 0xE000 };
enum { FIRST_HANGUL = 0xAC00, LAST_HANGUL = 0xD7A3 };

typedef enum char_class {
    CLASS_LETTER,      /* all that none of the others is */
    CLASS_STARTER,     /* a letter that has no combining class */
    CLASS_MARK,        /* Mn */
    CLASS_PUNCTUATION, /* P*, and ASCII's symbols */
    CLASS_SPACE,       /* White_Space */
    CLASS_OTHER,       /* Cc, Cf, Co */
} char_class;

/* Where utf8proc 2.8 and the reference differ; printed by make_unicode_text.py. */
static const struct {
    uint32_t first, last;
    char_class class;
} other_classes[] = {
    {0x61d, 0x61d, CLASS_LETTER},        {0x7fd, 0x7fd, CLASS_STARTER},
    {0x890, 0x891, CLASS_LETTER},        {0x898, 0x89f, CLASS_STARTER},
    {0x8ca, 0x8d3, CLASS_STARTER},       {0x8d4, 0x8e2, CLASS_LETTER},
    {0x9fd, 0x9fd, CLASS_LETTER},        {0x9fe, 0x9fe, CLASS_STARTER},
    {0xa76, 0xa76, CLASS_LETTER},        {0xafa, 0xaff, CLASS_LETTER},
    {0xb55, 0xb55, CLASS_LETTER},        {0xc04, 0xc04, CLASS_LETTER},
    {0xc3c, 0xc3c, CLASS_STARTER},       {0xc77, 0xc77, CLASS_LETTER},
    {0xc84, 0xc84, CLASS_LETTER},        {0xd00, 0xd00, CLASS_LETTER},
    {0xd3b, 0xd3c, CLASS_STARTER},       {0xd81, 0xd81, CLASS_LETTER},
    {0xeba, 0xeba, CLASS_STARTER},       {0xece, 0xece, CLASS_LETTER},
    {0x166d, 0x166d, CLASS_PUNCTUATION}, {0x1715, 0x1715, CLASS_STARTER},
    {0x1734, 0x1734, CLASS_MARK},        {0x180f, 0x180f, CLASS_LETTER},
    {0x1885, 0x1886, CLASS_LETTER},      {0x1abf, 0x1ace, CLASS_STARTER},
    {0x1b7d, 0x1b7e, CLASS_LETTER},      {0x1df6, 0x1dfa, CLASS_STARTER},
    {0x1dfb, 0x1dfb, CLASS_LETTER},      {0x2e43, 0x2e4f, CLASS_LETTER},
    {0x2e52, 0x2e5d, CLASS_LETTER},      {0xa82c, 0xa82c, CLASS_STARTER},
    {0xa8c5, 0xa8c5, CLASS_LETTER},      {0xa8ff, 0xa8ff, CLASS_LETTER},
    {0xa9bd, 0xa9bd, CLASS_LETTER},      {0x10d24, 0x10d27, CLASS_STARTER},
    {0x10eab, 0x10eac, CLASS_STARTER},   {0x10ead, 0x10ead, CLASS_LETTER},
    {0x10efd, 0x10eff, CLASS_STARTER},   {0x10f46, 0x10f50, CLASS_STARTER},
    {0x10f55, 0x10f59, CLASS_LETTER},    {0x10f82, 0x10f85, CLASS_STARTER},
    {0x10f86, 0x10f89, CLASS_LETTER},    {0x11070, 0x11070, CLASS_STARTER},
    {0x11073, 0x11074, CLASS_LETTER},    {0x110c2, 0x110c2, CLASS_LETTER},
    {0x110cd, 0x110cd, CLASS_LETTER},    {0x111c9, 0x111c9, CLASS_PUNCTUATION},
    {0x111cf, 0x111cf, CLASS_LETTER},    {0x1123e, 0x1123e, CLASS_LETTER},
    {0x11241, 0x11241, CLASS_LETTER},    {0x1133b, 0x1133b, CLASS_STARTER},
    {0x11438, 0x1143f, CLASS_LETTER},    {0x11442, 0x11444, CLASS_LETTER},
    {0x11446, 0x11446, CLASS_LETTER},    {0x1144b, 0x1144f, CLASS_LETTER},
    {0x1145a, 0x1145b, CLASS_LETTER},    {0x1145d, 0x1145d, CLASS_LETTER},
    {0x1145e, 0x1145e, CLASS_STARTER},   {0x11660, 0x1166c, CLASS_LETTER},
    {0x116b9, 0x116b9, CLASS_LETTER},    {0x1182f, 0x11837, CLASS_LETTER},
    {0x11839, 0x1183a, CLASS_STARTER},   {0x1183b, 0x1183b, CLASS_LETTER},
    {0x1193b, 0x1193c, CLASS_LETTER},    {0x1193d, 0x1193e, CLASS_STARTER},
    {0x11943, 0x11943, CLASS_STARTER},   {0x11944, 0x11946, CLASS_LETTER},
    {0x119d4, 0x119d7, CLASS_LETTER},    {0x119da, 0x119db, CLASS_LETTER},
    {0x119e0, 0x119e0, CLASS_STARTER},   {0x119e2, 0x119e2, CLASS_LETTER},
    {0x11a01, 0x11a0a, CLASS_LETTER},    {0x11a33, 0x11a33, CLASS_LETTER},
    {0x11a34, 0x11a34, CLASS_STARTER},   {0x11a35, 0x11a38, CLASS_LETTER},
    {0x11a3b, 0x11a46, CLASS_LETTER},    {0x11a47, 0x11a47, CLASS_STARTER},
    {0x11a51, 0x11a56, CLASS_LETTER},    {0x11a59, 0x11a5b, CLASS_LETTER},
    {0x11a8a, 0x11a96, CLASS_LETTER},    {0x11a98, 0x11a98, CLASS_LETTER},
    {0x11a99, 0x11a99, CLASS_STARTER},   {0x11a9a, 0x11a9c, CLASS_LETTER},
    {0x11a9e, 0x11aa2, CLASS_LETTER},    {0x11b00, 0x11b09, CLASS_LETTER},
    {0x11c30, 0x11c36, CLASS_LETTER},    {0x11c38, 0x11c3d, CLASS_LETTER},
    {0x11c3f, 0x11c3f, CLASS_LETTER},    {0x11c41, 0x11c45, CLASS_LETTER},
    {0x11c70, 0x11c71, CLASS_LETTER},    {0x11c92, 0x11ca7, CLASS_LETTER},
    {0x11caa, 0x11cb0, CLASS_LETTER},    {0x11cb2, 0x11cb3, CLASS_LETTER},
    {0x11cb5, 0x11cb6, CLASS_LETTER},    {0x11d31, 0x11d36, CLASS_LETTER},
    {0x11d3a, 0x11d3a, CLASS_LETTER},    {0x11d3c, 0x11d3d, CLASS_LETTER},
    {0x11d3f, 0x11d41, CLASS_LETTER},    {0x11d42, 0x11d42, CLASS_STARTER},
    {0x11d43, 0x11d43, CLASS_LETTER},    {0x11d44, 0x11d45, CLASS_STARTER},
    {0x11d47, 0x11d47, CLASS_LETTER},    {0x11d90, 0x11d91, CLASS_LETTER},
    {0x11d95, 0x11d95, CLASS_LETTER},    {0x11d97, 0x11d97, CLASS_STARTER},
    {0x11ef3, 0x11ef4, CLASS_LETTER},    {0x11ef7, 0x11ef8, CLASS_LETTER},
    {0x11f00, 0x11f01, CLASS_LETTER},    {0x11f36, 0x11f3a, CLASS_LETTER},
    {0x11f40, 0x11f40, CLASS_LETTER},    {0x11f41, 0x11f42, CLASS_STARTER},
    {0x11f43, 0x11f4f, CLASS_LETTER},    {0x11fff, 0x11fff, CLASS_LETTER},
    {0x12ff1, 0x12ff2, CLASS_LETTER},    {0x13430, 0x13440, CLASS_LETTER},
    {0x13447, 0x13455, CLASS_LETTER},    {0x16e97, 0x16e9a, CLASS_LETTER},
    {0x16f4f, 0x16f4f, CLASS_LETTER},    {0x16fe2, 0x16fe2, CLASS_LETTER},
    {0x16fe4, 0x16fe4, CLASS_LETTER},    {0x16ff0, 0x16ff1, CLASS_STARTER},
    {0x1cf00, 0x1cf2d, CLASS_LETTER},    {0x1cf30, 0x1cf46, CLASS_LETTER},
    {0x1e000, 0x1e006, CLASS_LETTER},    {0x1e008, 0x1e018, CLASS_LETTER},
    {0x1e01b, 0x1e021, CLASS_LETTER},    {0x1e023, 0x1e024, CLASS_LETTER},
    {0x1e026, 0x1e02a, CLASS_LETTER},    {0x1e08f, 0x1e08f, CLASS_STARTER},
    {0x1e130, 0x1e136, CLASS_STARTER},   {0x1e2ae, 0x1e2ae, CLASS_STARTER},
    {0x1e2ec, 0x1e2ef, CLASS_STARTER},   {0x1e4ec, 0x1e4ef, CLASS_STARTER},
    {0x1e944, 0x1e94a, CLASS_LETTER},    {0x1e95e, 0x1e95f, CLASS_LETTER},
};

static const struct {
    uint32_t first, last;
    int32_t distance;
} other_lowercase[] = {
    {0x1c89, 0x1c89, 1},    {0xa7cb, 0xa7cb, -42343}, {0xa7cc, 0xa7cc, 1}, {0xa7ce, 0xa7ce, 1},
    {0xa7d2, 0xa7d2, 1},    {0xa7d4, 0xa7d4, 1},      {0xa7da, 0xa7da, 1}, {0xa7dc, 0xa7dc, -42561},
    {0x10d50, 0x10d65, 32}, {0x16ea0, 0x16eb8, 27},
};

static const struct {
    uint32_t first, last;
} ideographs[] = {
    {0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xF900, 0xFAFF},   {0x20000, 0x2A6DF},
    {0x2A700, 0x2B81F}, {0x2B920, 0x2CEAF}, {0x2F800, 0x2FA1F},
};

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static bool is_ideograph(uint32_t code) {
    for (size_t i = 0; i < LENGTH(ideographs); i++) {
        if (code >= ideographs[i].first && code <= ideographs[i].last) {
            return true;
        }
    }
    return false;
}

/* *class is set where the reference's class is not utf8proc's. */
static bool class_differs(uint32_t code, char_class *class) {
    size_t low = 0, high = LENGTH(other_classes);
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (code > other_classes[middle].last) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == LENGTH(other_classes) || code < other_classes[low].first) {
        return false;
    }
    *class = other_classes[low].class;
    return true;
}

static char_class class_of(uint32_t code) {
    char_class class;
    if ((code >= 9 && code <= 13) || code == 0x85) {
        return CLASS_SPACE;
    }
    if (code > 32 && code < 127) {
        const bool letter = (code >= '0' && code <= '9') || (code >= 'A' && code <= 'Z') ||
                            (code >= 'a' && code <= 'z');
        return letter ? CLASS_LETTER : CLASS_PUNCTUATION;
    }
    if (class_differs(code, &class)) {
        return class;
    }
    switch (utf8proc_category((utf8proc_int32_t)code)) {
    case UTF8PROC_CATEGORY_MN:
        return CLASS_MARK;
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
        return CLASS_PUNCTUATION;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return CLASS_SPACE;
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CO:
        return CLASS_OTHER;
    default:
        return CLASS_LETTER;
    }
}

int wb_unicode_combining_class(uint32_t code) {
    char_class class;
    if (class_differs(code, &class) && class == CLASS_STARTER) {
        return 0;
    }
    return utf8proc_get_property((utf8proc_int32_t)code)->combining_class;
}

static int decompose(uint32_t code, utf8proc_int32_t parts[4]) {
    enum { DECOMPOSED_SINCE_UNICODE_13 = 0x11938 };
    int boundary = 0;
    utf8proc_ssize_t count = 0;
    if (code != DECOMPOSED_SINCE_UNICODE_13) {
        count = utf8proc_decompose_char((utf8proc_int32_t)code, parts, 4, UTF8PROC_DECOMPOSE,
                                        &boundary);
    }
    if (count <= 0) {
        parts[0] = (utf8proc_int32_t)code;
        count = 1;
    }
    return (int)count;
}

static uint32_t lower(uint32_t code) {
    for (size_t i = 0; i < LENGTH(other_lowercase); i++) {
        if (code >= other_lowercase[i].first && code <= other_lowercase[i].last) {
            return (uint32_t)((int32_t)code + other_lowercase[i].distance);
        }
    }
    return (uint32_t)utf8proc_tolower((utf8proc_int32_t)code);
}

static int put(wb_folded *folded, int count, uint32_t code, int combining_class) {
    const char_class class = class_of(code);
    folded[count].code = code;
    folded[count].combining_class = combining_class;
    folded[count].kind = class == CLASS_SPACE         ? WB_CHAR_SPACE
                         : class == CLASS_PUNCTUATION ? WB_CHAR_PUNCTUATION
                                                      : WB_CHAR_WORD;
    return count + 1;
}

/* One decomposed character: stripped, or in lower case. */
static int fold_part(uint32_t code, wb_unicode_rules rules, wb_folded *folded, int count) {
    enum { CAPITAL_I_WITH_DOT = 0x130, DOT_ABOVE = 0x307 };
    const int combining_class = rules.strip_accents ? wb_unicode_combining_class(code) : 0;
    if (rules.strip_accents && class_of(code) == CLASS_MARK) {
        folded[count] = (wb_folded){code, WB_CHAR_STRIPPED, combining_class};
        return count + 1;
    }
    if (rules.lowercase && code == CAPITAL_I_WITH_DOT) {
        count = put(folded, count, 'i', 0);
        return put(folded, count, DOT_ABOVE, 0);
    }
    return put(folded, count, rules.lowercase ? lower(code) : code, combining_class);
}

/* The cleaner takes three kinds of white space for control characters, and looks for these first.
 */
static bool is_cleaned_away(uint32_t code, char_class class) {
    enum { VERTICAL_TAB = 0x0B, FORM_FEED = 0x0C, NEXT_LINE = 0x85 };
    return class == CLASS_OTHER || code == WB_REPLACEMENT || code == VERTICAL_TAB ||
           code == FORM_FEED || code == NEXT_LINE;
}

/* A Hangul syllable is two or three letters, found by arithmetic. Source: Unicode, 3.12. */
static int fold_hangul(uint32_t syllable, wb_folded *folded) {
    enum { FIRST_L = 0x1100, FIRST_V = 0x1161, BEFORE_T = 0x11A7, VOWELS = 21, TAILS = 28 };
    const uint32_t index = syllable - FIRST_HANGUL;
    const uint32_t tail = index % TAILS;
    folded[0] = (wb_folded){FIRST_L + index / (VOWELS * TAILS), WB_CHAR_WORD, 0};
    folded[1] = (wb_folded){FIRST_V + index / TAILS % VOWELS, WB_CHAR_WORD, 0};
    folded[2] = (wb_folded){BEFORE_T + tail, WB_CHAR_WORD, 0};
    return tail > 0 ? 3 : 2;
}

int wb_unicode_fold(uint32_t code, wb_unicode_rules rules, wb_folded folded[WB_FOLDED_MOST]) {
    static const wb_folded blank = {' ', WB_CHAR_SPACE, 0};
    if (rules.strip_accents && code >= FIRST_HANGUL && code <= LAST_HANGUL) {
        return fold_hangul(code, folded);
    }
    if (rules.clean) {
        const char_class class = class_of(code);
        if (is_cleaned_away(code, class)) {
            return 0;
        }
        if (class == CLASS_SPACE) {
            folded[0] = blank;
            return 1;
        }
    }
    utf8proc_int32_t parts[4] = {(utf8proc_int32_t)code};
    const int length = rules.strip_accents ? decompose(code, parts) : 1;
    const bool apart = rules.split_ideographs && is_ideograph(code);
    int count = 0;
    if (apart) {
        folded[count++] = blank;
    }
    for (int i = 0; i < length; i++) {
        count = fold_part((uint32_t)parts[i], rules, folded, count);
    }
    if (apart) {
        folded[count++] = blank;
    }
    return count;
}

size_t wb_utf8_decode(const char *text, size_t bytes, uint32_t *code) {
    const unsigned char *at = (const unsigned char *)text;
    const size_t length = at[0] < 0x80   ? 1
                          : at[0] < 0xC2 ? 0
                          : at[0] < 0xE0 ? 2
                          : at[0] < 0xF0 ? 3
                          : at[0] < 0xF5 ? 4
                                         : 0;
    static const uint32_t first_bits[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    *code = WB_REPLACEMENT;
    if (length == 0 || length > bytes) {
        return 1;
    }
    uint32_t value = at[0] & first_bits[length];
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xC0) != 0x80) {
            return 1;
        }
        value = value << 6 | (at[i] & 0x3Fu);
    }
    if (value < least[length] || value >= UNICODE_END ||
        (value >= SURROGATES && value < SURROGATES_END)) {
        return 1;
    }
    *code = value;
    return length;
}

size_t wb_utf8_encode(uint32_t code, char out[4]) {
    return (size_t)utf8proc_encode_char((utf8proc_int32_t)code, (utf8proc_uint8_t *)out);
}

/* Bytes from `at` on in whole blocks that hold ASCII without NUL only: vector registers see to them
 * many at a time. */
static size_t ascii_blocks(const char *text, size_t bytes, size_t at) {
    enum { BLOCK = 64 };
    const size_t first = at;
    for (; bytes - at >= BLOCK; at += BLOCK) {
        unsigned char other = 0;
#pragma omp simd reduction(| : other)
        for (int i = 0; i < BLOCK; i++) {
            const unsigned char byte = (unsigned char)text[at + (size_t)i];
            other |= (unsigned char)((byte == 0) | (byte >= 0x80));
        }
        if (other) {
            break;
        }
    }
    return at - first;
}

size_t wb_utf8_valid(const char *text, size_t bytes) {
    size_t at = 0, next_look = 0;
    while (at < bytes) {
        uint32_t code;
        if (at >= next_look) {
            at += ascii_blocks(text, bytes, at);
            next_look = at + 64;
            if (at == bytes) {
                break;
            }
        }
        const size_t length = wb_utf8_decode(text + at, bytes - at, &code);
        if (code == 0 || (code == WB_REPLACEMENT && length == 1)) {
            return at;
        }
        at += length;
    }
    return bytes;
}
