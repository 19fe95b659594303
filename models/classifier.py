"""Image classifiers of torchvision's architectures, trained elsewhere, as models that look on besides an encoder.

    classifier:resnet50@/x.safetensors   an architecture by its name in torchvision, and a file with its weights
    classifier:resnet50/random           untrained, the same every time: for tests and benchmarks

Options: `labels` (a list, or the path of a file, see `models.labels`; by default those of torchvision's own weights),
`threshold` (0.5), `multi_label` (each label by itself, a sigmoid; else they share one probability, a softmax), `size`
(pixels of the square that it sees, or that and the shorter side of the frame that it is cut out of; by default what
torchvision says of the architecture, as of the mean and spread of pixels), `transform_input` (of googlenet and
inception_v3, true: as torchvision's own weights of theirs were taught; false for those that began without them).

A model of yours is made in the same way: an `info`, a `preprocess` and an `encode`. See docs/models.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torchvision import models as torchvision_models

from models.base import FrameModel, ModelInfo, Pixels, Score, space_id
from models.catalog import Loaded, ModelNotice
from models.clip import canonical, weights_checksum
from models.device import Placement, Workers, moved, split
from models.errors import BadModel, UnknownModel
from models.labels import read_scores
from models.preprocess import Plan, Preprocessing
from models.weights import read_tensors, reading, seeded

FRAMES_A_PART = 8
"""Frames that a worker takes at a time on a CPU. One thread a part beats all threads on each layer, and tenfold where
others use the cores as well, for which all would wait after every layer."""

OPTIONS = ("labels", "threshold", "multi_label", "size", "transform_input")

TRANSFORMING = ("googlenet", "inception_v3")
"""Architectures that can bring pixels to a mean and spread of their own first. No file of weights says whether."""


@dataclass(frozen=True, slots=True)
class Cut(Preprocessing):
    """torchvision's own: the shorter side to `shorter`, then the middle of that."""

    shorter: int = 256
    """Pixels."""

    def describe(self) -> str:
        """See `Preprocessing.describe`."""
        # Slots make it another class than the one that a bare `super()` means.
        return f"{self.shorter} {Preprocessing.describe(self)}"

    def plan(self, height: int, width: int) -> Plan:
        """Where a frame of this size goes; the rounding is torchvision's."""
        longer = int(self.shorter * max(height, width) / min(height, width))
        resized = (self.shorter, longer) if height <= width else (longer, self.shorter)
        top, left = (round((whole - part) / 2.0) for whole, part in zip(resized, self.size, strict=True))
        return Plan(resized, (top, left, *self.size), (0, 0, 0, 0))


class Classifier(FrameModel):
    """A classifier. All methods may be called from several threads at once."""

    info: ModelInfo
    preprocessing: Preprocessing
    placement: Placement
    checksum: str
    """SHA-256 of the weights."""
    parameters: int

    def __init__(
        self,
        network: nn.Module,
        *,
        name: str,
        architecture: str,
        scores: tuple[Score, ...],
        multi_label: bool,
        preprocessing: Preprocessing,
        placement: Placement,
    ) -> None:
        """Take over `network`, float32, which gives a logit for each of `scores`."""
        network = network.eval().requires_grad_(False)
        self.checksum = weights_checksum(network)
        self.parameters = sum(parameter.numel() for parameter in network.parameters())
        self.preprocessing, self.placement = preprocessing, placement
        self._multi_label = multi_label
        self._device, self._dtype = torch.device(placement.device), placement.torch_dtype
        self._network = network.to(self._device, self._dtype)
        self._workers = Workers(placement.workers) if self._device.type == "cpu" and placement.workers > 1 else None
        # Labels and thresholds are part of what its numbers mean, for who has the same space may be taken for it.
        said = [[score.label, score.threshold, score.parent, score.signal] for score in scores]
        built = {"transform_input": True} if getattr(network, "transform_input", False) else {}
        whole = canonical({"architecture": architecture, "multi_label": multi_label, "scores": said, **built})
        self.info = ModelInfo(
            name=name,
            version=self.checksum[:12],
            space=space_id(
                architecture=whole,
                weights=self.checksum,
                preprocessing=preprocessing.describe(),
                dim=len(scores),
            ),
            dim=len(scores),
            kind="scores",
            device=placement.device,
            dtype=placement.dtype,
            scores=scores,
        )

    def run(self, pixels: Pixels) -> np.ndarray:
        """uint8 [N, H, W, 3] RGB -> float32 [N, info.dim] on the host: a probability for each label."""
        return self.encode(self.preprocess(pixels))

    def preprocess(self, pixels: Pixels) -> torch.Tensor:
        """uint8 [N, H, W, 3] RGB on any device -> uint8 [N, 3, S, S] on the model's."""
        return moved(self.preprocessing(pixels), self._device)

    def encode(self, frames: torch.Tensor) -> np.ndarray:
        """uint8 [N, 3, S, S] as `preprocess` gives them, also joined -> float32 [N, info.dim]."""
        if len(frames) == 0:
            return np.zeros((0, self.info.dim), np.float32)
        if self._workers is None:
            return self._probabilities(frames).numpy(force=True)
        sizes = split(len(frames), self._workers.count, FRAMES_A_PART)
        return torch.cat(self._workers.map(self._probabilities, frames.split(sizes))).numpy(force=True)

    @torch.inference_mode()
    def _probabilities(self, frames: torch.Tensor) -> torch.Tensor:
        logits = self._network(self.preprocessing.normalise(frames, self._dtype)).to(torch.float32)
        return logits.sigmoid() if self._multi_label else logits.softmax(dim=1)


