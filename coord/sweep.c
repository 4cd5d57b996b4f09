/* Sweeps: texts of the command line to runs. */
#include "sweep.h"

#include <stdio.h>
#include <string.h>

enum { NAME_MOST = 255 }; /* what file systems allow */

wb_status wb_sweep_add(wb_sweep *sweep, const char *text) {
    wb_status status = WB_OK;
    const char *const equals = strchr(text, '=');
    WB_CHECK(equals && equals != text && equals[1] != '\0', WB_ERR_USAGE,
             "--sweep %.200s; KEY=VALUE,VALUE… is needed", text);
    WB_CHECK(strlen(text) < WB_SWEEP_TEXT, WB_ERR_USAGE, "--sweep %.60s…: longer than %d bytes",
             text, WB_SWEEP_TEXT - 1);
    WB_CHECK(sweep->key_count < WB_SWEEP_KEYS, WB_ERR_USAGE, "--sweep is given more than %d times",
             WB_SWEEP_KEYS);
    const size_t key = (size_t)(equals - text);
    WB_CHECK(key != strlen("run.dir") || strncmp(text, "run.dir", key) != 0, WB_ERR_USAGE,
             "--sweep run.dir: the folders of a sweep follow from its other keys");
    const char separator = strchr(equals, ';') ? ';' : ',';
    int count = 0;
    char *at = sweep->keys[sweep->key_count].text;
    (void)snprintf(at, WB_SWEEP_TEXT, "%s", text);
    at += key;
    while (at) {
        *at++ = '\0';
        WB_CHECK(count < WB_SWEEP_VALUES, WB_ERR_USAGE, "--sweep %.60s…: more than %d values", text,
                 WB_SWEEP_VALUES);
        sweep->keys[sweep->key_count].values[count++] = at;
        at = strchr(at, separator);
    }
    sweep->keys[sweep->key_count++].count = count;
    sweep->runs = (sweep->runs > 0 ? sweep->runs : 1) * count;
    WB_CHECK(sweep->runs <= WB_SWEEP_RUNS, WB_ERR_USAGE,
             "--sweep: %lld runs; at most %d are allowed", (long long)sweep->runs, WB_SWEEP_RUNS);
done:
    return status;
}

wb_status wb_sweep_run(const wb_sweep *sweep, int64_t number,
                       char assignments[WB_SWEEP_KEYS][WB_SWEEP_TEXT], char name[WB_SWEEP_TEXT]) {
    wb_status status = WB_OK;
    for (int k = sweep->key_count - 1; k >= 0; k--) {
        const int count = sweep->keys[k].count;
        (void)snprintf(assignments[k], WB_SWEEP_TEXT, "%s=%s", sweep->keys[k].text,
                       sweep->keys[k].values[number % count]);
        number /= count;
    }
    size_t length = 0;
    for (int k = 0; k < sweep->key_count; k++) {
        length += (size_t)snprintf(name + length, WB_SWEEP_TEXT - length, "%s%s",
                                   length > 0 ? "," : "", assignments[k]);
        WB_CHECK(length <= NAME_MOST, WB_ERR_USAGE,
                 "--sweep: %.60s… makes a folder's name longer than %d bytes", assignments[k],
                 NAME_MOST);
    }
    for (char *at = name; (at = strchr(at, '/')); at++) {
        *at = '_';
    }
done:
    return status;
}

wb_status wb_sweep_check(const wb_sweep *sweep) {
    wb_status status = WB_OK;
    char assignments[WB_SWEEP_KEYS][WB_SWEEP_TEXT], name[WB_SWEEP_TEXT], other[WB_SWEEP_TEXT];
    for (int64_t i = 0; i < sweep->runs; i++) {
        WB_TRY(wb_sweep_run(sweep, i, assignments, name));
        for (int64_t j = 0; j < i; j++) {
            WB_TRY(wb_sweep_run(sweep, j, assignments, other));
            WB_CHECK(strcmp(name, other) != 0, WB_ERR_USAGE,
                     "--sweep: two runs would share the folder %s", name);
        }
    }
done:
    return status;
}
