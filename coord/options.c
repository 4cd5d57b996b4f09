/* Options: parsing, ranges, printing, all from the table. */
#include "options.h"

#include "hash.h"
#include "other_names.h"
#include "unicode_text.h"
#include "units.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef enum option_kind { TEXT, CHOICE, COUNT, REAL, SIZE, TIME } option_kind;
typedef enum option_change { FIXED, ASKED, FREE } option_change;

typedef struct option {
    option_kind kind;
    const char *key;
    size_t place;      /* in wb_config */
    const char *value; /* default, as text */
    double least, most;
    const char *choices; /* "a|b|c" */
    option_change change;
    const char *help;
} option;

/* Values outside a double's 53 bits are never bounds that matter: INT64_MAX means "no upper end".
 */
#define ROW_TEXT(member, key, value, change, help)                                                 \
    {TEXT, key, offsetof(wb_config, member), value, 0, 0, NULL, change, help},
#define ROW_CHOICE(member, key, value, choices, change, help)                                      \
    {CHOICE, key, offsetof(wb_config, member), value, 0, 0, choices, change, help},
#define ROW_COUNT(member, key, value, least, most, change, help)                                   \
    {COUNT,  key, offsetof(wb_config, member), #value, (double)(least), (double)(most), NULL,      \
     change, help},
