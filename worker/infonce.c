/* InfoNCE in two walks.
 *
 * A term is a matrix of scores, rows against columns; a softmax runs along the rows of the terms of
 * its direction. The first walk takes tiles of rows along all columns, the second tiles of columns
 * along all rows, and both leave out the same places of a tile. Positives are in no tile: with
 * x = log-sum-exp of the candidates - the positive's score, the loss is log(1 + e^x), of which a
 * trained model's tiny values would leave no digits as the difference of two scores.
 */
#include "infonce.h"

#include "numbers.h"
#include "threads.h"
#include "tile_product.h"
#include "units.h"
#include "vector_math.h"

#include <string.h>

/* ROWS of the own side against TILE of the passing one: a tile of scores and both operands stay in
 * a second-level cache of 1 MiB for d = 384. In both walks the own side lies along a tile's lines:
 * its vectors are turned once for all that pass by. */
enum { ROWS = 256, TILE = WB_INFONCE_TILE };
enum { DIRECTIONS = 2, MOST_TERMS = 4 };
typedef enum direction { TO_PASSAGES, TO_QUERIES } direction;

/* One side of a score matrix, or the part of it in memory: items first .. first + count, with their
 * vectors, text keys and the guide's vectors, each so far from the next. */
typedef struct side {
    int64_t first, count;
    const float *x; /* of item `first` */
    int64_t x_apart;
    const float *guide; /* likewise, or NULL */
    int64_t guide_apart;
    const uint64_t *keys; /* of item 0, or NULL */
    int64_t keys_apart;
    int64_t passages_apart; /* item i is passage i * this; 0: items are queries */
} side;

typedef struct term {
    direction of;
    side rows, columns;
    int64_t own; /* row i's own column is i * own */
} term;

/* The terms between the rows of one block and the columns of another. */
typedef struct walk {
    const wb_infonce *loss;
    const wb_infonce_batch *batch;
    term terms[MOST_TERMS];
    int count;
    float scale; /* of every gradient: 1 / (directions B tau) */
} walk;

/* Sums over the candidates of one term that the part's rows have met. */
typedef struct sums {
    float *most;    /* [n], running maximum of scores */
    float *sum;     /* [n], of exp(score - most) */
    float *vectors; /* [n, d], of exp(score - most) column */
} sums;

struct wb_infonce_part {
    const wb_infonce *loss;
    const wb_infonce_batch *batch;
    wb_infonce_block own;
    sums of[MOST_TERMS];
    float *known; /* [known passages of its queries, d], with all_positives */
};

/* Part of a term's score matrix: its element (row, column) stands at
 * (row - first_row) * row_step + (column - first_column) * column_step. */
typedef struct tile {
    float *scores;
    float *similarities; /* of the guide, likewise; NULL: scores times tau are */
    float *turned;       /* [d, own], vectors of the own side as columns */
    float *turned_guide; /* likewise of the guide's */
    bool along_rows;     /* lines, which lie along the own side, are rows; else columns */
    int64_t first_row, rows, row_step;
    int64_t first_column, columns, column_step;
} tile;

static int64_t at_most(int64_t value, int64_t limit) {
    return value < limit ? value : limit;
}

/* Queries, known by their positive. */
static side queries_of(const wb_infonce_block *b, const walk *w) {
    return (side){b->first,
                  b->n,
                  b->q,
                  w->loss->width,
                  b->guide_q,
                  w->loss->guide_width,
                  w->batch->passage_keys,
                  w->loss->group,
                  0};
}

/* Queries, known by their own text. */
static side questions_of(const wb_infonce_block *b, const walk *w) {
    side s = queries_of(b, w);
    s.keys = w->batch->query_keys;
    s.keys_apart = 1;
    return s;
}

static side passages_of(const wb_infonce_block *b, const walk *w) {
    const int64_t g = w->loss->group;
    return (side){b->first * g,           b->n * g,   b->p,
                  w->loss->width,         b->guide_p, w->loss->guide_width,
                  w->batch->passage_keys, 1,          1};
}

static side positives_of(const wb_infonce_block *b, const walk *w) {
    const int64_t g = w->loss->group;
    return (side){b->first,
                  b->n,
                  b->p,
                  g * w->loss->width,
                  b->guide_p,
                  g * w->loss->guide_width,
                  w->batch->passage_keys,
                  g,
                  g};
}

