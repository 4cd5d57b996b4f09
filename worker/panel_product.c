/* The loops of Goto and van de Geijn (2008) around tiles. A block of b is copied into panels, each
 * as wide as a tile, and waits in the outer cache while all rows of a pass; a part of a, which the
 * inner cache holds, passes panel after panel and asks memory for the part that comes next. */
#include "panel_product.h"

#include "lanes.h"
#include "threads.h"
#include "tile_product.h"
#include "units.h"

enum {
    PANEL = 2 * WB_LANES,            /* columns of a panel */
    DEPTH = 384,                     /* terms of a part: summed before they are added to c */
    ROWS = WB_LANES == 16 ? 56 : 60, /* rows of a part: whole tiles of the tallest kind */
    MOST_TERMS = 4 * DEPTH,          /* of a block */
    MOST_COLUMNS = 1536,
    BLOCK = MOST_COLUMNS * DEPTH, /* elements of a block */
};

static _Alignas(64) float block[BLOCK]; /* [panels][terms][PANEL] */

/* A block's share of a product: rows of `a` begin where its terms do, `c` where its columns do. */
typedef struct pass {
    float *c;
    int64_t ldc;
    bool add;
    const float *bias; /* or NULL */
    const float *a;
    wb_transpose form;
    int64_t lda;
    int64_t columns, terms;
} pass;

/* Some rows and terms of a, as runs of floats: rows, or where a is transposed terms. */
typedef struct part {
    const float *first;
    int64_t ld, runs, length;
} part;

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static part part_at(const pass *p, int64_t row, int64_t term, int64_t end) {
    const int64_t rows = least(end - row, ROWS), terms = least(p->terms - term, DEPTH);
    return p->form == WB_PLAIN ? (part){p->a + row * p->lda + term, p->lda, rows, terms}
                               : (part){p->a + term * p->lda + row, p->lda, terms, rows};
}

/* Asks memory for the share of a part that belongs to one of `panels` panels. */
static void ask(const part *of, int64_t panel, int64_t panels) {
    for (int64_t i = panel * of->runs / panels; i < (panel + 1) * of->runs / panels; i++) {
        wb_numbers_ask(wb_fp32(of->first), i * of->ld, of->length);
    }
}

/* A run of floats, of which the compiler makes no call: most are two or four vectors long. */
static void copy_run(float *to, const float *from, int64_t length) {
    int64_t i = 0;
    for (; i + WB_LANES <= length; i += WB_LANES) {
        wb_lanes_store(to + i, wb_lanes_load(from + i));
    }
    for (; i < length; i++) {
        to[i] = from[i];
    }
}

/* A part as tiles read it: element (i, j) is first[i * row + j * column]. */
typedef struct view {
    const float *first;
    int64_t row, column, rows, terms;
} view;

enum { CLOSE = DEPTH + 16 }; /* between copied rows: no multiple of a page */

/* Runs that lie whole pages apart, as terms do, or rows of some widths, would push each other out
 * of the inner cache: they are copied. */
static view read_part(const pass *p, const part *of, float copied[ROWS * CLOSE]) {
    enum { PAGE = 4096 / sizeof(float) };
    const bool is_plain = p->form == WB_PLAIN;
    const bool in_place = is_plain && of->ld % PAGE != 0;
    const int64_t ld = in_place ? of->ld : (is_plain ? CLOSE : ROWS);
    for (int64_t i = 0; !in_place && i < of->runs; i++) {
        copy_run(copied + i * ld, of->first + i * of->ld, of->length);
    }
    const float *const first = in_place ? of->first : copied;
    return is_plain ? (view){first, ld, 1, of->runs, of->length}
                    : (view){first, 1, ld, of->length, of->runs};
}

