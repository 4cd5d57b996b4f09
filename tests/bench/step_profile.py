"""Where a training step's time goes, by function: one rank of one thread under `perf record`, real text, dropout on.

    step_profile.py PROGRAM OUT [--steps N]

Prints a table and writes OUT/profile.txt. Needs perf (Debian: linux-perf) and the right to count cycles of one's own
processes.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys

from compare import MODEL, mpirun, prepare

# The first that fits a sample's "object symbol" takes it.
GROUPS = (
    ("products", r"widebatch (wb_tile_product|part_times_block|copy_block|rows_times_block)|JIT|dnnl|openblas"),
    ("attention: softmax, masks, copies", r"widebatch (wb_attention|read_head|copy_rows|place_rows|turn_|wb_tile_transpose)"),
    ("dropout: drawing masks", r"widebatch (fill_group|wb_dropout|mask_row|wb_rng)"),
    ("GELU", r"widebatch wb_gelu"),
    ("gradients of biases", r"widebatch column_sums"),
    ("layer norms", r"widebatch (wb_add_norm|wb_norm|norm_)"),
    ("optimizer, sum over the batch", r"widebatch (update|wb_ordered_sum|send|wb_optimizer|square)"),
    ("embeddings, pooling", r"widebatch (wb_embed|wb_mean_pool|wb_first_pool|wb_normalize)"),
    ("kernel (first touch of memory, files)", r"kernel"),
    ("other", r""),
)


def record(args, folder):
    run = os.path.join(args.out, "profile.run")
    shutil.rmtree(run, ignore_errors=True)
    options = {"model.path": MODEL, "data.train": os.path.join(folder, "real"), "data.max_query_tokens": 256,
               "data.max_passage_tokens": 256, "batch.size": 64}
    options |= {"run.dir": run, "batch.steps": args.steps, "checkpoint.every": 0}
    words = ["perf", "record", "-q", "-F", "499", "-o", os.path.join(args.out, "profile.perf"), args.program, "train"]
    for key, value in options.items():
        words += ["--set", f"{key}={value}"]
    mpirun(words, ranks=1)


def read_samples(args):
    """Shares of the program's functions, and of other objects as a whole: code made at run time has no functions."""
    for sort, wanted in (("dso", lambda place: not place.startswith("widebatch")),
                         ("dso,symbol", lambda place: place.startswith("widebatch"))):
        report = subprocess.run(["perf", "report", "-i", os.path.join(args.out, "profile.perf"), "--no-children", "--sort",
                                 sort, "--field-separator", "\t"], text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL, check=True).stdout
        for line in report.splitlines():
            found = re.match(r"\s*([\d.]+)%\s*\t(\S[^\t]*?)\s*(?:\t\[.\] (\S+)|\t|$)", line)
            if found and wanted(found.group(2)):
                yield float(found.group(1)), f"{found.group(2)} {found.group(3)}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("program")
    parser.add_argument("out")
    parser.add_argument("--steps", type=int, default=8)
    args = parser.parse_args()
    if not shutil.which("perf"):
        sys.exit("perf is not installed (Debian: linux-perf)")
    folder = os.path.join(args.out, "data")
    prepare(folder)
    record(args, folder)
    shares = {name: 0.0 for name, _ in GROUPS}
    for share, place in read_samples(args):
        shares[next(name for name, pattern in GROUPS if re.search(pattern, place))] += share
    lines = [f"{name:<38} {share:6.1f} %" for name, share in sorted(shares.items(), key=lambda item: -item[1]) if share >= 0.05]
    print("\n".join(lines))
    with open(os.path.join(args.out, "profile.txt"), "w", encoding="utf-8") as out:
        out.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