static walk walk_of(const wb_infonce *loss, const wb_infonce_batch *batch,
                    const wb_infonce_block *rows, const wb_infonce_block *columns) {
    const int directions = loss->symmetric ? 2 : 1;
    walk w = {.loss = loss, .batch = batch};
    w.scale = (float)(1.0 / ((double)directions * (double)loss->batch * loss->temperature));
    w.terms[w.count++] =
        (term){TO_PASSAGES, queries_of(rows, &w), passages_of(columns, &w), loss->group};
    if (loss->query_query) {
        w.terms[w.count++] =
            (term){TO_PASSAGES, questions_of(rows, &w), questions_of(columns, &w), 1};
    }
    if (loss->passage_passage) {
        w.terms[w.count++] =
            (term){TO_PASSAGES, positives_of(rows, &w), passages_of(columns, &w), loss->group};
    }
    if (loss->symmetric) {
        w.terms[w.count++] = (term){TO_QUERIES, positives_of(rows, &w), queries_of(columns, &w), 1};
    }
    return w;
}

static int count_terms(const wb_infonce *loss) {
    return 1 + (loss->query_query ? 1 : 0) + (loss->passage_passage ? 1 : 0) +
           (loss->symmetric ? 1 : 0);
}

wb_infonce_sides wb_infonce_first_walk(const wb_infonce *loss) {
    return (wb_infonce_sides){.queries = loss->query_query || loss->symmetric, .passages = true};
}

wb_infonce_sides wb_infonce_second_walk(const wb_infonce *loss) {
    return (wb_infonce_sides){.queries = true,
                              .passages = loss->passage_passage || loss->symmetric};
}

static bool is_of_queries(const side *s) {
    return s->passages_apart == 0;
}

/* The vector of one item of a side. */
static const float *vector_of(const side *s, int64_t item) {
    return s->x + (item - s->first) * s->x_apart;
}

static float dot(const float *a, const float *b, int64_t n) {
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

/* y += a x */
static void add(float *y, float a, const float *x, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        y[i] += a * x[i];
    }
}

/* ---- What is left out of a tile
 * --------------------------------------------------------------------------- */

/* Nothing outside the tile is touched. */
static void leave_out(const tile *t, int64_t row, int64_t column) {
    const int64_t i = row - t->first_row, j = column - t->first_column;
    if (i >= 0 && i < t->rows && j >= 0 && j < t->columns) {
        t->scores[i * t->row_step + j * t->column_step] = -INFINITY;
    }
}

/* Pairs of equal keys; `inner` is the side whose items lie next to each other, `apart` tells how
 * far the outer ones are. */
static void leave_out_equal_keys(float *scores, int64_t apart, const side *outer,
                                 int64_t first_outer, int64_t outers, const side *inner,
                                 int64_t first_inner, int64_t inners) {
    uint64_t keys[TILE];
    for (int64_t j = 0; j < inners; j++) {
        keys[j] = inner->keys[(first_inner + j) * inner->keys_apart];
    }
    for (int64_t i = 0; i < outers; i++) {
        const uint64_t key = outer->keys[(first_outer + i) * outer->keys_apart];
        float *row = scores + i * apart;
#pragma omp simd
        for (int64_t j = 0; j < inners; j++) {
            row[j] = keys[j] == key ? -INFINITY : row[j];
        }
    }
}

/* Query `query` does not compete for passage `known`, nor for others of the same text. */
static void leave_out_known(const tile *t, const term *of, int64_t query, int64_t known) {
    const bool by_row = is_of_queries(&of->columns);
    const side *items = by_row ? &of->rows : &of->columns;
    const int64_t first = by_row ? t->first_row : t->first_column;
    const int64_t count = by_row ? t->rows : t->columns;
    for (int64_t item = first; item < first + count; item++) {
        const int64_t passage = item * items->passages_apart;
        if (passage == known || (items->keys && items->keys[passage] == items->keys[known])) {
            leave_out(t, by_row ? item : query, by_row ? query : item);
        }
    }
}

static void leave_out_all_known(const tile *t, const term *of, const wb_infonce_batch *batch) {
    const bool by_row = is_of_queries(&of->columns);
    const int64_t first = by_row ? t->first_column : t->first_row;
    const int64_t count = by_row ? t->columns : t->rows;
    for (int64_t query = first; query < first + count; query++) {
        for (int64_t k = batch->known_firsts[query]; k < batch->known_firsts[query + 1]; k++) {
            leave_out_known(t, of, query, batch->known[k]);
        }
    }
}

static double exact_dot(const float *a, const float *b, int64_t n) {
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) {
        sum += (double)a[i] * (double)b[i];
    }
    return sum;
}

