"""What bf16 costs in retrieval quality: one short training in fp32 and in bf16, measured on MedQuAD's test queries.

    quality.py PROGRAM OUT [--steps N] [--others N]

The demo's configuration with fewer steps (8); evaluation on the passages that answer test queries and --others (2000)
more. Training and evaluation both run in the precision named. The target: nDCG@10 within 0.005 of fp32's.
"""

import argparse
import json
import os
import re
import shutil

from compare import HAS_BF16, MEDQUAD, mpirun, read_lines
from measure import words_of

TARGET = 0.005


def cut_corpus(folder, others):
    """MedQuAD's test split over fewer passages: those that are judged, and every n-th of the rest."""
    os.makedirs(os.path.join(folder, "qrels"), exist_ok=True)
    for name in ("queries.jsonl", "qrels/test.tsv"):
        shutil.copyfile(os.path.join(MEDQUAD, name), os.path.join(folder, name))
    judged = {line.split("\t")[1] for line in read_lines("qrels/test.tsv")[1:]}
    rows = [(json.loads(line)["_id"] in judged, line) for line in read_lines("corpus.jsonl")]
    rest = sum(not is_judged for is_judged, _ in rows)
    every, at = max(1, rest // max(1, others)), 0
    with open(os.path.join(folder, "corpus.jsonl"), "w", encoding="utf-8") as corpus:
        for is_judged, line in rows:
            at += not is_judged
            if is_judged or at % every == 0:
                corpus.write(line)
    return folder


def train(program, out, folder, precision, steps):
    run = os.path.join(out, "quality-" + precision)
    shutil.rmtree(run, ignore_errors=True)
    words = words_of(program, "train", {"run.dir": run, "data.eval": folder, "batch.steps": steps,
                                        "model.precision": precision, "checkpoint.every": 1000})
    text = mpirun(words[:2] + ["configs/demo.yaml"] + words[2:])
    return {when: float(re.search(rf"^{when} training: nDCG@10 ([\d.]+)", text, re.MULTILINE).group(1))
            for when in ("before", "after")}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("out")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--others", type=int, default=2000)
    args = parser.parse_args()
    if not HAS_BF16:
        print("this processor has no bf16 products: nothing to compare")
        return
    folder = cut_corpus(os.path.join(args.out, "data", "quality"), args.others)
    found = {}
    print(f"{'nDCG@10':10s}{'before':>10s}{'after':>10s}")
    for precision in ("fp32", "bf16"):
        found[precision] = train(os.path.abspath(args.program), args.out, folder, precision, args.steps)
        print(f"{precision:10s}{found[precision]['before']:10.4f}{found[precision]['after']:10.4f}", flush=True)
    gap = found["bf16"]["after"] - found["fp32"]["after"]
    print(f"{'difference':10s}{found['bf16']['before'] - found['fp32']['before']:10.4f}{gap:10.4f}  "
          f"{'met' if abs(gap) <= TARGET else 'MISSED'} (at most {TARGET})")
    with open(os.path.join(args.out, "quality.json"), "w", encoding="utf-8") as file:
        json.dump({"steps": args.steps, "runs": found, "target": TARGET}, file, indent=1)


if __name__ == "__main__":
    main()
