/* Slot sums, kept as a stack of finished subtrees, and their exchange. */
#include "ordered_sum.h"

#include "comm_private.h"
#include "units.h"

#include <stdlib.h>
#include <string.h>

enum {
    LEVELS = 36,              /* depth of a stack over 2^16 slots that begins anywhere */
    BUCKET = 1 << 19,         /* floats that travel together, at least */
    BUCKET_OF_RANK = 1 << 14, /* of these, a rank's piece at least */
    MESSAGE = 15 << 10,       /* floats sent at once, at most: see post */
    TAGS = LEVELS + 1         /* messages of a bucket between two ranks: subtrees, result */
};

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

/* An addition that joins two subtrees. */
typedef struct join {
    float *to, *from;
} join;

/* Elements [begin, end) on their way. */
typedef struct bucket {
    int64_t begin, end;
    float *received; /* this rank's piece of the other ranks' subtrees, one after the other */
    enum travels { SUBTREES, RESULTS, NOTHING } travels;
    MPI_Request *requests; /* of what travels */
    int request_count;
} bucket;

struct wb_ordered_sum {
    wb_comm *comm;
    int64_t slots, most, count; /* floats of an array: at most, of this sum */
    int64_t early;              /* of these, final before the last slot */
    float *result;
    const bool *has_rows;
    node_stack stack;
    float *free_arrays[LEVELS]; /* [count] each */
    int free_count;
    int64_t next; /* first slot of this rank that was not handed out */

    bool complete;      /* no slot comes any more: the stack is what this rank ends with */
    join joins[LEVELS]; /* what completing it adds, bucket by bucket */
    int join_count;
    node_stack *pieces; /* [K], subtrees that each rank ends with */
    int64_t settled;    /* elements from here on are in buckets */
    bucket *buckets;
    int64_t bucket_count;
    float *received, *received_end;
    MPI_Request *requests;
};

/* ---- The tree
 * -------------------------------------------------------------------------------------------- */

static void add(float *restrict to, const float *restrict from, int64_t count) {
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) {
        to[i] += from[i];
    }
}

/* Pushes a subtree and joins siblings while there are any: left + right, in this order. The
 * additions are not made but listed in `joins`. Returns how many there are. */
static int push(node_stack *stack, node top, join *joins) {
    int count = 0;
    while (stack->depth > 0 && top.index % 2 == 1) {
        const node left = stack->nodes[stack->depth - 1];
        if (left.level != top.level || left.index != top.index - 1) {
            break;
        }
        stack->depth--;
        if (left.values && top.values) {
            joins[count++] = (join){.to = left.values, .from = top.values};
        }
        top = (node){.level = left.level + 1,
                     .index = left.index / 2,
                     .values = left.values ? left.values : top.values};
    }
    stack->nodes[stack->depth++] = top;
    return count;
}

static void add_joins(const join *joins, int n, int64_t begin, int64_t end) {
    for (int i = 0; i < n; i++) {
        add(joins[i].to + begin, joins[i].from + begin, end - begin);
    }
}

/* The subtrees that a rank ends with, without values; has_rows tells which of them have rows, and
 * may be NULL where that does not matter. *most becomes the most arrays that the rank holds on the
 * way: one for each subtree so far and the newest slot's. */
static node_stack shape_of(const wb_comm *comm, int64_t slots, int rank, const bool *has_rows,
                           int *most) {
    node_stack stack = {.depth = 0};
    join joins[LEVELS];
    static float present; /* only its address counts */
    const int64_t end = wb_slot_share(slots, rank + 1, comm->world);
    *most = 0;
    for (int64_t s = wb_slot_share(slots, rank, comm->world); s < end; s++) {
        float *const values = has_rows && has_rows[s] ? &present : NULL;
        *most = stack.depth + 1 > *most ? stack.depth + 1 : *most;
        (void)push(&stack, (node){.index = s, .values = values}, joins);
    }
    return stack;
}

/* ---- Life
 * ------------------------------------------------------------------------------------------------
 */

static int arrays_of(const wb_comm *comm, int64_t slots) {
    int most;
    (void)shape_of(comm, slots, comm->rank, NULL, &most);
    return most;
}

static int64_t bucket_size(const wb_comm *comm) {
    const int64_t of_ranks = (int64_t)BUCKET_OF_RANK * comm->world;
    return of_ranks > BUCKET ? of_ranks : BUCKET;
}

