"""Building open_clip networks and filling them with weights, from wherever they are.

Weights are read from safetensors, or through torch's weights-only loader, which runs no code from the file.
"""

from __future__ import annotations

import functools
import json
import logging
import pickle
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.tokenizer import SimpleTokenizer
from safetensors import SafetensorError
from safetensors.torch import load_file

from models.clip import ClipModel, Tokenizer, canonical
from models.device import Placement
from models.errors import BadWeights, MissingDependency, UnknownModel
from models.hub import fetch

CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
BPE_FILE = "bpe.txt.gz"
"""A vocabulary of the model's own, in the format of open_clip's; where a folder has none, open_clip's serves."""
WORDS_FILE = "words.json"
"""`{"known": [word, ...]}`: all that the model was taught."""

TAG_PREPROCESSING = ("mean", "std", "interpolation", "resize_mode")

_MISFITS = (
    SafetensorError,
    RuntimeError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    OSError,
    EOFError,
)
"""What open_clip raises for a configuration or weights that are damaged or do not fit."""

_seeding = threading.Lock()


@functools.cache
def architectures() -> frozenset[str]:
    """Names of open_clip's architectures, with those that `open_clip.add_model_config` added before the first call."""
    return frozenset(open_clip.list_models())


@functools.cache
def tags() -> dict[tuple[str, str], dict[str, Any]]:
    """(architecture, tag) -> open_clip's entry: where the weights are and how they want their images."""
    return {pair: open_clip.get_pretrained_cfg(*pair) for pair in open_clip.list_pretrained()}


def bundled_folder() -> Path:
    """The folder of the model that comes with the package."""
    return Path(__file__).parent / "bundled"


def tag_files(architecture: str, tag: str) -> tuple[str, tuple[str, ...]]:
    """The repository on the hub that a pretrained tag is in, and what its weights may be called there."""
    repo, _, file = tags()[architecture, tag]["hf_hub"].rpartition("/")
    return repo, (f"{file.rpartition('.')[0]}.safetensors", file) if file else WEIGHTS_FILES


def from_tag(name: str, architecture: str, tag: str, placement: Placement) -> ClipModel:
    """A pretrained model of open_clip, from the local cache or the hub."""
    entry = tags()[architecture, tag]
    repo, files = tag_files(architecture, tag)
    overrides = {key: entry[key] for key in TAG_PREPROCESSING if key in entry}
    # open_clip only warns where a tag was trained with QuickGELU and the architecture's file says GELU, and then
    # computes other vectors than the weights were trained for.
    quick = bool(entry.get("quick_gelu"))
    return _build(
        name, architecture, fetch(repo, files), placement, version=tag, quick_gelu=quick, preprocessing=overrides
    )


