"""Writes tests/data/models: one tiny BERT, as the ecosystem's writers lay it out.

    sentence_transformers   SentenceTransformer.save: modules.json, pooling, normalise, length 12
    sharded                 transformers' save_pretrained in two shards, no modules.json
    masked_lm               BertForMaskedLM: prefix bert., a cls head, no pooler; bfloat16
    static                  a StaticEmbedding folder
"""
import pathlib
import shutil

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Normalize, Pooling, StaticEmbedding, Transformer
from transformers import BertConfig, BertForMaskedLM, BertModel, BertTokenizerFast

torch.manual_seed(0)
root = pathlib.Path(__file__).parent.parent / "data" / "models"
shutil.rmtree(root, ignore_errors=True)
root.mkdir(parents=True)
vocabulary = "[PAD] [UNK] [CLS] [SEP] [MASK] a b c the cat dog sat on mat ##s . ,".split()
(root / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
tokenizer = BertTokenizerFast(str(root / "vocab.txt"), model_max_length=16)
config = BertConfig(vocab_size=len(vocabulary), hidden_size=8, num_hidden_layers=2,
                    num_attention_heads=2, intermediate_size=12, max_position_embeddings=16)
model = BertModel(config)
with torch.no_grad():  # biases and layer norms begin at 0 and 1, which would hide mistakes
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))

model.save_pretrained(root / "sharded", max_shard_size="3KB")
masked = BertForMaskedLM(config)
masked.bert.load_state_dict(model.state_dict(), strict=False)
masked.to(torch.bfloat16).save_pretrained(root / "masked_lm")

model.save_pretrained(root / "plain")
tokenizer.save_pretrained(root / "plain")
encoder = Transformer(str(root / "plain"))
whole = SentenceTransformer(modules=[encoder, Pooling(8, "cls"), Normalize()], device="cpu")
whole.max_seq_length = 12
whole.save(str(root / "sentence_transformers"), create_model_card=False)
shutil.rmtree(root / "plain")

static = StaticEmbedding(tokenizer.backend_tokenizer, embedding_weights=torch.randn(len(vocabulary), 6))
SentenceTransformer(modules=[static, Normalize()], device="cpu").save(
    str(root / "static"), create_model_card=False)
(root / "vocab.txt").unlink()