static int64_t buckets_of(const wb_comm *comm, int64_t count) {
    return count / bucket_size(comm) + 2; /* the early and the other elements end in short ones */
}

/* Subtrees of other ranks that this rank may receive a piece of. */
static int64_t nodes_received(const wb_comm *comm, int64_t slots) {
    int64_t nodes = 0;
    int most;
    for (int r = 0; r < comm->world; r++) {
        nodes += r != comm->rank ? shape_of(comm, slots, r, NULL, &most).depth : 0;
    }
    return nodes;
}

/* Messages that a bucket may have on their way at once: subtrees that come and go, or, which is no
 * more, a result from and to each rank. */
static int64_t requests_of(const wb_comm *comm, int64_t slots) {
    int most;
    const int64_t own = shape_of(comm, slots, comm->rank, NULL, &most).depth;
    const int64_t piece = bucket_size(comm) / comm->world + 1;
    return (nodes_received(comm, slots) + (comm->world - 1) * own + 1) * (piece / MESSAGE + 1);
}

/* Floats received: pieces of each bucket are rounded up. */
static int64_t floats_received(const wb_comm *comm, int64_t slots, int64_t count) {
    return nodes_received(comm, slots) * (count / comm->world + buckets_of(comm, count));
}

size_t wb_ordered_sum_bytes(const wb_comm *comm, int64_t slots, int64_t count) {
    return (size_t)arrays_of(comm, slots) * wb_arena_rounded(wb_float_bytes(count)) +
           wb_arena_rounded(wb_float_bytes(floats_received(comm, slots, count)));
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
    WB_TRY(wb_arena_floats(arena, floats_received(comm, slots, count), &made->received));
    const int64_t buckets = buckets_of(comm, count), requests = requests_of(comm, slots);
    made->pieces = calloc((size_t)comm->world, sizeof(*made->pieces));
    made->buckets = calloc((size_t)buckets, sizeof(*made->buckets));
    made->requests = calloc((size_t)(buckets * requests), sizeof(*made->requests));
    WB_CHECK(made->pieces && made->buckets && made->requests, WB_ERR_MEMORY,
             "no memory for an ordered sum of %lld buckets over %d ranks", (long long)buckets,
             comm->world);
    for (int64_t i = 0; i < buckets; i++) {
        made->buckets[i].requests = made->requests + i * requests;
    }
    *sum = made;
    made = NULL;
done:
    wb_ordered_sum_destroy(made);
    return status;
}

void wb_ordered_sum_destroy(wb_ordered_sum *sum) {
    if (sum) {
        free(sum->pieces);
        free(sum->buckets);
        free(sum->requests);
        free(sum);
    }
}

static void give_back(wb_ordered_sum *sum, float *array) {
    sum->free_arrays[sum->free_count++] = array;
}

static void give_back_joined(wb_ordered_sum *sum) {
    while (sum->join_count > 0) {
        give_back(sum, sum->joins[--sum->join_count].from);
    }
}

static void forget(wb_ordered_sum *sum) {
    while (sum->stack.depth > 0) {
        const node newest = sum->stack.nodes[--sum->stack.depth];
        if (newest.values) {
            give_back(sum, newest.values);
        }
    }
    give_back_joined(sum);
}

void wb_ordered_sum_start(wb_ordered_sum *sum, int64_t count, int64_t early, float *result,
                          const bool *has_rows) {
    WB_ASSERT(early >= 0 && early <= count && count <= sum->most, "%lld, %lld of at most %lld",
              (long long)early, (long long)count, (long long)sum->most);
    forget(sum);
    sum->next = wb_slot_share(sum->slots, sum->comm->rank, sum->comm->world);
    sum->count = sum->settled = count;
    sum->early = early;
    sum->result = result;
    sum->has_rows = has_rows;
    sum->complete = false;
    sum->bucket_count = 0;
    sum->received_end = sum->received;
}

/* The newest array is joined to its siblings only when the caller is done with it: at the next
 * call. */
static void join_newest(wb_ordered_sum *sum) {
    if (sum->stack.depth > 0) {
        const node newest = sum->stack.nodes[--sum->stack.depth];
        sum->join_count += push(&sum->stack, newest, sum->joins + sum->join_count);
    }
}

