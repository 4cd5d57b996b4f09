/* InfoNCE in two walks.
 *
 * A term is a matrix of scores, rows against columns; a softmax runs along the rows of the terms of
 * its direction. The first walk takes tiles of rows along all columns, the second tiles of columns
 * along all rows, and both leave out the same places of a tile. Positives are in no tile: with
 * x = log-sum-exp of the candidates - the positive's score, the loss is log(1 + e^x), of which a
 * trained model's tiny values would leave no digits as the difference of two scores.
 */
#include "infonce.h"

#include "gemm.h"
#include "units.h"
#include "vector_math.h"

#include <string.h>

/* ROWS of one side against COLUMNS of the other: a tile of scores and both operands stay in a
 * second-level cache of 1 MiB for d = 384. */
enum { ROWS = 64, COLUMNS = 256 };
enum { DIRECTIONS = 2, MOST_TERMS = 4 };
typedef enum direction { TO_PASSAGES, TO_QUERIES } direction;

/* One side of a score matrix: vectors and text keys, each so far from the next. */
typedef struct side {
    const float *x;
    int64_t x_apart;
    const uint64_t *keys; /* or NULL */
    int64_t keys_apart;
    int64_t count;
    int64_t passages_apart; /* item i is passage i * this; 0: items are queries */
} side;

typedef struct term {
    direction of;
    side rows, columns;
    int64_t own; /* row i's own column is i * own */
} term;

/* What both walks read. */
typedef struct walk {
    const wb_infonce *loss;
    const wb_infonce_batch *batch;
    term terms[MOST_TERMS];
    int count;
    float scale; /* of every gradient: 1 / (directions B tau) */
} walk;

/* Part of a term's score matrix: its element (row, column) stands at
 * (row - first_row) * row_step + (column - first_column) * column_step. */
typedef struct tile {
    float *scores;
    int64_t first_row, rows, row_step;
    int64_t first_column, columns, column_step;
} tile;

static int64_t at_most(int64_t value, int64_t limit) {
    return value < limit ? value : limit;
}

static walk walk_of(const wb_infonce *loss, const wb_infonce_batch *batch) {
    const int64_t d = loss->width, g = loss->group, B = loss->batch;
    const uint64_t *const texts = batch->query_keys, *const keys = batch->passage_keys;
    const side queries = {batch->q, d, keys, g, B, 0}; /* known by their positive */
    const side positives = {batch->p, g * d, keys, g, B, g};
    const side passages = {batch->p, d, keys, 1, B * g, 1};
    const side questions = {batch->q, d, texts, 1, B, 0}; /* known by their own text */
    const int directions = loss->symmetric ? 2 : 1;
    walk w = {.loss = loss, .batch = batch};
    w.scale = (float)(1.0 / ((double)directions * (double)B * loss->temperature));
    w.terms[w.count++] = (term){TO_PASSAGES, queries, passages, g};
    if (loss->query_query) {
        w.terms[w.count++] = (term){TO_PASSAGES, questions, questions, 1};
    }
    if (loss->passage_passage) {
        w.terms[w.count++] = (term){TO_PASSAGES, positives, passages, g};
    }
    if (loss->symmetric) {
        w.terms[w.count++] = (term){TO_QUERIES, positives, queries, 1};
    }
    return w;
}

