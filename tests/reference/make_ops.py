"""Writes tests/data/worker/ops.txt: inputs, outputs and gradients of single operations, by PyTorch
in double. Needs: torch. Usage: python make_ops.py
"""
import pathlib

import torch
import torch.nn.functional as F

OUT = pathlib.Path(__file__).parent.parent / "data/worker/ops.txt"


def write(out, name, values):
    flat = values.detach().reshape(-1).tolist()
    out.write(f"{name} {len(flat)}\n" + " ".join(f"{v:.9g}" for v in flat) + "\n")


def rand(*shape):
    return torch.randn(*shape).double().float().double().requires_grad_()


def case(out, name, inputs, function):
    """Output and the gradients of sum(output * dy) for each input."""
    y = function(*inputs.values())
    dy = torch.randn_like(y).float().double()
    (y * dy).sum().backward()
    for key, value in inputs.items():
        write(out, f"{name}.{key}", value)
        write(out, f"{name}.d{key}", value.grad)
    write(out, f"{name}.y", y)
    write(out, f"{name}.dy", dy)


def attention(qkv, lengths, heads, width):
    rows, start, d = [], 0, width // heads
    for n in lengths:
        q, k, v = (t.reshape(n, heads, d).transpose(0, 1)
                   for t in qkv[start:start + n].split(width, dim=1))
        rows.append(F.scaled_dot_product_attention(q, k, v).transpose(0, 1).reshape(n, width))
        start += n
    return torch.cat(rows)


def adamw(out):
    """Ten updates of torch.optim.AdamW and SGD."""
    for name in ("adamw", "sgd"):
        p = rand(37)
        write(out, f"{name}.p", p)
        q = torch.nn.Parameter(p.detach().clone())
        optimizer = (torch.optim.AdamW([q], lr=0.01, weight_decay=0.1) if name == "adamw"
                     else torch.optim.SGD([q], lr=0.01))
        grads = []
        for _ in range(10):
            q.grad = torch.randn(37).double().float().double()
            grads.append(q.grad.clone())
            optimizer.step()
        write(out, f"{name}.grads", torch.stack(grads))
        write(out, f"{name}.after", q)


def main():
    torch.manual_seed(3)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    with OUT.open("w") as out:
        case(out, "linear", {"x": rand(5, 7), "w": rand(6, 7), "b": rand(6)}, F.linear)
        case(out, "gelu", {"x": (rand(400) * 3).detach().float().double().requires_grad_()}, F.gelu)
        case(out, "norm", {"x": rand(9, 20), "w": rand(20), "b": rand(20)},
             lambda x, w, b: F.layer_norm(x, (20,), w, b, eps=1e-12))
        case(out, "attention", {"x": rand(70 + 1 + 12, 3 * 24)},
             lambda x: attention(x, (70, 1, 12), 3, 24))
        case(out, "normalize", {"x": rand(6, 19)}, lambda x: F.normalize(x, dim=1))
        adamw(out)


if __name__ == "__main__":
    main()
