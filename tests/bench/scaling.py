"""How widebatch grows: pairs a second by ranks, batch and memory budget; memory by batch; what layouts cost.

    scaling.py PROGRAM OUT [--only PART]... [--repeats N] [--long]

Parts: ranks, batch, budget, memory, layout, cached, start, checkpoint. Memory is what the operating system says (VmHWM). Where two
layouts are compared they take turns, and the best of each counts. OUT gets scaling.json and scaling.svg; a claim that
does not hold is printed as MISSED.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import time

from compare import VOCABULARY, mpirun, write_folder
from measure import DEMO, HERE, STATIC, bench, words_of


def judge(name, value, holds, said):
    print(f"  {name}: {value:.3f}, {said}: {'met' if holds else 'MISSED'}", flush=True)
    return {"claim": f"{name}, {said}", "value": value, "holds": holds}


def show(run, label):
    print(f"  {label:28s} {run['pairs_per_second']:9.1f} pairs/s {run['step']:8.3f} s {run['share']:6.1f} % of the matrix "
          f"rate  {run['kept']:4.0%} kept  peak {run['peak']:7.1f} MiB, planned {run['planned']:7.1f}", flush=True)


# ---- Curves ---------------------------------------------------------------------------------------------------------


def by_ranks(args, _):
    counts = [1]
    while 2 * counts[-1] <= (os.cpu_count() or 1):
        counts.append(2 * counts[-1])
    runs = []
    for ranks in counts:
        runs.append(bench(args.program, DEMO, ranks))
        show(runs[-1], f"{ranks} ranks")
    return {"runs": runs}


def by_batch(args, _):
    runs = []
    for size in (16, 32, 64, 128, 256, 512):
        runs.append(bench(args.program, {**DEMO, "batch.size": size}, steps=1 if size > 128 else 3))
        show(runs[-1], f"batch of {size}")
    return {"runs": runs}


def by_budget(args, _):
    """All activations, then parts of what they need; the cost of a step against (4 - r) / 3."""
    options = {**DEMO, "batch.size": 128, "memory.chunk_tokens": 256}
    runs = [bench(args.program, options)]
    show(runs[0], "all activations")
    for part in (0.75, 0.5, 0.3, 0.15):
        budget = int(part * runs[0]["activations"])
        runs.append(bench(args.program, {**options, "memory.budget": f"{budget}MiB"}))
        show(runs[-1], f"budget of {budget} MiB")
    for run in runs:
        run["cost"] = runs[0]["share"] / run["share"]
        run["floor"] = (4 - run["kept"]) / (4 - runs[0]["kept"])
    return {"runs": runs}


# ---- Memory ---------------------------------------------------------------------------------------------------------


def wide_data(folder, rows):
    """Texts of three words each, no two alike."""
    if not os.path.exists(os.path.join(folder, "qrels", "train.tsv")):
        with open(VOCABULARY, encoding="utf-8") as lines:
            words = [line.strip() for line in lines if re.fullmatch("[a-z]+\n", line)]
        count = len(words)
        write_folder(folder, [(f"{words[i % count]} {words[i // count % count]} {words[(7 * i + 1) % count]}",
                               f"{words[(7 * i + 1) % count]} {words[i % count]} {words[i // count % count]}")
                              for i in range(rows)])
    return folder


def by_memory(args, data):
    wide = {**STATIC, "data.train": wide_data(os.path.join(data, "wide"), 65536)}
    sizes = [256, 1024, 4096, 16384] + ([65536] if args.long else [])
    runs, claims = [], []
    for size in sizes:
        runs.append(bench(args.program, {**wide, "batch.size": size}, steps=1))
        show(runs[-1], f"static, batch of {size}")
    first, last = runs[0], runs[-1]
    one = 4 * (last["options"]["batch.size"] - first["options"]["batch.size"]) * wide["model.width"] / 2**20
    added = (last["peak"] - first["peak"]) / one
    claims.append(judge(f"batch {sizes[0]} to {sizes[-1]} adds to a rank, in arrays of B d", added, added <= 8, "at most 8"))
    encoder = []
    for size in (64, 256, 1024):
        options = {**DEMO, "data.max_query_tokens": 16, "data.max_passage_tokens": 16, "batch.size": size,
                   "memory.budget": "64MiB", "memory.chunk_tokens": 512}
        encoder.append(bench(args.program, options, steps=1))
        show(encoder[-1], f"transformer, batch of {size}")
    gaps = [abs(run["peak"] / run["planned"] - 1) for run in runs + encoder]
    claims.append(judge("peak beside plan, largest gap", max(gaps), max(gaps) <= 0.1, "at most 0.1"))
    return {"runs": runs, "transformer": encoder, "claims": claims}


# ---- Layouts beside each other --------------------------------------------------------------------------------------


def in_turn(args, sides):
    """name -> (options, ranks, threads); each runs once a repeat. Returns the runs by name."""
    runs = {name: [] for name in sides}
    for _ in range(args.repeats):
        for name, (options, ranks, threads) in sides.items():
            runs[name].append(bench(args.program, options, ranks, threads, steps=3))
            show(runs[name][-1], name)
    return runs


def ratio(runs, one, other, key="pairs_per_second"):
    """Of the best of both, and of the medians."""
    sides = [[run[key] for run in runs[name]] for name in (one, other)]
    return max(sides[0]) / max(sides[1]), statistics.median(sides[0]) / statistics.median(sides[1])


def by_layout(args, _):
    runs = in_turn(args, {"2 ranks of 1 thread": (DEMO, 2, 1), "1 rank of 2 threads": (DEMO, 1, 2)})
    best, median = ratio(runs, *runs)
    print(f"  ratio of medians {median:.3f}")
    return {"runs": runs, "claims": [judge("2 ranks of 1 thread beside 1 rank of 2 threads", best,
                                           abs(best - 1) <= 0.1, "within 0.1 of 1")]}


def by_cache(args, _):
    """Plain training: each rank's whole share of the batch is one chunk, encoded once, gradients in one array."""
    plain = {**DEMO, "memory.chunk_tokens": 1 << 20, "reduce.mode": "fast", "reduce.slots": 2}
    runs = in_turn(args, {"cached, all kept": (DEMO, 2, 1), "plain, one chunk": (plain, 2, 1)})
    best, median = ratio(runs, "plain, one chunk", "cached, all kept")
    by_share = ratio(runs, "plain, one chunk", "cached, all kept", "share")[1]
    print(f"  ratio of medians {median:.3f}, of median shares of the matrix rate {by_share:.3f}")
    claims = [judge("cached training, all activations kept, in the time of plain training", best, best <= 1.02,
                    "at most 1.02")]
    options = {**DEMO, "batch.size": 128, "memory.chunk_tokens": 512}
    text = mpirun(words_of(args.program, "bench", options) + ["--keep-less", "--steps", str(2 * args.repeats + 1)])
    keeping = []
    for kept, cost, floor in re.findall(r"keeping +(\d+) %\s+([\d.]+) of the time .* says ([\d.]+)", text):
        keeping.append({"kept": int(kept) / 100, "cost": float(cost), "floor": float(floor)})
        excess = float(cost) / float(floor)
        claims.append(judge(f"keeping {kept} % costs, in what (4 - r) / 3 says", excess, abs(excess - 1) <= 0.05,
                            "within 0.05 of 1"))
    return {"runs": runs, "keeping": keeping, "claims": claims}


