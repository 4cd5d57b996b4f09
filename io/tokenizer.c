/* The walk over a text. Most words are settled by one look into a table (known_words.h), most
 * characters of the others likewise: ASCII by byte, the rest of the basic plane by code point, each
 * of which is folded when it is first met; only what decomposes into several characters, may change
 * places with its neighbours, or lies beyond, is folded each time. */
#include "tokenizer.h"

#include "known_words.h"
#include "tokenizer_spec.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { ASCII = 0x80, BASIC_PLANE = 0x10000, CODE_BITS = 0xFFFFFF, CHAR_BYTES = 4 };

/* What one look decides about a byte or a code point. */
typedef enum step {
    STEP_DROP = 1, /* 0: not met yet */
    STEP_WORD,
    STEP_SPACE,
    STEP_PUNCTUATION,
    STEP_IDEOGRAPH, /* a word by itself */
    STEP_FOLD,      /* wb_unicode_fold knows */
    STEP_ADDED,     /* an added token may begin with this byte */
} step;

struct wb_tokenizer {
    wb_tokenizer_spec spec;
    wb_trie pieces, added;
    int32_t continuation;     /* the unit of `pieces` at which tokens that continue a word begin */
    wb_known_words known;     /* none where letters and digits are not what they are elsewhere */
    unsigned char case_bit;   /* that letters lose */
    unsigned char steps[256]; /* a step for each byte; bytes from 0x80 on: STEP_FOLD */
    char lower[ASCII];        /* what an ASCII character of a word turns into */
    _Atomic uint32_t *plane;  /* [BASIC_PLANE] step << 24 | what the code point turns into */
};

/* A text on its way: the ids so far, and the word that is not complete. */
typedef struct encoder {
    const wb_tokenizer *tokenizer;
    int32_t *ids;
    int64_t count, room;
    int64_t chars; /* of the word, also those beyond the longest word, which are not kept */
    size_t bytes;  /* of `word` */
    size_t marks;  /* offset in `word` of the last run of marks that are in canonical order */
    char word[WB_WORD_CHARS_MOST * CHAR_BYTES];
} encoder;

/* ---- Building ---- */

static step step_of(const wb_folded *folded, int count) {
    static const step steps[] = {[WB_CHAR_WORD] = STEP_WORD,
                                 [WB_CHAR_SPACE] = STEP_SPACE,
                                 [WB_CHAR_PUNCTUATION] = STEP_PUNCTUATION,
                                 [WB_CHAR_STRIPPED] = STEP_DROP};
    if (count == 0) {
        return STEP_DROP;
    }
    if (count == 1) {
        /* A kept mark may move; a stripped one only counts where nothing moves over it. */
        const bool kept = folded->kind != WB_CHAR_STRIPPED;
        return kept == (folded->combining_class == 0) ? steps[folded->kind] : STEP_FOLD;
    }
    /* only an ideograph is set apart by spaces */
    return count == 3 && folded[0].kind == WB_CHAR_SPACE ? STEP_IDEOGRAPH : STEP_FOLD;
}

/* Step << 24 | what the code point turns into. Threads that meet one together learn the same. */
static uint32_t look_at(const wb_tokenizer *t, uint32_t code) {
    if (code >= BASIC_PLANE) {
        return (uint32_t)STEP_FOLD << 24;
    }
    uint32_t look = atomic_load_explicit(&t->plane[code], memory_order_relaxed);
    if (look == 0) {
        wb_folded folded[WB_FOLDED_MOST] = {0};
        const int count = wb_unicode_fold(code, t->spec.rules, folded);
        const step what = step_of(folded, count);
        look = (uint32_t)what << 24 | folded[what == STEP_IDEOGRAPH ? 1 : 0].code;
        atomic_store_explicit(&t->plane[code], look, memory_order_relaxed);
    }
    return look;
}

