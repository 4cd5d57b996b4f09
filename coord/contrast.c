/* Exchange and loss of a step. */
#include "contrast.h"

#include "exchange.h"
#include "hash.h"
#include "infonce.h"
#include "known_passages.h"
#include "matryoshka.h"
#include "same_sum.h"
#include "units.h"

#include <string.h>

/* A slot at the width that the loss is taken at. */
typedef struct part {
    wb_slot *slot;
    const float *reps;       /* [n (1 + group), width], the slot's or `narrow` */
    float *dreps;            /* likewise */
    float *narrow, *dnarrow; /* NULL at the whole width */
    float *norms;            /* [n (1 + group)], of narrow rows before they were made unit length */
    wb_infonce_part *walk;
} part;

typedef struct contrast {
    wb_trainer *t;
    part *parts; /* [walks], this rank's, then the twin that it audits */
    int64_t count, walks, B, group, d;
    int64_t *firsts; /* [K + 1], first query of each rank */
    wb_infonce loss;
    wb_infonce_batch batch;
    wb_infonce_kept kept;
    uint64_t *query_keys, *passage_keys; /* [B], [B group], where the loss asks for them */
    int64_t window;                      /* queries that pass by at once */
    float *q, *p;                        /* [window, d], [window group, d] */
    float *guide_q, *guide_p;            /* likewise of the guide's width */
    wb_infonce_block block;              /* what passes by now: these, or NULL if not fetched */
    const wb_audit *audit;
    wb_infonce_batch again; /* as the twin sees it, which keeps no scores, with rows of its own */
    wb_infonce_row *found;  /* [B]: these */
    uint64_t seen;          /* where audited: the sum of all that has passed by */
} contrast;

static int64_t guide_width(const wb_trainer *t) {
    return wb_loss_of(t).guide_width;
}

/* ---- Memory
 * ---------------------------------------------------------------------------------------------- */

static bool masks_duplicates(const wb_trainer *t) {
    return strcmp(t->config->loss_duplicates, "mask") == 0;
}

/* Scores are kept between the walks where the loss is most of the work, as beside a static encoder,
 * and a rank's own take at most KEPT_BYTES, which 4,096 queries do. */
static bool keeps_scores(const wb_trainer *t) {
    enum { KEPT_BYTES = 80 << 20 };
    const int world = wb_comm_world(t->comm);
    const int64_t own_slots = (t->slot_total + world - 1) / world;
    const int64_t n = own_slots * wb_slot_most_rows(t);
    const wb_infonce loss = wb_loss_of(t);
    return t->model.folder.spec.kind == WB_ENCODER_STATIC && n < KEPT_BYTES &&
           wb_infonce_kept_bytes(&loss, n) <= KEPT_BYTES;
}

/* Queries of a window: the whole batch if memory.gather holds it. */
static int64_t window_of(const wb_trainer *t, int64_t B) {
    const int64_t vectors = t->model.folder.spec.hidden + guide_width(t);
    const int64_t each = (1 + t->shape.group) * vectors * (int64_t)sizeof(float);
    const int64_t fit = (int64_t)t->config->memory_gather / each / WB_INFONCE_TILE;
    const int64_t window = (fit > 1 ? fit : 1) * WB_INFONCE_TILE;
    return window < B ? window : B;
}

static size_t narrow_bytes(const wb_trainer *t, int64_t n) {
    const int64_t sequences = n * (1 + t->shape.group), d = t->model.folder.spec.hidden;
    return t->widths.count > 0 ? 2 * wb_float_bytes(sequences * (d + 1)) : 0;
}

size_t wb_contrast_bytes(const wb_trainer *t, int64_t n, int64_t slots) {
    const int64_t B = t->config->batch_size, group = t->shape.group;
    const int64_t d = t->model.folder.spec.hidden, window = window_of(t, B);
    const wb_infonce loss = wb_loss_of(t);
    const size_t passing = wb_float_bytes(window * (1 + group) * (d + guide_width(t)));
    const size_t numbers =
        (size_t)B * sizeof(wb_infonce_row) + (size_t)(B * (1 + group)) * sizeof(uint64_t) +
        (t->shape.positives > 0 ? wb_known_passages_bytes(B, n, group, t->shape.positives) : 0);
    const size_t walks =
        wb_infonce_part_bytes(&loss, n, n * t->shape.positives) + wb_infonce_scratch_bytes(&loss);
    const size_t kept = keeps_scores(t) ? wb_infonce_kept_bytes(&loss, n) : 0;
    const int64_t one = wb_slot_most_rows(t);
    const size_t twin = t->audits ? wb_infonce_part_bytes(&loss, one, one * t->shape.positives) +
                                        narrow_bytes(t, one) + (size_t)B * sizeof(wb_infonce_row)
                                  : 0;
    const size_t slack = ((size_t)1 << 20) + (size_t)slots * 4096; /* tables, rounding */
    return passing + numbers + narrow_bytes(t, n) + walks + kept + twin + slack;
}

