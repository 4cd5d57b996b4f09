/* The copy and its thread. */
#include "saver.h"

#include "checkpoint_writer.h"
#include "units.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct wb_saver {
    wb_checkpoint_writer *writer;
    wb_checkpoint copy; /* its arrays are owned */
    pthread_t thread;
    bool running;      /* there is a thread to be joined */
    _Atomic bool over; /* it has done its work; what follows may be read */
    wb_status status;
    char message[2048];
    double seconds, longest;
};

static wb_status still_ours(void *folder) {
    return wb_run_folder_beat(folder);
}

static wb_status take_copy(wb_saver *s, const wb_checkpoint *form) {
    wb_status status = WB_OK;
    const size_t bytes = wb_float_bytes(form->table->total);
    s->copy = (wb_checkpoint){.slots = form->slots};
    s->copy.values = malloc(bytes);
    for (int64_t i = 0; i < form->slots; i++) {
        s->copy.slot_values[i] = malloc(bytes);
        WB_CHECK(s->copy.slot_values[i], WB_ERR_MEMORY, "no memory for a copy of the state: %s",
                 wb_bytes_text((size_t)(1 + form->slots) * bytes).text);
    }
    WB_CHECK(s->copy.values, WB_ERR_MEMORY, "no memory for a copy of the state: %s",
             wb_bytes_text((size_t)(1 + form->slots) * bytes).text);
done:
    return status;
}

wb_status wb_saver_create(wb_saver **saver, wb_run_folder *folder, const wb_config *config,
                          const wb_checkpoint *form) {
    wb_status status = WB_OK;
    char life[WB_RUN_LIFE_NAME];
    wb_saver *s = calloc(1, sizeof(*s));
    WB_CHECK(s, WB_ERR_MEMORY, "no memory to save");
    wb_run_folder_life(folder, life);
    const wb_checkpoint_writing how = {.run_folder = config->run_dir,
                                       .life = life,
                                       .keep = config->checkpoint_keep,
                                       .full_every = config->checkpoint_full_every,
                                       .may_publish = still_ours,
                                       .context = folder};
    WB_TRY(wb_checkpoint_writer_create(&s->writer, &how));
    WB_TRY(take_copy(s, form));
    *saver = s;
    s = NULL;
done:
    wb_saver_destroy(s);
    return status;
}

void wb_saver_destroy(wb_saver *s) {
    if (!s) {
        return;
    }
    if (s->running) {
        (void)pthread_join(s->thread, NULL);
    }
    free(s->copy.values);
    for (int i = 0; i < WB_CHECKPOINT_SLOTS; i++) {
        free(s->copy.slot_values[i]);
    }
    wb_checkpoint_writer_destroy(s->writer);
    free(s);
}

static void *write_copy(void *context) {
    wb_saver *s = context;
    const double began = wb_now();
    s->status = wb_checkpoint_writer_write(s->writer, &s->copy);
    (void)snprintf(s->message, sizeof(s->message), "%s", wb_error_message());
    s->seconds = wb_now() - began;
    s->over = true;
    return NULL;
}

wb_status wb_saver_wait(wb_saver *s) {
    if (!s->running) {
        return WB_OK;
    }
    (void)pthread_join(s->thread, NULL);
    s->running = false;
    s->longest = fmax(s->longest, s->seconds);
    return s->status == WB_OK ? WB_OK : WB_ERROR(s->status, "%s", s->message);
}

wb_status wb_saver_poll(wb_saver *s) {
    return s->running && s->over ? wb_saver_wait(s) : WB_OK;
}

wb_status wb_saver_begin(wb_saver *s, const wb_checkpoint *state) {
    wb_status status = WB_OK;
    const size_t bytes = wb_float_bytes(state->table->total);
    WB_TRY(wb_saver_wait(s));
    const wb_checkpoint own = s->copy;
    s->copy = *state;
    s->copy.values = own.values;
    memcpy(s->copy.values, state->values, bytes);
    for (int64_t i = 0; i < state->slots; i++) {
        s->copy.slot_values[i] = own.slot_values[i];
        memcpy(s->copy.slot_values[i], state->slot_values[i], bytes);
    }
    s->over = false;
    const int failed = pthread_create(&s->thread, NULL, write_copy, s);
    WB_CHECK(failed == 0, WB_ERR_MEMORY, "cannot start to save: %s", strerror(failed));
    s->running = true;
done:
    return status;
}

double wb_saver_longest(const wb_saver *s) {
    return s->longest;
}
