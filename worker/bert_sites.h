/* Where BERT draws dropout masks: site numbers within a pass (rng.h). */
#ifndef WB_BERT_SITES_H
#define WB_BERT_SITES_H

#include <stdint.h>

enum { WB_BERT_SITE_EMBEDDINGS };
typedef enum wb_bert_place {
    WB_BERT_ATTENTION, /* probabilities */
    WB_BERT_OUTPUT1,   /* after the attention's dense layer */
    WB_BERT_OUTPUT2,   /* after the feed-forward layer */
    WB_BERT_PLACES
} wb_bert_place;

static inline uint32_t wb_bert_site(int64_t layer, wb_bert_place place) {
    return (uint32_t)(WB_BERT_SITE_EMBEDDINGS + 1 + layer * WB_BERT_PLACES + place);
}

#endif
