/* The only user of libyaml. Its document tree keeps the line of every node, which is what messages
 * and origins need; aliases and deeper nesting than section.key are refused, so a small file cannot
 * become a large tree. */
#include "config_file.h"

#include "files.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum { FILE_CAP = 1 << 20, DEPTH_CAP = 8, KEY = 128 };

typedef struct reader {
    yaml_document_t document;
    const char *path;
    wb_config *config;
    wb_origins *origins;
} reader;

static wb_status not_yaml(const yaml_parser_t *parser, const char *path) {
    if (parser->error == YAML_MEMORY_ERROR || !parser->problem) { /* only memory has no words */
        return WB_ERROR(WB_ERR_MEMORY, "%s: no memory to read it", path);
    }
    return WB_ERROR(WB_ERR_CONFIG, "%s:%zu: not valid YAML: %s", path,
                    parser->problem_mark.line + 1, parser->problem);
}

static wb_status start(yaml_parser_t *parser, const char *text, size_t bytes) {
    if (!yaml_parser_initialize(parser)) {
        return WB_ERROR(WB_ERR_MEMORY, "no memory for a YAML parser");
    }
    yaml_parser_set_input_string(parser, (const unsigned char *)text, bytes);
    return WB_OK;
}

/* Goes through the events without keeping them, and stops where the tree would go too deep: libyaml
 * takes quadratic time there. */
static wb_status survey(const char *path, const char *text, size_t bytes) {
    wb_status status = WB_OK;
    yaml_parser_t parser;
    yaml_event_type_t type = YAML_NO_EVENT;
    int depth = 0, documents = 0;
    status = start(&parser, text, bytes);
    if (status != WB_OK) {
        return status;
    }
    while (type != YAML_STREAM_END_EVENT) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            status = not_yaml(&parser, path);
            goto done;
        }
        const size_t line = event.start_mark.line + 1;
        type = event.type;
        yaml_event_delete(&event);
        depth += type == YAML_SEQUENCE_START_EVENT || type == YAML_MAPPING_START_EVENT;
        depth -= type == YAML_SEQUENCE_END_EVENT || type == YAML_MAPPING_END_EVENT;
        documents += type == YAML_DOCUMENT_START_EVENT;
        WB_CHECK(depth <= DEPTH_CAP, WB_ERR_CONFIG, "%s:%zu: nested too deep", path, line);
        WB_CHECK(documents <= 1, WB_ERR_CONFIG, "%s:%zu: a second document begins; one is allowed",
                 path, line);
        WB_CHECK(type != YAML_ALIAS_EVENT, WB_ERR_CONFIG,
                 "%s:%zu: an alias stands here; write the value itself", path, line);
    }
done:
    yaml_parser_delete(&parser);
    return status;
}

static wb_status parse(yaml_document_t *document, const char *path, const char *text,
                       size_t bytes) {
    wb_status status = WB_OK;
    yaml_parser_t parser;
    status = start(&parser, text, bytes);
    if (status != WB_OK) {
        return status;
    }
    if (!yaml_parser_load(&parser, document)) {
        status = not_yaml(&parser, path);
    }
    yaml_parser_delete(&parser);
    return status;
}

/* A scalar's text as C string, or an error that says what stands there. */
static wb_status scalar(const reader *r, const yaml_node_t *node, const char *what,
                        const char **text) {
    const size_t line = node->start_mark.line + 1;
    if (node->type != YAML_SCALAR_NODE) {
        return WB_ERROR(WB_ERR_CONFIG, "%s:%zu: %s must be a single value", r->path, line, what);
    }
    *text = (const char *)node->data.scalar.value;
    if (strlen(*text) != node->data.scalar.length) {
        return WB_ERROR(WB_ERR_CONFIG, "%s:%zu: %s holds a NUL byte", r->path, line, what);
    }
    return WB_OK;
}

static wb_status set_pair(reader *r, const char *section, yaml_node_pair_t *pair, bool nested);

static wb_status read_mapping(reader *r, const char *section, const yaml_node_t *mapping,
                              bool nested) {
    yaml_node_pair_t *const first = mapping->data.mapping.pairs.start;
    for (yaml_node_pair_t *pair = first; pair < mapping->data.mapping.pairs.top; pair++) {
        const wb_status status = set_pair(r, section, pair, nested);
        if (status != WB_OK) {
            return status;
        }
    }
    return WB_OK;
}