/* Slots that were passed over have no rows. */
static void pass_over(wb_ordered_sum *sum, int64_t slot) {
    for (; sum->next < slot; sum->next++) {
        sum->join_count +=
            push(&sum->stack, (node){.index = sum->next}, sum->joins + sum->join_count);
    }
}

float *wb_ordered_sum_slot(wb_ordered_sum *sum, int64_t slot) {
    join_newest(sum);
    pass_over(sum, slot);
    add_joins(sum->joins, sum->join_count, 0, sum->count);
    give_back_joined(sum);
    WB_ASSERT(!sum->complete && sum->free_count > 0 && sum->stack.depth < LEVELS, "slot %lld",
              (long long)slot);
    float *values = sum->free_arrays[--sum->free_count];
    memset(values, 0, wb_float_bytes(sum->count));
    sum->stack.nodes[sum->stack.depth++] = (node){.index = slot, .values = values};
    sum->next = slot + 1;
    return values;
}

/* ---- Exchange
 * -------------------------------------------------------------------------------------------- */

/* First element of a rank's piece of a bucket; rank == K gives its end. */
static int64_t piece_of(const wb_ordered_sum *sum, const bucket *b, int rank) {
    return b->begin + (b->end - b->begin) * rank / sum->comm->world;
}

/* In messages so short that MPI sends them straight away: a longer one is announced, answered and
 * only then sent, and each of these waits for a call of a rank that is computing. Open MPI's limit
 * for TCP is 64 KiB with its header. */
static wb_status post(const wb_ordered_sum *sum, bucket *b, float *values, int64_t count, int rank,
                      int message, bool sends) {
    wb_status status = WB_OK;
    const MPI_Comm mpi = sum->comm->mpi;
    const int tag = wb_int((b - sum->buckets) * TAGS + message);
    WB_SENDS(values, sends ? (size_t)count * sizeof(*values) : 0);
    for (int64_t at = 0; at < count; at += MESSAGE) {
        MPI_Request *request = &b->requests[b->request_count++];
        const int n = wb_int(count - at < MESSAGE ? count - at : MESSAGE);
        WB_TRY_MPI(sends ? MPI_Isend(values + at, n, MPI_FLOAT, rank, tag, mpi, request)
                         : MPI_Irecv(values + at, n, MPI_FLOAT, rank, tag, mpi, request));
    }
done:
    return status;
}

/* Piece c of every subtree goes to rank c; this rank's piece of theirs comes. */
static wb_status send_subtrees(wb_ordered_sum *sum, bucket *b) {
    wb_status status = WB_OK;
    const int me = sum->comm->rank;
    const int64_t mine = piece_of(sum, b, me + 1) - piece_of(sum, b, me);
    b->travels = SUBTREES;
    b->request_count = 0;
    b->received = sum->received_end;
    for (int r = 0; r < sum->comm->world; r++) {
        for (int i = 0; r != me && i < sum->pieces[r].depth; i++) {
            if (sum->pieces[r].nodes[i].values) {
                WB_TRY(post(sum, b, sum->received_end, mine, r, i, false));
                sum->received_end += mine;
            }
        }
    }
    for (int r = 0; r < sum->comm->world; r++) {
        const int64_t begin = piece_of(sum, b, r), count = piece_of(sum, b, r + 1) - begin;
        for (int i = 0; r != me && i < sum->stack.depth; i++) {
            if (sum->stack.nodes[i].values) {
                WB_TRY(post(sum, b, sum->stack.nodes[i].values + begin, count, r, i, true));
            }
        }
    }
done:
    return status;
}

/* This rank's piece of the sum over all ranks, from what it has and what it received. */
static void add_up(const wb_ordered_sum *sum, const bucket *b) {
    const int me = sum->comm->rank;
    const int64_t begin = piece_of(sum, b, me), mine = piece_of(sum, b, me + 1) - begin;
    node_stack whole = {.depth = 0};
    join joins[LEVELS];
    float *received = b->received;
    for (int r = 0; r < sum->comm->world; r++) {
        for (int i = 0; i < sum->pieces[r].depth; i++) {
            node subtree = sum->pieces[r].nodes[i];
            if (subtree.values && r == me) {
                subtree.values = sum->stack.nodes[i].values + begin;
            } else if (subtree.values) {
                subtree.values = received;
                received += mine;
            }
            add_joins(joins, push(&whole, subtree, joins), 0, mine);
        }
    }
    WB_ASSERT(whole.depth == 1, "%d subtrees are left", whole.depth);
    if (whole.nodes[0].values) {
        memcpy(sum->result + begin, whole.nodes[0].values, wb_float_bytes(mine));
    } else {
        memset(sum->result + begin, 0, wb_float_bytes(mine));
    }
}

