/* What a model is, in plain numbers: filled from a model folder (io), built into an encoder
 * (worker), written into an exported folder (io). */
#ifndef WB_ENCODER_SPEC_H
#define WB_ENCODER_SPEC_H

#include "numbers.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum wb_encoder_kind { WB_ENCODER_BERT, WB_ENCODER_STATIC } wb_encoder_kind;
typedef enum wb_pooling { WB_POOLING_MEAN, WB_POOLING_CLS } wb_pooling;

typedef struct wb_encoder_spec {
    wb_encoder_kind kind;
    int64_t vocabulary; /* rows of the token embedding table */
    int64_t hidden;     /* H; the width of a representation too */
    /* BERT only */
    int64_t layers, heads;    /* L, h; heads divides hidden */
    int64_t intermediate;     /* width of the feed-forward layer, usually 4 H */
    int64_t positions;        /* longest sequence, in tokens */
    int64_t token_types;      /* rows of the token type table; type 0 is used */
    double layer_norm_eps;    /* 1e-12 for BERT */
    double dropout_hidden;    /* embeddings and both outputs of a layer, in [0, 1) */
    double dropout_attention; /* attention probabilities, in [0, 1) */
    wb_pooling pooling;
    bool normalize;         /* L2-normalised representations */
    wb_precision precision; /* of activations and products: how it is run, not what it is */
} wb_encoder_spec;

#endif