/* The similarity above which a candidate of the block's row i counts as a false negative. */
static double limit_of(const wb_infonce *loss, const wb_infonce_block *own, int64_t i) {
    const int64_t g = loss->group, d = loss->guide_width > 0 ? loss->guide_width : loss->width;
    const float *const q = loss->guide_width > 0 ? own->guide_q : own->q;
    const float *const p = loss->guide_width > 0 ? own->guide_p : own->p;
    const double similarity = exact_dot(q + i * d, p + i * g * d, d);
    const double margin = loss->filter_margin;
    return similarity - (loss->filter == WB_FILTER_RELATIVE ? fabs(similarity) * margin : margin);
}

/* The sides by whose vectors the filter compares. */
static term compared_by(const term *of, const wb_infonce *loss) {
    term by = *of;
    for (int k = 0; k < 2 && loss->guide_width > 0; k++) {
        side *s = k == 0 ? &by.rows : &by.columns;
        s->x = s->guide;
        s->x_apart = s->guide_apart;
    }
    return by;
}

/* Both walks must decide alike, though their products are rounded differently: near the limit one
 * in double decides, which is the same from both sides. */
static void leave_out_similar(const tile *t, const term *by, const walk *w) {
    const float *const similarities = t->similarities ? t->similarities : t->scores;
    const double unit = t->similarities ? 1.0 : w->loss->temperature;
    const int64_t d = w->loss->guide_width > 0 ? w->loss->guide_width : w->loss->width;
    const double rounding = 1e-7 * (double)(d + 16);
    double lengths[TILE];
    for (int64_t j = 0; j < t->columns; j++) {
        const float *y = vector_of(&by->columns, t->first_column + j);
        lengths[j] = sqrt((double)dot(y, y, d));
    }
    for (int64_t i = 0; i < t->rows; i++) {
        const float *x = vector_of(&by->rows, t->first_row + i);
        const double limit = w->batch->rows[t->first_row + i].limit;
        const double doubt = rounding * sqrt((double)dot(x, x, d));
        for (int64_t j = 0; j < t->columns; j++) {
            const int64_t place = i * t->row_step + j * t->column_step;
            const double beyond = (double)similarities[place] * unit - limit;
            if (beyond < -doubt * lengths[j]) {
                continue;
            }
            const float *y = vector_of(&by->columns, t->first_column + j);
            if (beyond > doubt * lengths[j] || exact_dot(x, y, d) > limit) {
                t->scores[place] = -INFINITY;
            }
        }
    }
}

static void keep_candidates(const tile *t, const term *of, const term *by, const walk *w) {
    const bool between_queries = is_of_queries(&of->rows) && is_of_queries(&of->columns);
    for (int64_t i = t->first_row; i < t->first_row + t->rows; i++) {
        leave_out(t, i, i * of->own);
    }
    if (of->rows.keys && t->along_rows) {
        leave_out_equal_keys(t->scores, t->row_step, &of->rows, t->first_row, t->rows, &of->columns,
                             t->first_column, t->columns);
    } else if (of->rows.keys) {
        leave_out_equal_keys(t->scores, t->column_step, &of->columns, t->first_column, t->columns,
                             &of->rows, t->first_row, t->rows);
    }
    if (w->batch->known_firsts && !between_queries) {
        leave_out_all_known(t, of, w->batch);
    }
    if (w->loss->filter != WB_FILTER_NONE) {
        leave_out_similar(t, by, w);
    }
}

/* Turns vectors of the own side for all tiles that follow. */
static void turn(const tile *t, const side *own, int64_t first, int64_t count,
                 const wb_infonce *loss) {
    wb_tile_transpose(t->turned, count, vector_of(own, first), own->x_apart, count, loss->width);
    if (t->similarities) {
        wb_tile_transpose(t->turned_guide, count,
                          own->guide + (first - own->first) * own->guide_apart, own->guide_apart,
                          count, loss->guide_width);
    }
}

/* products = alpha outer innerᵀ of a tile, laid out as it is; inner is the own side. */
static void multiply(float *products, const tile *t, const term *of, const float *turned, int64_t d,
                     float alpha) {
    const side *outer = t->along_rows ? &of->rows : &of->columns;
    const int64_t first = t->along_rows ? t->first_row : t->first_column;
    const int64_t outers = t->along_rows ? t->rows : t->columns;
    const int64_t inners = t->along_rows ? t->columns : t->rows;
    wb_tile_product(products, t->along_rows ? t->row_step : t->column_step, false, alpha,
                    vector_of(outer, first), outer->x_apart, 1, turned, inners, outers, inners, d);
}

