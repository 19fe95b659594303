"""Small models on disk: the bundled one with other weights, and ways in which one can be broken."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from models.weights import CONFIG_FILE, WEIGHTS_FILES, bundled_folder

_WEIGHTS = WEIGHTS_FILES[0]


def variant(folder: Path, seed: int, strength: float = 0.01) -> str:
    """`local-dir:` of a model like the bundled one, a little off: another version, of another space."""

    def shifted(weights: dict[str, torch.Tensor]) -> None:
        generator = torch.Generator().manual_seed(seed)
        for name in ("visual.attnpool.c_proj.weight", "text_projection"):
            weights[name] += strength * torch.randn(weights[name].shape, generator=generator)

    return _changed(folder / f"variant-{seed}", weights=shifted)


def not_numbers(folder: Path) -> str:
    """One whose answers are NaN."""

    def spoiled(weights: dict[str, torch.Tensor]) -> None:
        weights["visual.attnpool.c_proj.bias"][0] = float("nan")

    return _changed(folder / "nan", weights=spoiled)


def always_the_same(folder: Path) -> str:
    """One that has the same answer whatever it sees."""

    def spoiled(weights: dict[str, torch.Tensor]) -> None:
        weights["visual.attnpool.c_proj.weight"].zero_()
        weights["visual.attnpool.c_proj.bias"].fill_(1.0)

    return _changed(folder / "same", weights=spoiled)


def wrong_shape(folder: Path) -> str:
    """Weights of a network of another width."""

    def wider(config: dict) -> None:
        config["model_cfg"]["vision_cfg"]["width"] = 32

    return _changed(folder / "shape", config=wider)


def cut_off(folder: Path) -> str:
    """A file of weights that ends too early."""
    source = _changed(folder / "cut")
    path = folder / "cut" / _WEIGHTS
    path.write_bytes(path.read_bytes()[:-1000])
    return source


def too_large(folder: Path) -> str:
    """A network for which no machine has the memory: 400 TB of word vectors."""

    def larger(config: dict) -> None:
        config["model_cfg"]["text_cfg"]["vocab_size"] = 1 << 40

    return _changed(folder / "large", config=larger)


def without_its_package(folder: Path) -> str:
    """One that needs a package that is not installed."""

    def foreign(config: dict) -> None:
        config["model_cfg"]["text_cfg"] = {"hf_model_name": "roberta-base", "hf_tokenizer_name": "roberta-base"}

    return _changed(folder / "foreign", config=foreign)


BROKEN: dict[str, tuple[Callable[[Path], str], str]] = {
    "cut-off": (cut_off, "cannot be loaded"),
    "wrong-shape": (wrong_shape, "size mismatch for"),
    "not-numbers": (not_numbers, "holds no numbers"),
    "always-the-same": (always_the_same, "the same answer whatever"),
    "no-memory": (too_large, "memory"),
    "no-package": (without_its_package, "transformers"),
}
"""Way to be broken -> how one is made, and what is said of it."""


def _changed(
    folder: Path,
    *,
    weights: Callable[[dict[str, torch.Tensor]], None] = lambda weights: None,
    config: Callable[[dict], None] = lambda config: None,
) -> str:
    if not folder.exists():
        shutil.copytree(bundled_folder(), folder)
        held = load_file(folder / _WEIGHTS)
        weights(held)
        save_file(held, folder / _WEIGHTS)
        said = json.loads((folder / CONFIG_FILE).read_text())
        config(said)
        (folder / CONFIG_FILE).write_text(json.dumps(said))
    return f"local-dir:{folder}"