def by_start(args, _):
    """From mpirun to the plan of the first step: model, data and tokenizer read, the first batch tokenized."""
    seconds = []
    for _ in range(2 * args.repeats + 1):
        began = time.perf_counter()
        mpirun(words_of(args.program, "train", {**DEMO, "batch.size": 256}) + ["--dry-run"])
        seconds.append(time.perf_counter() - began)
    print(f"  2 ranks, mpirun included: median {statistics.median(seconds):.2f} s")
    return {"seconds": seconds, "claims": [judge("start-up in seconds, the best", min(seconds), min(seconds) < 1.0,
                                                 "under 1")]}


# ---- Checkpoints ----------------------------------------------------------------------------------------------------


EVERY = 200  # the default of checkpoint.every


def seconds_to_write(checkpoint):
    """From when the system says that it was begun until it got its name."""
    born = float(subprocess.run(["stat", "-c", "%.9W", checkpoint], stdout=subprocess.PIPE, check=True).stdout)
    return os.stat(checkpoint).st_ctime - born


def train_and_save(args, name, options, intervals):
    """A run of some default intervals, and what its checkpoints cost it: time that all ranks wait, the last save
    included, and steps that take longer than the median while one is written. The program is the one with a clock around
    reading back."""
    program = os.path.join(os.path.dirname(args.program), "tests", "widebatch_clock")
    run = os.path.join(args.out, "saving")
    shutil.rmtree(run, ignore_errors=True)
    steps = intervals * EVERY
    text = mpirun(words_of(program, "train", {**options, "run.dir": run, "batch.steps": steps}))
    waits, total = (float(re.search(rf"^{word} .*?([\d.]+)(?: +[\d.]+%)?$", text, re.MULTILINE).group(1))
                    for word in ("checkpoint", "total"))
    with open(os.path.join(run, "metrics.jsonl"), encoding="utf-8") as lines:
        seconds = [row["step_seconds"] for row in map(json.loads, lines) if "step" in row]
    usual = statistics.median(seconds)
    reads, again = (float(number) / intervals for number in
                    re.search(r"^reading back ([\d.]+) s, once more ([\d.]+) s$", text, re.MULTILINE).groups())
    writes = statistics.mean(seconds_to_write(os.path.join(run, "checkpoints", f"step-{(i + 1) * EVERY}"))
                             for i in range(intervals)[-2:])
    beside = int(writes / usual) + 2
    slower = sum(sum(seconds[i:i + beside]) - beside * usual for i in range(EVERY, steps, EVERY))
    size = sum(os.path.getsize(os.path.join(run, "checkpoints", f"step-{steps}", file))
               for file in ("state.h5", "manifest.json"))
    result = {"name": name, "bytes": size, "step": usual, "total": total, "waits": waits, "slower": slower,
              "writes": writes, "cost": (waits + slower) / total, "reads": reads, "again": again,
              "verify": reads / (writes - reads)}
    print(f"  {name:12s} {size / 1e6:7.1f} MB every {EVERY} steps of {usual:.3f} s: {intervals} take {writes:.2f} s each, "
          f"{reads:.2f} to read back, {again:.2f} to read the one before; training waits {waits:.2f} s and is {slower:.2f} s "
          f"slower, of {total:.1f} s", flush=True)
    shutil.rmtree(run)
    return result