#define ROW_REAL(member, key, value, least, most, change, help)                                    \
    {REAL, key, offsetof(wb_config, member), #value, least, most, NULL, change, help},
#define ROW_SIZE(member, key, value, change, help)                                                 \
    {SIZE, key, offsetof(wb_config, member), value, 0, 0, NULL, change, help},
#define ROW_TIME(member, key, value, change, help)                                                 \
    {TIME, key, offsetof(wb_config, member), value, 0, 0, NULL, change, help},

static const option table[] = {
    WB_OPTION_TABLE(ROW_TEXT, ROW_CHOICE, ROW_COUNT, ROW_REAL, ROW_SIZE, ROW_TIME)};
enum { OPTIONS = sizeof(table) / sizeof(table[0]) };

struct wb_origins {
    char of[OPTIONS][WB_ORIGIN]; /* empty: the default */
};

static const char default_origin[] = "default";

/* ---- Values
 * ------------------------------------------------------------------------------------------- */

/* The choice of this name, in capitals or not, among "a|b|c": Python writes True. NULL for none. */
static const char *find_choice(const char *choices, const char *value) {
    const size_t length = strlen(value);
    if (length == 0 || strchr(value, '|')) {
        return NULL;
    }
    for (const char *at = choices; at; at = strchr(at, '|')) {
        at += *at == '|' ? 1 : 0;
        if (strncasecmp(at, value, length) == 0 && (at[length] == '|' || at[length] == '\0')) {
            return at;
        }
    }
    return NULL;
}

static wb_status set_count(const option *row, const char *value, const char *origin,
                           int64_t *member) {
    char *end;
    errno = 0;
    const long long number = strtoll(value, &end, 10);
    if (end == value || *end != '\0' || errno != 0) {
        return WB_ERROR(WB_ERR_CONFIG, "%s: %s = %.200s; an integer is needed", origin, row->key,
                        value);
    }
    if ((double)number < row->least || (double)number > row->most) {
        return row->most >= 0x1p62
                   ? WB_ERROR(WB_ERR_CONFIG, "%s: %s = %lld; at least %.0f is allowed", origin,
                              row->key, number, row->least)
                   : WB_ERROR(WB_ERR_CONFIG, "%s: %s = %lld; the allowed range is %.0f to %.0f",
                              origin, row->key, number, row->least, row->most);
    }
    *member = number;
    return WB_OK;
}

static wb_status set_real(const option *row, const char *value, const char *origin,
                          double *member) {
    char *end;
    const double number = strtod(value, &end);
    if (end == value || *end != '\0') {
        return WB_ERROR(WB_ERR_CONFIG, "%s: %s = %.200s; a number is needed", origin, row->key,
                        value);
    }
    if (!(number >= row->least && number <= row->most)) {
        return WB_ERROR(WB_ERR_CONFIG, "%s: %s = %.200s; the allowed range is %g to %g", origin,
                        row->key, value, row->least, row->most);
    }
    *member = number;
    return WB_OK;
}

static wb_status set_text(const option *row, const char *value, const char *origin, char *member) {
    const char *const choice = row->kind == CHOICE ? find_choice(row->choices, value) : value;
    if (!choice) {
        return WB_ERROR(WB_ERR_CONFIG, "%s: %s = %.200s; allowed are %s", origin, row->key, value,
                        row->choices);
    }
    if (strlen(value) >= WB_OPTION_TEXT) {
        return WB_ERROR(WB_ERR_CONFIG, "%s: %s has %zu characters; at most %d are allowed", origin,
                        row->key, strlen(value), WB_OPTION_TEXT - 1);
    }
    if (row->kind == TEXT && (value[0] == '$' || strncmp(value, "~/", 2) == 0)) {
        return WB_ERROR(WB_ERR_CONFIG,
                        "%s: %s = %.200s; what only a shell replaces stays as it is here: write it "
                        "in full, or --set %s=\"$HOME/...\" on the command line",
                        origin, row->key, value, row->key);
    }
    if (wb_utf8_valid(value, strlen(value)) < strlen(value)) {
        return WB_ERROR(WB_ERR_CONFIG, "%s: %s is no valid UTF-8", origin, row->key);
    }
    memcpy(member, choice, strlen(value));
    member[strlen(value)] = '\0';
    return WB_OK;
}

static wb_status set_value(wb_config *config, const option *row, const char *value,
                           const char *origin) {
    void *member = (char *)config + row->place;
    switch (row->kind) {
    case TEXT:
    case CHOICE:
        return set_text(row, value, origin, member);
    case COUNT:
        return set_count(row, value, origin, member);
    case REAL:
        return set_real(row, value, origin, member);
    case SIZE:
        return wb_parse_bytes(value, member)
                   ? WB_OK
                   : WB_ERROR(WB_ERR_CONFIG,
                              "%s: %s = %.200s; a size such as 512M or 4GiB is needed", origin,
                              row->key, value);
    case TIME:
        return wb_parse_seconds(value, member)
                   ? WB_OK
                   : WB_ERROR(WB_ERR_CONFIG,
                              "%s: %s = %.200s; a time such as 90 (seconds), 45m, 1h30m or "
                              "12:00:00 is needed",
                              origin, row->key, value);
    }
    return WB_OK;
}

static void print_value(const wb_config *config, const option *row, char *text, size_t bytes) {
    const void *member = (const char *)config + row->place;
    switch (row->kind) {
    case TEXT:
    case CHOICE:
        (void)snprintf(text, bytes, "%s", (const char *)member);
        break;
    case COUNT:
        (void)snprintf(text, bytes, "%lld", (long long)*(const int64_t *)member);
        break;
    case REAL:
    case TIME:
        (void)snprintf(text, bytes, "%.12g", *(const double *)member);
        break;
    case SIZE:
        (void)snprintf(text, bytes, "%zu", *(const size_t *)member);
        break;
    }
}

/* ---- Keys
 * --------------------------------------------------------------------------------------------- */

/* Levenshtein's distance of two keys shorter than 64 characters. */
static int distance(const char *a, const char *b) {
    int row[64];
    const int n = (int)strlen(b) < 63 ? (int)strlen(b) : 63;
    for (int j = 0; j <= n; j++) {
        row[j] = j;
    }
    for (int i = 1; a[i - 1] != '\0'; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            const int replace = diagonal + (a[i - 1] != b[j - 1]);
            const int shorter = row[j] < row[j - 1] ? row[j] : row[j - 1];
            diagonal = row[j];
            row[j] = replace < shorter + 1 ? replace : shorter + 1;
        }
    }
    return row[n];
}

static const option *find_option(const char *key) {
    for (int i = 0; i < OPTIONS; i++) {
        if (strcmp(table[i].key, key) == 0) {
            return &table[i];
        }
    }
    return NULL;
}

/* The key that a wrong one may have meant; NULL where none is near. */
static const char *nearest_key(const char *key) {
    const char *nearest = NULL;
    int least = (int)(strlen(key) < 128 ? strlen(key) : 128) / 2 + 1;
    for (int i = 0; i < OPTIONS; i++) {
        /* "temperature" should find "loss.temperature" */
        const char *const last = strchr(table[i].key, '.') + 1;
        const int whole = distance(key, table[i].key), tail = distance(key, last) + 1;
        const int away = whole < tail ? whole : tail;
        if (away < least) {
            least = away;
            nearest = table[i].key;
        }
    }
    return nearest;
}

