/* Reading and tokenizing in parallel. Every sequence first gets room for its longest form; then the
 * sequences move together and their lengths become offsets. */
#include "token_block.h"

#include "hash.h"
#include "units.h"

#include <stdlib.h>
#include <string.h>

/* Where the tokens of a sequence go at first. */
static int64_t place_of(const wb_token_source *source, int64_t n, int64_t sequence) {
    return sequence < n ? sequence * source->first_tokens
                        : n * source->first_tokens + (sequence - n) * source->other_tokens;
}

size_t wb_token_block_bytes(const wb_token_source *source, int64_t n) {
    const int64_t sequences = n * (1 + source->group);
    return wb_arena_rounded((size_t)place_of(source, n, sequences) * sizeof(int32_t)) +
           wb_arena_rounded((size_t)(sequences + 1) * sizeof(int64_t));
}

/* What a thread needs for one unit after the other. */
typedef struct unit {
    wb_text *texts;  /* [1 + group] */
    uint64_t *names; /* likewise: in the cache */
    bool *found;     /* likewise: there */
    char *prompted;  /* [room], a prompt and the text behind it */
    size_t room;
} unit;

/* Where the tokens of a block go. */
typedef struct block {
    int32_t *ids;
    int64_t *offsets; /* a sequence's length goes to offsets[sequence + 1] */
    int64_t n;
} block;

static int64_t sequence_of(const wb_token_source *source, int64_t n, int64_t i, int64_t k) {
    return k == 0 ? i : n + i * source->group + k - 1;
}

static uint64_t *key_of(const wb_token_source *source, int64_t i, int64_t k, uint64_t *unwanted) {
    return source->keys ? &source->keys[i * (1 + source->group) + k] : unwanted;
}

/* Texts of unit i that were read before; *all says whether none is left. */
static wb_status recall(const block *to, unit *u, const wb_token_source *source, int64_t i,
                        bool *all) {
    wb_status status = WB_OK;
    uint64_t unwanted;
    WB_TRY(source->name(source->context, i, u->names));
    *all = true;
    for (int64_t k = 0; k <= source->group; k++) {
        const int64_t sequence = sequence_of(source, to->n, i, k);
        u->found[k] = wb_token_cache_get(
            source->cache, u->names[k], to->ids + place_of(source, to->n, sequence),
            &to->offsets[sequence + 1], key_of(source, i, k, &unwanted));
        *all = *all && u->found[k];
    }
done:
    return status;
}

/* The text that is tokenized: with the prompt of its role before it. Borrowed until the next call.
 */
static wb_status prompted_text(const char **text, size_t *bytes, unit *u, const wb_text *plain,
                               const char *prompt) {
    wb_status status = WB_OK;
    const size_t before = strlen(prompt);
    *text = plain->text;
    *bytes = plain->bytes;
    if (before == 0) {
        return WB_OK;
    }
    if (u->room < before + plain->bytes) {
        const size_t room = 2 * (before + plain->bytes);
        free(u->prompted);
        u->prompted = malloc(room);
        u->room = u->prompted ? room : 0;
        WB_CHECK(u->prompted, WB_ERR_MEMORY, "no memory for a text of %zu bytes", plain->bytes);
    }
    memcpy(u->prompted, prompt, before);
    memcpy(u->prompted + before, plain->text, plain->bytes);
    *text = u->prompted;
    *bytes = before + plain->bytes;
done:
    return status;
}

static wb_status read_text(const block *to, unit *u, const wb_token_source *source, int64_t i,
                           int64_t k) {
    wb_status status = WB_OK;
    const int64_t sequence = sequence_of(source, to->n, i, k);
    const int64_t most = k == 0 ? source->first_tokens : source->other_tokens;
    const wb_text *text = &u->texts[k];
    int32_t *ids = to->ids + place_of(source, to->n, sequence);
    const wb_role role = k == 0 ? source->first : WB_PASSAGE;
    const char *whole;
    size_t bytes;
    uint64_t unwanted, *key = key_of(source, i, k, &unwanted);
    WB_TRY(prompted_text(&whole, &bytes, u, text, wb_model_prompt(source->model, role)));
    WB_TRY(wb_tokenizer_encode(source->model->tokenizer, whole, bytes, source->model->specials,
                               most, ids, &to->offsets[sequence + 1]));
    *key = wb_hash(text->text, text->bytes);
    if (source->cache) {
        wb_token_cache_put(source->cache, u->names[k], ids, to->offsets[sequence + 1], *key);
    }
done:
    return status;
}

