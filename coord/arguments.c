/* Parsing of flags. */
#include "arguments.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The flag that `argument` ("--name" or "--name=value") names, or -1 for none. */
static int find_flag(const wb_flag *flags, int count, const char *argument, const char **value) {
    if (strncmp(argument, "--", 2) != 0) {
        return -1;
    }
    const size_t length = strcspn(argument + 2, "=");
    *value = argument[2 + length] == '=' ? argument + 2 + length + 1 : NULL;
    for (int i = 0; i < count; i++) {
        if (strlen(flags[i].name) == length && strncmp(flags[i].name, argument + 2, length) == 0) {
            return i;
        }
    }
    return -1;
}

static wb_status take_flag(wb_arguments *a, const wb_flag *flag, int number, const char *value) {
    if (flag->kind == WB_FLAG_REPEATED) {
        if (a->repeats == WB_MAX_REPEATS) {
            return WB_ERROR(WB_ERR_USAGE, "--%s is given more than %d times", flag->name,
                            WB_MAX_REPEATS);
        }
        a->repeated_flag[a->repeats] = number;
        a->repeated[a->repeats++] = value;
    } else {
        a->values[number] = value;
    }
    return WB_OK;
}

static const wb_flag *first_of_kind(const wb_flag *flags, int count, wb_flag_kind kind) {
    for (int i = 0; i < count; i++) {
        if (flags[i].kind == kind) {
            return &flags[i];
        }
    }
    return NULL;
}

/* "section.key=value", with dashes before it or without, and no file's name. */
static bool is_assignment(const char *argument) {
    const char *const key = argument + strspn(argument, "-");
    const size_t length = strspn(key, "abcdefghijklmnopqrstuvwxyz_.");
    const char *const dot = memchr(key, '.', length);
    return dot && dot > key && key[length] == '=' && !strstr(key, ".y");
}

/* Why an argument is none, and what may have been meant. */
static wb_status not_taken(const wb_flag *flags, int count, const char *argument) {
    const wb_flag *const repeated = first_of_kind(flags, count, WB_FLAG_REPEATED);
    const bool has_dash = argument[0] == '-';
    if (repeated && is_assignment(argument)) {
        return WB_ERROR(WB_ERR_USAGE, "unexpected argument: %.200s; a key is set by --%s %.200s",
                        argument, repeated->name, argument + strspn(argument, "-"));
    }
    if (!has_dash) {
        return WB_ERROR(WB_ERR_USAGE, "unexpected argument: %.200s", argument);
    }
    return WB_ERROR(WB_ERR_USAGE, "unknown flag %.200s; --help lists the flags%s", argument,
                    first_of_kind(flags, count, WB_FLAG_REST) ? "; options of sbatch follow --"
                                                              : "");
}

wb_status wb_arguments_parse(wb_arguments *a, const wb_flag *flags, int count,
                             const char *positional, int argc, char **argv) {
    wb_status status = WB_OK;
    bool given[WB_MAX_FLAGS] = {false};
    *a = (wb_arguments){0};
    for (int i = 0; i < argc; i++) {
        if (argv[i][0] != '-' && positional && !a->positional && !is_assignment(argv[i])) {
            a->positional = argv[i];
            continue;
        }
        const char *value = NULL;
        const int number = find_flag(flags, count, argv[i], &value);
        if (number < 0) {
            WB_TRY(not_taken(flags, count, argv[i]));
        }
        const wb_flag *flag = &flags[number];
        given[number] = true;
        if (flag->kind == WB_FLAG_REST) {
            a->rest = (const char *const *)(argv + i + 1);
            a->rest_count = argc - i - 1;
            break;
        }
        if (flag->kind == WB_FLAG_SWITCH) {
            WB_CHECK(!value, WB_ERR_USAGE, "--%s takes no value", flag->name);
            value = "";
        } else if (!value) {
            WB_CHECK(i + 1 < argc, WB_ERR_USAGE, "--%s needs a value (%s)", flag->name,
                     flag->metavar);
            value = argv[++i];
        }
        WB_TRY(take_flag(a, flag, number, value));
    }
    for (int i = 0; i < count; i++) {
        WB_CHECK(flags[i].kind != WB_FLAG_REQUIRED || given[i], WB_ERR_USAGE, "--%s %s is needed",
                 flags[i].name, flags[i].metavar);
        if (flags[i].kind == WB_FLAG_OPTIONAL && !given[i]) {
            a->values[i] = flags[i].value;
        }
    }
done:
    return status;
}

void wb_arguments_help(const wb_flag *flags, int count, FILE *out) {
    enum { LEFT = 24 };
    for (int i = 0; i < count; i++) {
        char left[64];
        const int length = snprintf(left, sizeof(left), "--%s %s", flags[i].name,
                                    flags[i].metavar ? flags[i].metavar : "");
        if (length > LEFT) { /* the help then begins a line */
            (void)fprintf(out, "  %s\n  %-*s %s", left, LEFT, "", flags[i].help);
        } else {
            (void)fprintf(out, "  %-*s %s", LEFT, left, flags[i].help);
        }
        if (flags[i].kind == WB_FLAG_REQUIRED) {
            (void)fputs(" (required)", out);
        } else if (flags[i].value) {
            (void)fprintf(out, " (default %s)", flags[i].value);
        }
        (void)fputc('\n', out);
    }
}

wb_status wb_argument_count(const char *name, const char *value, int64_t least, int64_t most,
                            int64_t *number) {
    char *end;
    errno = 0;
    const long long parsed = strtoll(value, &end, 10);
    if (end == value || *end != '\0' || errno != 0 || parsed < least || parsed > most) {
        return WB_ERROR(WB_ERR_USAGE, "--%s %.100s; an integer from %lld to %lld is needed", name,
                        value, (long long)least, (long long)most);
    }
    *number = parsed;
    return WB_OK;
}

wb_status wb_argument_check_output(const char *output, const char *input) {
    struct stat out, in;
    const bool is_same = stat(output, &out) == 0 && stat(input, &in) == 0 &&
                         out.st_dev == in.st_dev && out.st_ino == in.st_ino;
    return is_same ? WB_ERROR(WB_ERR_USAGE, "--output %s: is the file that is read; name another",
                              output)
                   : WB_OK;
}
