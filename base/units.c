/* Units: formatting and parsing. */
#include "units.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

wb_text_number wb_bytes_text(size_t bytes) {
    static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024.0 && unit + 1 < sizeof(names) / sizeof(names[0])) {
        value /= 1024.0;
        unit++;
    }
    wb_text_number out;
    (void)snprintf(out.text, sizeof(out.text), unit == 0 ? "%.0f %s" : "%.1f %s", value,
                   names[unit]);
    return out;
}

wb_text_number wb_count_text(int64_t count) {
    char digits[24];
    const int length = snprintf(digits, sizeof(digits), "%lld", (long long)count);
    wb_text_number out;
    int to = 0;
    for (int from = 0; from < length; from++) {
        out.text[to++] = digits[from];
        const int left = length - from - 1;
        if (left > 0 && left % 3 == 0 && digits[from] != '-') {
            out.text[to++] = ',';
        }
    }
    out.text[to] = '\0';
    return out;
}

wb_text_number wb_seconds_text(double seconds) {
    wb_text_number out;
    const long whole = lround(seconds);
    if (seconds < 1.0) {
        (void)snprintf(out.text, sizeof(out.text), "%.0f ms", seconds * 1e3);
    } else if (seconds < 60.0) {
        (void)snprintf(out.text, sizeof(out.text), "%.1f s", seconds);
    } else if (seconds < 3600.0) {
        (void)snprintf(out.text, sizeof(out.text), "%ld min %02ld s", whole / 60, whole % 60);
    } else {
        (void)snprintf(out.text, sizeof(out.text), "%ld h %02ld min", whole / 3600,
                       whole / 60 % 60);
    }
    return out;
}

bool wb_parse_bytes(const char *text, size_t *bytes) {
    char *end;
    const double number = strtod(text, &end);
    if (end == text || !isfinite(number) || number < 0.0) {
        return false;
    }
    while (*end == ' ') {
        end++;
    }
    double scale = 1.0;
    const char *const letters = "KMGT";
    const char *const letter = *end ? strchr(letters, toupper((unsigned char)*end)) : NULL;
    if (letter) {
        scale = exp2(10.0 * (double)(letter - letters + 1));
        end++;
    }
    if (strcasecmp(end, "") != 0 && strcasecmp(end, "B") != 0 &&
        !(letter && strcasecmp(end, "iB") == 0)) {
        return false;
    }
    if (number * scale >= 9.2e18) {
        return false;
    }
    *bytes = (size_t)(number * scale);
    return true;
}

/* Slurm's HH:MM:SS and D-HH:MM:SS; its shorter forms mean minutes or seconds, as one knows it. */
static bool parse_clock(const char *text, double *seconds) {
    int days = 0, hours = 0, minutes = 0, rest = 0, end = 0;
    const bool with_days = strchr(text, '-') != NULL;
    const int found = with_days
                          ? sscanf(text, "%5d-%2d:%2d:%2d%n", &days, &hours, &minutes, &rest, &end)
                          : sscanf(text, "%5d:%2d:%2d%n", &hours, &minutes, &rest, &end);
    const bool whole = found == (with_days ? 4 : 3) && text[end] == '\0' &&
                       strspn(text, "0123456789-:") == strlen(text);
    if (!whole || days < 0 || hours < 0 || minutes < 0 || minutes > 59 || rest < 0 || rest > 59) {
        return false;
    }
    *seconds = 86400.0 * days + 3600.0 * hours + 60.0 * minutes + rest;
    return true;
}

bool wb_parse_seconds(const char *text, double *seconds) {
    if (strchr(text, ':')) {
        return parse_clock(text, seconds);
    }
    static const char letters[] = "dhms";
    static const double scales[] = {86400.0, 3600.0, 60.0, 1.0};
    double sum = 0.0;
    size_t next = 0; /* of the letters that may still come */
    do {
        char *end;
        const double number = isdigit((unsigned char)*text) ? strtod(text, &end) : -1.0;
        if (!(number >= 0.0 && number < 1e9)) {
            return false;
        }
        const char *const letter = *end ? strchr(letters + next, *end) : letters + 3;
        if (!letter || (*end == '\0' && next > 0)) {
            return false;
        }
        sum += number * scales[letter - letters];
        next = (size_t)(letter - letters) + 1;
        text = *end ? end + 1 : end;
    } while (*text);
    *seconds = sum;
    return true;
}

wb_host_text wb_host(void) {
    wb_host_text host = {0};
    if (gethostname(host.text, sizeof(host.text) - 1) != 0) {
        host = (wb_host_text){"unknown"};
    }
    return host;
}

double wb_now(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