static wb_status take_window(contrast *c) {
    wb_status status = WB_OK;
    wb_arena *arena = c->t->step_arena;
    const int64_t guide = guide_width(c->t);
    c->window = window_of(c->t, c->B);
    WB_TRY(wb_arena_floats(arena, c->window * c->d, &c->q));
    WB_TRY(wb_arena_floats(arena, c->window * c->group * c->d, &c->p));
    if (guide > 0) {
        WB_TRY(wb_arena_floats(arena, c->window * guide, &c->guide_q));
        WB_TRY(wb_arena_floats(arena, c->window * c->group * guide, &c->guide_p));
    }
done:
    return status;
}

static wb_status take_parts(contrast *c, wb_slot *slots) {
    wb_status status = WB_OK;
    wb_arena *arena = c->t->step_arena;
    void *taken = NULL;
    WB_TRY(wb_arena_take(arena, (size_t)c->walks * sizeof(part), &taken));
    c->parts = taken;
    for (int64_t i = 0; i < c->walks; i++) {
        part *own = &c->parts[i];
        wb_slot *slot = i < c->count ? &slots[i] : c->audit->twin;
        const int64_t rows = slot->batch.packed.n;
        *own = (part){.slot = slot};
        slot->dlog_scale = 0.0;
        if (c->t->widths.count > 0) {
            WB_TRY(wb_arena_floats(arena, rows * c->d, &own->narrow));
            WB_TRY(wb_arena_floats(arena, rows * c->d, &own->dnarrow));
            WB_TRY(wb_arena_floats(arena, rows, &own->norms));
            memset(slot->dreps, 0, wb_float_bytes(rows * c->d));
        }
    }
done:
    return status;
}

static wb_status take(contrast *c, wb_slot *slots) {
    wb_status status = WB_OK;
    wb_trainer *t = c->t;
    wb_arena *arena = t->step_arena;
    const int world = wb_comm_world(t->comm);
    void *taken = NULL;
    WB_TRY(wb_arena_int64s(arena, world + 1, &c->firsts));
    for (int r = 0; r <= world; r++) {
        c->firsts[r] = wb_slot_row(c->B, t->slot_total, wb_slot_share(t->slot_total, r, world));
    }
    WB_TRY(wb_arena_take(arena, (size_t)c->B * sizeof(*c->batch.rows), &taken));
    c->batch.rows = taken;
    WB_TRY(wb_arena_take(arena, (size_t)c->B * sizeof(uint64_t), &taken));
    c->query_keys = taken;
    WB_TRY(wb_arena_take(arena, (size_t)(c->B * c->group) * sizeof(uint64_t), &taken));
    c->passage_keys = taken;
    if (c->walks > c->count) {
        WB_TRY(wb_arena_take(arena, (size_t)c->B * sizeof(*c->found), &taken));
        c->found = taken;
    }
    WB_TRY(take_parts(c, slots));
    WB_TRY(take_window(c));
done:
    return status;
}

/* ---- Keys: which texts of the batch are equal, which are known to answer a query
 * ------------------------- */

/* Text keys of this rank's rows go to their places among all. */
static void place_keys(contrast *c) {
    for (int64_t i = 0; i < c->count; i++) {
        const wb_batch *batch = &c->parts[i].slot->batch;
        for (int64_t row = 0; row < batch->n; row++) {
            const uint64_t *keys = batch->keys + row * (1 + c->group);
            c->query_keys[batch->first + row] = keys[0];
            memcpy(c->passage_keys + (batch->first + row) * c->group, keys + 1,
                   (size_t)c->group * sizeof(*keys));
        }
    }
}

