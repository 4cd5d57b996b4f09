/* Any bytes as judgements. */
#include "fuzz_input.h"
#include "qrels.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    fuzz_file input = fuzz_file_open(data, bytes);
    wb_trec_rows qrels;
    if (wb_qrels_read(&qrels, input.path) == WB_OK) {
        fuzz_require(qrels.first[qrels.queries.count] == qrels.count, "queries hold all rows");
        for (int64_t i = 0; i < qrels.count; i++) {
            fuzz_require(qrels.first[qrels.rows[i].query] <= i &&
                             i < qrels.first[qrels.rows[i].query + 1],
                         "rows of a query are together");
            fuzz_require(wb_trec_rows_docid(&qrels, i)[0] != '\0', "ids are not empty");
        }
        wb_trec_rows_clear(&qrels);
    }
    fuzz_file_close(&input);
    return 0;
}
