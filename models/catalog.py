"""From a name to a loaded model.

    auto                          a real CLIP where it can be had, else the bundled one (and a notice says which)
    bundled                       the small model that comes with the package
    ViT-B-32/openai               an architecture and a pretrained tag of open_clip (also ViT-B-32__openai)
    hf-hub:org/repo               an open_clip model on the hub
    local-dir:/path               the same on disk: open_clip_config.json and open_clip_model.safetensors
    ViT-B-32@/path/x.safetensors  an architecture and a file of weights
    ViT-B-32/random               untrained: for benchmarks and tests

Importing this module loads no network and no torch; `load` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING

from models.errors import ModelError, UnknownModel, WeightsUnavailable

if TYPE_CHECKING:
    from models.clip import ClipModel
    from models.device import Placement

DEFAULT = "ViT-B-32/laion2b_s34b_b79k"
"""What `auto` means where it can be had. The smallest CLIP that knows the world well: 66.6 % zero-shot ImageNet at
9 GFLOP a frame, so that two cores without a GPU keep up with 18 frames a second; MIT licence, safetensors, 600 MB."""

BUNDLED = "bundled"


@dataclass(frozen=True, slots=True)
class ModelNotice:
    """Something about the loading that the caller should know."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model, ready to run, and what there is to say about how it was come by."""

    model: ClipModel
    notices: tuple[ModelNotice, ...] = ()


Factory = Callable[[str, "Placement"], Loaded]


def load(name: str, device: str | None = None, dtype: str | None = None) -> Loaded:
    """The model of that name on the best device, or the one asked for. Raises ModelError: each says what to do.

    `device` is `cpu`, `cuda` or `cuda:N`, `dtype` is `float32` or `bfloat16`; None leaves the choice to a measurement.
    """
    factory = next((factory for pattern, factory in FACTORIES if fnmatchcase(name, pattern)), None)
    if factory is None:
        raise _unknown(name)
    from models.device import place

    return factory(name, place(device, dtype))


def _load_auto(name: str, placement: Placement) -> Loaded:
    try:
        loaded = _load_tag(DEFAULT, placement)
    except ModelError as error:
        missing = isinstance(error, WeightsUnavailable)
        why = "is not on this machine and could not be downloaded" if missing else f"cannot be used ({error})"
        message = f"Using the small bundled model, which knows only simple shapes and colours: {DEFAULT} {why}."
        loaded = _load_bundled(BUNDLED, placement)
        return Loaded(loaded.model, (*loaded.notices, ModelNotice("bundled_model", message)))
    return Loaded(loaded.model, (*loaded.notices, ModelNotice("auto_model", f"Using {DEFAULT}.")))


def _load_bundled(name: str, placement: Placement) -> Loaded:
    from models.weights import bundled_folder, from_folder

    return Loaded(from_folder(name, bundled_folder(), placement))


def _load_folder(name: str, placement: Placement) -> Loaded:
    from models.weights import from_folder

    return Loaded(from_folder(name, name.removeprefix("local-dir:"), placement))


def _load_repository(name: str, placement: Placement) -> Loaded:
    from models.weights import from_repository

    return Loaded(from_repository(name, name.removeprefix("hf-hub:"), placement))


def _load_file(name: str, placement: Placement) -> Loaded:
    from models.weights import architectures, from_file

    architecture, _, path = name.partition("@")
    if architecture not in architectures():
        raise _unknown(name)
    return Loaded(from_file(name, architecture, path, placement))


def _load_random(name: str, placement: Placement) -> Loaded:
    from models.weights import architectures, from_seed

    architecture = name.removesuffix("/random")
    if architecture not in architectures():
        raise _unknown(name)
    message = f"{architecture} has random weights: its vectors mean nothing."
    return Loaded(from_seed(name, architecture, placement), (ModelNotice("random_weights", message),))


def _load_tag(name: str, placement: Placement, separator: str = "/") -> Loaded:
    from models.weights import from_tag, tags

    architecture, _, tag = name.partition(separator)
    if (architecture, tag) not in tags():
        raise _unknown(name)
    return Loaded(from_tag(name, architecture, tag, placement))


FACTORIES: tuple[tuple[str, Factory], ...] = (
    ("auto", _load_auto),
    (BUNDLED, _load_bundled),
    ("local-dir:*", _load_folder),
    ("hf-hub:*", _load_repository),
    ("*@*", _load_file),
    ("*/random", _load_random),
    ("*/*", _load_tag),
    ("*__*", partial(_load_tag, separator="__")),
)
"""Shell pattern -> what loads such a name; the first that fits is taken."""


def names() -> Iterator[str]:
    """Every name that needs no path of the caller's: 190 pretrained models besides `auto` and `bundled`."""
    from models.weights import tags

    yield from ("auto", BUNDLED)
    yield from ("/".join(pair) for pair in tags())


def _unknown(name: str) -> ModelError:
    from difflib import get_close_matches

    from models.weights import tags

    architecture = name.replace("__", "/").replace("@", "/").partition("/")[0]
    known = [*names(), *sorted({pair[0] for pair in tags()})]
    near = get_close_matches(name.replace("__", "/"), known, 3) + get_close_matches(architecture, known, 2)
    hint = f"; near names: {', '.join(dict.fromkeys(near))}" if near else ""
    return UnknownModel(
        f"there is no model {name!r}{hint}. Give a name like {DEFAULT}, hf-hub:ORG/REPO, local-dir:FOLDER, "
        "ARCHITECTURE@FILE.safetensors, or bundled"
    )
