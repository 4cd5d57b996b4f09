/* Where the time of a run goes: every moment belongs to one phase. */
#ifndef WB_TIMETABLE_H
#define WB_TIMETABLE_H

#include "comm.h"

#include <stdio.h>

/* name, what the table prints */
#define WB_PHASE_TABLE(X)                                                                          \
    X(OTHER, "other")                                                                              \
    X(READ, "read, tokenize")                                                                      \
    X(ENCODE, "encode")                                                                            \
    X(GATHER, "gather")                                                                            \
    X(LOSS, "loss")                                                                                \
    X(ENCODE_AGAIN, "encode again")                                                                \
    X(BACKWARD, "backward")                                                                        \
    X(REDUCE, "reduce")                                                                            \
    X(UPDATE, "update")                                                                            \
    X(CHECKPOINT, "checkpoint")                                                                    \
    X(EVALUATE, "evaluate")

typedef enum wb_phase {
#define WB_PHASE_ENUM(name, text) WB_PHASE_##name,
    WB_PHASE_TABLE(WB_PHASE_ENUM)
#undef WB_PHASE_ENUM
        WB_PHASES
} wb_phase;

typedef struct wb_timetable {
    double seconds[WB_PHASES];
    wb_phase current;
    double since;
} wb_timetable;

/* Local. Begins in OTHER. */
void wb_timetable_start(wb_timetable *table);

/* Local. From now on time belongs to `phase`. */
void wb_timetable_enter(wb_timetable *table, wb_phase phase);

/* Collective. Rank 0 logs least, mean and most over ranks, with notes where something can be done.
 */
wb_status wb_timetable_log(wb_timetable *table, wb_comm *comm);

#endif
