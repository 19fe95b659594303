"""Do models see and say the same here as in open_clip?

    python -m benchmarks parity [--architectures ViT-B-32 ViT-B-16-SigLIP ...] [--no-bfloat16]

Each architecture is built with random weights from a seed. The batched preprocessing is held against open_clip's own
transform, which goes through PIL frame by frame, in steps of 1/255; the vectors of the project's forward pass, from
pixels to rows, against those of open_clip's `encode_image` in float32, as cosines. Untrained networks give all pictures
similar vectors, so that `spread`, the lowest cosine between two different frames, is told beside.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch import nn
from torch.nn import functional

from benchmarks import machine
from models.clip import ClipModel, canonical
from models.device import place
from models.preprocess import Preprocessing

OUT = Path("benchmarks/results/parity.json")

ARCHITECTURES = (
    "ViT-B-32",
    "ViT-B-16",
    "ViT-L-14",
    "ViT-B-16-SigLIP",
    "ViT-B-16-SigLIP-384",
    "ViT-B-32-SigLIP2-256",
    "MobileCLIP-S1",
    "MobileCLIP2-S0",
    "convnext_base_w",
    "EVA02-B-16",
    "RN50",
    "ViT-SO400M-14-SigLIP",
)

#: Least cosine by arithmetic, and most steps of 1/255 that a value of a frame may be off.
COSINES = {"float32": 0.9999, "bfloat16": 0.999}
STEPS = 1

#: (width, height) of frames by what they show; see `frame`.
FRAMES = {
    "photo": (640, 360),
    "noise": (500, 375),
    "tiny": (17, 13),
    "huge": (3840, 2160),
    "odd": (301, 499),
    "phone": (360, 800),
}


def main(argv: Sequence[str] | None = None) -> int:
    """A row for each architecture; 1 where one is off."""
    parser = argparse.ArgumentParser(prog="benchmarks parity", description=__doc__.partition("\n")[0])
    parser.add_argument("--architectures", nargs="+", default=list(ARCHITECTURES), help="of open_clip")
    parser.add_argument("--no-bfloat16", action="store_true", help="slow where the CPU has no instructions for it")
    parser.add_argument("--out", type=Path, default=OUT, help=f"result file (default {OUT})")
    args = parser.parse_args(argv)
    dtypes = [dtype for dtype in COSINES if dtype == "float32" or not args.no_bfloat16]
    rows = []
    for architecture in args.architectures:
        rows.append(row := compare(architecture, dtypes))
        cosines = ", ".join(f"{dtype} {found:.7f}" for dtype, found in row["lowest_cosine"].items())
        print(
            f"{architecture:24s} {row['tower']:6s} most {row['most_steps']:.2f} steps off, {row['over_one_step']:.1e} "
            f"by more than one; cosine {cosines}; spread {row['spread']:.4f}",
            flush=True,
        )
        gc.collect()
    result = {
        "machine": machine.record(),
        "definition": "steps of 1/255 before normalisation, over all frames; cosines of this project's vectors against "
        "open_clip's eager float32 from its own transform; tower: `ours` where models.towers knows it",
        "goal": f"most {STEPS} step; cosine at least {COSINES}",
        "met": all(row["met"] for row in rows),
        "frames": FRAMES,
        "architectures": rows,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0 if result["met"] else 1


def compare(architecture: str, dtypes: Sequence[str]) -> dict[str, Any]:
    """One architecture's row."""
    network = build(architecture)
    config = dict(network.visual.preprocess_cfg)
    frames = {kind: frame(kind, *size) for kind, size in FRAMES.items()}
    steps = {kind: off(pixels, config) for kind, pixels in frames.items()}
    transform = image_transform_v2(PreprocessCfg(**config), is_train=False)
    with torch.inference_mode():
        inputs = torch.stack([transform(Image.fromarray(pixels)) for pixels in frames.values()])
        theirs = network.encode_image(inputs, normalize=True).double()
    alike = theirs @ theirs.T
    found, tower = {}, "ours"
    for dtype in dtypes:
        model = wrapped(network if dtype == dtypes[-1] else build(architecture), architecture, dtype)
        ours = np.concatenate([model.run(pixels[None]) for pixels in frames.values()])
        found[dtype] = float(functional.cosine_similarity(torch.from_numpy(ours).double(), theirs).min())
        tower = "ours" if model.knows_tower else "theirs"
        del model
    over = {kind: float((error > 1.001).mean()) for kind, error in steps.items()}
    return {
        "architecture": architecture,
        "preprocessing": json.loads(Preprocessing.from_config(config).describe()),
        "tower": tower,
        "most_steps": max(float(error.max()) for error in steps.values()),
        "over_one_step": float(np.mean(list(over.values()))),
        "by_frame": {kind: {"most": float(e.max()), "over_one_step": over[kind]} for kind, e in steps.items()},
        "lowest_cosine": found,
        "spread": float(alike.min()),
        "met": max(over.values()) == 0 and all(found[dtype] >= COSINES[dtype] for dtype in dtypes),
    }


