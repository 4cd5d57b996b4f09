/* The list of terms. */
#include "score_terms.h"

/* A block's queries, which are known by their positive. */
static wb_score_side queries_of(const wb_infonce_block *b, const wb_infonce *loss,
                                const wb_infonce_batch *batch) {
    return (wb_score_side){.first = b->first,
                           .count = b->n,
                           .reps = {b->q, b->first, loss->width, loss->width},
                           .guide = {b->guide_q, b->first, loss->guide_width, loss->guide_width},
                           .keys = batch->passage_keys,
                           .keys_apart = loss->group};
}

/* The same, known by their own text. */
static wb_score_side questions_of(const wb_infonce_block *b, const wb_infonce *loss,
                                  const wb_infonce_batch *batch) {
    wb_score_side side = queries_of(b, loss, batch);
    side.keys = batch->query_keys;
    side.keys_apart = 1;
    return side;
}

/* A block's passages, `each` of one query: all of its group, or the positive alone. */
static wb_score_side passages_of(const wb_infonce_block *b, int64_t each, const wb_infonce *loss,
                                 const wb_infonce_batch *batch) {
    const int64_t first = b->first * each, apart = loss->group / each;
    return (wb_score_side){
        .first = first,
        .count = b->n * each,
        .reps = {b->p, first, apart * loss->width, loss->width},
        .guide = {b->guide_p, first, apart * loss->guide_width, loss->guide_width},
        .keys = batch->passage_keys,
        .keys_apart = apart,
        .passages_apart = apart};
}

wb_score_walk wb_score_walk_of(const wb_infonce *loss, const wb_infonce_batch *batch,
                               const wb_infonce_block *rows, const wb_infonce_block *columns) {
    wb_score_walk walk = {.loss = loss, .batch = batch};
    const wb_score_side passages = passages_of(columns, loss->group, loss, batch);
    walk.terms[walk.count++] = (wb_score_term){.along = WB_TO_PASSAGES,
                                               .rows = queries_of(rows, loss, batch),
                                               .columns = passages,
                                               .partner = loss->group,
                                               .kept = batch->kept};
    if (loss->query_query) {
        walk.terms[walk.count++] = (wb_score_term){.along = WB_TO_PASSAGES,
                                                   .rows = questions_of(rows, loss, batch),
                                                   .columns = questions_of(columns, loss, batch),
                                                   .partner = 1};
    }
    if (loss->passage_passage) {
        walk.terms[walk.count++] = (wb_score_term){.along = WB_TO_PASSAGES,
                                                   .rows = passages_of(rows, 1, loss, batch),
                                                   .columns = passages,
                                                   .partner = loss->group};
    }
    if (loss->symmetric) {
        walk.terms[walk.count++] = (wb_score_term){.along = WB_TO_QUERIES,
                                                   .rows = passages_of(rows, 1, loss, batch),
                                                   .columns = queries_of(columns, loss, batch),
                                                   .partner = 1};
    }
    return walk;
}

/* The terms alone. */
static wb_score_walk walk_between_no_blocks(const wb_infonce *loss) {
    static const wb_infonce_batch batch = {0};
    static const wb_infonce_block block = {0};
    return wb_score_walk_of(loss, &batch, &block, &block);
}

int wb_score_terms(const wb_infonce *loss) {
    return walk_between_no_blocks(loss).count;
}

int wb_score_directions(const wb_infonce *loss) {
    return loss->symmetric ? WB_SCORE_DIRECTIONS : 1;
}

static void mark(wb_infonce_sides *seen, const wb_score_side *side) {
    if (wb_score_of_queries(side)) {
        seen->queries = true;
    } else {
        seen->passages = true;
    }
}

wb_infonce_sides wb_infonce_first_walk(const wb_infonce *loss) {
    const wb_score_walk walk = walk_between_no_blocks(loss);
    wb_infonce_sides seen = {false, false};
    for (int k = 0; k < walk.count; k++) {
        mark(&seen, &walk.terms[k].columns);
    }
    return seen;
}

wb_infonce_sides wb_infonce_second_walk(const wb_infonce *loss) {
    const wb_score_walk walk = walk_between_no_blocks(loss);
    wb_infonce_sides seen = {false, false};
    for (int k = 0; k < walk.count; k++) {
        mark(&seen, &walk.terms[k].rows);
    }
    return seen;
}
