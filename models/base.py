"""The contract between the engine and a network: one required method, and a card that says what comes out.

A `FrameModel` looks at frames, a `Head` at the vectors of another model. Either is a class with an `info` and a `run`;
docs/models.md shows one from its first line to its use.
"""

import hashlib
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

#: Pixels as an engine hands them over: uint8 [N, H, W, 3] RGB, a numpy array, or a torch tensor on any device.
Pixels = Any


Kind = Literal["embedding", "measurement", "scores"]
"""What rows mean: a vector of length 1 of a space, columns with units of their own, or a probability for each label."""


@dataclass(frozen=True, slots=True)
class Score:
    """A column of a model of the kind `scores`: how probable it is, in [0, 1], that something holds in a frame."""

    label: str
    threshold: float = 0.5
    """From which on a frame counts as showing it."""
    parent: str | None = None
    """The category that the label belongs to."""
    signal: bool = False
    """Whether it is no tag but says how good a moment is: key segments can be chosen by it."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a model has to be given."""

    space: str | None = None
    """Of a head: the space of the vectors that it reads. None: frames."""
    fps: float | None = None
    """Frames per second of video below which its answers are not to be relied on; None: any will do."""
    side: int | None = None
    """Shorter side of a frame, pixels, below which they are not; None: any will do."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a model is and what its vectors mean."""

    name: str
    """The name under which the caller asked for it, for example `bundled` or `ViT-B-32/openai`."""
    version: str
    """Revision of the weights: a pretrained tag or a checksum prefix."""
    space: str
    """Identity of the vector space, from `space_id`. Vectors of two spaces are never compared."""
    dim: int
    """Columns of every output row."""
    kind: Kind = "embedding"
    device: str = "cpu"
    """Where it runs: `cpu`, `cuda:0`, ..."""
    dtype: str = "float32"
    """Arithmetic of the forward pass: `float32` or `bfloat16`."""
    columns: tuple[str, ...] = ()
    """Names of the columns of a `measurement`; empty for others."""
    scores: tuple[Score, ...] = ()
    """What the columns of `scores` mean; empty for others."""
    needs: Needs = Needs()

    @property
    def identity(self) -> str:
        """Of the numbers that come out: of one space, vectors may still differ by the arithmetic. Where two processes
        give it, one may go on with what the other began."""
        return f"{self.space}-{self.dtype}"


class FrameModel(Protocol):
    """Turns frames into one row each. Implementations subclass it and need only `run`.

    One that does its work in two stages (pixels to what the network takes, then the network) overrides `preprocess`
    and `encode` as well, so that the engine can overlap them and batch the second across videos. All three may be
    called from several threads at once.
    """

    info: ModelInfo

    @abstractmethod
    def run(self, pixels: Pixels) -> np.ndarray:
        """uint8 [N, H, W, 3] RGB -> float32 [N, info.dim] on the host; as many rows as frames."""
        ...

    def preprocess(self, pixels: Pixels) -> Any:
        """uint8 [N, H, W, 3] RGB -> what `encode` takes: an array or tensor whose first axis is N."""
        return pixels

    def encode(self, frames: Any) -> np.ndarray:
        """What `preprocess` gave, of one or several calls joined along the first axis -> float32 [N, info.dim]."""
        return self.run(frames)

    def example(self) -> Pixels:
        """A few small frames that the model has to have an answer to: what it is checked with while it serves."""
        ramp = np.arange(64, dtype=np.uint8) * 4
        frames = np.zeros((2, 64, 64, 3), np.uint8)
        frames[0, ..., 0], frames[0, ..., 1] = ramp, ramp[:, None]
        frames[1] = 255 - frames[0]
        return frames


class Head(Protocol):
    """Turns vectors of another model into one row each, so that neither a decode nor a forward pass is done again."""

    info: ModelInfo
    """`info.needs.space` says whose vectors it reads."""

    @abstractmethod
    def run(self, vectors: np.ndarray) -> np.ndarray:
        """float32 [N, D], L2-normalised, of the space `info.needs.space` -> float32 [N, info.dim]; N may be 0."""
        ...


@runtime_checkable
class TextModel(Protocol):
    """A text tower whose vectors live in the space of a frame model."""

    info: ModelInfo

    def embed_text(self, texts: list[str]) -> np.ndarray:
        """N strings -> float32 [N, info.dim], L2-normalised."""
        ...


class Encoder(FrameModel, TextModel, Protocol):
    """A frame model and a text model of one space: what an analysis can be made with."""

    likelihood: "Likelihood"
    known_words: frozenset[str] | None
    """The words that its text tower was taught, lower case; None: everyday language."""


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How a model turns the cosine between an image and a text into a probability.

    Models trained with a pairwise sigmoid loss (SigLIP, arXiv:2303.15343; the bundled model) have a `bias` and give an
    absolute probability, `sigmoid(scale * cosine + bias)`. Softmax-trained CLIPs have none (`bias=None`): for them
    only the comparison with other texts means anything.
    """

    scale: float
    """exp(logit_scale) of the model, unitless."""
    bias: float | None
    """logit_bias of the model, or None for a softmax-trained model."""


@dataclass(frozen=True, slots=True)
class Things:
    """K things of which a picture of a single one shows one: what a model tells apart, see `models.things`."""

    names: tuple[str, ...]
    """As its text tower was given them: `a red circle`."""
    vectors: np.ndarray
    """float32 [K, D], of length 1."""

    def __repr__(self) -> str:
        return f"Things(names={len(self.names)}, vectors={self.vectors.shape})"


def space_id(*, architecture: str, weights: str, preprocessing: str, dim: int) -> str:
    """Hash of everything that decides what a vector means, 16 hex digits.

    `weights` is a checksum or an immutable tag; `preprocessing` a canonical description (size, mode, mean, std).
    """
    text = "\n".join((architecture, weights, preprocessing, str(dim)))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
