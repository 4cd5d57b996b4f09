"""Reads a checkpoint with h5py, wherever its tensors stand: read_checkpoint.py RUN/checkpoints/latest"""
import json
import pathlib
import sys

import h5py


def read(folder):
    """{"parameters": {name: array}, "adamw.m": {...}, ...} of one generation."""
    folder = pathlib.Path(folder).resolve()
    manifest = json.loads((folder / "manifest.json").read_text())
    files = {f["step"]: h5py.File(folder.parent / f"step-{f['step']}" / f["name"], "r")
             for f in manifest["files"]}  # its own, and those of older generations it leans on
    return {array: {tensor["name"]: files[tensor["parts"][i]["step"]][array][tensor["name"]][...]
                    for tensor in manifest["tensors"]}
            for i, array in enumerate(manifest["arrays"])}


for array, tensors in read(sys.argv[1]).items():
    print(array, len(tensors), f"{sum(float(t.astype('f8').sum()) for t in tensors.values()):.6f}")
