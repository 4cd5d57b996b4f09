/* Parsing of flags. */
#include "arguments.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The flag that `argument` ("--name" or "--name=value") names, or -1. */
static int find_flag(const wb_flag *flags, int count, const char *argument, const char **value) {
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

wb_status wb_arguments_parse(wb_arguments *a, const wb_flag *flags, int count,
                             const char *positional, int argc, char **argv) {
    wb_status status = WB_OK;
    bool given[WB_MAX_FLAGS] = {false};
    *a = (wb_arguments){0};
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "--", 2) != 0) {
            WB_CHECK(positional && !a->positional, WB_ERR_USAGE, "unexpected argument: %.200s",
                     argv[i]);
            a->positional = argv[i];
            continue;
        }
        const char *value;
        const int number = find_flag(flags, count, argv[i], &value);
        WB_CHECK(number >= 0, WB_ERR_USAGE, "unknown flag %.200s; --help lists the flags", argv[i]);
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
    for (int i = 0; i < count; i++) {
        char left[64];
        (void)snprintf(left, sizeof(left), "--%s %s", flags[i].name,
                       flags[i].metavar ? flags[i].metavar : "");
        (void)fprintf(out, "  %-24s %s", left, flags[i].help);
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
