/* Gather, reduce, broadcast, collect. */
#include "exchange.h"

#include "comm_private.h"
#include "units.h"

#include <stdlib.h>
#include <string.h>

/* Elements a single MPI call may carry: well inside int, and a bounded temporary. */
enum { PIECE = 1 << 27 };

wb_status wb_gather_rows(wb_comm *comm, void *all, const void *mine, const int64_t *firsts,
                         size_t row_bytes) {
    wb_status status = WB_OK;
    MPI_Datatype row = MPI_DATATYPE_NULL;
    int *counts = calloc(2 * (size_t)comm->world, sizeof(*counts));
    WB_TRY_ALL(comm, counts ? WB_OK : WB_ERROR(WB_ERR_MEMORY, "no memory for row counts"));
    int *places = counts + comm->world;
    for (int r = 0; r < comm->world; r++) {
        counts[r] = wb_int(firsts[r + 1] - firsts[r]);
        places[r] = wb_int(firsts[r]);
    }
    /* counted in rows, so that neither counts nor places leave int */
    WB_TRY_MPI(MPI_Type_contiguous(wb_int((int64_t)row_bytes), MPI_BYTE, &row));
    WB_TRY_MPI(MPI_Type_commit(&row));
    const char *const given = mine ? mine : (char *)all + (size_t)places[comm->rank] * row_bytes;
    WB_SENDS(given, (size_t)counts[comm->rank] * row_bytes);
    wb_begin_call(comm);
    WB_TRY_MPI(MPI_Allgatherv(mine ? mine : MPI_IN_PLACE, counts[comm->rank], row, all, counts,
                              places, row, comm->mpi));
done:
    if (row != MPI_DATATYPE_NULL) {
        (void)MPI_Type_free(&row);
    }
    free(counts);
    return status;
}

static wb_status broadcast_from(wb_comm *comm, int root, void *data, int64_t bytes) {
    wb_status status = WB_OK;
    wb_begin_call(comm);
    WB_SENDS(data, comm->rank == root ? bytes : 0);
    for (int64_t at = 0; at < bytes; at += PIECE) {
        const int64_t piece = bytes - at < PIECE ? bytes - at : PIECE;
        WB_TRY_MPI(MPI_Bcast((char *)data + at, wb_int(piece), MPI_BYTE, root, comm->mpi));
    }
done:
    return status;
}

wb_status wb_gather_window(wb_comm *comm, void *window, const int64_t *firsts, int64_t begin,
                           int64_t end, size_t row_bytes) {
    wb_status status = WB_OK;
    if (begin == firsts[0] && end == firsts[comm->world]) {
        return wb_gather_rows(comm, window, NULL, firsts, row_bytes);
    }
    for (int r = 0; r < comm->world; r++) {
        const int64_t from = firsts[r] > begin ? firsts[r] : begin;
        const int64_t to = firsts[r + 1] < end ? firsts[r + 1] : end;
        if (from < to) {
            WB_TRY(broadcast_from(comm, r, (char *)window + (size_t)(from - begin) * row_bytes,
                                  (to - from) * (int64_t)row_bytes));
        }
    }
done:
    return status;
}

wb_status wb_reduce_floats(wb_comm *comm, float *values, int64_t count) {
    wb_status status = WB_OK;
    comm->reductions++;
    wb_begin_call(comm);
    if (comm->world == 1) {
        return WB_OK;
    }
    WB_SENDS(values, (size_t)count * sizeof(*values));
    for (int64_t at = 0; at < count; at += PIECE) {
        const int64_t piece = count - at < PIECE ? count - at : PIECE;
        WB_TRY_MPI(
            MPI_Allreduce(MPI_IN_PLACE, values + at, wb_int(piece), MPI_FLOAT, MPI_SUM, comm->mpi));
    }
done:
    return status;
}