static wb_status find_known(contrast *c) {
    wb_status status = WB_OK;
    wb_trainer *t = c->t;
    wb_known_passages found = {0};
    void *taken = NULL;
    WB_TRY_ALL(t->comm,
               wb_arena_take(t->step_arena, (size_t)c->count * sizeof(wb_batch *), &taken));
    const wb_batch **own = taken;
    for (int64_t i = 0; i < c->count; i++) {
        own[i] = &c->parts[i].slot->batch;
    }
    WB_TRY(wb_known_passages_find(&found, t->comm, own, c->count, c->passage_keys, c->firsts,
                                  t->shape.positives, t->step_arena));
    c->batch.known_firsts = found.firsts;
    c->batch.known = found.known;
done:
    return status;
}

static wb_status exchange_keys(contrast *c) {
    wb_status status = WB_OK;
    wb_comm *comm = c->t->comm;
    const bool masks = masks_duplicates(c->t), looks_up = c->t->shape.positives > 0;
    const size_t key = sizeof(*c->query_keys);
    if (masks || looks_up) {
        place_keys(c);
        WB_TRY(wb_gather_rows(comm, c->query_keys, NULL, c->firsts, key));
        WB_TRY(wb_gather_rows(comm, c->passage_keys, NULL, c->firsts, key * (size_t)c->group));
    }
    if (masks) {
        c->batch.query_keys = c->query_keys;
        c->batch.passage_keys = c->passage_keys;
    }
    if (looks_up) {
        WB_TRY(find_known(c));
    }
done:
    return status;
}

/* ---- Windows
 * --------------------------------------------------------------------------------------------- */

/* Brings one side of the window to every rank: vectors that are `width` long, of queries or of
 * passages. `guide`: those of the guide. */
static wb_status fetch_side(contrast *c, float *window, bool of_passages, bool guide) {
    const int64_t begin = c->block.first, end = begin + c->block.n;
    const int64_t width = guide ? c->loss.guide_width : c->loss.width;
    const int64_t row = of_passages ? c->group * width : width;
    for (int64_t i = 0; i < c->count; i++) {
        const wb_batch *batch = &c->parts[i].slot->batch;
        const float *own = guide ? c->parts[i].slot->guide_reps : c->parts[i].reps;
        const int64_t from = batch->first > begin ? batch->first : begin;
        const int64_t to = batch->first + batch->n < end ? batch->first + batch->n : end;
        if (from < to) {
            memcpy(window + (from - begin) * row,
                   own + (of_passages ? batch->n * width : 0) + (from - batch->first) * row,
                   wb_float_bytes((to - from) * row));
        }
    }
    return wb_gather_window(c->t->comm, window, c->firsts, begin, end, wb_float_bytes(row));
}

/* Has queries begin .. begin + n pass by. What of them is here already is not fetched again. */
static wb_status fetch(contrast *c, int64_t begin, int64_t n, wb_infonce_sides sides) {
    wb_status status = WB_OK;
    wb_infonce_block *b = &c->block;
    const bool guided = c->loss.guide_width > 0;
    if (b->first != begin || b->n != n) {
        *b = (wb_infonce_block){.first = begin, .n = n};
    }
    wb_timetable_enter(&c->t->time, WB_PHASE_GATHER);
    if (sides.queries && !b->q) {
        WB_TRY(fetch_side(c, c->q, false, false));
        b->q = c->q;
    }
    if (sides.passages && !b->p) {
        WB_TRY(fetch_side(c, c->p, true, false));
        b->p = c->p;
    }
    if (guided && sides.queries && !b->guide_q) {
        WB_TRY(fetch_side(c, c->guide_q, false, true));
        b->guide_q = c->guide_q;
    }
    if (guided && sides.passages && !b->guide_p) {
        WB_TRY(fetch_side(c, c->guide_p, true, true));
        b->guide_p = c->guide_p;
    }
    wb_timetable_enter(&c->t->time, WB_PHASE_LOSS);
done:
    return status;
}

/* ---- The two walks
 * --------------------------------------------------------------------------------------- */

static float *dq_of(const part *own) {
    return own->dreps;
}

static float *dp_of(const part *own, int64_t width) {
    return own->dreps + own->slot->batch.n * width;
}

