/* Slot sums, kept as a stack of finished subtrees, and their exchange. */
#include "ordered_sum.h"

#include "comm_private.h"
#include "units.h"

#include <stdlib.h>
#include <string.h>

enum { LEVELS = 36, PIECE = 1 << 27 }; /* depth of a stack over 2^16 slots that begins anywhere */

/* A finished subtree: slots [index << level, (index + 1) << level). */
typedef struct node {
    int level;
    int64_t index;
    float *values; /* [count] of the sum, or [piece] of a piece; NULL: no slot of it has rows */
} node;

/* Subtrees to the left of what comes next, the newest on top: levels fall from bottom to top. */
typedef struct node_stack {
    node nodes[LEVELS];
    int depth;
} node_stack;

struct wb_ordered_sum {
    wb_comm *comm;
    int64_t slots, most, count; /* floats of an array: at most, of this sum */
    node_stack stack;
    float *free_arrays[LEVELS]; /* [count] each */
    int free_count;
    int64_t next;    /* first slot of this rank that was not handed out */
    float *received; /* pieces of the other ranks' subtrees */
    MPI_Request *requests;
    int64_t request_capacity, request_count;
};

/* ---- The tree
 * -------------------------------------------------------------------------------------------- */

static void add(float *restrict to, const float *restrict from, int64_t count) {
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) {
        to[i] += from[i];
    }
}

static void give_back(wb_ordered_sum *sum, float *array) {
    if (sum && array) {
        sum->free_arrays[sum->free_count++] = array;
    }
}

/* Pushes a subtree and joins siblings while there are any: left + right, in this order. Arrays of
 * right siblings go back to `sum` where it is not NULL. */
static void push(node_stack *stack, node top, int64_t count, wb_ordered_sum *sum) {
    while (stack->depth > 0 && top.index % 2 == 1) {
        const node left = stack->nodes[stack->depth - 1];
        if (left.level != top.level || left.index != top.index - 1) {
            break;
        }
        stack->depth--;
        if (left.values && top.values) {
            add(left.values, top.values, count);
            give_back(sum, top.values);
        }
        top = (node){.level = left.level + 1,
                     .index = left.index / 2,
                     .values = left.values ? left.values : top.values};
    }
    stack->nodes[stack->depth++] = top;
}

/* The subtrees that a rank ends with, without values, and which of them have rows. */
static node_stack shape_of(const wb_ordered_sum *sum, int rank, const bool *has_rows) {
    node_stack stack = {.depth = 0};
    static float present; /* only its address counts */
    const int64_t end = wb_slot_share(sum->slots, rank + 1, sum->comm->world);
    for (int64_t s = wb_slot_share(sum->slots, rank, sum->comm->world); s < end; s++) {
        push(&stack, (node){.index = s, .values = has_rows[s] ? &present : NULL}, 0, NULL);
    }
    return stack;
}

static int levels_of(int64_t slots) {
    int levels = 0;
    while ((int64_t)1 << levels < slots) {
        levels++;
    }
    return levels;
}

/* ---- Life
 * ------------------------------------------------------------------------------------------------
 */

/* Arrays a rank may hold at once: a left subtree of each level and the newest slot. */
static int arrays_of(const wb_comm *comm, int64_t slots) {
    const int64_t most = (slots + comm->world - 1) / comm->world;
    const int arrays = 2 * levels_of(most) + 1;
    return (int64_t)arrays < most ? arrays : (int)(most > 0 ? most : 1);
}

static int64_t piece_begin(const wb_ordered_sum *sum, int rank) {
    return (int64_t)((__int128)sum->count * rank / sum->comm->world);
}

static int64_t longest_piece(const wb_comm *comm, int64_t count) {
    return count / comm->world + 1;
}

/* Subtrees of other ranks that a rank may receive a piece of. */
static int64_t nodes_received(const wb_comm *comm, int64_t slots) {
    return (int64_t)(comm->world - 1) * arrays_of(comm, slots);
}