static wb_status unknown_key(const char *origin, const char *key) {
    const wb_other_name *const other = wb_other_name_find(key);
    const char *const nearest = nearest_key(key);
    if (other && other->key) {
        return WB_ERROR(WB_ERR_CONFIG, "%s: unknown key %.100s; here it is %s%s%s", origin, key,
                        other->key, other->note ? ": " : "", other->note ? other->note : "");
    }
    if (other) {
        return WB_ERROR(WB_ERR_CONFIG, "%s: unknown key %.100s; none is needed: %s", origin, key,
                        other->note);
    }
    return nearest ? WB_ERROR(WB_ERR_CONFIG, "%s: unknown key %.100s; did you mean %s?", origin,
                              key, nearest)
                   : WB_ERROR(WB_ERR_CONFIG,
                              "%s: unknown key %.100s; widebatch train --help lists all keys",
                              origin, key);
}

wb_status wb_options_set(wb_config *config, wb_origins *origins, const char *key, const char *value,
                         const char *origin) {
    const option *row = find_option(key);
    if (!row) {
        return unknown_key(origin, key);
    }
    const wb_status status = set_value(config, row, value, origin);
    if (status == WB_OK) {
        char *of = origins->of[row - table];
        (void)snprintf(of, sizeof(origins->of[0]), "%s", origin);
    }
    return status;
}

wb_status wb_options_assign(wb_config *config, wb_origins *origins, const char *assignment) {
    char key[128];
    const char *const equals = strchr(assignment, '=');
    if (!equals || equals == assignment || (size_t)(equals - assignment) >= sizeof(key)) {
        return WB_ERROR(WB_ERR_USAGE, "--set %.200s: the form is --set key=value", assignment);
    }
    memcpy(key, assignment, (size_t)(equals - assignment));
    key[equals - assignment] = '\0';
    return wb_options_set(config, origins, key, equals + 1, "--set");
}

wb_status wb_options_defaults(wb_config *config, wb_origins **origins) {
    wb_status status = WB_OK;
    wb_origins *made = calloc(1, sizeof(*made));
    WB_CHECK(made, WB_ERR_MEMORY, "no memory for the options");
    for (int i = 0; i < OPTIONS; i++) {
        WB_TRY(set_value(config, &table[i], table[i].value, default_origin));
    }
    *origins = made;
    made = NULL;
done:
    free(made);
    return status;
}

static const char *origin_of(const wb_origins *origins, int i) {
    return origins->of[i][0] != '\0' ? origins->of[i] : default_origin;
}

void wb_origins_destroy(wb_origins *origins) {
    free(origins);
}

const char *wb_origins_of(const wb_origins *origins, const char *key) {
    const option *row = find_option(key);
    return row ? origin_of(origins, (int)(row - table)) : NULL;
}

/* ---- Printing
 * ----------------------------------------------------------------------------------------- */

/* Characters that a YAML file cannot hold, or that its lines and a terminal would change. */
static bool needs_escape(uint32_t code) {
    return code < ' ' || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029 ||
           code == 0xfeff || code == 0xfffe || code == 0xffff;
}

/* Texts stand in double quotes. */
static void write_scalar(const option *row, const char *text, FILE *out) {
    if (row->kind != TEXT) {
        (void)fputs(text, out);
        return;
    }
    (void)fputc('"', out);
    for (size_t left = strlen(text), length; left > 0; text += length, left -= length) {
        uint32_t code;
        length = wb_utf8_decode(text, left, &code);
        if (needs_escape(code)) {
            (void)fprintf(out, code < 0x100 ? "\\x%02x" : "\\u%04x", code);
            continue;
        }
        if (code == '"' || code == '\\') {
            (void)fputc('\\', out);
        }
        (void)fwrite(text, 1, length, out);
    }
    (void)fputc('"', out);
}