def load_classifier(name: str, placement: Placement, options: Mapping[str, Any]) -> Loaded[Classifier]:
    """`classifier:ARCHITECTURE@FILE` or `classifier:ARCHITECTURE/random`.

    Raises:
        UnknownModel: there is no such architecture or file.
        BadWeights: the file does not hold this network.
        BadModel: an option cannot be, or there are more or fewer labels than the weights have classes.
    """
    architecture, at, path = name.removeprefix("classifier:").partition("@")
    architecture = architecture if at else architecture.removesuffix("/random")
    if not at and not name.endswith("/random"):
        raise UnknownModel(f"{name}: give classifier:ARCHITECTURE@FILE, or classifier:ARCHITECTURE/random")
    _require_architecture(name, architecture)
    if unknown := [option for option in options if option not in OPTIONS]:
        raise BadModel(f"{name} takes no option {unknown[0]!r}; there are {', '.join(OPTIONS)}")
    multi_label = options.get("multi_label", False)
    if not isinstance(multi_label, bool):
        raise BadModel(f"{name}: multi_label is {multi_label!r}; it has to be true or false")
    scores = read_scores(options.get("labels", _taught(architecture)), name, threshold=options.get("threshold", 0.5))
    preprocessing = preprocessing_of(name, architecture, options.get("size"))
    build = partial(_built, name, architecture, len(scores), preprocessing.size, options.get("transform_input"))
    notices: tuple[ModelNotice, ...] = ()
    if at:
        network = _filled(name, Path(path).expanduser(), len(scores), build)
    else:
        with seeded():
            network = build()
        notices = (ModelNotice("random_weights", f"{architecture} has random weights: its tags mean nothing."),)
    model = Classifier(
        network,
        name=name,
        architecture=architecture,
        scores=scores,
        multi_label=multi_label,
        preprocessing=preprocessing,
        placement=placement,
    )
    return Loaded(model, notices)


def _require_architecture(name: str, architecture: str) -> None:
    from difflib import get_close_matches

    known = torchvision_models.list_models(module=torchvision_models)
    if architecture not in known:
        near = get_close_matches(architecture, known, 3)
        hint = f"near names: {', '.join(near)}" if near else "torchvision.models.list_models() gives them"
        raise UnknownModel(f"{name}: torchvision has no classifier {architecture!r}; {hint}")


def _built(
    name: str, architecture: str, classes: int, size: tuple[int, int], transform_input: bool | None = None
) -> nn.Module:
    """An untrained network for squares of that size, pixels. Raises BadModel where there is none, or none such."""
    more: dict[str, Any] = {}
    if architecture in TRANSFORMING:
        # These two would draw weights for half a minute, and warn that they do.
        more = {"init_weights": True, "transform_input": transform_input is not False}
    elif transform_input is not None:
        raise BadModel(f"{name}: transform_input is for {' and '.join(TRANSFORMING)}")
    if transform_input not in (None, True, False):
        raise BadModel(f"{name}: transform_input is {transform_input!r}; it has to be true or false")
    # Those that are built for one size.
    if architecture.startswith("vit_"):
        more["image_size"] = size[0]
    elif architecture.startswith("maxvit_"):
        more["input_size"] = size
    try:
        return torchvision_models.get_model(architecture, weights=None, num_classes=classes, **more)
    except (AssertionError, ValueError) as error:
        raise BadModel(f"{name}: {architecture} cannot be built for a size of {size[0]} ({error})") from error


def _filled(name: str, file: Path, classes: int, build: Callable[[], nn.Module]) -> nn.Module:
    """The network with the weights of a file. Raises UnknownModel, BadWeights and BadModel as `load_classifier`."""
    if not file.is_file():
        raise UnknownModel(f"there is no file of weights at {file}")
    with reading(name, file):
        tensors = read_tensors(file)
    network = build()
    last = next(reversed(network.state_dict()))
    if last in tensors and tensors[last].shape[0] != classes:
        raise BadModel(f"{name}: {classes} labels for weights with {tensors[last].shape[0]} classes")
    with reading(name, file):
        network.load_state_dict(tensors)
    return network


def _taught(architecture: str) -> list[str]:
    """The labels of torchvision's own weights, mostly the thousand of ImageNet. That has two cranes and two maillots:
    the second of each is called by its place, too."""
    seen: set[str] = set()
    labels = []
    for place, label in enumerate(_usual(architecture).meta["categories"]):
        labels.append(f"{label} ({place})" if label in seen else label)
        seen.add(label)
    return labels


def _usual(architecture: str) -> Any:
    """torchvision's entry of the weights that it offers of an architecture."""
    return torchvision_models.get_model_weights(architecture)["DEFAULT"]


def preprocessing_of(name: str, architecture: str, size: Any = None) -> Preprocessing:
    """What an architecture sees of a frame, by torchvision or by the option `size`. Raises BadModel as above."""
    usual = _usual(architecture).transforms()
    part, shorter = usual.crop_size[0], usual.resize_size[0]
    if size is not None:
        pair = [size, round(size * shorter / part)] if isinstance(size, int) else size
        whole = isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(side, int) for side in pair)
        if not whole or not 8 <= pair[0] <= pair[1] <= 4096:
            raise BadModel(f"{name}: size is {size!r}; give pixels, 224, or those and the shorter side, [224, 256]")
        part, shorter = pair
    return Cut(
        size=(part, part),
        interpolation="bicubic" if usual.interpolation.value == "bicubic" else "bilinear",
        mean=tuple(usual.mean),
        std=tuple(usual.std),
        shorter=shorter,
    )