size_t wb_ordered_sum_bytes(const wb_comm *comm, int64_t slots, int64_t count) {
    return (size_t)arrays_of(comm, slots) * wb_arena_rounded(wb_float_bytes(count)) +
           wb_arena_rounded(
               wb_float_bytes(nodes_received(comm, slots) * longest_piece(comm, count)));
}

wb_status wb_ordered_sum_create(wb_ordered_sum **sum, wb_comm *comm, int64_t slots, int64_t count,
                                wb_arena *arena) {
    wb_status status = WB_OK;
    wb_ordered_sum *made = calloc(1, sizeof(*made));
    WB_CHECK(made, WB_ERR_MEMORY, "no memory for an ordered sum");
    WB_ASSERT(slots >= comm->world && slots <= WB_MAX_SLOTS && (slots & (slots - 1)) == 0,
              "%lld slots", (long long)slots);
    *made = (wb_ordered_sum){.comm = comm, .slots = slots, .most = count};
    for (; made->free_count < arrays_of(comm, slots); made->free_count++) {
        WB_TRY(wb_arena_floats(arena, count, &made->free_arrays[made->free_count]));
    }
    const int64_t nodes = nodes_received(comm, slots), piece = longest_piece(comm, count);
    WB_TRY(wb_arena_floats(arena, nodes * piece, &made->received));
    made->request_capacity = 2 * (nodes + comm->world) * (piece / PIECE + 1);
    made->requests = calloc((size_t)made->request_capacity, sizeof(MPI_Request));
    WB_CHECK(made->requests, WB_ERR_MEMORY, "no memory for an ordered sum's requests");
    wb_ordered_sum_start(made, count);
    *sum = made;
    made = NULL;
done:
    wb_ordered_sum_destroy(made);
    return status;
}

void wb_ordered_sum_destroy(wb_ordered_sum *sum) {
    if (sum) {
        free(sum->requests);
        free(sum);
    }
}

static void forget(wb_ordered_sum *sum) {
    while (sum->stack.depth > 0) {
        give_back(sum, sum->stack.nodes[--sum->stack.depth].values);
    }
    sum->next = wb_slot_share(sum->slots, sum->comm->rank, sum->comm->world);
}

void wb_ordered_sum_start(wb_ordered_sum *sum, int64_t count) {
    WB_ASSERT(count >= 0 && count <= sum->most, "%lld of at most %lld", (long long)count,
              (long long)sum->most);
    forget(sum);
    sum->count = count;
}

/* Slots that were passed over have no rows. The newest array is joined to its siblings only when
 * the caller is done with it: at the next call. */
static void skip_to(wb_ordered_sum *sum, int64_t slot) {
    if (sum->stack.depth > 0) {
        const node newest = sum->stack.nodes[--sum->stack.depth];
        push(&sum->stack, newest, sum->count, sum);
    }
    for (; sum->next < slot; sum->next++) {
        push(&sum->stack, (node){.index = sum->next}, sum->count, sum);
    }
}

float *wb_ordered_sum_slot(wb_ordered_sum *sum, int64_t slot) {
    skip_to(sum, slot);
    WB_ASSERT(sum->free_count > 0 && sum->stack.depth < LEVELS, "slot %lld", (long long)slot);
    float *values = sum->free_arrays[--sum->free_count];
    memset(values, 0, wb_float_bytes(sum->count));
    sum->stack.nodes[sum->stack.depth++] = (node){.index = slot, .values = values};
    sum->next = slot + 1;
    return values;
}

/* ---- Exchange
 * -------------------------------------------------------------------------------------------- */

static wb_status post(wb_ordered_sum *sum, float *values, int64_t count, int rank, int tag,
                      bool sends) {
    wb_status status = WB_OK;
    for (int64_t at = 0; at < count; at += PIECE) {
        const int part = wb_int(count - at < PIECE ? count - at : PIECE);
        MPI_Request *request = &sum->requests[sum->request_count++];
        if (sends) {
            WB_TRY_MPI(MPI_Isend(values + at, part, MPI_FLOAT, rank, tag, sum->comm->mpi, request));
        } else {
            WB_TRY_MPI(MPI_Irecv(values + at, part, MPI_FLOAT, rank, tag, sum->comm->mpi, request));
        }
    }
done:
    return status;
}

