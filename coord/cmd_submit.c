/* widebatch submit: a training run, or a sweep of them, as a job of Slurm's. */
#include "commands.h"
#include "config_file.h"
#include "files.h"
#include "job_script.h"
#include "run_folder.h"
#include "slurm.h"
#include "trainer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NODES, TASKS, CPUS, SET, SWEEP, ALLOW_CHANGE, LAUNCHER, PROGRAM, PRINT, REST };
const wb_flag wb_submit_flags[] = {
    [NODES] = {"nodes", WB_FLAG_REQUIRED, "N", NULL,
               "nodes, or half as many where more are not to be had; LEAST-MOST sets both"},
    [TASKS] = {"ntasks-per-node", WB_FLAG_OPTIONAL, "N", "1", "ranks a node"},
    [CPUS] = {"cpus-per-task", WB_FLAG_OPTIONAL, "N", NULL,
              "threads a rank; without it the job takes whole nodes and shares them out"},
    [SET] = {"set", WB_FLAG_REPEATED, "KEY=VALUE", NULL, "set a key, as train does"},
    [SWEEP] = {"sweep", WB_FLAG_REPEATED, "KEY=V1,V2,...", NULL,
               "a run for each value, in RUN_DIR/KEY=VALUE; several: for each combination"},
    [ALLOW_CHANGE] = {"allow-change", WB_FLAG_OPTIONAL, "KEYS", NULL, "as train does"},
    [LAUNCHER] = {"launcher", WB_FLAG_OPTIONAL, "WHICH", "auto",
                  "srun, mpirun, or auto: srun where the cluster's Slurm was built with PMIx"},
    [PROGRAM] = {"program", WB_FLAG_OPTIONAL, "WORDS", NULL,
                 "how the job starts widebatch, as \"apptainer exec my.sif widebatch\""},
    [PRINT] = {"print", WB_FLAG_SWITCH, NULL, NULL, "print the script, submit nothing"},
    [REST] = {"", WB_FLAG_REST, "OPTION...", NULL,
              "options of sbatch, which win over the script's"},
};
const int wb_submit_flag_count = sizeof(wb_submit_flags) / sizeof(wb_submit_flags[0]);

enum { ARGUMENTS = 2 * WB_MAX_REPEATS + 3, NODES_MOST = 1000000 };

/* What a job is made of, and what of it is owned here. */
typedef struct submission {
    const wb_arguments *given;
    const char *assignments[WB_MAX_REPEATS + WB_SWEEP_KEYS]; /* of --set, then of a sweep's run */
    int assignment_count;
    wb_config config;
    wb_sweep sweep;
    wb_job job;
    const char *arguments[ARGUMENTS];
    char folder[WB_PATH], program[2 * WB_PATH];
} submission;

/* ---- What was asked for
 * --------------------------------------------------------------------------------- */

/* "4": 2 to 4; "3-4" as it says. */
static wb_status read_nodes(wb_job *job, const char *text) {
    wb_status status = WB_OK;
    char least[32];
    const char *const dash = strchr(text, '-');
    if (dash && dash != text && (size_t)(dash - text) < sizeof(least)) {
        (void)snprintf(least, sizeof(least), "%.*s", (int)(dash - text), text);
        WB_TRY(wb_argument_count("nodes", dash + 1, 1, NODES_MOST, &job->most_nodes));
        WB_TRY(wb_argument_count("nodes", least, 1, job->most_nodes, &job->least_nodes));
    } else {
        WB_TRY(wb_argument_count("nodes", text, 1, NODES_MOST, &job->most_nodes));
        job->least_nodes = (job->most_nodes + 1) / 2;
    }
done:
    return status;
}

static wb_status read_repeated(submission *s) {
    wb_status status = WB_OK;
    const wb_arguments *const given = s->given;
    for (int i = 0; i < given->repeats; i++) {
        if (given->repeated_flag[i] == SET) {
            s->assignments[s->assignment_count++] = given->repeated[i];
        } else {
            WB_TRY(wb_sweep_add(&s->sweep, given->repeated[i]));
        }
    }
done:
    return status;
}

