/* Any bytes as a run. */
#include "fuzz_input.h"
#include "trec_run.h"

#include <math.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    fuzz_file input = fuzz_file_open(data, bytes);
    wb_trec_rows run;
    if (wb_trec_run_read(&run, input.path) == WB_OK) {
        fuzz_require(run.first[run.queries.count] == run.count, "queries hold all rows");
        for (int64_t i = 0; i < run.count; i++) {
            fuzz_require(isfinite(run.rows[i].score) && wb_trec_rows_docid(&run, i)[0] != '\0',
                         "rows are whole");
        }
        wb_trec_rows_clear(&run);
    }
    fuzz_file_close(&input);
    return 0;
}