/* Piece c of every subtree goes to rank c; this rank's piece of theirs lands in `received`, of
 * which `pieces` [K] then tells the places. */
static wb_status exchange(wb_ordered_sum *sum, node_stack *pieces, const bool *has_rows) {
    wb_status status = WB_OK;
    const int me = sum->comm->rank, world = sum->comm->world;
    const int64_t mine = piece_begin(sum, me + 1) - piece_begin(sum, me);
    float *place = sum->received;
    sum->request_count = 0;
    for (int r = 0; r < world; r++) {
        pieces[r] = r == me ? sum->stack : shape_of(sum, r, has_rows);
        for (int i = 0; i < pieces[r].depth; i++) {
            node *subtree = &pieces[r].nodes[i];
            if (!subtree->values) {
                continue;
            }
            if (r == me) {
                subtree->values += piece_begin(sum, me);
            } else {
                subtree->values = place;
                WB_TRY(post(sum, place, mine, r, i, false));
                place += mine;
            }
        }
    }
    for (int r = 0; r < world; r++) {
        const int64_t begin = piece_begin(sum, r), length = piece_begin(sum, r + 1) - begin;
        for (int i = 0; r != me && i < sum->stack.depth; i++) {
            if (sum->stack.nodes[i].values) {
                WB_TRY(post(sum, sum->stack.nodes[i].values + begin, length, r, i, true));
            }
        }
    }
    WB_TRY_MPI(MPI_Waitall(wb_int(sum->request_count), sum->requests, MPI_STATUSES_IGNORE));
done:
    return status;
}

/* Every rank's finished piece reaches every rank, in place. */
static wb_status spread(wb_ordered_sum *sum, float *result) {
    wb_status status = WB_OK;
    const int me = sum->comm->rank, world = sum->comm->world;
    sum->request_count = 0;
    const int64_t begin = piece_begin(sum, me), mine = piece_begin(sum, me + 1) - begin;
    for (int r = 0; r < world; r++) {
        const int64_t theirs = piece_begin(sum, r);
        if (r != me) {
            WB_TRY(post(sum, result + theirs, piece_begin(sum, r + 1) - theirs, r, LEVELS, false));
            WB_TRY(post(sum, result + begin, mine, r, LEVELS, true));
        }
    }
    WB_TRY_MPI(MPI_Waitall(wb_int(sum->request_count), sum->requests, MPI_STATUSES_IGNORE));
done:
    return status;
}

wb_status wb_ordered_sum_finish(wb_ordered_sum *sum, float *result, const bool *has_rows) {
    wb_status status = WB_OK;
    sum->comm->calls++;
    const int me = sum->comm->rank, world = sum->comm->world;
    const int64_t begin = piece_begin(sum, me), mine = piece_begin(sum, me + 1) - begin;
    node_stack whole = {.depth = 0};
    node_stack *pieces = calloc((size_t)world, sizeof(*pieces));
    WB_TRY_ALL(sum->comm,
               pieces ? WB_OK : WB_ERROR(WB_ERR_MEMORY, "no memory for %d ranks' sums", world));
    sum->comm->reductions++;
    skip_to(sum, wb_slot_share(sum->slots, me + 1, world));
    WB_TRY(exchange(sum, pieces, has_rows));
    for (int r = 0; r < world; r++) {
        for (int i = 0; i < pieces[r].depth; i++) {
            push(&whole, pieces[r].nodes[i], mine, NULL);
        }
    }
    WB_ASSERT(whole.depth == 1, "%d subtrees are left", whole.depth);
    if (whole.nodes[0].values) {
        memcpy(result + begin, whole.nodes[0].values, wb_float_bytes(mine));
    } else {
        memset(result + begin, 0, wb_float_bytes(mine));
    }
    WB_TRY(spread(sum, result));
done:
    free(pieces);
    forget(sum);
    return status;
}
