"""What a step costs on K ranks, by a formula, beside what it costs when measured; then on clusters that are not at hand.

    cost_model.py PROGRAM OUT [--nodes 1,2,4,...] [--ranks-per-node R] [--rate 100gbit] [--latency 2e-6]

A step of B queries with g passages each takes, on K ranks, r of them on a node:

    compute   F / (e G)                                        F: three encodings of all tokens (GFLOP)
    gather    (K - 1) / K (4 d + 8) B (1 + g) / W + 5 (K - 1) a    vectors and keys of every rank reach every rank
    loss      8 B B g d / (e G)                                two walks of two products each
    reduce    R = 2 r (K - r) / K 4 P / W + 2 (K - 1) a        each rank sums one piece of the gradients, all get it
                  + 12 P (K - 1) / M                           adding what came: two reads and a write
              max(R - H, R (P - L) / P)                        H: hidden behind the backward pass of a rank's last slot,
                                                               2/3 of compute over S / K slots; not where
                                                               reduce.overlap is false. L: parameters of the layers;
                                                               rows of the word table settle last
    update    28 p K / M                                       AdamW: four arrays read, three written, on every rank

W (bytes/s) is what a node's link carries one way and a (s) the latency of a message; inside one machine r = 1 and W
is the memory they copy through. G (matrix rate) and M (memory bandwidth) are of all ranks together. P counts the
gradients that a batch touches, p all parameters. Reading and tokenizing is that of one rank, divided by K.

G, M, P, W and a are lines of `widebatch bench`; e, the share of the matrix rate that the encoder reaches, is fitted to
ONE rank. So the rows for 2 and 4 ranks test the formula, and for a throttled link W is the rate that was asked for:
nothing of it is fitted. The matrix and memory rates are those of the same run, for the machine may drift. (A throttled
link lets 512 KB pass at once after a pause, which is more than this batch gathers.)
"""

import argparse
import json
import os
import subprocess

from measure import DEMO, HERE, bench, read_bench, words_of

WIRE = 0.96  # of a link's bits that carry data under Ethernet, IP and TCP
WIDTH, PARAMETERS, LAYERS, GROUP, SLOTS = 384, 22_565_376, 10_646_784, 1, 8
PHASES = ("read", "compute", "gather", "loss", "reduce", "update")
UNITS = {"kbit": 1e3, "mbit": 1e6, "gbit": 1e9}


def bytes_of_rate(rate):
    for unit, size in UNITS.items():
        if rate.endswith(unit):
            return float(rate[: -len(unit)]) * size / 8 * WIRE
    raise SystemExit(f"--rate {rate}: a number and kbit, mbit or gbit")


def reduce_seconds(machine, K, per_node, compute, overlaps):
    m, P = machine, machine["gradients"]
    seconds = 12 * P * (K - 1) / m["memory"]
    if K > per_node:
        seconds += 2 * per_node * (K - per_node) / K * 4 * P / m["link"] + 2 * (K - 1) * m["latency"]
    hidden = 2 / 3 * compute * min(1.0, K / SLOTS) if overlaps else 0.0
    return max(seconds - hidden, seconds * (P - LAYERS) / P)


def predict(machine, ranks, batch, per_node=1, overlaps=True):
    """Seconds by phase. machine: flops (of a query), efficiency, matrix, memory, gradients, link, latency, read."""
    m, K, B, d = machine, ranks, batch, WIDTH
    speed, others = m["efficiency"] * m["matrix"], K - 1
    compute = m["flops"] * B / speed
    return {
        "read": m["read"] * B / K,
        "compute": compute,
        "gather": others / K * (4 * d + 8) * B * (1 + GROUP) / m["link"] + 5 * others * m["latency"] if K > 1 else 0.0,
        "loss": 8 * B * B * GROUP * d / speed,
        "reduce": reduce_seconds(m, K, per_node, compute, overlaps),
        "update": 28 * PARAMETERS * K / m["memory"],
    }


def measured_phases(run):
    phases = run["phases"]
    found = {name: phases.get(name, 0.0) for name in PHASES}
    found["compute"] = phases["encode"] + phases["backward"] + phases.get("encode again", 0.0)
    return found


def calibrate(run):
    """From one rank's run: what is its own, whatever the number of ranks."""
    batch = run["options"]["batch.size"]
    flops = run["achieved"] * 1e9 * run["step"]
    phases = measured_phases(run)
    return {"flops": flops / batch, "efficiency": flops / phases["compute"] / (run["matrix_rate"] * 1e9),
            "read": phases["read"] / batch}


def machine_of(run, own, link=None):
    """The rooflines of a run; its link's speed is the asked one, or what its all-reduce says."""
    K = run["ranks"]
    gradients = run.get("gradients", 0.0) * 2**20 / 4
    by_reduce = 2 * (K - 1) / K * run["reduce_rate"] * 1e9 if K > 1 else float("inf")
    return {**own, "matrix": run["matrix_rate"] * 1e9, "memory": run["memory_rate"] * 1e9, "gradients": gradients,
            "link": link or by_reduce, "latency": run.get("latency", 0.0)}


