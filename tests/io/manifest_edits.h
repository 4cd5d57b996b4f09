/* A manifest that someone has changed who knows how it is summed. */
#ifndef WB_MANIFEST_EDITS_H
#define WB_MANIFEST_EDITS_H

#include "hash.h"
#include "io_checks.h"
#include "json.h"

/* The value at a path such as "files/0/step" is replaced by one in JSON, or removed (NULL). */
static inline void edit_manifest(json_t *root, const char *place, const char *value) {
    char names[128];
    (void)snprintf(names, sizeof(names), "%s", place);
    json_t *at = root;
    char *next = NULL, *name = strtok_r(names, "/", &next);
    for (char *below = strtok_r(NULL, "/", &next); below; below = strtok_r(NULL, "/", &next)) {
        at = json_is_array(at) ? json_array_get(at, strtoul(name, NULL, 10))
                               : json_object_get(at, name);
        assert_non_null(at);
        name = below;
    }
    json_t *const made = value ? json_loads(value, JSON_DECODE_ANY, NULL) : NULL;
    assert_true(!value || made);
    if (json_is_array(at)) {
        const size_t i = strtoul(name, NULL, 10);
        assert_int_equal(made ? json_array_set_new(at, i, made) : json_array_remove(at, i), 0);
    } else {
        assert_int_equal(made ? json_object_set_new(at, name, made) : json_object_del(at, name), 0);
    }
}

/* As checkpoint_manifest.c sums: members by name, no blanks, without "sum". */
static inline void sum_manifest_again(json_t *root) {
    char sum[32];
    (void)json_object_del(root, "sum");
    char *const text = json_dumps(root, JSON_COMPACT | JSON_SORT_KEYS);
    (void)snprintf(sum, sizeof(sum), "%016llx", (unsigned long long)wb_hash(text, strlen(text)));
    (void)json_object_set_new(root, "sum", json_string(sum));
    free(text);
}

/* The same in the file `path`, whose sum is then right. */
static inline void edit_manifest_file(const char *path, const char *place, const char *value) {
    json_t *root = NULL;
    assert_ok(wb_json_read(&root, path, 1 << 20));
    edit_manifest(root, place, value);
    sum_manifest_again(root);
    assert_ok(wb_json_write(root, path));
    json_decref(root);
}

#endif
