"""What an analysis needs besides the video: an engine, and the text side of the model that the engine runs."""

from dataclasses import dataclass
from typing import Protocol

from models.base import Likelihood, TextModel
from pipeline.engine import Engine
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
    backend: str
    """Name of the engine's decoder."""
    backend_reason: str
    """Why that one."""
    notices: tuple[Notice, ...] = ()
    """What the caller should know of the choice of model."""
