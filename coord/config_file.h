/* YAML files of options: nested mappings of the table's keys. */
#ifndef WB_CONFIG_FILE_H
#define WB_CONFIG_FILE_H

#include "options.h"

/* Local. Sets every key that the file names. Both `loss: {temperature: 0.05}` and
 * `loss.temperature: 0.05` are understood. Errors: WB_ERR_CONFIG with file:line for bad YAML, an
 * unknown or repeated key, a value of the wrong kind or out of range, a file over 1 MiB. */
wb_status wb_config_file_read(wb_config *config, wb_origins *origins, const char *path);

/* Local. The configuration of a command line: defaults, then the file (NULL: none), then key=value
 * assignments in order. `origins` is set even on error and owned by the caller. Errors as above,
 * and WB_ERR_USAGE. */
wb_status wb_config_read(wb_config *config, wb_origins **origins, const char *path,
                         const char *const *assignments, int count);

/* Local. A folder that a run has begun is continued under the same configuration or not at all:
 * compares `config` with the config.yaml of run_dir, where there is one. `allowed` as for
 * wb_options_check_continues. Errors: WB_ERR_CONFIG, WB_ERR_MEMORY. */
wb_status wb_config_check_continues(const wb_config *config, const char *run_dir,
                                    const char *allowed);

#endif