static wb_status read_unit(const block *to, unit *u, const wb_token_source *source, int64_t i) {
    wb_status status = WB_OK;
    bool all = false;
    if (source->cache) {
        WB_TRY(recall(to, u, source, i, &all));
    }
    if (!all) {
        WB_TRY(source->read(source->context, i, u->texts));
    }
    if (source->note) {
        WB_TRY(source->note(source->context, i));
    }
    for (int64_t k = 0; k <= source->group; k++) {
        if (!u->found[k]) {
            WB_TRY(read_text(to, u, source, i, k));
        }
    }
done:
    return status;
}

/* Some units, by one thread. */
static wb_status read_units(const block *to, const wb_token_source *source, int64_t from,
                            int64_t end) {
    wb_status status = WB_OK;
    const size_t count = (size_t)source->group + 1;
    /* `found` stays false where there is no cache */
    unit u = {.texts = calloc(count, sizeof(*u.texts)),
              .names = calloc(count, sizeof(*u.names)),
              .found = calloc(count, sizeof(*u.found))};
    WB_CHECK(u.texts && u.names && u.found, WB_ERR_MEMORY, "no memory for %zu texts", count);
    for (int64_t i = from; i < end; i++) {
        WB_TRY(read_unit(to, &u, source, i));
    }
done:
    for (size_t k = 0; u.texts && k < count; k++) {
        wb_text_clear(&u.texts[k]);
    }
    free(u.texts);
    free(u.names);
    free(u.found);
    free(u.prompted);
    return status;
}

/* All units, in slices; the first failure in the order of units is the one reported. */
static wb_status read_all(const block *to, const wb_token_source *source) {
    enum { SLICE = 8 };
    wb_status status = WB_OK;
    const int64_t n = to->n;
    int64_t failed = n;
    char failure[2048] = "";
#pragma omp parallel for schedule(dynamic)
    for (int64_t from = 0; from < n; from += SLICE) {
        const wb_status part = read_units(to, source, from, from + SLICE < n ? from + SLICE : n);
        if (part != WB_OK) {
#pragma omp critical(wb_token_block_failure)
            if (from < failed) {
                failed = from;
                status = part;
                (void)snprintf(failure, sizeof(failure), "%s", wb_error_message());
            }
            wb_error_clear();
        }
    }
    return status == WB_OK ? WB_OK : WB_ERROR(status, "%s", failure);
}

static void pack(int32_t *ids, int64_t *offsets, const wb_token_source *source, int64_t n) {
    offsets[0] = 0;
    for (int64_t sequence = 0; sequence < n * (1 + source->group); sequence++) {
        const int64_t length = offsets[sequence + 1];
        memmove(ids + offsets[sequence], ids + place_of(source, n, sequence),
                (size_t)length * sizeof(*ids));
        offsets[sequence + 1] = offsets[sequence] + length;
    }
}

wb_status wb_token_block_read(wb_packed *packed, const wb_token_source *source, int64_t n,
                              wb_arena *arena) {
    wb_status status = WB_OK;
    const int64_t sequences = n * (1 + source->group);
    int32_t *ids;
    int64_t *offsets;
    WB_TRY(wb_arena_int32s(arena, place_of(source, n, sequences), &ids));
    WB_TRY(wb_arena_int64s(arena, sequences + 1, &offsets));
    WB_TRY(read_all(&(block){.ids = ids, .offsets = offsets, .n = n}, source));
    pack(ids, offsets, source, n);
    *packed = (wb_packed){.ids = ids, .offsets = offsets, .n = sequences};
done:
    return status;
}