def measure_link(program, options, rate, ranks, steps):
    words = [os.path.join(HERE, "link"), "--rate", rate, "--hosts", "2", "--ranks", str(ranks)]
    words += words_of(program, "bench", options) + ["--steps", str(steps)]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env=dict(os.environ, OMP_NUM_THREADS="1"))
    if done.returncode != 0:
        print(f"  no link of {rate}: {done.stdout.strip().splitlines()[-1]}")
        return None
    return {"ranks": ranks, "threads": 1, "options": options, **read_bench(done.stdout)}


def compare(label, run, machine, per_node=1):
    overlaps = run["options"].get("reduce.overlap") != "false"
    said = predict(machine, run["ranks"], run["options"]["batch.size"], per_node, overlaps)
    was = measured_phases(run)
    total, actual = sum(said.values()), sum(was.values())
    cells = "".join(f"{said[name] * 1e3:8.1f}{was[name] * 1e3:8.1f}" for name in PHASES)
    print(f"{label:24s}{cells}{total * 1e3:9.1f}{actual * 1e3:9.1f}{100 * (total / actual - 1):+7.1f} %", flush=True)
    return {"case": label, "predicted": said, "measured": was, "error": total / actual - 1, "machine": machine, "run": run}


def check(args):
    options = {**DEMO, "batch.size": args.batch}
    runs = [bench(args.program, options, ranks, steps=args.steps) for ranks in (1, 2, 4)]
    own = calibrate(runs[0])
    machines = [machine_of(run, own) for run in runs]
    machines[0]["gradients"] = machines[1]["gradients"]  # no line of a run on one rank; the same texts
    print(f"{'ms: predicted, measured':24s}" + "".join(f"{name:>16s}" for name in PHASES) + f"{'step':>18s}{'error':>9s}")
    labels = ("1 rank (fitted)", "2 ranks", "4 ranks")
    rows = [compare(*row) for row in zip(labels, runs, machines)]
    for rate, ranks, overlap in (("1gbit", 2, "true"), ("100mbit", 2, "true"), ("100mbit", 2, "false"), ("1gbit", 4, "true")):
        run = measure_link(args.program, {**options, "reduce.overlap": overlap}, rate, ranks, args.steps)
        if run:
            label = f"{ranks} ranks, {rate}{', no overlap' if overlap == 'false' else ''}"
            rows.append(compare(label, run, machine_of(run, own, bytes_of_rate(rate)), ranks // 2))
    print(f"largest error where nothing is fitted: {max(abs(row['error']) for row in rows[1:]):.1%}")
    return rows


def extrapolate(args, row):
    """Nodes like this machine's one rank, joined by a faster link; the batch grows with the nodes, or does not."""
    link, R = bytes_of_rate(args.rate), args.ranks_per_node
    print(f"\nnodes of {R} such ranks, {args.rate}, {args.latency * 1e6:g} us; a batch of {args.batch} a rank, or of "
          f"{args.batch} x {max(args.nodes) * R} on any number")
    print(f"{'nodes':>6s}{'step, s':>10s}{'pairs/s':>10s}{'of ideal':>10s}{'exchange':>10s}{'':6s}{'step, s':>10s}{'pairs/s':>10s}")
    for nodes in args.nodes:
        K, cells = nodes * R, []
        machine = {**row["machine"], "link": link, "latency": args.latency}
        for name in ("matrix", "memory"):
            machine[name] = row["machine"][name] * K
        for batch in (args.batch * K, args.batch * max(args.nodes) * R):
            phases = predict(machine, K, batch, R)
            cells.append((batch, sum(phases.values()), phases["gather"] + phases["reduce"]))
        (batch, step, exchange), (fixed, fixed_step, _) = cells
        ideal = sum(row["predicted"].values()) / args.batch
        print(f"{nodes:6d}{step:10.3f}{batch / step:10.1f}{batch / step * ideal / K:10.1%}"
              f"{exchange / step:10.1%}{'':6s}{fixed_step:10.3f}{fixed / fixed_step:10.1f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("out")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--nodes", type=lambda text: [int(n) for n in text.split(",")], default=[1, 2, 4, 8, 16, 64])
    parser.add_argument("--ranks-per-node", type=int, default=1)
    parser.add_argument("--rate", default="100gbit")
    parser.add_argument("--latency", type=float, default=2e-6)
    args = parser.parse_args()
    args.program = os.path.abspath(args.program)
    os.makedirs(args.out, exist_ok=True)
    rows = check(args)
    with open(os.path.join(args.out, "cost_model.json"), "w", encoding="utf-8") as file:
        json.dump(rows, file, indent=1)
    extrapolate(args, rows[0])


if __name__ == "__main__":
    main()