static wb_status read_flags(submission *s) {
    wb_status status = WB_OK;
    const char *const *const values = s->given->values;
    wb_job *job = &s->job;
    WB_TRY(read_nodes(job, values[NODES]));
    WB_TRY(wb_argument_count("ntasks-per-node", values[TASKS], 1, 65536, &job->tasks));
    if (values[CPUS]) {
        WB_TRY(wb_argument_count("cpus-per-task", values[CPUS], 1, 65536, &job->cpus));
        job->cpus *= job->tasks;
    }
    job->launcher = values[LAUNCHER];
    WB_CHECK(strcmp(job->launcher, "auto") == 0 || strcmp(job->launcher, "srun") == 0 ||
                 strcmp(job->launcher, "mpirun") == 0,
             WB_ERR_USAGE, "--launcher %.100s; auto, srun or mpirun is needed", job->launcher);
    WB_TRY(read_repeated(s));
done:
    return status;
}

/* ---- The configuration
 * ---------------------------------------------------------------------------------- */

/* All that `train` checks before it opens model and data; `run_dir` is where the run will stand. */
static wb_status check_run(submission *s, const char *run_dir, int assignment_count) {
    wb_status status = WB_OK;
    wb_origins *origins = NULL;
    WB_TRY(wb_config_read(&s->config, &origins, s->given->positional, s->assignments,
                          assignment_count));
    WB_TRY(wb_trainer_check_paths(&s->config));
    run_dir = run_dir ? run_dir : s->config.run_dir;
    WB_TRY(wb_run_folder_check_place(run_dir));
    WB_TRY(wb_config_check_continues(&s->config, run_dir, s->given->values[ALLOW_CHANGE]));
done:
    wb_origins_destroy(origins);
    return status;
}

static wb_status check_sweep(submission *s, const char *base) {
    wb_status status = WB_OK;
    char assignments[WB_SWEEP_KEYS][WB_SWEEP_TEXT], name[WB_SWEEP_TEXT], run_dir[WB_PATH];
    for (int k = 0; k < s->sweep.key_count; k++) {
        s->assignments[s->assignment_count + k] = assignments[k];
    }
    for (int64_t i = 0; i < s->sweep.runs; i++) {
        WB_TRY(wb_sweep_run(&s->sweep, i, assignments, name));
        WB_TRY(wb_path_join(run_dir, base, "%s", name));
        WB_TRY(check_run(s, run_dir, s->assignment_count + s->sweep.key_count));
    }
done:
    return status;
}

/* ---- The job
 * -------------------------------------------------------------------------------------------- */

static void list_arguments(submission *s) {
    int count = 0;
    if (s->given->positional) {
        s->arguments[count++] = s->given->positional;
    }
    for (int i = 0; i < s->assignment_count; i++) {
        s->arguments[count++] = "--set";
        s->arguments[count++] = s->assignments[i];
    }
    if (s->given->values[ALLOW_CHANGE]) {
        s->arguments[count++] = "--allow-change";
        s->arguments[count++] = s->given->values[ALLOW_CHANGE];
    }
    s->job.arguments = s->arguments;
    s->job.argument_count = count;
}

/* Without another word for it, the job runs this very program. */
static wb_status find_program(submission *s) {
    wb_status status = WB_OK;
    char path[WB_PATH];
    FILE *out = NULL;
    s->job.program = s->given->values[PROGRAM];
    if (s->job.program) {
        goto done;
    }
    const ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
    WB_CHECK(length > 0, WB_ERR_INTERNAL, "/proc/self/exe: %s", strerror(errno));
    path[length] = '\0';
    out = fmemopen(s->program, sizeof(s->program), "w");
    WB_CHECK(out, WB_ERR_MEMORY, "no memory for the program's name");
    wb_shell_word(out, path);
    s->job.program = s->program;
done:
    if (out) {
        (void)fclose(out);
    }
    return status;
}

/* A checkpoint is parameters and two arrays of the optimizer, expected to be written at 50 MB/s; a
 * minute more, since Slurm may be late and the step must end first. */
