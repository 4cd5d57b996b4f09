"""Times widebatch beside its peers: same texts, same lengths, same cores, in one run, turn by turn.

    compare.py PROGRAM PYTHON OUT [--repeats N] [--only NAME]...

PROGRAM is widebatch, PYTHON an interpreter that has requirements.txt. Each repeat gives one unit of work to each side in
turn, so that a machine whose speed drifts drifts for both; what counts is the ratio of the best units. OUT gets
results.json and a plot.
"""

import argparse
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL = "build/models/all-MiniLM-L6-v2"
MEDQUAD = "build/data/medquad"
VOCABULARY = "configs/vocab/bert-base-uncased-vocab.txt"
FLAGS = open("/proc/cpuinfo", encoding="utf-8").read()
HAS_AMX, HAS_BF16 = "amx_bf16" in FLAGS, "avx512_bf16" in FLAGS or "amx_bf16" in FLAGS


# ---- Data: BEIR folders cut from MedQuAD ----------------------------------------------------------------------------


def read_lines(name):
    with open(os.path.join(MEDQUAD, name), encoding="utf-8") as lines:
        return list(lines)


def write_folder(folder, pairs):
    os.makedirs(os.path.join(folder, "qrels"), exist_ok=True)
    with open(os.path.join(folder, "queries.jsonl"), "w", encoding="utf-8") as queries, open(
        os.path.join(folder, "corpus.jsonl"), "w", encoding="utf-8"
    ) as corpus, open(os.path.join(folder, "qrels", "train.tsv"), "w", encoding="utf-8") as qrels:
        qrels.write("query-id\tcorpus-id\tscore\n")
        for i, (query, passage) in enumerate(pairs):
            queries.write(json.dumps({"_id": f"q{i}", "text": query}) + "\n")
            corpus.write(json.dumps({"_id": f"d{i}", "text": passage}) + "\n")
            qrels.write(f"q{i}\td{i}\t1\n")


def medquad_pairs():
    queries = {row["_id"]: row["text"] for row in map(json.loads, read_lines("queries.jsonl"))}
    corpus = {row["_id"]: row for row in map(json.loads, read_lines("corpus.jsonl"))}
    pairs = []
    for line in read_lines("qrels/train.tsv")[1:]:
        query, passage, _ = line.split("\t")
        title = corpus[passage].get("title", "")
        pairs.append((queries[query], (title + " " if title else "") + corpus[passage]["text"]))
    return pairs


def prepare(folder):
    """real: every n-th pair; equal: texts long enough to be cut to one length; all: every pair."""
    pairs = medquad_pairs()
    write_folder(os.path.join(folder, "real"), pairs[:: len(pairs) // 256][:256])
    words = " ".join(passage for _, passage in pairs[:4000]).split()
    at = iter(range(0, len(words) - 400, 200))
    equal = [(" ".join(words[i : i + 40]), " ".join(words[i + 40 : i + 200])) for i in (next(at) for _ in range(256))]
    write_folder(os.path.join(folder, "equal"), equal)
    write_folder(os.path.join(folder, "all"), pairs)


def prepare_search(program, folder):
    """corpus.h5, queries.h5: representations by a static encoder, drawn from the seed, of random words."""
    if os.path.exists(os.path.join(folder, "queries.h5")):
        return folder
    os.makedirs(folder, exist_ok=True)
    with open(VOCABULARY, encoding="utf-8") as lines:
        words = [line.strip() for line in lines if line.strip().isascii() and line.strip().isalpha()]
    draw = random.Random(1)
    mpirun([program, "train", "--set", f"model.path={VOCABULARY}", "--set", "model.encoder=static", "--set",
            "model.width=384", "--set", f"data.train={MEDQUAD}", "--set", "batch.size=64", "--set", "batch.steps=1",
            "--set", f"run.dir={folder}/run"])
    for name, rows in (("corpus", 200000), ("queries", 1000)):
        with open(os.path.join(folder, name + ".jsonl"), "w", encoding="utf-8") as texts:
            for i in range(rows):
                texts.write(json.dumps({"_id": f"{name[0]}{i}", "text": " ".join(draw.choices(words, k=6))}) + "\n")
        mpirun([program, "encode", "--model", f"{folder}/run/export", "--input", f"{folder}/{name}.jsonl", "--output",
                f"{folder}/{name}.h5"])
    return folder


# ---- The two sides --------------------------------------------------------------------------------------------------


def mpirun(words, ranks=2, threads=1):
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads), OMPI_ALLOW_RUN_AS_ROOT="1",
                       OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    command = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", str(ranks)] + words
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stdout}")
    return done.stdout