/* c is what belongs to the part's rows. */
static void part_times_block(const pass *p, float *c, const part *here, const part *next,
                             int64_t term) {
    _Alignas(64) float copied[ROWS * CLOSE];
    const view a = read_part(p, here, copied);
    const int64_t panels = (p->columns + PANEL - 1) / PANEL;
    const bool starts = term == 0 && !p->add;
    for (int64_t panel = 0; panel < panels; panel++) {
        const int64_t at = panel * PANEL, columns = least(p->columns - at, PANEL);
        ask(next, panel, panels);
        const float *const bias = p->bias ? p->bias + at : NULL;
        wb_tile_product_from(c + at, p->ldc, starts ? bias : c + at, starts ? 0 : p->ldc, 1.0f,
                             a.first, a.row, a.column, block + at * p->terms + term * PANEL, PANEL,
                             a.rows, columns, a.terms);
    }
}

/* Each thread has rows of its own. */
static void rows_times_block(const pass *p, int64_t m) {
    const int64_t share = (m + wb_threads() - 1) / wb_threads();
#pragma omp parallel for schedule(static)
    for (int64_t begin = 0; begin < m; begin += share) {
        const int64_t end = least(begin + share, m);
        for (int64_t row = begin; row < end; row += ROWS) {
            for (int64_t term = 0; term < p->terms; term += DEPTH) {
                const bool more = term + DEPTH < p->terms;
                const part here = part_at(p, row, term, end);
                const part next =
                    more ? part_at(p, row, term + DEPTH, end) : part_at(p, row + ROWS, 0, end);
                part_times_block(p, p->c + row * p->ldc, &here, &next, term);
            }
        }
    }
}

/* b is the block's first element; columns that the last panel lacks are never read. */
static void copy_block(const float *b, wb_transpose form, int64_t ldb, int64_t columns,
                       int64_t terms) {
    if (form == WB_TRANSPOSED) {
#pragma omp parallel for schedule(static)
        for (int64_t at = 0; at < columns; at += PANEL) {
            wb_tile_transpose(block + at * terms, PANEL, b + at * ldb, ldb,
                              least(columns - at, PANEL), terms);
        }
    } else {
#pragma omp parallel for schedule(static)
        for (int64_t term = 0; term < terms; term++) {
            for (int64_t at = 0; at < columns; at += PANEL) {
                copy_run(block + at * terms + term * PANEL, b + term * ldb + at,
                         least(columns - at, PANEL));
            }
        }
    }
}

/* Rows of c wait for the terms of a block, so blocks are deep; but a's parts are copied once for
 * each block of columns where it is transposed, so blocks are wide there. */
static int64_t block_terms(wb_transpose a_form, int64_t n, int64_t k) {
    const int64_t columns = least((n + PANEL - 1) / PANEL * PANEL, MOST_COLUMNS);
    const int64_t room = a_form == WB_PLAIN ? MOST_TERMS : BLOCK / columns / DEPTH * DEPTH;
    return least(k, least(room, MOST_TERMS));
}

void wb_panel_product(float *c, bool add, const float *a, wb_transpose a_form, const float *b,
                      wb_transpose b_form, const float *bias, int64_t m, int64_t n, int64_t k) {
    WB_ASSERT(k > 0 && !(add && bias), "%lld terms", (long long)k);
    const int64_t terms = block_terms(a_form, n, k), columns = BLOCK / terms / PANEL * PANEL;
    const int64_t lda = a_form == WB_PLAIN ? k : m, ldb = b_form == WB_PLAIN ? n : k;
    for (int64_t column = 0; column < n; column += columns) {
        for (int64_t term = 0; term < k; term += terms) {
            const pass p = {.c = c + column,
                            .ldc = n,
                            .add = add || term > 0,
                            .bias = bias ? bias + column : NULL,
                            .a = a + term * (a_form == WB_PLAIN ? 1 : lda),
                            .form = a_form,
                            .lda = lda,
                            .columns = least(n - column, columns),
                            .terms = least(k - term, terms)};
            copy_block(b + (b_form == WB_PLAIN ? term * ldb + column : column * ldb + term), b_form,
                       ldb, p.columns, p.terms);
            rows_times_block(&p, m);
        }
    }
}