static int64_t warn_seconds(const wb_config *config) {
    char path[WB_PATH];
    struct stat info;
    const bool known = wb_path_join(path, config->model_path, "model.safetensors") == WB_OK &&
                       stat(path, &info) == 0;
    return 60 + (known ? 2 * (int64_t)(3.0 * (double)info.st_size / 50e6) : 0);
}

static wb_status prepare(submission *s, char run_dir[WB_PATH]) {
    wb_status status = WB_OK;
    wb_job *job = &s->job;
    WB_TRY(read_flags(s));
    WB_TRY(check_run(s, NULL, s->assignment_count));
    (void)snprintf(run_dir, WB_PATH, "%s", s->config.run_dir);
    WB_CHECK(run_dir[0] != '\0', WB_ERR_CONFIG, "run.dir is empty");
    WB_TRY(check_sweep(s, run_dir));
    WB_CHECK(getcwd(s->folder, sizeof(s->folder)), WB_ERR_USAGE, "this folder: %s",
             strerror(errno));
    WB_TRY(find_program(s));
    list_arguments(s);
    job->folder = s->folder;
    job->run_dir = run_dir;
    job->warn_seconds = warn_seconds(&s->config);
    job->options = s->given->rest;
    job->option_count = s->given->rest_count;
    job->sweep = &s->sweep;
done:
    return status;
}

/* ---- Submitting
 * ----------------------------------------------------------------------------------------- */

static wb_status write_script(const wb_job *job, const char *path) {
    wb_status status = WB_OK;
    char *text = NULL;
    size_t bytes = 0;
    WB_CHECK(!wb_path_is_file(path) || wb_file_begins_with(path, "#!/bin/bash\n# widebatch: "),
             WB_ERR_USAGE,
             "%s: submit has not written it and would replace it; give it another name, or choose "
             "another run.dir",
             path);
    FILE *out = open_memstream(&text, &bytes);
    WB_CHECK(out, WB_ERR_MEMORY, "no memory for the job's script");
    WB_TRY(wb_memstream_close(out, wb_job_script_write(job, out), "the job's script"));
    WB_TRY(wb_folder_make(job->run_dir));
    WB_TRY(wb_file_write(path, text, bytes));
done:
    free(text);
    return status;
}

/* The script stays in the run folder, where Slurm's output goes too. */
static wb_status submit_job(const wb_job *job) {
    wb_status status = WB_OK;
    char path[WB_PATH], answer[512];
    int code = 0;
    WB_TRY(wb_path_join(path, job->run_dir, "job.sh"));
    WB_TRY(write_script(job, path));
    const char *const words[] = {"sbatch", "--parsable", path, NULL};
    WB_TRY(wb_slurm_call(words, false, answer, sizeof(answer), &code));
    WB_CHECK(code == 0, WB_ERR_USAGE,
             "sbatch refused the job (its words are above, its exit code was %d); the script is %s",
             code, path);
    answer[strcspn(answer, ";\n")] = '\0'; /* the cluster's name may follow */
    (void)printf("submitted job %s: %lld to %lld nodes, script %s, output %s/slurm-%s%s.out\n"
                 "stop it for good: widebatch halt %s%s (it saves), or scancel %s\n",
                 answer, (long long)job->least_nodes, (long long)job->most_nodes, path,
                 job->run_dir, answer, job->sweep->runs > 0 ? "_*" : "", job->run_dir,
                 job->sweep->runs > 0 ? "/KEY=VALUE" : "", answer);
done:
    return status;
}

static wb_status submit(const wb_arguments *arguments) {
    wb_status status = WB_OK;
    char run_dir[WB_PATH];
    submission *s = calloc(1, sizeof(*s));
    WB_CHECK(s, WB_ERR_MEMORY, "no memory for the job");
    s->given = arguments;
    WB_TRY(prepare(s, run_dir));
    if (arguments->values[PRINT]) {
        WB_TRY(wb_job_script_write(&s->job, stdout));
    } else {
        WB_TRY(submit_job(&s->job));
    }
done:
    free(s);
    return status;
}

wb_status wb_command_submit(const wb_arguments *arguments, wb_comm *comm) {
    return wb_agree(comm, wb_comm_rank(comm) == 0 ? submit(arguments) : WB_OK);
}
