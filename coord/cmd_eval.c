/* widebatch eval: a run against judgements. */
#include "commands.h"
#include "measures.h"

enum { QRELS, RUN };
const wb_flag wb_eval_flags[] = {
    [QRELS] = {"qrels", WB_FLAG_REQUIRED, "FILE.tsv", NULL, "judgements, BEIR's or TREC's form"},
    [RUN] = {"run", WB_FLAG_REQUIRED, "RUN.trec", NULL, "results, six columns"},
};
const int wb_eval_flag_count = sizeof(wb_eval_flags) / sizeof(wb_eval_flags[0]);

static wb_status evaluate(const wb_arguments *arguments) {
    wb_status status = WB_OK;
    wb_trec_rows qrels = {0};
    wb_trec_rows run = {0};
    wb_measures measures;
    WB_TRY(wb_qrels_read(&qrels, arguments->values[QRELS]));
    WB_TRY(wb_trec_run_read(&run, arguments->values[RUN]));
    WB_TRY(wb_measures_compute(&qrels, &run, &measures));
    wb_measures_print(&measures, stdout);
    WB_CHECK(fflush(stdout) == 0, WB_ERR_DISK, "cannot write to standard output");
done:
    wb_trec_rows_clear(&run);
    wb_trec_rows_clear(&qrels);
    return status;
}

wb_status wb_command_eval(const wb_arguments *arguments, wb_comm *comm) {
    return wb_agree(comm, wb_comm_rank(comm) == 0 ? evaluate(arguments) : WB_OK);
}
