/* Filling in slurm/job.sh, which CMake builds in as wb_job_template. */
#include "job_script.h"

#include "files.h"
#include "hash.h"

#include <stdlib.h>
#include <string.h>

extern const char wb_job_template[];

enum { OWN_PATH = 2 * WB_PATH };

void wb_shell_word(FILE *out, const char *word) {
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "_./:=@%+-";
    if (word[0] != '\0' && word[strspn(word, plain)] == '\0') {
        (void)fputs(word, out);
        return;
    }
    (void)fputc('\'', out);
    for (; *word; word++) {
        if (*word == '\'') {
            (void)fputs("'\\''", out);
        } else {
            (void)fputc(*word, out);
        }
    }
    (void)fputc('\'', out);
}

static void words(FILE *out, const char *const *list, int count) {
    for (int i = 0; i < count; i++) {
        (void)fputs(i > 0 ? " " : "", out);
        wb_shell_word(out, list[i]);
    }
}

/* ---- Places
 * -------------------------------------------------------------------------------------------- */

/* The folder's own path, whatever it is called here, as far as it exists. */
static void own_path(char path[OWN_PATH], const wb_job *job) {
    char whole[OWN_PATH];
    const bool absolute = job->run_dir[0] == '/';
    size_t cut = (size_t)snprintf(whole, sizeof(whole), "%s%s%s", absolute ? "" : job->folder,
                                  absolute ? "" : "/", job->run_dir);
    while (cut > 1 && whole[cut - 1] == '/') {
        whole[--cut] = '\0';
    }
    for (; cut > 0; cut--) {
        const char kept = whole[cut];
        if (kept == '\0' || kept == '/') {
            whole[cut] = '\0';
            char *const found = realpath(whole, NULL);
            whole[cut] = kept;
            if (found) {
                (void)snprintf(path, OWN_PATH, "%s%s", found, whole + cut);
                free(found);
                return;
            }
        }
    }
    (void)snprintf(path, OWN_PATH, "%s", whole);
}

/* Slurm starts one job of a name at a time: a name belongs to one folder. */
static void write_name(const wb_job *job, FILE *out) {
    char path[OWN_PATH], name[80];
    own_path(path, job);
    (void)snprintf(name, sizeof(name), "%.60s-%08x", strrchr(path, '/') + 1,
                   (unsigned)wb_hash(path, strlen(path)));
    wb_shell_word(out, name);
}

static void write_nodes(const wb_job *job, FILE *out) {
    (void)fprintf(out, "%lld-%lld", (long long)job->least_nodes, (long long)job->most_nodes);
}

static void write_tasks(const wb_job *job, FILE *out) {
    (void)fprintf(out, "%lld", (long long)job->tasks);
}

static bool counts_cpus(const wb_job *job) {
    return job->cpus > 0;
}

static void write_cpus(const wb_job *job, FILE *out) {
    (void)fprintf(out, "%lld", (long long)job->cpus);
}

static bool takes_whole_nodes(const wb_job *job) {
    return job->cpus == 0;
}

static void write_whole_nodes(const wb_job *job, FILE *out) {
    (void)job;
    (void)fputs("--exclusive --mem=0", out);
}

static void write_folder(const wb_job *job, FILE *out) {
    wb_shell_word(out, job->folder);
}

/* In a name of an output file, % begins a place of Slurm's. */
static void write_output(const wb_job *job, FILE *out) {
    char path[2 * WB_PATH + 32];
    size_t length = 0;
    for (const char *at = job->run_dir; *at && length < 2 * WB_PATH - 2; at++) {
        path[length++] = *at;
        if (*at == '%') {
            path[length++] = '%';
        }
    }
    (void)snprintf(path + length, sizeof(path) - length, "/slurm-%s.out",
                   job->sweep->runs > 0 ? "%A_%a" : "%j");
    wb_shell_word(out, path);
}

static void write_signal(const wb_job *job, FILE *out) {
    (void)fprintf(out, "%lld", (long long)job->warn_seconds);
}

static bool is_sweep(const wb_job *job) {
    return job->sweep->runs > 0;
}

static void write_array(const wb_job *job, FILE *out) {
    (void)fprintf(out, "0-%lld", (long long)job->sweep->runs - 1);
}

static bool has_options(const wb_job *job) {
    return job->option_count > 0;
}

static void write_options(const wb_job *job, FILE *out) {
    words(out, job->options, job->option_count);
}

static void write_program(const wb_job *job, FILE *out) {
    (void)fputs(job->program, out);
}

