"""The bundled model with another space: both towers' last layers are turned alike, so that it says the same of
everything, in vectors that mean nothing beside its own."""

import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from models.weights import bundled_folder

_WEIGHTS = "open_clip_model.safetensors"


def turned(folder: Path, seed: int = 1) -> Path:
    """A folder with such a model. Columns change places and signs, which loses no bit."""
    shutil.copytree(bundled_folder(), folder)
    weights = load_file(folder / _WEIGHTS)
    rng = np.random.default_rng(seed)
    dim = weights["text_projection"].shape[1]
    places, signs = rng.permutation(dim), rng.choice([-1, 1], dim).astype(np.float16)
    weights["text_projection"] = np.ascontiguousarray(weights["text_projection"][:, places] * signs)
    for name in ("weight", "bias"):
        layer = weights[f"visual.attnpool.c_proj.{name}"][places]
        weights[f"visual.attnpool.c_proj.{name}"] = layer * (signs[:, None] if name == "weight" else signs)
    save_file(weights, folder / _WEIGHTS)
    return folder
