"""One peer at work: prepares, warms up, then does a unit of work for every line on standard input.

    peers.py CASE --model FOLDER --data BEIR_FOLDER [--batch N] [--chunk N] [--precision fp32|bf16] [--dropout on|off]

prints one line of JSON when ready and one for every unit: {"seconds": .., "pairs": .., "tokens": .., "work": ..}.
Tokens are real ones: padding does not count. All cases run with two threads in one process, as their users would on
such a machine; reading of files is in the time of faiss-files only, tokenizing is wherever it is in training.
"""

import argparse
import contextlib
import json
import os
import sys
import time

THREADS = 2


def read_pairs(folder):
    """Rows of qrels/train.tsv as (query, passage), titles before texts."""

    def texts(name):
        with open(os.path.join(folder, name), encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                title = row.get("title", "")
                yield row["_id"], (title + " " + row["text"]) if title else row["text"]

    queries, corpus = dict(texts("queries.jsonl")), dict(texts("corpus.jsonl"))
    with open(os.path.join(folder, "qrels", "train.tsv"), encoding="utf-8") as lines:
        next(lines)
        rows = [line.split("\t") for line in lines]
    return [(queries[row[0]], corpus[row[1]]) for row in rows]


def batches(pairs, size):
    """Endless batches in the order of the data."""
    at = 0
    while True:
        yield [pairs[(at + i) % len(pairs)] for i in range(size)]
        at += size


def cast(args):
    import torch

    bf16 = args.precision == "bf16"
    return lambda: torch.autocast("cpu", dtype=torch.bfloat16) if bf16 else contextlib.nullcontext()


def set_dropout(model, args):
    import torch

    model.train()
    if args.dropout == "off":
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
            if hasattr(module, "dropout_prob"):
                module.dropout_prob = 0.0


def optimizer_of(model):
    import torch

    return torch.optim.AdamW(model.parameters(), lr=2e-5, weight_decay=0.01, fused=True)


def st_cached(args, pairs):
    """sentence-transformers' CachedMultipleNegativesRankingLoss, as its trainer would call it."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers import losses

    model = SentenceTransformer(args.model, device="cpu")
    model.max_seq_length = args.passage_tokens
    set_dropout(model, args)
    loss_of = losses.CachedMultipleNegativesRankingLoss(model, mini_batch_size=args.chunk)
    optimizer, source, autocast = optimizer_of(model), batches(pairs, args.batch), cast(args)
    prepare = getattr(model, "preprocess", None) or model.tokenize

    def unit():
        rows = next(source)
        began = time.perf_counter()
        features = [prepare([row[side] for row in rows]) for side in (0, 1)]
        with autocast():
            loss = loss_of(features, None)
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seconds = time.perf_counter() - began
        tokens = sum(int(column["attention_mask"].sum()) for column in features)
        return seconds, len(rows), tokens

    return unit


def loop(args, pairs, cached):
    """A GradCache loop as an expert writes it by hand: equal lengths, no padding, no trainer."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModel.from_pretrained(args.model)
    set_dropout(model, args)
    optimizer, source, autocast = optimizer_of(model), batches(pairs, args.batch), cast(args)
    if args.ipex:
        import intel_extension_for_pytorch as ipex

        dtype = torch.bfloat16 if args.precision == "bf16" else torch.float32
        model, optimizer = ipex.optimize(model, optimizer=optimizer, dtype=dtype)

    def encode(ids):
        with autocast():
            states = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        return torch.nn.functional.normalize(states.float().mean(dim=1), dim=-1)

    def loss_of(queries, passages):
        return torch.nn.functional.cross_entropy(queries @ passages.T * 20.0, torch.arange(len(queries)))

    def tokens_of(texts, length):
        ids = tokenizer(texts, truncation=True, max_length=length, return_tensors="pt", padding=True)
        assert bool((ids["attention_mask"] == 1).all()), "the texts are not all of one length"
        return ids["input_ids"]

    def step_plain(sides):
        loss_of(*(encode(ids) for ids in sides)).backward()

    def step_cached(sides):
        chunks = [chunk for ids in sides for chunk in ids.split(args.chunk)]
        states, reps = [], []
        with torch.no_grad():
            for chunk in chunks:
                states.append(torch.get_rng_state())
                reps.append(encode(chunk))
        leaves = [rep.requires_grad_() for rep in reps]
        half = sides[0].split(args.chunk).__len__()
        loss_of(torch.cat(leaves[:half]), torch.cat(leaves[half:])).backward()
        for chunk, state, leaf in zip(chunks, states, leaves):
            with torch.random.fork_rng(devices=[]):
                torch.set_rng_state(state)
                (encode(chunk) * leaf.grad).sum().backward()

    def unit():
        rows = next(source)
        began = time.perf_counter()
        sides = [
            tokens_of([row[0] for row in rows], args.query_tokens),
            tokens_of([row[1] for row in rows], args.passage_tokens),
        ]
        (step_cached if cached else step_plain)(sides)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return time.perf_counter() - began, len(rows), sum(ids.numel() for ids in sides)

    return unit


def st_static(args, pairs):
    """sentence-transformers' StaticEmbedding with the plain loss: the cached ones refuse it."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers import losses
    from sentence_transformers.models import StaticEmbedding
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(os.path.join(args.model, "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(args.passage_tokens)
    static = StaticEmbedding(tokenizer, embedding_dim=args.width)
    model = SentenceTransformer(modules=[static], device="cpu")
    loss_of = losses.MultipleNegativesRankingLoss(model)
    optimizer, source = optimizer_of(model), batches(pairs, args.batch)
    prepare = getattr(model, "preprocess", None) or model.tokenize

    def unit():
        rows = next(source)
        began = time.perf_counter()
        features = [prepare([row[side] for row in rows]) for side in (0, 1)]
        loss_of(features, None).backward()
        optimizer.step()
        optimizer.zero_grad()
        return time.perf_counter() - began, len(rows), sum(f["input_ids"].numel() for f in features)

    return unit


def st_encode(args, pairs):
    """SentenceTransformer.encode over passages; it sorts them by length itself."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(args.model, device="cpu")
    model.max_seq_length = args.passage_tokens
    texts = [passage for _, passage in pairs]
    tokens = sum(len(ids) for ids in model.tokenizer(texts, truncation=True, max_length=args.passage_tokens)["input_ids"])
    autocast = cast(args)

    def unit():
        began = time.perf_counter()
        with autocast():
            model.encode(texts, batch_size=args.chunk, show_progress_bar=False)
        return time.perf_counter() - began, len(texts), tokens

    return unit


def hf_tokenizer(args, pairs):
    """The fast tokenizer, on one thread."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(os.path.join(args.model, "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    texts = [text.replace("\n", " ") for pair in pairs for text in pair]

    def unit():
        began = time.perf_counter()
        encoded = tokenizer.encode_batch(texts)
        return time.perf_counter() - began, len(texts), sum(len(e.ids) for e in encoded)

    return unit


def faiss_index(args):
    """faiss' exact inner-product index over the vectors that widebatch searches, and the queries."""
    import faiss
    import h5py

    def rows_of(name):
        with h5py.File(os.path.join(args.data, name), "r") as file:
            return file["embeddings"][:]

    faiss.omp_set_num_threads(THREADS)
    corpus, queries = rows_of("corpus.h5"), rows_of("queries.h5")
    index = faiss.IndexFlatIP(corpus.shape[1])
    index.add(corpus)
    return index, queries


def faiss_flat(args, _):
    """A search in memory, 100 results a query."""
    index, queries = faiss_index(args)

    def unit():
        began = time.perf_counter()
        index.search(queries, 100)
        return time.perf_counter() - began, len(queries), 0

    return unit


def faiss_files(args, _):
    """The same with index and queries read from files of faiss' and NumPy's own forms; nothing is written."""
    import faiss
    import numpy

    index_path, queries_path = (os.path.join(args.data, name) for name in ("corpus.faiss", "queries.npy"))
    index, queries = faiss_index(args)
    faiss.write_index(index, index_path)
    numpy.save(queries_path, queries)
    del index

    def unit():
        began = time.perf_counter()
        faiss.read_index(index_path).search(numpy.load(queries_path), 100)
        return time.perf_counter() - began, len(queries), 0

    return unit


CASES = {
    "st-cached": st_cached,
    "loop-cached": lambda args, pairs: loop(args, pairs, True),
    "loop-plain": lambda args, pairs: loop(args, pairs, False),
    "st-static": st_static,
    "st-encode": st_encode,
    "hf-tokenizer": hf_tokenizer,
    "faiss": faiss_flat,
    "faiss-files": faiss_files,
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("case", choices=sorted(CASES))
    parser.add_argument("--model", default="")
    parser.add_argument("--data", default="")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--chunk", type=int, default=32)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--query-tokens", type=int, default=256)
    parser.add_argument("--passage-tokens", type=int, default=256)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--dropout", choices=["on", "off"], default="on")
    parser.add_argument("--ipex", action="store_true")
    args = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false" if args.case == "hf-tokenizer" else "true"
    os.environ["HF_HUB_OFFLINE"] = "1"
    if args.case != "hf-tokenizer" and not args.case.startswith("faiss"):
        import torch

        torch.set_num_threads(THREADS)
        torch.manual_seed(1)
    unit = CASES[args.case](args, [] if args.case.startswith("faiss") else read_pairs(args.data))
    unit()  # warms up
    print(json.dumps({"ready": args.case}), flush=True)
    for _ in sys.stdin:
        seconds, pairs, tokens = unit()
        print(json.dumps({"seconds": seconds, "pairs": pairs, "tokens": tokens}), flush=True)


main()