def from_file(name: str, architecture: str, path: str, placement: Placement) -> ClipModel:
    """A built-in architecture with the weights of a file of the caller's."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise UnknownModel(f"there is no file of weights at {file}")
    return _build(name, architecture, file, placement)


def from_seed(name: str, architecture: str, placement: Placement) -> ClipModel:
    """A built-in architecture with random weights, the same every time."""
    with seeded():
        return _build(name, architecture, None, placement, version="random")


def from_folder(name: str, folder: str | Path, placement: Placement) -> ClipModel:
    """A folder with `open_clip_config.json` and weights; its own vocabulary and known words are used if it has any."""
    folder = Path(folder).expanduser()
    if not (folder / CONFIG_FILE).is_file():
        raise UnknownModel(f"{folder} is no model: it has no {CONFIG_FILE}")
    weights = next((folder / file for file in WEIGHTS_FILES if (folder / file).is_file()), None)
    if weights is None:
        raise BadWeights(f"{folder} has no weights: put one of {', '.join(WEIGHTS_FILES)} there")
    return _build(name, f"local-dir:{folder}", weights, placement)


def from_repository(name: str, repo: str, placement: Placement) -> ClipModel:
    """An open_clip model on the hub."""
    folder = fetch(repo, (CONFIG_FILE,)).parent
    fetch(repo, WEIGHTS_FILES)
    if _text_config(folder).get("hf_tokenizer_name"):
        for file in TOKENIZER_FILES:
            fetch(repo, (file,))
    return from_folder(name, folder, placement)


def _build(
    name: str,
    source: str,
    weights: Path | None,
    placement: Placement,
    *,
    version: str | None = None,
    quick_gelu: bool = False,
    preprocessing: dict[str, Any] | None = None,
) -> ClipModel:
    """`source` is a built-in architecture or `local-dir:FOLDER`."""
    with reading(name, weights or source):
        with warnings.catch_warnings(), _without_false_alarm():
            warnings.filterwarnings("ignore", message="QuickGELU mismatch")
            network = open_clip.create_model(
                source,
                load_weights=False,
                precision="fp32",
                device="cpu",
                force_quick_gelu=quick_gelu,
                force_preprocess_cfg=preprocessing,
                pretrained_text=False,
            )
        if weights is not None:
            open_clip.load_checkpoint(network, str(weights), weights_only=True)
        config = open_clip.get_model_config(source) | ({"quick_gelu": True} if quick_gelu else {})
        folder = Path(source.removeprefix("local-dir:")) if source.startswith("local-dir:") else None
        tokenizer, known_words = _tokenizer(source, folder), _known_words(folder)
    return ClipModel(
        network,
        tokenizer,
        name=name,
        version=version,
        architecture=canonical(config),
        placement=placement,
        known_words=known_words,
    )


@contextmanager
def reading(name: str, source: str | Path) -> Iterator[None]:
    """Whatever goes wrong in the block, in which a network is built and filled from `source`, has a name.

    Raises:
        MissingDependency: it needs a package that is not installed.
        BadWeights: what is read is damaged, does not fit, or is more than tensors.
    """
    try:
        yield
    except ImportError as error:
        raise MissingDependency(f"{name} needs a package that is not installed: {error}") from error
    except pickle.UnpicklingError as error:
        raise BadWeights(f"{source} holds more than tensors and was not opened: convert it to safetensors") from error
    except _MISFITS as error:
        raise BadWeights(f"{name} cannot be loaded from {source}: {_first_line(error)}") from error


def read_tensors(file: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file by their names, on the host. A checkpoint of a training may have them beside other things,
    and with the `module.` that training on several GPUs puts before their names. To be called within `reading`.
    """
    if file.suffix == ".safetensors":
        return load_file(file)
    content: Any = torch.load(file, map_location="cpu", weights_only=True)
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in content.values()):
        raise ValueError("it holds no tensors by their names")
    return {name.removeprefix("module."): tensor for name, tensor in content.items()}


@contextmanager
def seeded() -> Iterator[None]:
    """Networks that are built in the block have the same random weights every time."""
    with _seeding, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def _tokenizer(source: str, folder: Path | None) -> Tokenizer:
    if folder is not None and (folder / BPE_FILE).is_file():
        length = _text_config(folder).get("context_length", open_clip.tokenizer.DEFAULT_CONTEXT_LENGTH)
        return SimpleTokenizer(bpe_path=str(folder / BPE_FILE), context_length=length)
    text = open_clip.get_model_config(source).get("text_cfg", {})
    if text.keys() & {"hf_tokenizer_name", "tokenizer_kwargs"}:
        return open_clip.get_tokenizer(source)
    # open_clip's own, which is there anyway: one more has 27 MB of small objects, and holes of them stay behind.
    length = text.get("context_length", open_clip.tokenizer.DEFAULT_CONTEXT_LENGTH)
    return functools.partial(open_clip.tokenize, context_length=length)


def _text_config(folder: Path) -> dict[str, Any]:
    config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    return config.get("model_cfg", config).get("text_cfg", {})


def _known_words(folder: Path | None) -> frozenset[str] | None:
    if folder is None or not (folder / WORDS_FILE).is_file():
        return None
    return frozenset(json.loads((folder / WORDS_FILE).read_text(encoding="utf-8"))["known"])


def _first_line(error: Exception) -> str:
    """What it says first; of torch, whose first line may be a heading, the first thing below that, too."""
    lines = [line.strip() for line in str(error).strip().splitlines()] or [type(error).__name__]
    said = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    return said[:300]


@contextmanager
def _without_false_alarm() -> Iterator[None]:
    """open_clip warns that a network built without weights is random; here they are loaded right afterwards."""

    def real(record: logging.LogRecord) -> bool:
        return "No pretrained weights loaded" not in record.getMessage()

    logging.getLogger().addFilter(real)
    try:
        yield
    finally:
        logging.getLogger().removeFilter(real)
