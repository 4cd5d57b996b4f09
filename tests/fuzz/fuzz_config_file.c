/* YAML configurations: read or refused with a message, and what was read is written and read again
 * the same. */
#include "config_file.h"
#include "fuzz_input.h"

#include <string.h>

/* The configuration as a run leaves it; owned by the caller. */
static char *write_text(const wb_config *config, const wb_origins *origins, size_t *bytes) {
    char *text = NULL;
    FILE *out = open_memstream(&text, bytes);
    wb_options_write(config, origins, out);
    (void)fclose(out);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    fuzz_file input = fuzz_file_open(data, bytes);
    wb_config config, again;
    wb_origins *origins = NULL, *other = NULL;
    if (wb_config_read(&config, &origins, input.path, NULL, 0) == WB_OK) {
        size_t length = 0;
        char *text = write_text(&config, origins, &length);
        fuzz_file written = fuzz_file_open((const uint8_t *)text, length);
        fuzz_require(wb_config_read(&again, &other, written.path, NULL, 0) == WB_OK,
                     "what was written is read");
        fuzz_require(wb_options_fixed_hash(&config) == wb_options_fixed_hash(&again) &&
                         strcmp(config.run_dir, again.run_dir) == 0,
                     "it says the same");
        fuzz_file_close(&written);
        free(text);
    } else {
        fuzz_require(wb_error_message()[0] != '\0', "a refusal has a message");
    }
    wb_origins_destroy(origins);
    wb_origins_destroy(other);
    fuzz_file_close(&input);
    return 0;
}
