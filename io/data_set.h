/* Training rows: a query, a passage that answers it, and passages that do not.
 *
 *   BEIR folder     corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv: a row for each judgement with a
 *                   score above 0, in file order; no negatives
 *   Tevatron JSONL  a row for each line that has positives. Old form: query_id, query,
 *                   positive_passages[], negative_passages[] of {docid, title, text}. New form:
 *                   query_id, query_text, positive_document_ids[], negative_document_ids[], with a
 *                   corpus.jsonl next to the file
 *
 * Everything is read and checked once when opened; afterwards only places in the files are held. */
#ifndef WB_DATA_SET_H
#define WB_DATA_SET_H

#include "status.h"
#include "text_file.h"

#include <stdint.h>

typedef struct wb_data_set wb_data_set;

/* Local. Opens a BEIR folder, of which `split` names the judgements, or a Tevatron file, for which
 * `split` is not looked at and may be NULL. Errors: WB_ERR_INPUT with file:line, also for a
 * judgement or line that names an id no text has, and for a set without rows; WB_ERR_MEMORY. */
wb_status wb_data_set_open(wb_data_set **set, const char *path, const char *split);
void wb_data_set_close(wb_data_set *set);

int64_t wb_data_set_rows(const wb_data_set *set);

/* Local. The fewest hard negatives any row has. */
int64_t wb_data_set_negatives(const wb_data_set *set);

/* Local. The most hard negatives any row has, and how many rows have fewer than `negatives`. */
int64_t wb_data_set_most_negatives(const wb_data_set *set);
int64_t wb_data_set_rows_below(const wb_data_set *set, int64_t negatives);

/* Local. Lines or judgements left out because they have no positive. */
int64_t wb_data_set_dropped(const wb_data_set *set);

/* Local. The most positives that any row's query is known to have. */
int64_t wb_data_set_most_positives(const wb_data_set *set);

/* Local. Keys, as of wb_data_set_read, of all passages that the data knows to answer the query of a
 * row, its own positive among them: in a BEIR folder those of the query's other rows, in a Tevatron
 * file the line's positives. BEIR keys are remembered once they were read. Usable from several
 * threads.
 *   keys [wb_data_set_most_positives]   filled, *count of them
 * Errors: WB_ERR_INPUT where the files are no longer what was checked; WB_ERR_MEMORY. */
wb_status wb_data_set_positive_keys(const wb_data_set *set, int64_t row, uint64_t *keys,
                                    int64_t *count);

/* Local. The most keys that wb_data_set_own_keys fills. */
int64_t wb_data_set_most_own_keys(const wb_data_set *set);

/* Local. Keys of the texts that a row brings as query and as positive, whatever the draw: the
 * query, then in a BEIR folder its passage, in a Tevatron file all of the line's positives. Usable
 * from several threads. keys [wb_data_set_most_own_keys]   filled, *count of them Errors: as of
 * wb_data_set_positive_keys. */
wb_status wb_data_set_own_keys(const wb_data_set *set, int64_t row, uint64_t *keys, int64_t *count);

/* Local. Names of the texts that wb_data_set_read gives for the same arguments; no file is read.
 * Two texts of the same name are the same. Usable from several threads. names [2 + negatives]
 * filled Errors: WB_ERR_CONFIG where the row has fewer negatives; WB_ERR_MEMORY. */
wb_status wb_data_set_name_texts(const wb_data_set *set, int64_t row, int64_t draw,
                                 int64_t negatives, uint64_t *names);

/* Local. Bytes of the files that texts are read from. */
int64_t wb_data_set_bytes(const wb_data_set *set);

/* Local. Reads one row: texts[0] is the query, texts[1] the positive, texts[2 ..] the negatives;
 * keys[i] is wb_hash of texts[i].text, for duplicate masks. `draw`, an epoch number, chooses: the
 * positive is number (row + draw) mod n_positives; the negatives, put into a random order that
 * depends on the row only, are taken from place (draw * negatives) mod n_negatives on, around the
 * end. The choice depends on (row, draw, negatives) only. Usable from several threads with texts of
 * their own.
 *   row in [0, rows)   draw >= 0   negatives in [0, those of this row]
 *   texts [2 + negatives]   keys [2 + negatives] or NULL           filled
 * Errors: WB_ERR_CONFIG where the row has fewer negatives; WB_ERR_INPUT where the files are no
 * longer what was checked; WB_ERR_MEMORY. */
wb_status wb_data_set_read(const wb_data_set *set, int64_t row, int64_t draw, int64_t negatives,
                           wb_text *texts, uint64_t *keys);

#endif
