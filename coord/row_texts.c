/* Keys of all rows, read in shares, then numbered. */
#include "row_texts.h"

#include "exchange.h"
#include "id_index.h"

#include <stdlib.h>

typedef struct keys_read {
    uint64_t *keys; /* those of this rank's rows, end to end; owned */
    int64_t count, capacity;
} keys_read;

static wb_status make_room(keys_read *own, int64_t more) {
    wb_status status = WB_OK;
    if (own->count + more > own->capacity) {
        const int64_t capacity = 2 * own->capacity + more;
        uint64_t *keys = realloc(own->keys, (size_t)capacity * sizeof(*keys));
        WB_CHECK(keys, WB_ERR_MEMORY, "no memory for the keys of %lld texts", (long long)capacity);
        own->keys = keys;
        own->capacity = capacity;
    }
done:
    return status;
}

/* firsts[r + 1] of own rows hold their counts at first. */
static wb_status read_share(keys_read *own, int64_t *firsts, const wb_data_set *data, int64_t begin,
                            int64_t end) {
    wb_status status = WB_OK;
    for (int64_t row = begin; row < end; row++) {
        WB_TRY(make_room(own, wb_data_set_most_own_keys(data)));
        WB_TRY(wb_data_set_own_keys(data, row, own->keys + own->count, &firsts[row + 1]));
        own->count += firsts[row + 1];
    }
done:
    return status;
}

/* Keys become numbers in the order of their first appearance. */
static wb_status number_keys(wb_row_texts *texts, const uint64_t *keys) {
    wb_status status = WB_OK;
    const int64_t count = texts->firsts[texts->rows];
    wb_id_index index = {0};
    WB_TRY(wb_id_index_reserve(&index, count));
    for (int64_t i = 0; i < count; i++) {
        uint64_t step = 0;
        int64_t same = wb_id_index_next(&index, keys[i], &step);
        while (same >= 0 && keys[same] != keys[i]) {
            same = wb_id_index_next(&index, keys[i], &step);
        }
        if (same < 0) {
            wb_id_index_put(&index, keys[i], i);
        }
        texts->numbers[i] = same < 0 ? texts->distinct++ : texts->numbers[same];
    }
done:
    wb_id_index_clear(&index);
    return status;
}

static wb_status take(wb_row_texts *texts, int64_t rows) {
    wb_status status = WB_OK;
    *texts = (wb_row_texts){.rows = rows};
    texts->firsts = calloc((size_t)rows + 1, sizeof(*texts->firsts));
    WB_CHECK(texts->firsts, WB_ERR_MEMORY, "no memory for the texts of %lld rows", (long long)rows);
done:
    return status;
}

static wb_status take_numbers(wb_row_texts *texts, uint64_t **keys) {
    wb_status status = WB_OK;
    const size_t count = (size_t)texts->firsts[texts->rows];
    texts->numbers = calloc(count, sizeof(*texts->numbers));
    *keys = calloc(count, sizeof(**keys));
    WB_CHECK(texts->numbers && *keys, WB_ERR_MEMORY, "no memory for the keys of %zu texts", count);
done:
    return status;
}

wb_status wb_row_texts_read(wb_row_texts *texts, const wb_data_set *data, wb_comm *comm) {
    wb_status status = WB_OK;
    const int world = wb_comm_world(comm), rank = wb_comm_rank(comm);
    const int64_t rows = wb_data_set_rows(data);
    keys_read own = {0};
    uint64_t *keys = NULL;
    int64_t *shares = calloc((size_t)world + 1, sizeof(*shares));
    WB_TRY_ALL(comm, shares ? take(texts, rows)
                            : WB_ERROR(WB_ERR_MEMORY, "no memory for shares of %d ranks", world));
    for (int r = 0; r <= world; r++) {
        shares[r] = rows * r / world;
    }
    WB_TRY_ALL(comm, read_share(&own, texts->firsts, data, shares[rank], shares[rank + 1]));
    WB_TRY(wb_gather_rows(comm, texts->firsts + 1, NULL, shares, sizeof(*texts->firsts)));
    for (int64_t row = 0; row < rows; row++) {
        texts->firsts[row + 1] += texts->firsts[row];
    }
    for (int r = 0; r <= world; r++) {
        shares[r] = texts->firsts[shares[r]];
    }
    WB_TRY_ALL(comm, take_numbers(texts, &keys));
    WB_TRY(wb_gather_rows(comm, keys, own.keys, shares, sizeof(*keys)));
    WB_TRY_ALL(comm, number_keys(texts, keys));
done:
    free(own.keys);
    free(keys);
    free(shares);
    return status;
}

void wb_row_texts_clear(wb_row_texts *texts) {
    free(texts->firsts);
    free(texts->numbers);
    *texts = (wb_row_texts){0};
}