/* Scores of a tile over tau; -infinity for what does not compete. */
static void score(const tile *t, const term *of, const walk *w) {
    const wb_infonce *loss = w->loss;
    const term by = compared_by(of, loss);
    multiply(t->scores, t, of, t->turned, loss->width, (float)(1.0 / loss->temperature));
    if (t->similarities) {
        multiply(t->similarities, t, &by, t->turned_guide, loss->guide_width, 1.0f);
    }
    keep_candidates(t, of, &by, w);
}

/* Matrices of a tile: scores, and similarities where a guide tells them. */
static int64_t matrices_of(const wb_infonce *loss) {
    return loss->guide_width > 0 ? 2 : 1;
}

/* What a thread needs for a tile. */
static int64_t scratch_floats(const wb_infonce *loss) {
    return matrices_of(loss) * ROWS * TILE + ROWS * (loss->width + loss->guide_width);
}

size_t wb_infonce_scratch_bytes(const wb_infonce *loss) {
    return wb_arena_rounded(wb_float_bytes((int64_t)wb_threads() * scratch_floats(loss)));
}

static wb_status take_scratch(float **scratch, const wb_infonce *loss, wb_arena *arena) {
    return wb_arena_floats(arena, (int64_t)wb_threads() * scratch_floats(loss), scratch);
}

/* A tile of no size yet in this thread's part of the scratch. */
static tile own_tile(float *scratch, const wb_infonce *loss) {
    float *const scores = scratch + wb_thread() * scratch_floats(loss);
    float *const turned = scores + matrices_of(loss) * ROWS * TILE;
    return (tile){.scores = scores,
                  .similarities = loss->guide_width > 0 ? scores + ROWS * TILE : NULL,
                  .turned = turned,
                  .turned_guide = turned + ROWS * loss->width};
}

/* Rows of a tile where n are shared among threads: each gets some, in whole vector registers. */
static int64_t tile_rows(int64_t n) {
    enum { STEP = 64 };
    const int64_t share = (n + wb_threads() - 1) / wb_threads();
    return share <= STEP ? STEP : at_most((share + STEP - 1) / STEP * STEP, ROWS);
}

/* ---- Scores that are kept between the walks
 * ------------------------------------------------------------------- */

/* How far columns are from each other: not by a power of two, which caches map to few places. */
static int64_t kept_apart(int64_t rows) {
    enum { LINE = 16 };
    return rows + LINE;
}

size_t wb_infonce_kept_bytes(const wb_infonce *loss, int64_t n) {
    return wb_arena_rounded(wb_float_bytes(n * loss->group * kept_apart(n)));
}

wb_status wb_infonce_keep(wb_infonce_kept *kept, const wb_infonce *loss, int64_t first, int64_t n,
                          wb_arena *arena) {
    *kept = (wb_infonce_kept){.first = first,
                              .rows = n,
                              .first_column = first * loss->group,
                              .columns = n * loss->group,
                              .apart = kept_apart(n)};
    return wb_arena_floats(arena, kept->columns * kept->apart, &kept->scores);
}

static float *kept_at(const wb_infonce_kept *kept, int64_t row, int64_t column) {
    return kept->scores + (column - kept->first_column) * kept->apart + row - kept->first;
}

/* True where all passages of a tile of the first walk are the rank's own: its queries are in any
 * case. */
static bool is_to_keep(const wb_infonce_kept *kept, const tile *t) {
    return kept && t->first_column >= kept->first_column &&
           t->first_column + t->columns <= kept->first_column + kept->columns;
}

/* Of a tile of the first walk, columns that are the rank's own. */
static void keep_scores(const wb_infonce_kept *kept, const tile *t) {
    const int64_t left =
        t->first_column > kept->first_column ? t->first_column : kept->first_column;
    const int64_t right = at_most(t->first_column + t->columns, kept->first_column + kept->columns);
    for (int64_t column = left; column < right; column++) {
        memcpy(kept_at(kept, t->first_row, column),
               t->scores + (column - t->first_column) * t->column_step, wb_float_bytes(t->rows));
    }
}

/* True where all scores of a tile of the second walk are kept: its passages are the rank's own in
 * any case, its queries must be, too. */
static bool is_kept(const wb_infonce_kept *kept, const tile *t) {
    return kept && t->first_row >= kept->first &&
           t->first_row + t->rows <= kept->first + kept->rows;
}

/* ---- First walk: rows
 * ------------------------------------------------------------------------------------- */

static int64_t count_known(const wb_infonce *loss, const wb_infonce_batch *batch, int64_t first,
                           int64_t n) {
    return loss->all_positives && batch->known_firsts
               ? batch->known_firsts[first + n] - batch->known_firsts[first]
               : 0;
}