static wb_status begin(contrast *c) {
    wb_status status = WB_OK;
    const int64_t d = c->loss.width, guide = c->loss.guide_width;
    const int rank = wb_comm_rank(c->t->comm);
    const int64_t first = c->firsts[rank], rows = c->firsts[rank + 1] - first;
    if (keeps_scores(c->t) && rows > 0) {
        WB_TRY(wb_infonce_keep(&c->kept, &c->loss, first, rows, c->t->step_arena));
        c->batch.kept = &c->kept;
    }
    c->again = c->batch;
    c->again.kept = NULL;
    c->again.rows = c->found;
    for (int64_t i = 0; i < c->walks; i++) {
        part *own = &c->parts[i];
        const wb_slot *slot = own->slot;
        const int64_t n = slot->batch.n;
        const wb_infonce_block block = {.first = slot->batch.first,
                                        .n = n,
                                        .q = own->reps,
                                        .p = own->reps + n * d,
                                        .guide_q = slot->guide_reps,
                                        .guide_p = guide > 0 ? slot->guide_reps + n * guide : NULL};
        WB_TRY(wb_infonce_begin(&own->walk, &c->loss, i < c->count ? &c->batch : &c->again, &block,
                                c->t->step_arena));
    }
done:
    return status;
}

/* Over a very wide batch a slot takes minutes: the watchdog sees each of them begin. */
static wb_status meet(contrast *c) {
    wb_status status = WB_OK;
    for (int64_t i = 0; i < c->walks; i++) {
        wb_timetable_enter(&c->t->time, WB_PHASE_LOSS);
        WB_TRY(wb_infonce_meet(c->parts[i].walk, &c->block, c->t->step_arena));
    }
done:
    return status;
}

static wb_status settle(contrast *c) {
    wb_status status = WB_OK;
    for (int64_t i = 0; i < c->walks; i++) {
        const part *own = &c->parts[i];
        WB_TRY(wb_infonce_settle(own->walk, dq_of(own), dp_of(own, c->loss.width)));
    }
done:
    return status;
}

static wb_status answer(contrast *c) {
    wb_status status = WB_OK;
    for (int64_t i = 0; i < c->walks; i++) {
        wb_timetable_enter(&c->t->time, WB_PHASE_LOSS);
        const part *own = &c->parts[i];
        WB_TRY(wb_infonce_answer(own->walk, dq_of(own), dp_of(own, c->loss.width), &c->block,
                                 c->t->step_arena));
    }
done:
    return status;
}

/* Adds what is there to the sum of what was seen. */
static void see(contrast *c, const void *values, size_t bytes) {
    if (values) {
        const uint64_t sums[2] = {c->seen, wb_hash(values, bytes)};
        c->seen = wb_hash(sums, sizeof(sums));
    }
}

static void see_block(contrast *c) {
    const wb_infonce_block *b = &c->block;
    see(c, b->q, wb_float_bytes(b->n * c->loss.width));
    see(c, b->p, wb_float_bytes(b->n * c->group * c->loss.width));
    see(c, b->guide_q, wb_float_bytes(b->n * c->loss.guide_width));
    see(c, b->guide_p, wb_float_bytes(b->n * c->group * c->loss.guide_width));
}

/* Collective. The same has passed by every rank. */
static wb_status compare_seen(contrast *c) {
    char what[128];
    wb_timetable_enter(&c->t->time, WB_PHASE_COMPARE);
    (void)snprintf(what, sizeof(what),
                   "step %lld: the representations gathered are not those of the other ranks",
                   (long long)c->t->done + 1);
    return wb_same_sum(c->t->comm, c->seen, what);
}

static wb_status walk(contrast *c, wb_infonce_sides sides, wb_status (*pass)(contrast *)) {
    wb_status status = WB_OK;
    for (int64_t at = 0; at < c->B; at += c->window) {
        WB_TRY(fetch(c, at, c->B - at < c->window ? c->B - at : c->window, sides));
        WB_TRY_ALL(c->t->comm, pass(c));
        if (c->audit->due) {
            see_block(c);
        }
    }
    if (c->audit->due) {
        WB_TRY(compare_seen(c));
    }
done:
    return status;
}

/* The owner's rows of the twin are those found here, which from now on are everybody's. */
static wb_status compare_rows(contrast *c) {
    const wb_slot *twin = c->audit->twin;
    c->again.rows = c->batch.rows;
    if (twin && memcmp(c->found + twin->batch.first, c->batch.rows + twin->batch.first,
                       (size_t)twin->batch.n * sizeof(*c->found)) != 0) {
        return wb_audit_disagree(c->audit, c->t, "losses");
    }
    return WB_OK;
}

