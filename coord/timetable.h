/* Where the time of a run goes: every moment belongs to one phase. */
#ifndef WB_TIMETABLE_H
#define WB_TIMETABLE_H

#include "comm.h"

#include <stdio.h>

/* name, what the table prints, how many times the watchdog's patience it may take */
#define WB_PHASE_TABLE(X)                                                                          \
    X(OTHER, "other", 1)                                                                           \
    X(READ, "read, tokenize", 1)                                                                   \
    X(GUIDE, "guide", 1)                                                                           \
    X(ENCODE, "encode", 1)                                                                         \
    X(GATHER, "gather", 1)                                                                         \
    X(LOSS, "loss", 1)                                                                             \
    X(ENCODE_AGAIN, "encode again", 1)                                                             \
    X(BACKWARD, "backward", 1)                                                                     \
    X(REDUCE, "reduce", 1)                                                                         \
    X(UPDATE, "update", 1)                                                                         \
    X(COMPARE, "compare ranks", 1)                                                                 \
    X(CHECKPOINT, "checkpoint", 10)                                                                \
    X(EVALUATE, "evaluate", 10)

typedef enum wb_phase {
#define WB_PHASE_ENUM(name, text, patience) WB_PHASE_##name,
    WB_PHASE_TABLE(WB_PHASE_ENUM)
#undef WB_PHASE_ENUM
        WB_PHASES
} wb_phase;

typedef struct wb_timetable {
    double seconds[WB_PHASES];
    _Atomic wb_phase current; /* these two: read by the watchdog's thread */
    _Atomic double since;
} wb_timetable;

/* Local. As the table says. */
const char *wb_phase_name(wb_phase phase);
double wb_phase_patience(wb_phase phase);

/* Local. Begins in OTHER. */
void wb_timetable_start(wb_timetable *table);

/* Local. From now on time belongs to `phase`. */
void wb_timetable_enter(wb_timetable *table, wb_phase phase);

/* Local. The phase goes on, and one part of it is done: the watchdog's time begins anew.
 * NULL-safe. */
void wb_timetable_go_on(wb_timetable *table);

/* Collective. Rank 0 logs least, mean and most over ranks, with notes where something can be done.
 */
wb_status wb_timetable_log(wb_timetable *table, wb_comm *comm);

#endif
