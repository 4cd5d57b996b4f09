"""Writes tests/data/safetensors/dtypes.safetensors: the same kind of numbers in three dtypes, and
next to each what PyTorch widens (or rounds) them to in float32."""
import pathlib

import torch
from safetensors.torch import save_file

torch.manual_seed(0)
# every 13th half, so that all exponents, both signs and subnormals occur; finite ones only
f16 = torch.arange(-32768, 32768, 13, dtype=torch.int32).to(torch.int16).view(torch.float16)
f16 = f16[torch.isfinite(f16)].clone()
bf16 = torch.arange(-32768, 32768, 17, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
bf16 = bf16[torch.isfinite(bf16)].clone()
f64 = torch.cat([torch.randn(100, dtype=torch.float64), torch.tensor([1e-46, -1e-40, 0.1, 3e38])])
tensors = {"f16": f16, "bf16": bf16, "f64": f64}
tensors |= {f"{name}.as_f32": value.float() for name, value in list(tensors.items())}
folder = pathlib.Path(__file__).parent.parent / "data" / "safetensors"
folder.mkdir(parents=True, exist_ok=True)
save_file(tensors, folder / "dtypes.safetensors")