size_t wb_infonce_part_bytes(const wb_infonce *loss, int64_t n, int64_t known) {
    const size_t sums_bytes =
        2 * wb_arena_rounded(wb_float_bytes(n)) + wb_arena_rounded(wb_float_bytes(n * loss->width));
    return wb_arena_rounded(sizeof(wb_infonce_part)) + (size_t)count_terms(loss) * sums_bytes +
           (loss->all_positives ? wb_arena_rounded(wb_float_bytes(known * loss->width)) : 0);
}

wb_status wb_infonce_begin(wb_infonce_part **part, const wb_infonce *loss,
                           const wb_infonce_batch *batch, const wb_infonce_block *own,
                           wb_arena *arena) {
    wb_status status = WB_OK;
    const int64_t n = own->n, d = loss->width;
    void *taken = NULL;
    WB_TRY(wb_arena_take(arena, sizeof(**part), &taken));
    wb_infonce_part *made = taken;
    *made = (wb_infonce_part){.loss = loss, .batch = batch, .own = *own};
    for (int k = 0; k < count_terms(loss); k++) {
        sums *s = &made->of[k];
        WB_TRY(wb_arena_floats(arena, n, &s->most));
        WB_TRY(wb_arena_floats(arena, n, &s->sum));
        WB_TRY(wb_arena_floats(arena, n * d, &s->vectors));
        for (int64_t i = 0; i < n; i++) {
            s->most[i] = -INFINITY;
            s->sum[i] = 0.0f;
        }
        memset(s->vectors, 0, wb_float_bytes(n * d));
    }
    if (loss->all_positives) {
        WB_TRY(wb_arena_floats(arena, count_known(loss, batch, own->first, n) * d, &made->known));
    }
    for (int64_t i = 0; i < n; i++) {
        batch->rows[own->first + i] = (wb_infonce_row){
            .limit = loss->filter == WB_FILTER_NONE ? INFINITY : limit_of(loss, own, i)};
    }
    *part = made;
done:
    return status;
}

/* Brings rows up to date with a tile of scores. powers [columns, rows] filled with exp(score -
 * maximum), may be the tile's scores; a score of -infinity takes no part. */
static void fold_rows(float *powers, const tile *t, float *most, float *sum, float *vectors,
                      int64_t d) {
    float tile_most[ROWS];
    const int64_t rows = t->rows;
    memcpy(tile_most, most, wb_float_bytes(rows));
    for (int64_t j = 0; j < t->columns; j++) {
        const float *line = t->scores + j * t->column_step;
#pragma omp simd
        for (int64_t i = 0; i < rows; i++) {
            tile_most[i] = line[i] > tile_most[i] ? line[i] : tile_most[i];
        }
    }
    for (int64_t i = 0; i < rows; i++) {
        if (tile_most[i] > most[i]) {
            const float shrink = wb_exp(most[i] - tile_most[i]);
            sum[i] *= shrink;
#pragma omp simd
            for (int64_t k = 0; k < d; k++) {
                vectors[i * d + k] *= shrink;
            }
            most[i] = tile_most[i];
        }
    }
    for (int64_t j = 0; j < t->columns; j++) {
        const float *line = t->scores + j * t->column_step;
        float *to = powers + j * rows;
#pragma omp simd
        for (int64_t i = 0; i < rows; i++) {
            const float power = line[i] == -INFINITY ? 0.0f : wb_exp(line[i] - most[i]);
            to[i] = power;
            sum[i] += power;
        }
    }
}

/* Rows first .. first + rows of the part meet all columns of one term. */
static void sum_candidates(const sums *s, const term *of, int64_t first, int64_t rows,
                           const walk *w, tile t) {
    const int64_t d = w->loss->width, own = first - of->rows.first;
    const side *columns = &of->columns;
    const wb_infonce_kept *kept = of == &w->terms[0] ? w->batch->kept : NULL;
    float *const scratch = t.scores;
    turn(&t, &of->rows, first, rows, w->loss);
    t.first_row = first, t.rows = rows, t.row_step = 1;
    for (int64_t at = columns->first; at < columns->first + columns->count; at += TILE) {
        const int64_t wide = at_most(columns->first + columns->count - at, TILE);
        t.scores = scratch;
        t.first_column = at, t.columns = wide, t.column_step = rows;
        const bool in_place = is_to_keep(kept, &t) && !t.similarities;
        if (in_place) {
            t.scores = kept_at(kept, first, at);
            t.column_step = kept->apart;
        }
        score(&t, of, w);
        if (kept && !in_place) {
            keep_scores(kept, &t);
        }
        fold_rows(scratch, &t, s->most + own, s->sum + own, s->vectors + own * d, d);
        wb_tile_product(s->vectors + own * d, d, true, 1.0f, scratch, 1, rows,
                        vector_of(columns, at), columns->x_apart, rows, d, wide);
    }
}