def number_after(text, name):
    found = re.search(rf"^{re.escape(name)}\s+([\d.]+)", text, re.MULTILINE)
    return float(found.group(1)) if found else None


class Training:
    """`steps` measured steps of `widebatch bench`, after one to warm up."""

    def __init__(self, program, folder, options, unit="tokens/s", ranks=2, threads=1, steps=1):
        self.words = [program, "bench", "--steps", str(steps)]
        base = {"model.path": MODEL, "data.train": folder, "data.max_query_tokens": 256,
                "data.max_passage_tokens": 256, "batch.size": 64, "batch.steps": 1000}
        for key, value in {**base, **options}.items():
            self.words += ["--set", f"{key}={value}"]
        self.unit, self.shares, self.ranks, self.threads = unit, [], ranks, threads

    def run(self):
        text = mpirun(self.words, self.ranks, self.threads)
        self.shares.append(number_after(text, "share"))
        return number_after(text, self.unit)


class Encoding:
    """`widebatch encode`, files read and written within the time."""

    def __init__(self, program, folder, out, options):
        self.words = [program, "encode", "--model", MODEL, "--input", os.path.join(folder, "corpus.jsonl"),
                      "--output", os.path.join(out, "encoded.h5")] + options

    def run(self):
        text = mpirun(self.words)
        return float(re.search(r"([\d,]+) tokens/s", text).group(1).replace(",", ""))


class Searching:
    """`widebatch search`, 100 results a query; both files read, checked, and the results written within the time."""

    def __init__(self, program, folder, out):
        self.words = [program, "search", "--queries", f"{folder}/queries.h5", "--corpus", f"{folder}/corpus.h5",
                      "--k", "100", "--output", os.path.join(out, "run.trec")]

    def run(self):
        found = re.search(r"for ([\d,]+) queries in ([\d.]+) (ms|s)", mpirun(self.words))
        seconds = float(found.group(2)) * (0.001 if found.group(3) == "ms" else 1.0)
        return float(found.group(1).replace(",", "")) / seconds


class Tokenizing:
    """`widebatch tokenize --count` on one thread."""

    def __init__(self, program, folder):
        self.words = [program, "tokenize", "--model", MODEL, "--max-tokens", "100000", "--count"]
        with open(os.path.join(folder, "queries.jsonl"), encoding="utf-8") as queries, open(
            os.path.join(folder, "corpus.jsonl"), encoding="utf-8"
        ) as corpus:
            rows = [json.loads(line)["text"] for lines in (queries, corpus) for line in lines]
        self.text = "".join(row.replace("\n", " ") + "\n" for row in rows)

    def run(self):
        done = subprocess.run(self.words, input=self.text, stdout=subprocess.PIPE, text=True, check=True,
                              env=dict(os.environ, OMP_NUM_THREADS="1"))
        return float(re.search(r"([\d,]+) tokens/s", done.stdout).group(1).replace(",", ""))