/* Both walks at one width; the loss is added up in the order of the batch. */
static wb_status contrast_once(contrast *c, double weight, double *total) {
    wb_status status = WB_OK;
    wb_trainer *t = c->t;
    const size_t mark = wb_arena_mark(t->step_arena);
    const double share = weight / (double)c->B;
    WB_TRY_ALL(t->comm, begin(c));
    WB_TRY(walk(c, wb_infonce_first_walk(&c->loss), meet));
    WB_TRY_ALL(t->comm, settle(c));
    WB_TRY(wb_gather_rows(t->comm, c->batch.rows, NULL, c->firsts, sizeof(*c->batch.rows)));
    if (c->audit->due) {
        see(c, c->batch.rows, (size_t)c->B * sizeof(*c->batch.rows));
        WB_TRY_ALL(t->comm, compare_rows(c));
    }
    WB_TRY(walk(c, wb_infonce_second_walk(&c->loss), answer));
    for (int64_t row = 0; row < c->B; row++) {
        *total += share * (double)c->batch.rows[row].loss;
    }
    for (int64_t i = 0; i < c->walks; i++) {
        wb_slot *slot = c->parts[i].slot;
        for (int64_t row = 0; row < slot->batch.n; row++) {
            slot->dlog_scale += share * c->batch.rows[slot->batch.first + row].slope;
        }
    }
done:
    wb_arena_release(t->step_arena, mark);
    return status;
}

/* The loss of first components, then the gradient back to the whole width. */
static wb_status contrast_width(contrast *c, int64_t width, double weight, double *total) {
    wb_status status = WB_OK;
    const bool unit = c->t->model.folder.spec.normalize;
    c->loss.width = width;
    c->block.q = c->block.p = NULL; /* of another width */
    for (int64_t i = 0; i < c->walks; i++) {
        part *own = &c->parts[i];
        wb_matryoshka_forward(own->narrow, unit ? own->norms : NULL, own->slot->reps,
                              own->slot->batch.packed.n, c->d, width);
        own->reps = own->narrow;
        own->dreps = own->dnarrow;
    }
    WB_TRY(contrast_once(c, weight, total));
    for (int64_t i = 0; i < c->walks; i++) {
        const part *own = &c->parts[i];
        wb_matryoshka_backward(own->slot->dreps, own->dnarrow, own->narrow,
                               unit ? own->norms : NULL, own->slot->batch.packed.n, c->d, width,
                               weight);
    }
done:
    return status;
}

static wb_status contrast_whole(contrast *c, double *total) {
    for (int64_t i = 0; i < c->walks; i++) {
        c->parts[i].reps = c->parts[i].slot->reps;
        c->parts[i].dreps = c->parts[i].slot->dreps;
    }
    return contrast_once(c, 1.0, total);
}

wb_status wb_contrast(wb_contrast_report *report, wb_trainer *t, wb_slot *slots, int64_t count,
                      int64_t B, const wb_audit *audit) {
    wb_status status = WB_OK;
    contrast c = {.t = t,
                  .count = count,
                  .walks = count + (audit->twin ? 1 : 0),
                  .B = B,
                  .group = t->shape.group,
                  .d = t->model.folder.spec.hidden,
                  .loss = wb_loss_of(t),
                  .audit = audit};
    const size_t mark = wb_arena_mark(t->step_arena);
    *report = (wb_contrast_report){0};
    c.loss.batch = B;
    wb_timetable_enter(&t->time, WB_PHASE_GATHER);
    WB_TRY_ALL(t->comm, take(&c, slots));
    WB_TRY(exchange_keys(&c));
    if (t->widths.count == 0) {
        WB_TRY(contrast_whole(&c, &report->loss));
    }
    for (int64_t k = 0; k < t->widths.count; k++) {
        WB_TRY(contrast_width(&c, t->widths.widths[k], t->widths.weights[k], &report->loss));
    }
    for (int64_t row = 0; row < B; row++) {
        report->filtered_rows += c.batch.rows[row].alone > 0.0f ? 1 : 0;
    }
done:
    wb_arena_release(t->step_arena, mark);
    return status;
}