/* Known positives that pass by are kept for the end. */
static void keep_known(const wb_infonce_part *part, const wb_infonce_block *block) {
    const int64_t d = part->loss->width, group = part->loss->group;
    const int64_t *const firsts = part->batch->known_firsts;
    const int64_t begin = firsts[part->own.first], end = firsts[part->own.first + part->own.n];
    for (int64_t k = begin; k < end; k++) {
        const int64_t at = part->batch->known[k] - block->first * group;
        if (at >= 0 && at < block->n * group) {
            memcpy(part->known + (k - begin) * d, block->p + at * d, wb_float_bytes(d));
        }
    }
}

wb_status wb_infonce_meet(wb_infonce_part *part, const wb_infonce_block *block, wb_arena *arena) {
    wb_status status = WB_OK;
    const size_t mark = wb_arena_mark(arena);
    const walk w = walk_of(part->loss, part->batch, &part->own, block);
    float *scratch;
    WB_ASSERT(block->first % TILE == 0, "a block begins at query %lld", (long long)block->first);
    const int64_t rows = tile_rows(part->own.n);
    WB_TRY(take_scratch(&scratch, part->loss, arena));
#pragma omp parallel for schedule(static)
    for (int64_t at = 0; at < part->own.n; at += rows) {
        for (int k = 0; k < w.count; k++) {
            sum_candidates(&part->of[k], &w.terms[k], part->own.first + at,
                           at_most(part->own.n - at, rows), &w, own_tile(scratch, part->loss));
        }
    }
    if (part->loss->all_positives && part->batch->known_firsts) {
        keep_known(part, block);
    }
done:
    wb_arena_release(arena, mark);
    return status;
}

/* A query's positives: its own, then with all_positives the known ones. */
static int64_t count_positives(const wb_infonce *loss, const wb_infonce_batch *batch,
                               int64_t query) {
    return 1 + count_known(loss, batch, query, 1);
}

/* Vector of the k-th positive of row i of the part. */
static const float *positive_of(const wb_infonce_part *part, int64_t i, int64_t k) {
    const int64_t d = part->loss->width, first = part->own.first;
    return k == 0 ? part->own.p + i * part->loss->group * d
                  : part->known + (count_known(part->loss, part->batch, first, i) + k - 1) * d;
}

static float positive_score(const wb_infonce *loss, const float *query, const float *passage) {
    const float similarity = dot(query, passage, loss->width);
    return (similarity - (float)loss->margin) * (float)(1.0 / loss->temperature);
}

/* One direction of one query: loss and log-sum-exp, and `shares` by which the vectors of each term
 * enter the gradient. */
typedef struct softmax {
    float loss, lse;
    float shares[MOST_TERMS];
} softmax;

/* Row i of the part; own: the score of its own positive. */
static softmax close_row(const wb_infonce_part *part, const walk *w, direction along, int64_t i,
                         float own) {
    softmax result = {0};
    const sums *s = part->of;
    const float *query = part->own.q + i * w->loss->width;
    const int64_t positives =
        along == TO_PASSAGES ? count_positives(w->loss, w->batch, part->own.first + i) : 1;
    float most = -INFINITY, sum = 0.0f, ahead = 0.0f;
    for (int k = 0; k < w->count; k++) {
        most = w->terms[k].of == along && !(s[k].most[i] <= most) ? s[k].most[i] : most;
    }
    for (int64_t k = 1; k < positives; k++) {
        most = fmaxf(most, positive_score(w->loss, query, positive_of(part, i, k)));
    }
    for (int k = 0; k < w->count; k++) {
        if (w->terms[k].of == along && s[k].sum[i] != 0.0f) {
            result.shares[k] = expf(s[k].most[i] - most);
            sum += result.shares[k] * s[k].sum[i];
        }
    }
    for (int64_t k = 1; k < positives; k++) {
        const float other = positive_score(w->loss, query, positive_of(part, i, k));
        sum += expf(other - most);
        ahead += own - other;
    }
    const float x = sum == 0.0f ? -INFINITY : (most - own) + logf(sum);
    const float beyond = x > 0.0f ? x + log1pf(expf(-x)) : log1pf(expf(x));
    const float miss = 1.0f / (1.0f + expf(-x));
    for (int k = 0; k < w->count; k++) {
        result.shares[k] *= sum == 0.0f ? 0.0f : miss / sum;
    }
    result.lse = own + beyond;
    result.loss = beyond + ahead / (float)positives;
    return result;
}