static void write_arguments(const wb_job *job, FILE *out) {
    words(out, job->arguments, job->argument_count);
}

static void write_run(const wb_job *job, FILE *out) {
    wb_shell_word(out, job->run_dir);
}

/* What each task of the array adds. Names were checked before (wb_sweep_check). */
static void write_sweep(const wb_job *job, FILE *out) {
    char assignments[WB_SWEEP_KEYS][WB_SWEEP_TEXT], name[WB_SWEEP_TEXT];
    (void)fputs("case $SLURM_ARRAY_TASK_ID in\n", out);
    for (int64_t i = 0; i < job->sweep->runs; i++) {
        (void)wb_sweep_run(job->sweep, i, assignments, name);
        (void)fprintf(out, "%lld) run+=/", (long long)i);
        wb_shell_word(out, name);
        (void)fputs(" arguments+=(", out);
        for (int k = 0; k < job->sweep->key_count; k++) {
            (void)fputs(k > 0 ? " --set " : "--set ", out);
            wb_shell_word(out, assignments[k]);
        }
        (void)fputs(") ;;\n", out);
    }
    (void)fputs("esac\narguments+=(--set \"run.dir=$run\")", out);
}

static void write_launcher(const wb_job *job, FILE *out) {
    (void)fputs(job->launcher, out);
}

typedef struct place {
    const char *name;
    void (*write)(const wb_job *job, FILE *out);
    bool (*is_there)(const wb_job *job); /* NULL: always */
} place;

static const place places[] = {
    {"NAME", write_name, NULL},
    {"NODES", write_nodes, NULL},
    {"TASKS", write_tasks, NULL},
    {"CPUS", write_cpus, counts_cpus},
    {"WHOLE_NODES", write_whole_nodes, takes_whole_nodes},
    {"FOLDER", write_folder, NULL},
    {"OUTPUT", write_output, NULL},
    {"SIGNAL", write_signal, NULL},
    {"ARRAY", write_array, is_sweep},
    {"OPTIONS", write_options, has_options},
    {"PROGRAM", write_program, NULL},
    {"ARGUMENTS", write_arguments, NULL},
    {"RUN", write_run, NULL},
    {"SWEEP", write_sweep, is_sweep},
    {"LAUNCHER", write_launcher, NULL},
};

/* ---- The template
 * -------------------------------------------------------------------------------------- */

/* The place that begins at `at`, an at sign, within a line; or NULL. */
static const place *place_at(const char *at) {
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        const size_t length = strlen(places[i].name);
        if (strncmp(at + 1, places[i].name, length) == 0 && at[1 + length] == '@') {
            return &places[i];
        }
    }
    return NULL;
}

static bool is_left_out(const wb_job *job, const char *line, const char *end) {
    for (const char *at = line; at < end; at++) {
        const place *const p = *at == '@' ? place_at(at) : NULL;
        if (p && p->is_there && !p->is_there(job)) {
            return true;
        }
    }
    return false;
}

static void fill_line(const wb_job *job, const char *line, const char *end, FILE *out) {
    for (const char *at = line; at < end; at++) {
        const place *const p = *at == '@' ? place_at(at) : NULL;
        if (p) {
            p->write(job, out);
            at += strlen(p->name) + 1;
        } else {
            (void)fputc(*at, out);
        }
    }
}

/* sbatch reads its lines up to the end of the line, and a backslash in its own way. */
static wb_status check_option(const char *text, const char *what) {
    return text[strcspn(text, "\n\\")] == '\0'
               ? WB_OK
               : WB_ERROR(WB_ERR_USAGE,
                          "%s: %.200s: a job script takes no backslash and no line break here",
                          what, text);
}

wb_status wb_job_script_write(const wb_job *job, FILE *out) {
    wb_status status = WB_OK;
    WB_TRY(check_option(job->folder, "this folder"));
    WB_TRY(check_option(job->run_dir, "run.dir"));
    for (int i = 0; i < job->option_count; i++) {
        WB_TRY(check_option(job->options[i], "option of sbatch"));
    }
    WB_TRY(wb_sweep_check(job->sweep));
    for (const char *line = wb_job_template; *line;) {
        const char *const end = line + strcspn(line, "\n") + 1;
        if (!is_left_out(job, line, end)) {
            fill_line(job, line, end, out);
        }
        line = end;
    }
    WB_CHECK(ferror(out) == 0, WB_ERR_DISK, "cannot write the job's script");
done:
    return status;
}
