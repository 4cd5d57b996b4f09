"""What scaling.py and cost_model.py share: `widebatch bench` run and read, tables written."""

import re

from compare import HERE, MEDQUAD, MODEL, VOCABULARY, mpirun, number_after

UNITS = {"KiB": 1 / 1024, "MiB": 1.0, "GiB": 1024.0}
DEMO = {"model.path": MODEL, "data.train": MEDQUAD, "data.max_query_tokens": 32, "data.max_passage_tokens": 32,
        "batch.size": 64, "batch.steps": 1000}
STATIC = {"model.path": VOCABULARY, "model.encoder": "static", "model.width": 384, "batch.steps": 1000}


def words_of(program, command, options):
    words = [program, command]
    for key, value in options.items():
        words += ["--set", f"{key}={value}"]
    return words


def mebibytes(number, unit):
    return float(number) * UNITS[unit]


def read_bench(text):
    """The lines of `widebatch bench` as numbers: seconds, GFLOP/s, GB/s, MiB."""
    run = {name: number_after(text, line) for name, line in (
        ("step", "step"), ("pairs_per_second", "pairs/s"), ("matrix_rate", "matrix rate"), ("achieved", "achieved"),
        ("share", "share"), ("memory_rate", "memory"), ("reduce_rate", "all-reduce"))}
    found = re.search(r"\(([\d.]+) (\w+) of gradients\), ([\d.]+) us", text)
    if found:
        run["gradients"] = mebibytes(*found.group(1, 2))
        run["latency"] = float(found.group(3)) * 1e-6
    found = re.search(r"activations\s+([\d.]+) (\w+) a rank, (\d+) % kept", text)
    run["activations"], run["kept"] = mebibytes(*found.group(1, 2)), float(found.group(3)) / 100
    found = re.search(r"peak memory\s+([\d.]+) (\w+) a rank, ([\d.]+) (\w+) were planned", text)
    run["peak"], run["planned"] = mebibytes(*found.group(1, 2)), mebibytes(*found.group(3, 4))
    found = re.search(r"^phases\s+(.*) s \(mean of a step\)", text, re.MULTILINE)
    run["phases"] = {name: float(seconds) for name, seconds in re.findall(r"([a-z ]+?) ([\d.]+)(?:, |$)", found.group(1))}
    return run


def bench(program, options, ranks=2, threads=1, steps=2):
    words = words_of(program, "bench", options) + ["--steps", str(steps)]
    return {"ranks": ranks, "threads": threads, "options": options, **read_bench(mpirun(words, ranks, threads))}
