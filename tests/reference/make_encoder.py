"""Writes tests/data/worker/encoder.txt: a tiny BERT with random weights, a batch, the loss of
sentence-transformers' in-batch negatives, and PyTorch's gradients, all computed in double.

Needs: torch, transformers. Usage: python make_encoder.py
"""
import pathlib

import torch
from transformers import BertConfig, BertModel

OUT = pathlib.Path(__file__).parent.parent / "data/worker/encoder.txt"
V, P, H, L, HEADS, F = 40, 24, 16, 2, 2, 32
BATCH, GROUP, TAU = 5, 2, 0.07


def order(name):
    """Our table puts the three projections' weights before their biases."""
    parts = name.split(".")
    if "self" in parts:
        projection = ["query", "key", "value"].index(parts[-2])
        return (int(parts[2]), 0, 0 if parts[-1] == "weight" else 1, projection)
    return None


def table(model):
    named = {n: p for n, p in model.named_parameters() if not n.startswith("pooler.")}
    embeddings = [n for n in named if n.startswith("embeddings.")]
    names = embeddings[:]
    for i in range(L):
        layer = [n for n in named if n.startswith(f"encoder.layer.{i}.")]
        names += sorted((n for n in layer if ".self." in n), key=order)
        names += [n for n in layer if ".self." not in n]
    return [(n, named[n]) for n in names]


def encode(model, sequences, pooling, normalize):
    rows = []
    for ids in sequences:
        out = model(input_ids=torch.tensor([ids])).last_hidden_state[0]
        rows.append(out.mean(0) if pooling == "mean" else out[0])
    reps = torch.stack(rows)
    return torch.nn.functional.normalize(reps, dim=1) if normalize else reps


def info_nce(q, p):
    scores = q @ p.T / TAU
    return torch.nn.functional.cross_entropy(scores, torch.arange(BATCH) * GROUP)


def write(out, name, values):
    flat = torch.as_tensor(values).reshape(-1).tolist()
    out.write(f"{name} {len(flat)}\n" + " ".join(f"{v:.9g}" for v in flat) + "\n")


def main():
    torch.manual_seed(7)
    config = BertConfig(vocab_size=V, max_position_embeddings=P, hidden_size=H, num_hidden_layers=L,
                        num_attention_heads=HEADS, intermediate_size=F, hidden_dropout_prob=0.0,
                        attention_probs_dropout_prob=0.0, attn_implementation="eager")
    model = BertModel(config).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn_like(p))
    model = model.double()
    with torch.no_grad():  # what the float program will read
        for p in model.parameters():
            p.copy_(p.float().double())
    # id 0 is the padding word, which PyTorch gives no gradient
    sequences = [torch.randint(1, V, (int(n),)).tolist()
                 for n in torch.randint(1, P + 1, (BATCH * (1 + GROUP),))]
    OUT.parent.mkdir(parents=True, exist_ok=True)
    with OUT.open("w") as out:
        write(out, "spec", [V, P, H, L, HEADS, F, BATCH, GROUP, TAU])
        write(out, "lengths", [len(s) for s in sequences])
        write(out, "ids", [i for s in sequences for i in s])
        write(out, "params", torch.cat([p.detach().reshape(-1) for _, p in table(model)]))
        for pooling in ("mean", "cls"):
            for normalize in (False, True):
                model.zero_grad()
                reps = encode(model, sequences, pooling, normalize)
                loss = info_nce(reps[:BATCH], reps[BATCH:])
                loss.backward()
                key = f"{pooling}.{'unit' if normalize else 'raw'}"
                write(out, key + ".reps", reps.detach())
                write(out, key + ".loss", [loss.item()])
                write(out, key + ".grads",
                      torch.cat([p.grad.reshape(-1) for _, p in table(model)]))


if __name__ == "__main__":
    main()