/* Every rank's piece of the sum reaches every rank, in place. */
static wb_status send_results(const wb_ordered_sum *sum, bucket *b) {
    wb_status status = WB_OK;
    const int me = sum->comm->rank;
    const int64_t begin = piece_of(sum, b, me), mine = piece_of(sum, b, me + 1) - begin;
    b->travels = RESULTS;
    b->request_count = 0;
    for (int r = 0; r < sum->comm->world; r++) {
        const int64_t theirs = piece_of(sum, b, r);
        if (r != me) {
            WB_TRY(post(sum, b, sum->result + theirs, piece_of(sum, b, r + 1) - theirs, r, LEVELS,
                        false));
            WB_TRY(post(sum, b, sum->result + begin, mine, r, LEVELS, true));
        }
    }
done:
    return status;
}

/* Goes on with a bucket where what travels has arrived; waits for it where that is `awaited`. */
static wb_status move(const wb_ordered_sum *sum, bucket *b, enum travels awaited) {
    wb_status status = WB_OK;
    int arrived = 1;
    while (b->travels != NOTHING) {
        if (b->travels == awaited) {
            WB_TRY_MPI(MPI_Waitall(b->request_count, b->requests, MPI_STATUSES_IGNORE));
        } else {
            WB_TRY_MPI(MPI_Testall(b->request_count, b->requests, &arrived, MPI_STATUSES_IGNORE));
        }
        if (!arrived) {
            break;
        }
        if (b->travels == SUBTREES) {
            add_up(sum, b);
            WB_TRY(send_results(sum, b));
        } else {
            b->travels = NOTHING;
        }
    }
done:
    return status;
}

/* Elements [begin, end) leave, the last ones first, in buckets of which only the one at `begin` may
 * be short. */
static wb_status send(wb_ordered_sum *sum, int64_t begin, int64_t end) {
    wb_status status = WB_OK;
    const int64_t size = bucket_size(sum->comm);
    for (int64_t to = end; to > begin; to -= size) {
        bucket *b = &sum->buckets[sum->bucket_count++];
        b->begin = to - size > begin ? to - size : begin;
        b->end = to;
        add_joins(sum->joins, sum->join_count, b->begin, b->end);
        WB_TRY(send_subtrees(sum, b));
    }
done:
    return status;
}

static wb_status complete(wb_ordered_sum *sum) {
    wb_status status = WB_OK;
    int most;
    join_newest(sum);
    pass_over(sum, wb_slot_share(sum->slots, sum->comm->rank + 1, sum->comm->world));
    for (int r = 0; r < sum->comm->world; r++) {
        sum->pieces[r] = shape_of(sum->comm, sum->slots, r, sum->has_rows, &most);
    }
    sum->complete = true;
    WB_TRY(send(sum, 0, sum->early));
done:
    return status;
}

/* All ranks cut the same buckets, whoever settles what and when. */
wb_status wb_ordered_sum_settle(wb_ordered_sum *sum, int64_t from) {
    wb_status status = WB_OK;
    const int64_t size = bucket_size(sum->comm);
    if (!sum->complete) {
        WB_TRY(complete(sum));
    }
    const int64_t whole =
        from > sum->early ? (sum->settled - from) / size * size : sum->settled - sum->early;
    if (whole > 0) {
        WB_TRY(send(sum, sum->settled - whole, sum->settled));
        sum->settled -= whole;
    }
    for (int64_t i = 0; i < sum->bucket_count; i++) {
        WB_TRY(move(sum, &sum->buckets[i], NOTHING));
    }
done:
    return status;
}

wb_status wb_ordered_sum_finish(wb_ordered_sum *sum) {
    wb_status status = WB_OK;
    wb_begin_call(sum->comm);
    sum->comm->reductions++;
    WB_TRY(wb_ordered_sum_settle(sum, 0));
    for (int64_t i = 0; i < sum->bucket_count; i++) {
        WB_TRY(move(sum, &sum->buckets[i], SUBTREES));
    }
    for (int64_t i = 0; i < sum->bucket_count; i++) {
        WB_TRY(move(sum, &sum->buckets[i], RESULTS));
    }
done:
    forget(sum);
    return status;
}