def by_checkpoint(args, _):
    """MiniLM's parameters, and a wide static encoder with AdamW's state."""
    small = {**DEMO, "optimizer.name": "sgd", "batch.size": 16}
    large = {**STATIC, "data.train": DEMO["data.train"], "model.width": 2752, "batch.size": 512}
    runs, claims = [], []
    for name, options, intervals in (("MiniLM, SGD", small, 2), ("static, AdamW", large, 4)):
        for _ in range(args.repeats if args.long else 1):
            runs.append(train_and_save(args, name, options, intervals))
        own = [run for run in runs if run["name"] == name]
        cost, verify = (statistics.median(run[key] for run in own) for key in ("cost", "verify"))
        claims.append(judge(f"{name}: checkpoints, in the time of the run", cost, cost <= 0.05, "at most 0.05"))
        claims.append(judge(f"{name}: reading back, in the time of writing", verify, verify <= 0.1, "at most 0.1"))
    return {"runs": runs, "claims": claims}


PARTS = {"ranks": by_ranks, "batch": by_batch, "budget": by_budget, "memory": by_memory, "layout": by_layout,
         "cached": by_cache, "start": by_start, "checkpoint": by_checkpoint}


# ---- The plot -------------------------------------------------------------------------------------------------------


def write_table(out, name, rows):
    with open(os.path.join(out, name), "w", encoding="utf-8") as table:
        for row in rows:
            table.write("\t".join(f"{value:g}" for value in row) + "\n")


def plot(results, out):
    if not shutil.which("gnuplot") or not all(name in results for name in ("ranks", "batch", "budget", "memory")):
        return
    size = lambda run: run["options"]["batch.size"]
    write_table(out, "ranks.txt", [(r["ranks"], r["pairs_per_second"]) for r in results["ranks"]["runs"]])
    write_table(out, "batch.txt", [(size(r), r["pairs_per_second"]) for r in results["batch"]["runs"]])
    write_table(out, "budget.txt", [(r["kept"], r["cost"]) for r in results["budget"]["runs"]])
    write_table(out, "memory.txt", [(size(r), r["peak"], r["planned"]) for r in results["memory"]["runs"]])
    write_table(out, "transformer.txt", [(size(r), r["peak"], r["planned"]) for r in results["memory"]["transformer"]])
    subprocess.run(["gnuplot", "-e", f"folder='{out}'", os.path.join(HERE, "scaling.gp")], check=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("out")
    parser.add_argument("--only", action="append", choices=sorted(PARTS), default=[])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--long", action="store_true", help="batches up to 65,536: some minutes more")
    args = parser.parse_args()
    args.program = os.path.abspath(args.program)
    file = os.path.join(args.out, "scaling.json")
    os.makedirs(args.out, exist_ok=True)
    results = {}
    if args.only and os.path.exists(file):
        with open(file, encoding="utf-8") as old:
            results = json.load(old)
    for name, part in PARTS.items():
        if not args.only or name in args.only:
            print(name, flush=True)
            results[name] = part(args, os.path.join(args.out, "data"))
            with open(file, "w", encoding="utf-8") as new:
                json.dump(results, new, indent=1)
    plot(results, args.out)


if __name__ == "__main__":
    main()
