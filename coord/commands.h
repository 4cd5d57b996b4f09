/* The commands of the program, in one table. */
#ifndef WB_COMMANDS_H
#define WB_COMMANDS_H

#include "arguments.h"
#include "comm.h"

/* name, argument without dashes (or NULL), one line of help */
#define WB_COMMAND_TABLE(X)                                                                        \
    X(train, "[CONFIG.yaml]", "train a retriever, or continue: the same line does both")           \
    X(submit, "[CONFIG.yaml]", "write and submit a Slurm job that trains, requeues and continues") \
    X(halt, "RUN_DIR", "ask a run to save after its step and stop; its command continues it")      \
    X(encode, NULL, "write representations of the texts of a JSONL file")                          \
    X(search, NULL, "find the k best passages of each query, exactly")                             \
    X(eval, NULL, "measure a TREC run as trec_eval does")                                          \
    X(tokenize, NULL, "lines of text in, lines of token ids out")                                  \
    X(export, NULL, "write a run's newest checkpoint as a sentence-transformers folder")           \
    X(inspect, "PATH", "print and verify a checkpoint, a model folder or a .safetensors file")     \
    X(verify, "[CONFIG.yaml]",                                                                     \
      "prove on this model, data and machine that every layout gives one gradient")                \
    X(bench, "[CONFIG.yaml]",                                                                      \
      "measure training steps beside this machine's matrix rate; writes nothing")                  \
    X(env, NULL, "print versions, processor, memory and limits: paste it into a bug report")

typedef struct wb_command {
    const char *name, *positional, *summary;
    const wb_flag *flags;
    int flag_count;
    wb_status (*run)(const wb_arguments *arguments, wb_comm *comm); /* Collective */
    void (*more_help)(FILE *out);                                   /* or NULL */
    void (*catch_signals)(void); /* before and after MPI is initialised; or NULL */
} wb_command;

#define WB_COMMAND_DECLARE(name, positional, summary)                                              \
    extern const wb_flag wb_##name##_flags[];                                                      \
    extern const int wb_##name##_flag_count;                                                       \
    wb_status wb_command_##name(const wb_arguments *arguments, wb_comm *comm);
WB_COMMAND_TABLE(WB_COMMAND_DECLARE)
#undef WB_COMMAND_DECLARE

/* Local. The keys of a configuration, for `train --help`. */
void wb_train_help(FILE *out);

#endif