static wb_status fill_tables(wb_tokenizer *t) {
    wb_status status = WB_OK;
    t->plane = calloc(BASIC_PLANE, sizeof(*t->plane));
    WB_CHECK(t->plane, WB_ERR_MEMORY, "%s: no memory for a table of characters", t->spec.source);
    memset(t->steps, STEP_FOLD, sizeof(t->steps));
    for (uint32_t byte = 0; byte < ASCII; byte++) {
        const uint32_t look = look_at(t, byte);
        t->steps[byte] = (unsigned char)(look >> 24);
        t->lower[byte] = (char)(look & 0x7F);
    }
    for (int64_t i = 0; i < t->spec.added_count; i++) {
        t->steps[(unsigned char)t->spec.added[i].text[0]] = STEP_ADDED;
    }
done:
    return status;
}

static wb_status build_tries(wb_tokenizer *t) {
    wb_status status = WB_OK;
    const wb_tokenizer_spec *spec = &t->spec;
    wb_token *sorted = malloc((size_t)spec->vocabulary * sizeof(*sorted));
    WB_CHECK(sorted, WB_ERR_MEMORY, "%s: no memory for the vocabulary", spec->source);
    /* all tokens once, to find equal ones; then those that words are made of */
    memcpy(sorted, spec->tokens, (size_t)spec->vocabulary * sizeof(*sorted));
    WB_TRY(wb_trie_build(&t->pieces, sorted, spec->vocabulary, spec->source));
    if (spec->pieces < spec->vocabulary) {
        wb_trie_clear(&t->pieces);
        memcpy(sorted, spec->tokens, (size_t)spec->pieces * sizeof(*sorted));
        WB_TRY(wb_trie_build(&t->pieces, sorted, spec->pieces, spec->source));
    }
    t->continuation = wb_trie_walk(&t->pieces, spec->prefix, strlen(spec->prefix));
    WB_TRY(wb_trie_build(&t->added, spec->added, spec->added_count, spec->source));
done:
    free(sorted);
    return status;
}

/* Whether each letter and digit is a character of words and turns into itself, or each letter into
 * the small one. */
static bool letters_are_plain(const wb_tokenizer *t) {
    bool plain = t->spec.word_chars >= WB_ASCII_WORD;
    for (int byte = 0; byte < ASCII; byte++) {
        const bool is_letter = (byte | 0x20) >= 'a' && (byte | 0x20) <= 'z';
        if (is_letter || (byte >= '0' && byte <= '9')) {
            const int wanted = is_letter ? byte | t->case_bit : byte;
            plain = plain && t->steps[byte] == STEP_WORD && t->lower[byte] == wanted;
        }
    }
    return plain;
}

/* After the tables. */
static wb_status learn_words(wb_tokenizer *t) {
    t->case_bit = t->lower['A'] == 'a' ? 0x20 : 0;
    return letters_are_plain(t) ? wb_known_words_build(&t->known, t->spec.tokens, t->spec.pieces)
                                : WB_OK;
}

wb_status wb_tokenizer_open(wb_tokenizer **tokenizer, const char *path) {
    wb_status status = WB_OK;
    *tokenizer = NULL;
    wb_tokenizer *t = calloc(1, sizeof(*t));
    WB_CHECK(t, WB_ERR_MEMORY, "%s: no memory for a tokenizer", path);
    WB_TRY(wb_tokenizer_spec_read(&t->spec, path));
    WB_TRY(build_tries(t));
    WB_TRY(fill_tables(t));
    WB_TRY(learn_words(t));
    *tokenizer = t;
    t = NULL;
done:
    wb_tokenizer_close(t);
    return status;
}

void wb_tokenizer_close(wb_tokenizer *tokenizer) {
    if (tokenizer) {
        wb_trie_clear(&tokenizer->pieces);
        wb_trie_clear(&tokenizer->added);
        wb_known_words_clear(&tokenizer->known);
        free(tokenizer->plane);
        wb_tokenizer_spec_clear(&tokenizer->spec);
        free(tokenizer);
    }
}

int64_t wb_tokenizer_vocabulary(const wb_tokenizer *tokenizer) {
    return tokenizer->spec.vocabulary;
}

