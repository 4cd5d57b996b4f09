/* Shuffling an epoch and cutting it into batches. */
#include "batch_plan.h"

#include "rng.h"

#include <stdlib.h>
#include <string.h>

enum { LEAST_BATCH = 2 }; /* one query alone has nothing to be told from */

/* ---- Without duplicates
 * ------------------------------------------------------------------------------------ */

/* Scratch: each row's batch, rows in each batch, the next batch with room, each text's last batch.
 */
typedef struct places {
    int64_t *of, *filled, *open, *last;
} places;

static int64_t count_places(const wb_batch_rule *rule) {
    return 3 * (rule->rows + 1) + rule->texts->distinct;
}

static places places_of(const wb_batch_plan *plan) {
    const int64_t rows = plan->rule.rows + 1;
    int64_t *const at = plan->places;
    return (places){at, at + rows, at + 2 * rows, at + 3 * rows};
}

/* The first batch with room from `batch` on; the way there is shortened for the next time. */
static int64_t find_open(int64_t *open, int64_t batch) {
    int64_t found = batch;
    while (open[found] != found) {
        found = open[found];
    }
    while (open[batch] != found) {
        const int64_t next = open[batch];
        open[batch] = found;
        batch = next;
    }
    return found;
}

/* No row needs a batch beyond `rows`: each step beyond another batch is owed to a row in it. */
static void place_rows(places *p, const wb_batch_plan *plan) {
    const wb_row_texts *texts = plan->rule.texts;
    for (int64_t b = 0; b <= plan->rule.rows; b++) {
        p->filled[b] = 0;
        p->open[b] = b;
    }
    for (int64_t text = 0; text < texts->distinct; text++) {
        p->last[text] = -1;
    }
    for (int64_t i = 0; i < plan->rule.rows; i++) {
        const int64_t row = plan->order[i];
        const int64_t *begin = texts->numbers + texts->firsts[row];
        const int64_t *end = texts->numbers + texts->firsts[row + 1];
        int64_t batch = 0;
        for (const int64_t *text = begin; text < end; text++) {
            batch = p->last[*text] >= batch ? p->last[*text] + 1 : batch;
        }
        batch = find_open(p->open, batch);
        for (const int64_t *text = begin; text < end; text++) {
            p->last[*text] = batch;
        }
        p->of[i] = batch;
        p->filled[batch]++;
        if (p->filled[batch] == plan->rule.size) {
            p->open[batch] = batch + 1;
        }
    }
}

/* Batches that are run get numbers from 0 on, the rows of all others the number after. */
static void number_batches(places *p, wb_batch_plan *plan) {
    const wb_batch_rule *rule = &plan->rule;
    const int64_t least = rule->keeps_tails ? LEAST_BATCH : rule->size;
    int64_t *const numbers = p->open; /* no longer needed as such */
    plan->steps = 0;
    plan->firsts[0] = 0;
    for (int64_t b = 0; b <= rule->rows; b++) {
        numbers[b] = -1;
        if (p->filled[b] >= least) {
            numbers[b] = plan->steps;
            plan->firsts[plan->steps + 1] = plan->firsts[plan->steps] + p->filled[b];
            plan->steps++;
        }
    }
    for (int64_t i = 0; i < rule->rows; i++) {
        const int64_t number = numbers[p->of[i]];
        p->of[i] = number < 0 ? plan->steps : number;
    }
}

/* Rows move to their batches and keep their order within; `filled` serves as the places next free,
 * `open` as a copy of the order. */
static void move_rows(places *p, wb_batch_plan *plan) {
    const int64_t rows = plan->rule.rows;
    memcpy(p->filled, plan->firsts, (size_t)(plan->steps + 1) * sizeof(*p->filled));
    memcpy(p->open, plan->order, (size_t)rows * sizeof(*p->open));
    for (int64_t i = 0; i < rows; i++) {
        plan->order[p->filled[p->of[i]]++] = p->open[i];
    }
}

static void part_duplicates(wb_batch_plan *plan) {
    places p = places_of(plan);
    place_rows(&p, plan);
    number_batches(&p, plan);
    move_rows(&p, plan);
}

/* ---- An epoch
 * ---------------------------------------------------------------------------------------------- */

/* Fisher and Yates, drawn from (seed, epoch, place). */
static void shuffle(wb_batch_plan *plan, int64_t epoch) {
    const int64_t rows = plan->rule.rows;
    for (int64_t i = 0; i < rows; i++) {
        plan->order[i] = i;
    }
    for (int64_t i = rows - 1; i > 0; i--) {
        const wb_rng_key key = {.seed = plan->rule.seed,
                                .step = (uint32_t)epoch,
                                .example = (uint32_t)(i >> 32),
                                .site = wb_rng_site(WB_RNG_SHUFFLE, 0)};
        const int64_t j = (int64_t)wb_rng_below((uint64_t)i + 1, key, (uint32_t)i);
        const int64_t swap = plan->order[i];
        plan->order[i] = plan->order[j];
        plan->order[j] = swap;
    }
}