static bool is_of_queries(const side *s) {
    return s->passages_apart == 0;
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

/* Pairs of equal keys; `inner` is the side whose items lie next to each other. */
static void leave_out_equal_keys(float *scores, const side *outer, int64_t first_outer,
                                 int64_t outers, const side *inner, int64_t first_inner,
                                 int64_t inners) {
    uint64_t keys[COLUMNS];
    for (int64_t j = 0; j < inners; j++) {
        keys[j] = inner->keys[(first_inner + j) * inner->keys_apart];
    }
    for (int64_t i = 0; i < outers; i++) {
        const uint64_t key = outer->keys[(first_outer + i) * outer->keys_apart];
        float *row = scores + i * inners;
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

/* The similarity above which a candidate of row i counts as a false negative. */
static double limit_of(const walk *w, int64_t i) {
    const int64_t d = w->loss->width;
    const double own = exact_dot(w->batch->q + i * d, w->batch->p + i * w->loss->group * d, d);
    const double margin = w->loss->filter_margin;
    return own - (w->loss->filter == WB_FILTER_RELATIVE ? fabs(own) * margin : margin);
}

/* Both walks must decide alike, though their scores are rounded differently: near the limit a
 * product in double decides, which is the same from both sides. */
static void leave_out_similar(const tile *t, const term *of, const walk *w) {
    const int64_t d = w->loss->width;
    const double rounding = 1e-7 * (double)(d + 16), tau = w->loss->temperature;
    double lengths[COLUMNS];
    for (int64_t j = 0; j < t->columns; j++) {
        const float *y = of->columns.x + (t->first_column + j) * of->columns.x_apart;
        lengths[j] = sqrt((double)dot(y, y, d));
    }
    for (int64_t i = 0; i < t->rows; i++) {
        const float *x = of->rows.x + (t->first_row + i) * of->rows.x_apart;
        const double limit = limit_of(w, t->first_row + i);
        const double doubt = rounding * sqrt((double)dot(x, x, d));
        for (int64_t j = 0; j < t->columns; j++) {
            float *at = t->scores + i * t->row_step + j * t->column_step;
            const double beyond = (double)*at * tau - limit;
            if (beyond < -doubt * lengths[j]) {
                continue;
            }
            const float *y = of->columns.x + (t->first_column + j) * of->columns.x_apart;
            if (beyond > doubt * lengths[j] || exact_dot(x, y, d) > limit) {
                *at = -INFINITY;
            }
        }
    }
}

static void keep_candidates(const tile *t, const term *of, const walk *w) {
    const bool between_queries = is_of_queries(&of->rows) && is_of_queries(&of->columns);
    for (int64_t i = t->first_row; i < t->first_row + t->rows; i++) {
        leave_out(t, i, i * of->own);
    }
    if (of->rows.keys && t->column_step == 1) {
        leave_out_equal_keys(t->scores, &of->rows, t->first_row, t->rows, &of->columns,
                             t->first_column, t->columns);
    } else if (of->rows.keys) {
        leave_out_equal_keys(t->scores, &of->columns, t->first_column, t->columns, &of->rows,
                             t->first_row, t->rows);
    }
    if (w->batch->known_firsts && !between_queries) {
        leave_out_all_known(t, of, w->batch);
    }
    if (w->loss->filter != WB_FILTER_NONE) {
        leave_out_similar(t, of, w);
    }
}

/* scores [outers, inners] = outer innerᵀ / tau */
static void score(float *scores, const side *outer, int64_t first_outer, int64_t outers,
                  const side *inner, int64_t first_inner, int64_t inners, const wb_infonce *loss) {
    wb_gemm(scores, inners, outer->x + first_outer * outer->x_apart, outer->x_apart, WB_PLAIN,
            inner->x + first_inner * inner->x_apart, inner->x_apart, WB_TRANSPOSED, outers, inners,
            loss->width, (float)(1.0 / loss->temperature), 0.0f);
}

/* ---- First walk: rows
 * ------------------------------------------------------------------------------------- */

/* Sums over the candidates of one term, for ROWS rows. */
typedef struct sums {
    float most[ROWS]; /* running maximum of scores */
    float sum[ROWS];  /* of exp(score - most) */
    float *vectors;   /* [ROWS, d], of exp(score - most) column */
} sums;

/* Brings one row up to date with a tile of scores, which become exp(score - maximum). A score of
 * -infinity takes no part. */
static void fold_row(float *scores, int64_t columns, float *most, float *sum, float *sum_row,
                     int64_t d) {
    float tile_most = *most;
#pragma omp simd reduction(max : tile_most)
    for (int64_t j = 0; j < columns; j++) {
        tile_most = scores[j] > tile_most ? scores[j] : tile_most;
    }
    if (tile_most > *most) {
        const float shrink = wb_exp(*most - tile_most);
        *sum *= shrink;
#pragma omp simd
        for (int64_t i = 0; i < d; i++) {
            sum_row[i] *= shrink;
        }
        *most = tile_most;
    }
    float added = 0.0f;
#pragma omp simd reduction(+ : added)
    for (int64_t j = 0; j < columns; j++) {
        scores[j] = scores[j] == -INFINITY ? 0.0f : wb_exp(scores[j] - tile_most);
        added += scores[j];
    }
    *sum += added;
}

static void sum_candidates(sums *s, const term *of, int64_t first, int64_t rows, const walk *w,
                           float *scores) {
    const int64_t d = w->loss->width;
    const side *columns = &of->columns;
    for (int64_t i = 0; i < rows; i++) {
        s->most[i] = -INFINITY;
        s->sum[i] = 0.0f;
    }
    memset(s->vectors, 0, wb_float_bytes(rows * d));
    for (int64_t at = 0; at < columns->count; at += COLUMNS) {
        const int64_t wide = at_most(columns->count - at, COLUMNS);
        const tile t = {scores, first, rows, wide, at, wide, 1};
        score(scores, &of->rows, first, rows, columns, at, wide, w->loss);
        keep_candidates(&t, of, w);
        for (int64_t i = 0; i < rows; i++) {
            fold_row(scores + i * wide, wide, &s->most[i], &s->sum[i], s->vectors + i * d, d);
        }
        wb_gemm(s->vectors, d, scores, wide, WB_PLAIN, columns->x + at * columns->x_apart,
                columns->x_apart, WB_PLAIN, rows, d, wide, 1.0f, 1.0f);
    }
}

/* The positives of one query: its own, then with all_positives the known ones. */
static int64_t positive_count(const walk *w, int64_t query) {
    const int64_t *firsts = w->batch->known_firsts;
    return 1 + (w->loss->all_positives && firsts ? firsts[query + 1] - firsts[query] : 0);
}

static int64_t positive_of(const walk *w, int64_t query, int64_t k) {
    return k == 0 ? query * w->loss->group : w->batch->known[w->batch->known_firsts[query] + k - 1];
}

static float positive_score(const walk *w, int64_t query, int64_t passage) {
    const int64_t d = w->loss->width;
    const float similarity = dot(w->batch->q + query * d, w->batch->p + passage * d, d);
    return (similarity - (float)w->loss->margin) * (float)(1.0 / w->loss->temperature);
}

/* One direction of one query: loss and log-sum-exp, and `shares` by which the vectors of each term
 * enter the gradient. `rest` is the log-sum-exp of what stands beside the own positive. */
typedef struct softmax {
    float loss, lse;
    float shares[MOST_TERMS];
} softmax;

/* other [others]: scores of the known positives; own: the score of the query's own. */
static softmax close_row(const sums *s, const walk *w, direction along, int64_t i, int64_t query,
                         float own) {
    softmax result = {0};
    const int64_t positives = along == TO_PASSAGES ? positive_count(w, query) : 1;
    float most = -INFINITY, sum = 0.0f, ahead = 0.0f;
    for (int k = 0; k < w->count; k++) {
        most = w->terms[k].of == along && !(s[k].most[i] <= most) ? s[k].most[i] : most;
    }
    for (int64_t k = 1; k < positives; k++) {
        most = fmaxf(most, positive_score(w, query, positive_of(w, query, k)));
    }
    for (int k = 0; k < w->count; k++) {
        if (w->terms[k].of == along && s[k].sum[i] != 0.0f) {
            result.shares[k] = expf(s[k].most[i] - most);
            sum += result.shares[k] * s[k].sum[i];
        }
    }
    for (int64_t k = 1; k < positives; k++) {
        const float other = positive_score(w, query, positive_of(w, query, k));
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

/* Loss and gradients of one query and of its own positive. */
static void finish_row(wb_infonce_row *row, float *dq, float *dp, const sums *s, const walk *w,
                       int64_t i, int64_t query) {
    const int64_t d = w->loss->width, own = query * w->loss->group;
    const int directions = w->loss->symmetric ? DIRECTIONS : 1;
    const float own_score = positive_score(w, query, own);
    const float unscale = w->scale * (float)w->loss->batch; /* 1 / (directions tau) */
    memset(dq, 0, wb_float_bytes(d));
    memset(dp, 0, wb_float_bytes(w->loss->group * d));
    *row = (wb_infonce_row){.alone = 1.0f};
    for (int along = 0; along < directions; along++) {
        const softmax soft = close_row(s, w, (direction)along, i, query, own_score);
        const int64_t positives = along == TO_PASSAGES ? positive_count(w, query) : 1;
        row->lse[along] = soft.lse;
        row->loss += soft.loss / (float)directions;
        for (int k = 0; k < w->count; k++) {
            const side *from = &w->terms[k].rows;
            const float *to = s[k].vectors + i * d;
            if (along == TO_PASSAGES && w->terms[k].of == TO_PASSAGES && s[k].sum[i] > 0.0f) {
                row->alone = 0.0f;
            }
            if (w->terms[k].of == (direction)along) {
                add(is_of_queries(from) ? dq : dp, soft.shares[k] * w->scale, to, d);
                row->slope +=
                    soft.shares[k] * unscale * dot(from->x + query * from->x_apart, to, d);
            }
        }
        for (int64_t k = 0; k < positives; k++) {
            const int64_t passage = positive_of(w, query, k);
            const float at = k == 0 ? own_score : positive_score(w, query, passage);
            const float beyond = positives == 1 ? soft.loss : soft.lse - at;
            const float by = pull(beyond, positives) * w->scale;
            row->slope += by * at * (float)w->loss->batch * (float)w->loss->temperature;
            add(dq, by, w->batch->p + passage * d, d);
            if (k == 0) {
                add(dp, by, w->batch->q + query * d, d);
            }
        }
    }
}

static int64_t scratch_floats(const walk *w) {
    return ROWS * COLUMNS + w->count * ROWS * w->loss->width;
}

wb_status wb_infonce_rows(wb_infonce_row *rows, float *dq, float *dp, const wb_infonce_batch *batch,
                          int64_t first, int64_t n, const wb_infonce *loss, wb_arena *arena) {
    wb_status status = WB_OK;
    const size_t mark = wb_arena_mark(arena);
    const walk w = walk_of(loss, batch);
    const int64_t d = loss->width;
    float *scratch;
    WB_TRY(wb_arena_floats(arena, (int64_t)wb_threads() * scratch_floats(&w), &scratch));
#pragma omp parallel for schedule(static)
    for (int64_t at = 0; at < n; at += ROWS) {
        float *scores = scratch + wb_thread() * scratch_floats(&w);
        const int64_t high = at_most(n - at, ROWS);
        sums s[MOST_TERMS];
        for (int k = 0; k < w.count; k++) {
            s[k].vectors = scores + ROWS * COLUMNS + k * ROWS * d;
            sum_candidates(&s[k], &w.terms[k], first + at, high, &w, scores);
        }
        for (int64_t i = 0; i < high; i++) {
            finish_row(&rows[at + i], dq + (at + i) * d, dp + (at + i) * loss->group * d, s, &w, i,
                       first + at + i);
        }
    }
    for (int64_t i = 0; i < n; i++) {
        WB_CHECK(
            isfinite(rows[i].loss), WB_ERR_NUMERIC,
            "the loss of query %lld of the batch is %g: representations or temperature are out "
            "of range",
            (long long)(first + i), (double)rows[i].loss);
    }
done:
    wb_arena_release(arena, mark);
    return status;
}

/* ---- Second walk: columns
 * --------------------------------------------------------------------------------- */

/* dx [columns, d] += what all rows say to some columns. */
static void add_to_columns(float *dx, const term *of, int64_t first, int64_t columns,
                           const wb_infonce_row *all, const walk *w, float *scores) {
    const int64_t d = w->loss->width;
    const side *rows = &of->rows;
    for (int64_t at = 0; at < rows->count; at += COLUMNS) {
        const int64_t high = at_most(rows->count - at, COLUMNS);
        const tile t = {scores, at, high, 1, first, columns, high};
        float lse[COLUMNS];
        for (int64_t i = 0; i < high; i++) {
            lse[i] = all[at + i].lse[of->of];
        }
        score(scores, &of->columns, first, columns, rows, at, high, w->loss);
        keep_candidates(&t, of, w);
        for (int64_t j = 0; j < columns; j++) {
            float *line = scores + j * high;
#pragma omp simd
            for (int64_t i = 0; i < high; i++) {
                line[i] = wb_exp(line[i] - lse[i]);
            }
        }
        wb_gemm(dx, d, scores, high, WB_PLAIN, rows->x + at * rows->x_apart, rows->x_apart,
                WB_PLAIN, columns, d, high, w->scale, 1.0f);
    }
}

/* What queries say to the known positives among passages first .. end. */
static void pull_known(float *dp, const wb_infonce_row *rows, const walk *w, int64_t first,
                       int64_t end) {
    const int64_t d = w->loss->width;
    for (int64_t query = 0; query < w->loss->batch; query++) {
        const int64_t positives = positive_count(w, query);
        for (int64_t k = 1; k < positives; k++) {
            const int64_t passage = positive_of(w, query, k);
            if (passage >= first && passage < end) {
                const float beyond =
                    rows[query].lse[TO_PASSAGES] - positive_score(w, query, passage);
                add(dp + (passage - first) * d, pull(beyond, positives) * w->scale,
                    w->batch->q + query * d, d);
            }
        }
    }
}

wb_status wb_infonce_columns(float *dq, float *dp, const wb_infonce_row *rows,
                             const wb_infonce_batch *batch, int64_t first, int64_t n,
                             const wb_infonce *loss, wb_arena *arena) {
    wb_status status = WB_OK;
    const size_t mark = wb_arena_mark(arena);
    const walk w = walk_of(loss, batch);
    const int64_t d = loss->width, group = loss->group;
    float *scratch;
    WB_TRY(wb_arena_floats(arena, (int64_t)wb_threads() * scratch_floats(&w), &scratch));
    for (int k = 0; k < w.count; k++) {
        const bool of_queries = is_of_queries(&w.terms[k].columns);
        float *dx = of_queries ? dq : dp;
        const int64_t start = of_queries ? first : first * group;
        const int64_t count = of_queries ? n : n * group;
#pragma omp parallel for schedule(static)
        for (int64_t at = 0; at < count; at += ROWS) {
            add_to_columns(dx + at * d, &w.terms[k], start + at, at_most(count - at, ROWS), rows,
                           &w, scratch + wb_thread() * scratch_floats(&w));
        }
    }
    if (loss->all_positives) {
        pull_known(dp, rows, &w, first * group, (first + n) * group);
    }
done:
    wb_arena_release(arena, mark);
    return status;
}

size_t wb_infonce_bytes(const wb_infonce *loss) {
    const wb_infonce_batch none = {0};
    const walk w = walk_of(loss, &none);
    return wb_arena_rounded(wb_float_bytes((int64_t)wb_threads() * scratch_floats(&w)));
}