/* Whether an origin is "PATH:LINE". */
static bool is_line_of(const char *path, const char *origin) {
    const size_t length = strlen(path);
    return strncmp(origin, path, length) == 0 && origin[length] == ':';
}

static wb_status set_pair(reader *r, const char *section, yaml_node_pair_t *pair, bool nested) {
    wb_status status = WB_OK;
    const yaml_node_t *key_node = yaml_document_get_node(&r->document, pair->key);
    const yaml_node_t *node = yaml_document_get_node(&r->document, pair->value);
    const size_t line = key_node->start_mark.line + 1;
    const char *name = NULL, *value = NULL;
    char key[KEY], origin[WB_ORIGIN];
    WB_TRY(scalar(r, key_node, "a key", &name));
    const int length = snprintf(key, sizeof(key), "%s%s%s", section, section[0] ? "." : "", name);
    WB_CHECK(length > 0 && length < KEY, WB_ERR_CONFIG, "%s:%zu: a key of %d characters", r->path,
             line, length);
    if (node->type == YAML_MAPPING_NODE && !nested) {
        WB_TRY(read_mapping(r, key, node, true));
        goto done;
    }
    (void)snprintf(origin, sizeof(origin), "%s:%zu", r->path, line);
    WB_TRY(scalar(r, node, key, &value));
    const char *const before = wb_origins_of(r->origins, key);
    WB_CHECK(!before || !is_line_of(r->path, before), WB_ERR_CONFIG, "%s: %s is already set at %s",
             origin, key, before);
    WB_TRY(wb_options_set(r->config, r->origins, key, value, origin));
done:
    return status;
}

wb_status wb_config_file_read(wb_config *config, wb_origins *origins, const char *path) {
    wb_status status = WB_OK;
    char *text = NULL;
    size_t bytes = 0;
    bool parsed = false;
    reader r = {.path = path, .config = config, .origins = origins};
    status = wb_file_read(path, FILE_CAP, &text, &bytes);
    if (status != WB_OK) {
        status = status == WB_ERR_INPUT ? WB_ERR_CONFIG : status; /* it is not input data */
        goto done;
    }
    WB_TRY(survey(path, text, bytes));
    WB_TRY(parse(&r.document, path, text, bytes));
    parsed = true;
    const yaml_node_t *root = yaml_document_get_root_node(&r.document);
    if (root) {
        WB_CHECK(root->type == YAML_MAPPING_NODE, WB_ERR_CONFIG,
                 "%s:%zu: a mapping of keys to values is needed", path, root->start_mark.line + 1);
        WB_TRY(read_mapping(&r, "", root, false));
    }
done:
    if (parsed) {
        yaml_document_delete(&r.document);
    }
    free(text);
    return status;
}

wb_status wb_config_read(wb_config *config, wb_origins **origins, const char *path,
                         const char *const *assignments, int count) {
    wb_status status = WB_OK;
    *origins = NULL;
    WB_TRY(wb_options_defaults(config, origins));
    for (int i = 0; i < count; i++) {
        if (!strchr(assignments[i], '=')) { /* "--set key value": value is no file to open */
            WB_TRY(wb_options_assign(config, *origins, assignments[i]));
        }
    }
    if (path) {
        WB_TRY(wb_config_file_read(config, *origins, path));
    }
    for (int i = 0; i < count; i++) {
        WB_TRY(wb_options_assign(config, *origins, assignments[i]));
    }
done:
    return status;
}

wb_status wb_config_check_continues(const wb_config *config, const char *run_dir,
                                    const char *allowed) {
    wb_status status = WB_OK;
    wb_config before;
    wb_origins *origins = NULL;
    char path[WB_PATH];
    WB_TRY(wb_path_join(path, run_dir, "config.yaml"));
    if (wb_path_is_file(path)) {
        WB_TRY(wb_config_read(&before, &origins, path, NULL, 0));
        WB_TRY(wb_options_check_continues(&before, config, path, allowed));
    }
done:
    wb_origins_destroy(origins);
    return status;
}
