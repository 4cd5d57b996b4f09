/* What the tests of checkpoints share: a run with checkpoints of a small model, each of whose
 * values tells its step. */
#ifndef WB_CHECKPOINT_CHECKS_H
#define WB_CHECKPOINT_CHECKS_H

#include "io_checks.h"

#include "checkpoint.h"
#include "hdf5_setup.h"
#include "tensor.h"

#include <errno.h>

static char run[WB_PATH];
static char rejected[4096];

/* A state of three arrays. Two of its tensors are larger than a chunk. */
typedef struct sample {
    wb_tensor_table table;
    float *arrays[3];
    wb_checkpoint state;
} sample;

static inline void make_sample(sample *made, int64_t step, int64_t large) {
    *made = (sample){0};
    assert_ok(wb_tensor_add(&made->table, true, large, 300, "embeddings.word_embeddings.weight"));
    assert_ok(wb_tensor_add(&made->table, false, 300, 0, "embeddings.LayerNorm.bias"));
    assert_ok(wb_tensor_add(&made->table, true, 1, 7, "encoder.layer.0.output.dense.weight"));
    made->state = (wb_checkpoint){.step = step,
                                  .total_steps = 500,
                                  .rows = step * 64,
                                  .seed = 0xfedcba9876543210u,
                                  .config_hash = 77,
                                  .finished = step == 500,
                                  .table = &made->table,
                                  .slots = 2,
                                  .slot_names = {"adamw.m", "adamw.v"}};
    for (uint32_t a = 0; a < 3; a++) {
        made->arrays[a] = calloc((size_t)made->table.total, sizeof(float));
        assert_non_null(made->arrays[a]);
        for (int64_t i = 0; i < made->table.total; i++) {
            made->arrays[a][i] = (float)(i % 1013) + 1000.0f * (float)a + 0.5f * (float)step;
        }
    }
    made->state.values = made->arrays[0];
    made->state.slot_values[0] = made->arrays[1];
    made->state.slot_values[1] = made->arrays[2];
}

static inline void drop_sample(sample *s) {
    for (int a = 0; a < 3; a++) {
        free(s->arrays[a]);
    }
    wb_tensor_table_clear(&s->table);
}

static inline void save(int64_t step) {
    sample s;
    make_sample(&s, step, 5);
    assert_ok(wb_checkpoint_write(run, &s.state));
    drop_sample(&s);
}

/* The step that is resumed from, or -1 where there is none; the arrays must be that step's. */
static inline int64_t resume(void) {
    bool found = false;
    sample s;
    make_sample(&s, 0, 5);
    assert_ok(wb_checkpoint_read_newest(run, &s.state, &found, rejected, sizeof(rejected)));
    const int64_t step = found ? s.state.step : -1;
    sample expected;
    make_sample(&expected, found ? step : 0, 5);
    for (int a = 0; a < 3; a++) {
        assert_memory_equal(s.arrays[a], expected.arrays[a], (size_t)s.table.total * sizeof(float));
    }
    drop_sample(&s);
    drop_sample(&expected);
    return step;
}

static inline wb_status try_resume(void) {
    bool found = false;
    sample s;
    make_sample(&s, 0, 5);
    const wb_status status =
        wb_checkpoint_read_newest(run, &s.state, &found, rejected, sizeof(rejected));
    drop_sample(&s);
    return status;
}

static inline void in_run(char path[WB_PATH], const char *name) {
    assert_ok(wb_path_join(path, run, "checkpoints/%s", name));
}

static inline bool exists(const char *name) {
    char path[WB_PATH];
    in_run(path, name);
    return wb_path_is_folder(path);
}

/* The run of this program is empty. */
static inline int fresh_run(void **state) {
    (void)state;
    assert_ok(wb_io_init());
    scratch_folder(run, program_invocation_short_name, "run");
    return 0;
}

#endif