static void cut(wb_batch_plan *plan) {
    const int64_t rows = plan->rule.rows, size = plan->rule.size;
    const int64_t least = plan->rule.keeps_tails ? LEAST_BATCH : size;
    plan->steps = rows / size + (rows % size >= least ? 1 : 0);
    for (int64_t step = 0; step <= plan->steps; step++) {
        plan->firsts[step] = step * size < rows ? step * size : rows;
    }
}

static void arrange(wb_batch_plan *plan, int64_t epoch) {
    if (plan->epoch == epoch) {
        return;
    }
    shuffle(plan, epoch);
    if (plan->rule.texts) {
        part_duplicates(plan);
    } else {
        cut(plan);
    }
    plan->epoch = epoch;
}

/* Learns how many steps one more epoch has. */
static wb_status know_one_more(wb_batch_plan *plan) {
    wb_status status = WB_OK;
    const int64_t before = plan->known > 0 ? plan->ends[plan->known - 1] : 0;
    if (plan->known == plan->capacity) {
        const int64_t capacity = 2 * plan->capacity + 16;
        int64_t *ends = realloc(plan->ends, (size_t)capacity * sizeof(*ends));
        WB_CHECK(ends, WB_ERR_MEMORY, "no memory for the plan of %lld epochs", (long long)capacity);
        plan->ends = ends;
        plan->capacity = capacity;
    }
    if (plan->rule.texts) {
        arrange(plan, plan->known);
    } else {
        cut(plan); /* the same in any order */
    }
    WB_CHECK(plan->steps > 0, WB_ERR_CONFIG,
             "batch.no_duplicates: the %lld rows of epoch %lld make no batch of %lld rows without "
             "a text that stands twice; choose a smaller batch.size",
             (long long)plan->rule.rows, (long long)plan->known, (long long)plan->rule.size);
    plan->ends[plan->known++] = before + plan->steps;
done:
    return status;
}

/* ---- The plan
 * ---------------------------------------------------------------------------------------------- */

wb_status wb_batch_plan_create(wb_batch_plan *plan, const wb_batch_rule *rule) {
    wb_status status = WB_OK;
    const size_t rows = (size_t)rule->rows;
    *plan = (wb_batch_plan){.rule = *rule, .epoch = -1};
    WB_CHECK(rule->size <= rule->rows, WB_ERR_CONFIG,
             "batch.size = %lld, but the data has %lld training rows; choose a smaller batch",
             (long long)rule->size, (long long)rule->rows);
    plan->order = malloc(rows * sizeof(*plan->order));
    plan->firsts = malloc((rows + 1) * sizeof(*plan->firsts));
    WB_CHECK(plan->order && plan->firsts, WB_ERR_MEMORY, "no memory for the order of %zu rows",
             rows);
    if (rule->texts) {
        plan->places = malloc((size_t)count_places(rule) * sizeof(*plan->places));
        WB_CHECK(plan->places, WB_ERR_MEMORY, "no memory to plan %zu rows", rows);
    }
    WB_TRY(know_one_more(plan));
done:
    return status;
}

void wb_batch_plan_destroy(wb_batch_plan *plan) {
    free(plan->order);
    free(plan->firsts);
    free(plan->ends);
    free(plan->places);
    *plan = (wb_batch_plan){0};
}

wb_status wb_batch_plan_step(wb_batch_rows *batch, wb_batch_plan *plan, int64_t step) {
    wb_status status = WB_OK;
    int64_t epoch = 0, before = 0;
    while (plan->ends[plan->known - 1] <= step) {
        WB_TRY(know_one_more(plan));
    }
    for (; plan->ends[epoch] <= step; epoch++) {
        before = plan->ends[epoch];
    }
    arrange(plan, epoch);
    const int64_t first = plan->firsts[step - before];
    *batch = (wb_batch_rows){
        .rows = plan->order + first, .B = plan->firsts[step - before + 1] - first, .epoch = epoch};
done:
    return status;
}

wb_status wb_batch_plan_steps(int64_t *steps, wb_batch_plan *plan, int64_t epochs) {
    wb_status status = WB_OK;
    while (plan->known < epochs) {
        WB_TRY(know_one_more(plan));
    }
    *steps = plan->ends[epochs - 1];
done:
    return status;
}

int64_t wb_batch_plan_waiting(const wb_batch_plan *plan) {
    return plan->rule.rows - plan->firsts[plan->steps];
}