class Peer:
    """peers.py, waiting between units."""

    def __init__(self, python, arguments, unit):
        self.unit = unit
        self.process = subprocess.Popen([python, os.path.join(HERE, "peers.py")] + arguments, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def answer(self):
        line = self.process.stdout.readline()
        while line and not line.startswith("{"):
            line = self.process.stdout.readline()
        if not line:
            sys.exit("a peer ended early:\n" + self.process.stderr.read()[-4000:])
        return json.loads(line)

    def run(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        unit = self.answer()
        return unit["tokens" if self.unit == "tokens/s" else "pairs"] / unit["seconds"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


# ---- The comparisons ------------------------------------------------------------------------------------------------


def comparisons(program, data, out):
    """name, target ratio, unit, ours, the peer's arguments."""
    real, equal, everything = (os.path.join(data, name) for name in ("real", "equal", "all"))
    lengths = ["--query-tokens", "32", "--passage-tokens", "128"]
    equal_options = {"data.max_query_tokens": 32, "data.max_passage_tokens": 128}
    still = {"model.dropout": 0}
    bf16 = {"model.precision": "bf16"}
    model = ["--model", MODEL]
    vectors = os.path.join(data, "search")

    def train(folder, options, unit="tokens/s", **layout):
        return lambda: Training(program, folder, options, unit, **layout)

    rows = [
        ("cached loss, real text", 5.5, "tokens/s", train(real, {}), ["st-cached", "--data", real] + model),
        ("cached loss, real text, no dropout", 2.3, "tokens/s", train(real, still),
         ["st-cached", "--data", real, "--dropout", "off"] + model),
        ("GradCache by hand, equal lengths", 1.35, "tokens/s", train(equal, equal_options),
         ["loop-cached", "--data", equal] + lengths + model),
        ("plain training by hand, equal lengths", None, "tokens/s", train(equal, equal_options),
         ["loop-plain", "--data", equal] + lengths + model),
    ]
    if HAS_BF16:
        rows += [
            ("cached loss, real text, bf16", 9.0 if HAS_AMX else None, "tokens/s", train(real, bf16),
             ["st-cached", "--data", real, "--precision", "bf16"] + model),
            ("GradCache by hand, equal lengths, bf16", None, "tokens/s", train(equal, {**equal_options, **bf16}),
             ["loop-cached", "--data", equal, "--precision", "bf16"] + lengths + model),
        ]
    if HAS_AMX:
        rows.append(("GradCache with Intel's extension, bf16", 1.4, "tokens/s", train(equal, {**equal_options, **bf16}),
                     ["loop-cached", "--data", equal, "--precision", "bf16", "--ipex"] + lengths + model))
    for size, target, steps in ((2048, 10.0, 4), (8192, 4.0, 1)):  # 4 and one to warm up: an epoch has 6
        options = {"model.path": VOCABULARY, "model.encoder": "static", "batch.size": size}
        # one process, as the peer: a rank has all scores of its own rows, and multiplies none of them twice
        rows.append((f"static encoder, batch of {size}", target, "pairs/s",
                     train(everything, options, "pairs/s", ranks=1, threads=2, steps=steps),
                     ["st-static", "--data", everything, "--batch", str(size)] + model))
    rows += [
        ("encode", 1.6, "tokens/s", lambda: Encoding(program, real, out, []), ["st-encode", "--data", real] + model),
        ("exact search, both read files", round(1 / 1.3, 2), "queries/s",
         lambda: Searching(program, vectors, out), ["faiss-files", "--data", vectors]),
        # the peer's index is in memory before its time begins
        ("exact search, files read within our time", round(1 / 1.3, 2), "queries/s",
         lambda: Searching(program, vectors, out), ["faiss", "--data", vectors]),
        ("tokenizer, one thread", 15.0, "tokens/s", lambda: Tokenizing(program, real),
         ["hf-tokenizer", "--data", real] + model),
    ]
    return rows


def compare(row, program, python, repeats):
    name, target, unit, make, arguments = row
    if arguments[0].startswith("faiss"):
        prepare_search(os.path.abspath(program), arguments[-1])
    print(f"{name:42s}", end=" ", flush=True)
    peer, ours = Peer(python, arguments, unit), make()
    peer.answer()
    mine, theirs = [], []
    for _ in range(repeats):
        theirs.append(peer.run())
        mine.append(ours.run())
    peer.close()
    result = {"name": name, "target": target, "unit": unit, "widebatch": mine, "peer": theirs,
              "ratio_best": max(mine) / max(theirs), "ratio_median": statistics.median(mine) / statistics.median(theirs),
              "matrix_share": getattr(ours, "shares", [])}
    verdict = "" if target is None else ("  met" if result["ratio_best"] >= target else "  MISSED")
    print(f"{max(mine):10,.0f} {max(theirs):10,.0f} {unit:9s} {result['ratio_best']:6.2f} "
          f"{'' if target is None else target:>7}{verdict}", flush=True)
    return result


def plot(results, out):
    if not shutil.which("gnuplot"):
        return
    with open(os.path.join(out, "ratios.txt"), "w", encoding="utf-8") as table:
        for i, result in enumerate(reversed(results)):
            table.write(f"{i}\t{result['ratio_best']:.3f}\t{result['target'] or 0}\t\"{result['name']}\"\n")
    subprocess.run(["gnuplot", "-e", f"folder='{out}'", os.path.join(HERE, "ratios.gp")], check=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("python")
    parser.add_argument("out")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", action="append", default=[], help="part of a comparison's name")
    args = parser.parse_args()
    data = os.path.join(args.out, "data")
    os.makedirs(args.out, exist_ok=True)
    prepare(data)
    print(f"{'':42s} {'widebatch':>10s} {'peer':>10s} {'':9s} {'ratio':>6s} {'target':>7s}")
    results = []
    for row in comparisons(os.path.abspath(args.program), data, args.out):
        if not args.only or any(part in row[0] for part in args.only):
            results.append(compare(row, args.program, args.python, args.repeats))
    with open(os.path.join(args.out, "results.json"), "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1)
    plot(results, args.out)


if __name__ == "__main__":
    main()