/* How far a positive's probability is from what it should be; beyond tells log(1 / probability). */
static float pull(float beyond, int64_t positives) {
    return positives == 1 ? expm1f(-beyond) : expf(-beyond) - 1.0f / (float)positives;
}

/* One direction's loss and gradients of row i and of its own positive: added to. */
static void add_direction(wb_infonce_row *row, float *dq, float *dp, const wb_infonce_part *part,
                          const walk *w, direction along, int64_t i) {
    const wb_infonce *loss = w->loss;
    const int64_t d = loss->width, query = part->own.first + i;
    const float *q = part->own.q + i * d, *own = positive_of(part, i, 0);
    const int directions = loss->symmetric ? DIRECTIONS : 1;
    const double unscale = (double)w->scale * (double)loss->batch; /* 1 / (directions tau) */
    const float own_score = positive_score(loss, q, own);
    const softmax soft = close_row(part, w, along, i, own_score);
    const int64_t positives = along == TO_PASSAGES ? count_positives(loss, w->batch, query) : 1;
    row->lse[along] = soft.lse;
    row->loss += soft.loss / (float)directions;
    for (int k = 0; k < w->count; k++) {
        const side *from = &w->terms[k].rows;
        const float *to = part->of[k].vectors + i * d;
        if (w->terms[k].of != along) {
            continue;
        }
        if (along == TO_PASSAGES && part->of[k].sum[i] > 0.0f) {
            row->alone = 0.0f;
        }
        add(is_of_queries(from) ? dq : dp, soft.shares[k] * w->scale, to, d);
        row->slope += (double)soft.shares[k] * unscale * (double)dot(vector_of(from, query), to, d);
    }
    for (int64_t k = 0; k < positives; k++) {
        const float *passage = positive_of(part, i, k);
        const float at = k == 0 ? own_score : positive_score(loss, q, passage);
        const float by = pull(positives == 1 ? soft.loss : soft.lse - at, positives);
        row->slope += (double)by * unscale * (double)at * loss->temperature;
        add(dq, by * w->scale, passage, d);
        if (k == 0) {
            add(dp, by * w->scale, q, d);
        }
    }
}

wb_status wb_infonce_settle(wb_infonce_part *part, float *dq, float *dp) {
    wb_status status = WB_OK;
    const wb_infonce *loss = part->loss;
    const wb_infonce_block *own = &part->own;
    const walk w = walk_of(loss, part->batch, own, own);
    const int64_t d = loss->width;
    memset(dq, 0, wb_float_bytes(own->n * d));
    memset(dp, 0, wb_float_bytes(own->n * loss->group * d));
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < own->n; i++) {
        wb_infonce_row *row = &part->batch->rows[own->first + i];
        row->alone = 1.0f;
        for (int along = 0; along < (loss->symmetric ? DIRECTIONS : 1); along++) {
            add_direction(row, dq + i * d, dp + i * loss->group * d, part, &w, (direction)along, i);
        }
    }
    for (int64_t i = own->first; i < own->first + own->n; i++) {
        const double value = (double)part->batch->rows[i].loss;
        WB_CHECK(isfinite(value), WB_ERR_NUMERIC,
                 "the loss of query %lld of the batch is %g: representations or temperature are "
                 "out of range",
                 (long long)i, value);
    }
done:
    return status;
}

/* ---- Second walk: columns
 * --------------------------------------------------------------------------------- */

/* dx [columns, d] += what TILE rows or less of one term say to columns. */
static void add_tile(float *dx, const term *of, const tile *t, const walk *w) {
    const int64_t d = w->loss->width;
    score(t, of, w);
    for (int64_t i = 0; i < t->rows; i++) {
        const float lse = w->batch->rows[t->first_row + i].lse[of->of];
        float *line = t->scores + i * t->row_step;
#pragma omp simd
        for (int64_t j = 0; j < t->columns; j++) {
            line[j] = wb_exp(line[j] - lse);
        }
    }
    wb_tile_product(dx, d, true, w->scale, t->scores, 1, t->row_step,
                    vector_of(&of->rows, t->first_row), of->rows.x_apart, t->columns, d, t->rows);
}