wb_status wb_tokenizer_export(const wb_tokenizer *tokenizer, const char *folder) {
    return wb_tokenizer_spec_write(&tokenizer->spec, folder);
}

/* ---- From words to ids ---- */

/* Ids beyond the room are dropped. */
static void put_id(encoder *e, int32_t id) {
    if (e->count < e->room) {
        e->ids[e->count++] = id;
    }
}

/* Longest tokens first, from the front; a word that cannot be spelt is one unknown token. */
static void put_pieces(encoder *e) {
    const wb_tokenizer *t = e->tokenizer;
    const int64_t count_before = e->count;
    int32_t unit = WB_TRIE_ROOT;
    size_t used = 0;
    for (size_t at = 0; at < e->bytes; at += used) {
        const int32_t id = unit == WB_TRIE_NOWHERE ? -1
                                                   : wb_trie_longest(&t->pieces, unit, e->word + at,
                                                                     e->bytes - at, &used);
        if (id < 0) {
            e->count = count_before;
            put_id(e, t->spec.unknown);
            return;
        }
        put_id(e, id);
        unit = t->continuation;
    }
}

static void end_word(encoder *e) {
    if (e->chars > e->tokenizer->spec.word_chars) {
        put_id(e, e->tokenizer->spec.unknown);
    } else if (e->chars > 0) {
        put_pieces(e);
    }
    e->chars = 0;
    e->bytes = e->marks = 0;
}

/* ---- From characters to words ---- */

/* True where one more character may be kept; counts it in any case. */
static bool count_char(encoder *e) {
    return e->chars++ < e->tokenizer->spec.word_chars;
}

static void put_char(encoder *e, uint32_t code) {
    if (count_char(e)) {
        e->bytes += wb_utf8_encode(code, e->word + e->bytes);
    }
    e->marks = e->bytes;
}

/* Canonical order: a mark moves in front of those with a higher combining class. */
static void put_mark(encoder *e, const wb_folded *mark) {
    if (!count_char(e)) {
        return;
    }
    size_t place = e->bytes;
    while (place > e->marks) {
        size_t before = place - 1;
        while ((e->word[before] & 0xC0) == 0x80) {
            before--;
        }
        uint32_t code;
        (void)wb_utf8_decode(e->word + before, place - before, &code);
        if (wb_unicode_combining_class(code) <= mark->combining_class) {
            break;
        }
        place = before;
    }
    char bytes[CHAR_BYTES];
    const size_t length = wb_utf8_encode(mark->code, bytes);
    memmove(e->word + place + length, e->word + place, e->bytes - place);
    memcpy(e->word + place, bytes, length);
    e->bytes += length;
}

static void put_alone(encoder *e, uint32_t code) {
    end_word(e);
    put_char(e, code);
    end_word(e);
}

static void put_folded(encoder *e, const wb_folded *folded) {
    switch (folded->kind) {
    case WB_CHAR_SPACE:
        end_word(e);
        break;
    case WB_CHAR_PUNCTUATION:
        put_alone(e, folded->code);
        break;
    case WB_CHAR_STRIPPED:
        if (folded->combining_class == 0) {
            e->marks = e->bytes;
        }
        break;
    case WB_CHAR_WORD:
        if (folded->combining_class == 0) {
            put_char(e, folded->code);
        } else {
            put_mark(e, folded);
        }
        break;
    }
}

static void take_code(encoder *e, uint32_t code) {
    const uint32_t look = look_at(e->tokenizer, code);
    wb_folded folded[WB_FOLDED_MOST];
    int count = 0;
    switch ((step)(look >> 24)) {
    case STEP_WORD:
        put_char(e, look & CODE_BITS);
        break;
    case STEP_SPACE:
        end_word(e);
        break;
    case STEP_PUNCTUATION:
    case STEP_IDEOGRAPH:
        put_alone(e, look & CODE_BITS);
        break;
    case STEP_FOLD:
        count = wb_unicode_fold(code, e->tokenizer->spec.rules, folded);
        for (int i = 0; i < count; i++) {
            put_folded(e, &folded[i]);
        }
        break;
    default:
        break;
    }
}