def build(architecture: str) -> nn.Module:
    """open_clip's network with random weights, the same every time; its norms and biases are drawn, too, because a
    fresh network's ones and zeros would hide one that is left out."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        network = open_clip.create_model(architecture, load_weights=False, precision="fp32").eval()
        for name, value in network.visual.named_parameters():
            if name.endswith("gamma"):
                value.uniform_(0.1, 0.5)
            elif value.ndim == 1:
                value.add_(torch.randn_like(value), alpha=0.02)
            elif name.endswith(("pos_embed", "latent")):
                value.normal_(std=0.02)
        _settle(network.visual)
    return network.requires_grad_(False)


def _settle(visual: Any) -> None:
    """Have batch norms see a few pictures, as in training: without, all pictures look the same behind some layers."""
    norms = [module for module in visual.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    size = visual.preprocess_cfg["size"]
    pictures = [frame("photo", *((size, size) if isinstance(size, int) else size)), frame("noise", 256, 256)]
    prepared = [Preprocessing.from_config(visual.preprocess_cfg)(picture[None]) for picture in pictures]
    visual(torch.cat(prepared).float() / 127.5 - 1.0)
    for norm in norms:
        norm.eval()


def wrapped(network: nn.Module, architecture: str, dtype: str) -> ClipModel:
    """The project's model around it. Texts are not compared, so that no tokenizer need be downloaded."""
    config = open_clip.get_model_config(architecture)
    return ClipModel(
        network,
        lambda texts: torch.zeros(len(texts), 77, dtype=torch.long),
        name=f"{architecture}/random",
        version="random",
        architecture=canonical(config),
        placement=place("cpu", dtype),
    )


def off(pixels: np.ndarray, config: dict[str, Any]) -> np.ndarray:
    """How far each value of a prepared frame [H, W, 3] is from open_clip's, in steps of 1/255."""
    plain = PreprocessCfg(**config | {"mean": (0.0,) * 3, "std": (1.0,) * 3})
    theirs = image_transform_v2(plain, is_train=False)(Image.fromarray(pixels)).numpy()
    ours = Preprocessing.from_config(config)(pixels[None])[0].numpy()
    return np.abs(ours.astype(np.float64) - theirs.astype(np.float64) * 255.0)


def frame(kind: str, width: int, height: int) -> np.ndarray:
    """uint8 [H, W, 3]: noise, or what a photo is to a resize: soft shading, hard edges, and grain."""
    rng = np.random.default_rng(len(kind))
    if kind == "noise":
        return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    shading = np.stack([255 * x / width, 255 * y / height, 127 + 120 * np.sin(x / 37 + y / 23)], axis=-1)
    for _ in range(12):
        left, top = rng.uniform(0, width), rng.uniform(0, height)
        inside = np.hypot(x - left, y - top) < rng.uniform(0.05, 0.25) * min(width, height)
        shading[inside] = rng.uniform(0, 255, 3)
    grain = rng.normal(0, 4, (height, width, 1)).astype(np.float32)
    return np.clip(shading + grain, 0, 255).astype(np.uint8)


if __name__ == "__main__":
    sys.exit(main())