/* The same from kept scores of queries and passages. */
static void add_kept_tile(float *dx, const term *of, const tile *t, const walk *w) {
    const int64_t d = w->loss->width;
    float lse[TILE];
    for (int64_t i = 0; i < t->rows; i++) {
        lse[i] = w->batch->rows[t->first_row + i].lse[of->of];
    }
    for (int64_t j = 0; j < t->columns; j++) {
        const float *kept = kept_at(w->batch->kept, t->first_row, t->first_column + j);
        float *line = t->scores + j * t->rows;
        wb_numbers_ask(wb_fp32(kept), w->batch->kept->apart, t->rows);
#pragma omp simd
        for (int64_t i = 0; i < t->rows; i++) {
            line[i] = wb_exp(kept[i] - lse[i]);
        }
    }
    wb_tile_product(dx, d, true, w->scale, t->scores, t->rows, 1,
                    vector_of(&of->rows, t->first_row), of->rows.x_apart, t->columns, d, t->rows);
}

/* What the queries of a tile say to the known positives among its passages. */
static void pull_known(float *dp, const tile *t, const walk *w) {
    const wb_infonce_batch *batch = w->batch;
    const int64_t d = w->loss->width;
    const side *queries = &w->terms[0].rows, *passages = &w->terms[0].columns;
    for (int64_t query = t->first_row; query < t->first_row + t->rows; query++) {
        const float *q = vector_of(queries, query);
        for (int64_t k = batch->known_firsts[query]; k < batch->known_firsts[query + 1]; k++) {
            const int64_t passage = batch->known[k], at = passage - t->first_column;
            if (at >= 0 && at < t->columns) {
                const float beyond = batch->rows[query].lse[TO_PASSAGES] -
                                     positive_score(w->loss, q, vector_of(passages, passage));
                add(dp + at * d, pull(beyond, count_positives(w->loss, batch, query)) * w->scale, q,
                    d);
            }
        }
    }
}

/* dx [columns, d] += what a block's queries say to queries or passages first .. first + columns, in
 * all terms; tile by tile, so that windows end where they like. */
static void add_to_columns(float *dx, bool of_queries, int64_t first, int64_t columns,
                           const walk *w, tile t) {
    const side *rows = &w->terms[0].rows;
    const bool pulls = !of_queries && w->loss->all_positives && w->batch->known_firsts;
    const side *own = NULL;
    for (int k = w->count - 1; k >= 0; k--) { /* terms whose columns these are have one side */
        own = is_of_queries(&w->terms[k].columns) == of_queries ? &w->terms[k].columns : own;
    }
    if (!own) {
        return;
    }
    turn(&t, own, first, columns, w->loss);
    t.first_column = first, t.columns = columns;
    t.along_rows = true, t.row_step = columns, t.column_step = 1;
    for (int64_t at = rows->first; at < rows->first + rows->count; at += TILE) {
        const int64_t high = at_most(rows->first + rows->count - at, TILE);
        t.first_row = at, t.rows = high;
        for (int k = 0; k < w->count; k++) {
            if (is_of_queries(&w->terms[k].columns) != of_queries) {
                continue;
            }
            if (k == 0 && is_kept(w->batch->kept, &t)) {
                add_kept_tile(dx, &w->terms[k], &t, w);
            } else {
                add_tile(dx, &w->terms[k], &t, w);
            }
        }
        if (pulls) {
            pull_known(dx, &t, w);
        }
    }
}

wb_status wb_infonce_answer(wb_infonce_part *part, float *dq, float *dp,
                            const wb_infonce_block *block, wb_arena *arena) {
    wb_status status = WB_OK;
    const size_t mark = wb_arena_mark(arena);
    const walk w = walk_of(part->loss, part->batch, block, &part->own);
    const int64_t d = part->loss->width, group = part->loss->group;
    float *scratch;
    WB_ASSERT(block->first % TILE == 0, "a block begins at query %lld", (long long)block->first);
    WB_TRY(take_scratch(&scratch, part->loss, arena));
    for (int of_queries = 0; of_queries < 2; of_queries++) {
        float *dx = of_queries ? dq : dp;
        const int64_t first = part->own.first * (of_queries ? 1 : group);
        const int64_t count = part->own.n * (of_queries ? 1 : group), wide = tile_rows(count);
#pragma omp parallel for schedule(static)
        for (int64_t at = 0; at < count; at += wide) {
            add_to_columns(dx + at * d, of_queries, first + at, at_most(count - at, wide), &w,
                           own_tile(scratch, part->loss));
        }
    }
done:
    wb_arena_release(arena, mark);
    return status;
}