wb_status wb_reduce_spread(wb_comm *comm, double *least, double *mean, double *most,
                           const double *values, int count) {
    wb_status status = WB_OK;
    wb_begin_call(comm);
    WB_SENDS(values, (size_t)count * sizeof(*values));
    WB_TRY_MPI(MPI_Allreduce(values, least, count, MPI_DOUBLE, MPI_MIN, comm->mpi));
    WB_TRY_MPI(MPI_Allreduce(values, most, count, MPI_DOUBLE, MPI_MAX, comm->mpi));
    WB_TRY_MPI(MPI_Allreduce(values, mean, count, MPI_DOUBLE, MPI_SUM, comm->mpi));
    for (int i = 0; i < count; i++) {
        mean[i] /= (double)comm->world;
    }
done:
    return status;
}

wb_status wb_reduce_sums(wb_comm *comm, double *values, int count) {
    wb_status status = WB_OK;
    wb_begin_call(comm);
    WB_SENDS(values, (size_t)count * sizeof(*values));
    WB_TRY_MPI(MPI_Allreduce(MPI_IN_PLACE, values, count, MPI_DOUBLE, MPI_SUM, comm->mpi));
done:
    return status;
}

wb_status wb_reduce_marks(wb_comm *comm, uint8_t *marks, int64_t count) {
    wb_status status = WB_OK;
    wb_begin_call(comm);
    WB_SENDS(marks, count);
    WB_TRY_MPI(MPI_Allreduce(MPI_IN_PLACE, marks, wb_int(count), MPI_UINT8_T, MPI_MAX, comm->mpi));
done:
    return status;
}

wb_status wb_broadcast(wb_comm *comm, void *data, int64_t bytes) {
    return broadcast_from(comm, 0, data, bytes);
}

static wb_status receive(wb_comm *comm, int from, char *data, int64_t bytes) {
    wb_status status = WB_OK;
    for (int64_t at = 0; at < bytes; at += PIECE) {
        const int64_t left = bytes - at;
        WB_TRY_MPI(MPI_Recv(data + at, wb_int(left < PIECE ? left : PIECE), MPI_BYTE, from, 0,
                            comm->mpi, MPI_STATUS_IGNORE));
    }
done:
    return status;
}

static wb_status send(wb_comm *comm, int to, const char *data, int64_t bytes) {
    wb_status status = WB_OK;
    WB_SENDS(data, bytes);
    for (int64_t at = 0; at < bytes; at += PIECE) {
        const int64_t left = bytes - at;
        WB_TRY_MPI(
            MPI_Send(data + at, wb_int(left < PIECE ? left : PIECE), MPI_BYTE, to, 0, comm->mpi));
    }
done:
    return status;
}

wb_status wb_hand_over(wb_comm *comm, int from, int to, void *data, int64_t bytes) {
    wb_begin_call(comm);
    if (comm->rank == from) {
        return send(comm, to, data, bytes);
    }
    return comm->rank == to ? receive(comm, from, data, bytes) : WB_OK;
}

static wb_status receive_all(wb_comm *comm, char *all, const int64_t *sizes) {
    wb_status status = WB_OK;
    int64_t at = sizes[0];
    for (int r = 1; r < comm->world; at += sizes[r], r++) {
        WB_TRY(receive(comm, r, all + at, sizes[r]));
    }
done:
    return status;
}

wb_status wb_collect(wb_comm *comm, void **all, int64_t *sizes, const void *mine, int64_t bytes) {
    wb_status status = WB_OK;
    char *made = NULL;
    *all = NULL;
    wb_begin_call(comm);
    WB_TRY_MPI(MPI_Gather(&bytes, 1, MPI_INT64_T, sizes, 1, MPI_INT64_T, 0, comm->mpi));
    if (comm->rank == 0) {
        int64_t total = 1;
        for (int r = 0; r < comm->world; r++) {
            total += sizes[r];
        }
        made = malloc((size_t)total);
        if (!made) {
            status = WB_ERROR(WB_ERR_MEMORY, "no memory to collect %s from all ranks",
                              wb_bytes_text((size_t)total).text);
        }
    }
    WB_TRY_ALL(comm, status);
    if (comm->rank == 0) {
        if (bytes > 0) {
            memcpy(made, mine, (size_t)bytes);
        }
        WB_TRY(receive_all(comm, made, sizes));
        *all = made;
        made = NULL;
    } else {
        WB_TRY(send(comm, 0, mine, bytes));
    }
done:
    free(made);
    return status;
}
