/* Any bytes as judgements. */
#include "fuzz_input.h"
#include "qrels.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    fuzz_file input = fuzz_file_open(data, bytes);
    wb_qrels qrels;
    if (wb_qrels_read(&qrels, input.path) == WB_OK) {
        fuzz_require(qrels.first[qrels.query_count] == qrels.rows, "queries hold all rows");
        for (int64_t i = 0; i < qrels.rows; i++) {
            fuzz_require(qrels.first[qrels.query[i]] <= i && i < qrels.first[qrels.query[i] + 1],
                         "rows of a query are together");
            fuzz_require(qrels.docids[i][0] != '\0', "ids are not empty");
        }
        wb_qrels_clear(&qrels);
    }
    fuzz_file_close(&input);
    return 0;
}
