"""The folder of a bundled model: writing it, and loading it through open_clip."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import open_clip
import torch
from open_clip.tokenizer import SimpleTokenizer
from safetensors.torch import save_file

from models.training.captions import FOREIGN_WORDS, known_words
from models.training.outlines import SHAPES
from models.training.scenes import COLORS, HELD_OUT
from models.training.tokenizer import load_tokenizer
from models.training.train import PREPROCESS, TrainingConfig

CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"
WORDS_FILE = "words.json"


class Bundle(NamedTuple):
    """A bundled model, ready to run on the CPU."""

    model: open_clip.CLIP
    tokenizer: SimpleTokenizer
    config: TrainingConfig
    """Defaults, except for the image size, which is the folder's."""


def save_bundle(model: open_clip.CLIP, tokenizer: SimpleTokenizer, config: TrainingConfig, directory: Path) -> None:
    """Write configuration, weights (half precision) and known words; the vocabulary is already there."""
    model_config = config.model_config(tokenizer.vocab_size)
    write_json(directory / CONFIG_FILE, {"model_cfg": model_config, "preprocess_cfg": config.preprocess})
    weights = {name: _stored(tensor) for name, tensor in model.state_dict().items()}
    save_file(weights, directory / WEIGHTS_FILE, metadata={"format": "pt"})
    words = {
        "known": known_words(),
        "colors": list(COLORS),
        "shapes": list(SHAPES),
        "unseen_pairs": sorted(f"{color} {shape}" for color, shape in HELD_OUT),
        "known_to_mean_nothing": sorted(FOREIGN_WORDS),
    }
    write_json(directory / WORDS_FILE, words)


def _stored(tensor: torch.Tensor) -> torch.Tensor:
    # Scalars stay exact: they carry the calibration.
    half = tensor.is_floating_point() and tensor.ndim > 0
    return (tensor.half() if half else tensor).contiguous().clone()


def load_bundle(directory: Path) -> Bundle:
    """Load a bundled model the way any open_clip folder is loaded; it comes in eval mode, in float32."""
    model = open_clip.create_model(f"local-dir:{directory}", precision="fp32", device="cpu")
    size = model.visual.image_size
    side = size if isinstance(size, int) else size[0]
    return Bundle(model.eval(), load_tokenizer(directory), TrainingConfig(image_size=side, preprocess=dict(PREPROCESS)))


def write_json(path: Path, value: object) -> None:
    """Write readable JSON with a final newline."""
    path.write_text(json.dumps(value, indent=2) + "\n")
