"""What an analysis needs besides the video: an engine, and the text side of the model that the engine runs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from models.base import Likelihood, TextModel
from pipeline.container import Video
from pipeline.decode.choice import Choice
from pipeline.engine import Engine
from pipeline.media import LocalMedia, Media
from pipeline.report import Notice

#: Names of the engine's models.
EMBEDDING, STATS = "embedding", "stats"


class Encoder(TextModel, Protocol):
    """A model with an image and a text tower in one space."""

    likelihood: Likelihood
    known_words: frozenset[str] | None
    """The words that its text tower was taught; None: everyday language."""


@dataclass(frozen=True, slots=True)
class Toolkit:
    """Put together once, used for any number of videos."""

    engine: Engine
    """Runs models under the names `EMBEDDING` and `STATS`."""
    encoder: Encoder
    decoding: Choice
    """What the engine decodes with, and pictures that are to be looked at."""
    open: Callable[[Video], Media] = LocalMedia
    """What videos are read with."""
    notices: tuple[Notice, ...] = ()
    """What the caller should know of the choice of model."""