static void write_help(const option *row, FILE *out) {
    (void)fprintf(out, "  # %s\n", row->help);
    if (row->kind == CHOICE) {
        (void)fprintf(out, "  # one of %s\n", row->choices);
    } else if (row->kind == COUNT && row->most >= 0x1p62) {
        (void)fprintf(out, "  # at least %.0f\n", row->least);
    } else if (row->kind == COUNT) {
        (void)fprintf(out, "  # %.0f to %.0f\n", row->least, row->most);
    } else if (row->kind == REAL) {
        (void)fprintf(out, "  # %g to %g\n", row->least, row->most);
    }
}

void wb_options_write(const wb_config *config, const wb_origins *origins, FILE *out) {
    char text[WB_OPTION_TEXT];
    const char *section = "";
    for (int i = 0; i < OPTIONS; i++) {
        const size_t length = strcspn(table[i].key, ".");
        if (strncmp(section, table[i].key, length + 1) != 0) {
            (void)fprintf(out, "%s%.*s:\n", i == 0 ? "" : "\n", (int)length, table[i].key);
            section = table[i].key;
        }
        if (!origins) {
            write_help(&table[i], out);
        }
        print_value(config, &table[i], text, sizeof(text));
        (void)fprintf(out, "  %s: ", table[i].key + length + 1);
        write_scalar(&table[i], text, out);
        if (origins) {
            (void)fprintf(out, "  # %s", origin_of(origins, i));
        }
        (void)fputc('\n', out);
    }
}

/* Whether `key` is in a list of keys with commas between them. */
static bool is_in_list(const char *list, const char *key) {
    const size_t length = strlen(key);
    for (const char *at = list; at; at = strchr(at, ',')) {
        at += *at == ',' ? 1 : 0;
        if (strncmp(at, key, length) == 0 && (at[length] == ',' || at[length] == '\0')) {
            return true;
        }
    }
    return false;
}

/* Every key of the list exists and may change. */
static wb_status check_allowed(const char *list) {
    char key[64];
    for (const char *at = list; at && *at; at += strspn(at, ",")) {
        const size_t length = strcspn(at, ",");
        (void)snprintf(key, sizeof(key), "%.*s", (int)length, at);
        const option *row = find_option(key);
        if (!row) {
            return unknown_key("--allow-change", key);
        }
        if (row->change == FIXED) {
            return WB_ERROR(WB_ERR_CONFIG, "--allow-change: %s cannot change within a run", key);
        }
        at += length;
    }
    return WB_OK;
}

wb_status wb_options_check_continues(const wb_config *before, const wb_config *now,
                                     const char *where, const char *allowed) {
    wb_status status = WB_OK;
    char old[WB_OPTION_TEXT], new[WB_OPTION_TEXT];
    WB_TRY(check_allowed(allowed));
    for (int i = 0; i < OPTIONS; i++) {
        const option *row = &table[i];
        print_value(before, row, old, sizeof(old));
        print_value(now, row, new, sizeof(new));
        if (row->change == FREE || strcmp(old, new) == 0) {
            continue;
        }
        WB_CHECK(row->change == ASKED, WB_ERR_CONFIG,
                 "%s: the run began with %s = %.200s, now it is %.200s; continue with the old "
                 "value or choose another run.dir",
                 where, row->key, old, new);
        WB_CHECK(is_in_list(allowed, row->key), WB_ERR_CONFIG,
                 "%s: the run began with %s = %.200s, now it is %.200s; continue with the old "
                 "value, or say --allow-change %s",
                 where, row->key, old, new, row->key);
    }
done:
    return status;
}

/* A program that has a key more hashes the runs of one without it as that did. */
uint64_t wb_options_fixed_hash(const wb_config *config) {
    char text[OPTIONS * 64 + 10 * WB_OPTION_TEXT] = "", usual[WB_OPTION_TEXT];
    wb_config defaults;
    size_t used = 0;
    for (int i = 0; i < OPTIONS; i++) {
        const option *row = &table[i];
        const size_t key = strlen(row->key) + 1;
        if (row->change != FIXED || used + key + WB_OPTION_TEXT > sizeof(text)) {
            continue;
        }
        (void)set_value(&defaults, row, row->value, default_origin);
        print_value(&defaults, row, usual, sizeof(usual));
        print_value(config, row, text + used + key, WB_OPTION_TEXT);
        if (strcmp(text + used + key, usual) != 0) {
            memcpy(text + used, row->key, key);
            used += key + strlen(text + used + key) + 1;
        }
    }
    return wb_hash(text, used);
}
