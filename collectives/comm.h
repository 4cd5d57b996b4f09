/* The ranks of a job and how they come to one mind.
 *
 * A rank never leaves alone: whoever may have failed in local work asks wb_agree before the next
 * collective call, and all ranks then go on or stop together, with one message.
 */
#ifndef WB_COMM_H
#define WB_COMM_H

#include "status.h"

#include <stdint.h>

typedef struct wb_comm wb_comm;

/* Collective over all processes; the first call of the program. Error: WB_ERR_MPI. */
wb_status wb_comm_create(wb_comm **comm, int *argc, char ***argv);

/* Collective on `comm`. The first `ranks` of its ranks as a communicator of their own; *part is
 * NULL on the others. Errors: WB_ERR_MPI, WB_ERR_MEMORY. */
wb_status wb_comm_first(wb_comm **part, wb_comm *comm, int ranks);

/* Collective. The one that wb_comm_create made goes last: the program then leaves MPI. NULL-safe.
 */
void wb_comm_destroy(wb_comm *comm);

/* Local. */
int wb_comm_rank(const wb_comm *comm);
int wb_comm_world(const wb_comm *comm);
int wb_comm_local_world(const wb_comm *comm); /* ranks that share this rank's memory */

/* Local. How many sums of parameter gradients over ranks there were so far. */
int64_t wb_comm_reductions(const wb_comm *comm);

/* Local. How many collective calls this rank has begun: where ranks wait for each other, one that
 * others wait for has begun fewer. Usable from another thread. */
int64_t wb_comm_calls(const wb_comm *comm);

/* Local. When it has begun the last of them, of wb_now; 0: none yet. Likewise. */
double wb_comm_called(const wb_comm *comm);

/* Local. Name and version of the MPI library. */
const char *wb_comm_library(void);

/* Local. Ends all ranks at once: only where a rank cannot reach the others' next collective. */
_Noreturn void wb_comm_abort(int exit_code);

/* Collective. WB_OK if every rank brings WB_OK; otherwise every rank gets the status and the
 * message of the lowest rank that failed ("rank R: …" where not all ranks failed). */
wb_status wb_agree(wb_comm *comm, wb_status status);

/* Collective. wb_agree, and in the same exchange *most becomes the largest that any rank brought.
 */
wb_status wb_agree_most(wb_comm *comm, wb_status status, int *most);

/* Local. Between parts of work that each rank does on its own, and that all may leave early: brings
 * `mine`, above 0 where this rank wants to leave. *most is 0, or the most that any rank brought:
 * all ranks then get to know it, and leave. Waits for nobody; a rank that has brought something
 * hears of it some looks later, as the others come by. Such work ends with wb_leave on all ranks;
 * in between there is no collective call. Error: WB_ERR_MPI. */
wb_status wb_look(wb_comm *comm, int mine, int *most);

/* Collective. This rank's part of such work is done, or left: waits for the others, who look. Until
 * they are done it goes on bringing what mine(context) says. *most: as of wb_look; 0 where all have
 * done all. Error: WB_ERR_MPI. */
wb_status wb_leave(wb_comm *comm, int (*mine)(void *context), void *context, int *most);

/* Collective. Ends in wb_agree: for a local call just before a collective one. */
#define WB_TRY_ALL(comm, call)                                                                     \
    do {                                                                                           \
        status = (call);                                                                           \
        if (status != WB_OK) {                                                                     \
            (void)wb_error_trace(status, #call, __FILE__, __LINE__);                               \
        }                                                                                          \
        status = wb_agree((comm), status);                                                         \
        if (status != WB_OK) {                                                                     \
            goto done;                                                                             \
        }                                                                                          \
    } while (0)

#endif
