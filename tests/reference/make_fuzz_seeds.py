"""Writes the seeds of fuzz_safetensors, fuzz_model_config and fuzz_embeddings."""
import json
import pathlib

import h5py
import numpy as np
import torch
from safetensors.torch import save

root = pathlib.Path(__file__).parent.parent / "fuzz" / "seeds"
models = root.parent.parent / "data" / "models"


def seed(name, file, data):
    (root / name).mkdir(parents=True, exist_ok=True)
    (root / name / file).write_bytes(data)


def header(text, size=0):
    return len(text).to_bytes(8, "little") + text.encode() + bytes(size)


for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int8):
    tensors = {"a": torch.ones(2, 3, dtype=dtype), "b": torch.zeros(0, dtype=dtype)}
    seed("safetensors", str(dtype).split(".")[1], save(tensors, {"format": "pt"}))
seed("safetensors", "empty", header("{}  "))
seed("safetensors", "scalar", header('{"x":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}', 1))

st = models / "sentence_transformers"
files = ["config.json", "modules.json", "1_Pooling/config.json", "sentence_bert_config.json",
         "tokenizer_config.json"]
index = b'{"weight_map": {"embeddings.word_embeddings.weight": "shard.safetensors"}}'
parts = [json.dumps(json.loads((st / file).read_text())).encode() for file in files]
seed("model_config", "sentence_transformers", b"\0".join(parts + [index]))
seed("model_config", "plain", b"\0".join([parts[0], b"", b"", b"", b"", index]))
seed("model_config", "old_pooling", b"\0".join(
    [parts[0], parts[1], b'{"word_embedding_dimension": 8, "pooling_mode_mean_tokens": true}',
     b'{"max_seq_length": 12, "do_lower_case": false}', b"", index]))
seed("model_config", "static", b"\0".join(
    [b'{"model_type": "model2vec", "normalize": true}', b"", b"", b"", b"",
     b'{"weight_map": {"embeddings": "shard.safetensors"}}']))

(root / "embeddings").mkdir(parents=True, exist_ok=True)
for rows in (0, 3):
    with h5py.File(root / "embeddings" / f"rows_{rows}.h5", "w", libver="v110") as out:
        out.attrs.update({"max_tokens": np.int64(8), "normalized": np.uint8(1)})
        for name in ("model", "role"):
            out.attrs.create(name, b"passage", dtype="S7")
        out.create_dataset("embeddings", data=np.ones((rows, 4), "f4"), chunks=(2, 4),
                           maxshape=(None, 4), fletcher32=True)
        out.create_dataset("ids", data=np.array([b"a"] * rows, "S2"), chunks=(2,),
                           maxshape=(None,), fletcher32=True)