/* ---- From bytes to characters ---- */

/* The characters of a word from text[0] on, as long as they are ASCII. Returns how many. */
static size_t take_ascii_word(encoder *e, const char *text, size_t bytes) {
    const wb_tokenizer *t = e->tokenizer;
    const int64_t left = t->spec.word_chars - e->chars;
    const size_t kept = left <= 0 ? 0 : (size_t)left < bytes ? (size_t)left : bytes;
    char *word = e->word + e->bytes;
    size_t at = 0;
    for (; at < kept && t->steps[(unsigned char)text[at]] == STEP_WORD; at++) {
        word[at] = t->lower[(unsigned char)text[at]];
    }
    e->bytes += at;
    e->marks = e->bytes;
    while (at < bytes && t->steps[(unsigned char)text[at]] == STEP_WORD) {
        at++;
    }
    e->chars += (int64_t)at;
    return at;
}

/* A word that is a token and ends where its letters do. Returns its bytes, 0 where there is none.
 */
static size_t take_known_word(encoder *e, const char *text, size_t bytes) {
    const wb_tokenizer *t = e->tokenizer;
    if (e->chars > 0 || bytes < WB_ASCII_WORD || !t->known.places) {
        return 0;
    }
    const wb_ascii_word word = wb_ascii_word_of(text, t->case_bit);
    const size_t length = (size_t)word.length;
    if (length > WB_KNOWN_WORD) {
        return 0;
    }
    const step next = (step)t->steps[(unsigned char)text[length]];
    const int32_t id =
        next == STEP_SPACE || next == STEP_PUNCTUATION ? wb_known_words_find(&t->known, &word) : -1;
    if (id < 0) {
        return 0;
    }
    put_id(e, id);
    return length;
}

/* An added token, or just a character. Returns its bytes. */
static size_t take_any(encoder *e, const char *text, size_t bytes) {
    const wb_tokenizer *t = e->tokenizer;
    size_t used = 0;
    if (t->steps[(unsigned char)text[0]] == STEP_ADDED) {
        const int32_t id = wb_trie_longest(&t->added, WB_TRIE_ROOT, text, bytes, &used);
        if (id >= 0) {
            end_word(e);
            put_id(e, id);
            return used;
        }
    }
    uint32_t code;
    used = wb_utf8_decode(text, bytes, &code);
    take_code(e, code);
    return used;
}

static void take_text(encoder *e, const char *text, size_t bytes) {
    const wb_tokenizer *t = e->tokenizer;
    size_t at = 0, used;
    while (at < bytes && e->count < e->room) {
        switch ((step)t->steps[(unsigned char)text[at]]) {
        case STEP_WORD:
            used = take_known_word(e, text + at, bytes - at);
            at += used > 0 ? used : take_ascii_word(e, text + at, bytes - at);
            break;
        case STEP_SPACE:
            end_word(e);
            at++;
            break;
        case STEP_DROP:
            at++;
            break;
        default:
            at += take_any(e, text + at, bytes - at);
            break;
        }
    }
    end_word(e);
}

wb_status wb_tokenizer_encode(const wb_tokenizer *tokenizer, const char *text, size_t bytes,
                              bool specials, int64_t max_tokens, int32_t *ids, int64_t *count) {
    const int64_t least = specials ? 2 : 0;
    if (max_tokens < least) {
        return WB_ERROR(WB_ERR_USAGE, "at most %lld tokens a text; [CLS] and [SEP] need %lld",
                        (long long)max_tokens, (long long)least);
    }
    encoder e;
    e.tokenizer = tokenizer;
    e.ids = ids;
    e.count = e.chars = 0;
    e.bytes = e.marks = 0;
    e.room = max_tokens;
    if (specials) {
        put_id(&e, tokenizer->spec.cls);
        e.room--;
    }
    take_text(&e, text, bytes);
    if (specials) {
        e.room++;
        put_id(&e, tokenizer->spec.sep);
    }
    *count = e.count;
    return WB_OK;
}
