/* MPI's beginning and end, and agreement. */
#include "comm.h"

#include "comm_private.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

wb_status wb_mpi_check(int result, const char *call, const char *file, int line) {
    if (result == MPI_SUCCESS) {
        return WB_OK;
    }
    char text[MPI_MAX_ERROR_STRING] = "unknown error";
    int length = 0;
    (void)MPI_Error_string(result, text, &length);
    return wb_error_set(WB_ERR_MPI, file, line, "%s failed: %s", call, text);
}

wb_status wb_comm_create(wb_comm **comm, int *argc, char ***argv) {
    wb_status status = WB_OK;
    MPI_Comm shared = MPI_COMM_NULL;
    int provided;
    wb_comm *made = calloc(1, sizeof(*made));
    WB_CHECK(made, WB_ERR_MEMORY, "no memory for the communicator");
    WB_TRY_MPI(MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided));
    WB_TRY_MPI(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    WB_CHECK(provided >= MPI_THREAD_FUNNELED, WB_ERR_MPI,
             "this MPI library has no thread support (MPI_THREAD_FUNNELED)");
    made->mpi = MPI_COMM_WORLD;
    made->round = MPI_REQUEST_NULL;
    WB_TRY_MPI(MPI_Comm_rank(made->mpi, &made->rank));
    WB_TRY_MPI(MPI_Comm_size(made->mpi, &made->world));
    WB_TRY_MPI(
        MPI_Comm_split_type(made->mpi, MPI_COMM_TYPE_SHARED, made->rank, MPI_INFO_NULL, &shared));
    WB_TRY_MPI(MPI_Comm_size(shared, &made->local_world));
    WB_TRY_MPI(MPI_Comm_free(&shared));
    *comm = made;
    made = NULL;
done:
    free(made);
    return status;
}

wb_status wb_comm_first(wb_comm **part, wb_comm *comm, int ranks) {
    wb_status status = WB_OK;
    *part = NULL;
    wb_comm *made = calloc(1, sizeof(*made));
    WB_CHECK(made, WB_ERR_MEMORY, "no memory for a communicator");
    const int colour = comm->rank < ranks ? 0 : MPI_UNDEFINED;
    WB_TRY_MPI(MPI_Comm_split(comm->mpi, colour, comm->rank, &made->mpi));
    if (made->mpi == MPI_COMM_NULL) {
        goto done;
    }
    WB_TRY_MPI(MPI_Comm_set_errhandler(made->mpi, MPI_ERRORS_RETURN));
    WB_TRY_MPI(MPI_Comm_size(made->mpi, &made->world));
    made->round = MPI_REQUEST_NULL;
    made->rank = comm->rank;
    made->local_world = comm->local_world < made->world ? comm->local_world : made->world;
    *part = made;
    made = NULL;
done:
    free(made);
    return status;
}

void wb_comm_destroy(wb_comm *comm) {
    if (!comm) {
        return;
    }
    if (comm->mpi == MPI_COMM_WORLD) {
        (void)MPI_Finalize();
    } else {
        (void)MPI_Comm_free(&comm->mpi);
    }
    free(comm);
}

int wb_comm_rank(const wb_comm *comm) {
    return comm->rank;
}

int wb_comm_world(const wb_comm *comm) {
    return comm->world;
}

int wb_comm_local_world(const wb_comm *comm) {
    return comm->local_world;
}

int64_t wb_comm_reductions(const wb_comm *comm) {
    return comm->reductions;
}

int64_t wb_comm_calls(const wb_comm *comm) {
    return comm->calls;
}

double wb_comm_called(const wb_comm *comm) {
    return comm->called;
}

const char *wb_comm_library(void) {
    static char text[MPI_MAX_LIBRARY_VERSION_STRING];
    int length = 0;
    (void)MPI_Get_library_version(text, &length);
    text[strcspn(text, ",\n")] = '\0';
    return text;
}

_Noreturn void wb_comm_abort(int exit_code) {
    (void)MPI_Abort(MPI_COMM_WORLD, exit_code);
    abort();
}

wb_status wb_agree(wb_comm *comm, wb_status mine) {
    int nothing = 0;
    return wb_agree_most(comm, mine, &nothing);
}

wb_status wb_agree_most(wb_comm *comm, wb_status mine, int *most) {
    wb_status status = WB_OK;
    wb_begin_call(comm);
    /* the lowest failed rank, and the most as a least; then how many failed */
    int least[2] = {mine == WB_OK ? INT_MAX : comm->rank, -*most}, failed = mine == WB_OK ? 0 : 1;
    WB_TRY_MPI(MPI_Allreduce(MPI_IN_PLACE, least, 2, MPI_INT, MPI_MIN, comm->mpi));
    const int lowest = least[0];
    *most = -least[1];
    if (lowest == INT_MAX) {
        return WB_OK;
    }
    WB_TRY_MPI(MPI_Allreduce(MPI_IN_PLACE, &failed, 1, MPI_INT, MPI_SUM, comm->mpi));
    struct {
        int status;
        char message[2048];
    } spoken = {.status = (int)mine};
    if (failed == comm->world || comm->world == 1) {
        (void)snprintf(spoken.message, sizeof(spoken.message), "%s", wb_error_message());
    } else {
        (void)snprintf(spoken.message, sizeof(spoken.message), "rank %d: %s", comm->rank,
                       wb_error_message());
    }
    WB_SENDS(&spoken, comm->rank == lowest ? sizeof(spoken) : 0);
    WB_TRY_MPI(MPI_Bcast(&spoken, (int)sizeof(spoken), MPI_BYTE, lowest, comm->mpi));
    wb_error_replace(spoken.message);
    status = (wb_status)spoken.status;
done:
    return status;
}

/* ---- Leaving work together: rounds of a reduction that does not block. All ranks take part in the
 * same rounds and hear the same, so all leave after the same one. ---- */

static wb_status open_round(wb_comm *comm, int mine, bool works) {
    wb_status status = WB_OK;
    if (comm->round == MPI_REQUEST_NULL) {
        comm->brought.most = mine;
        comm->brought.works = works ? 1 : 0;
        WB_TRY_MPI(MPI_Iallreduce(&comm->brought, &comm->heard, 2, MPI_INT, MPI_MAX, comm->mpi,
                                  &comm->round));
    }
done:
    return status;
}

wb_status wb_look(wb_comm *comm, int mine, int *most) {
    wb_status status = WB_OK;
    int is_over = 0;
    if (comm->left == 0) {
        WB_TRY(open_round(comm, mine, true));
        WB_TRY_MPI(MPI_Test(&comm->round, &is_over, MPI_STATUS_IGNORE));
        comm->left = is_over ? comm->heard.most : 0;
    }
    *most = comm->left;
done:
    return status;
}

wb_status wb_leave(wb_comm *comm, int (*mine)(void *context), void *context, int *most) {
    wb_status status = WB_OK;
    bool works = true;
    wb_begin_call(comm);
    while (works && comm->left == 0) {
        WB_TRY(open_round(comm, mine(context), false));
        WB_TRY_MPI(MPI_Wait(&comm->round, MPI_STATUS_IGNORE));
        comm->left = comm->heard.most;
        works = comm->heard.works != 0;
    }
    *most = comm->left;
    comm->left = 0;
done:
    return status;
}
