"""What an analysis needs besides the video: an engine, and the text side of the model that the engine runs."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from models.base import Likelihood, TextModel
from pipeline.checking import failed_by, require_rows
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

    async def check(self) -> None:
        """Run the engine's models, and the text tower, on a small example each.

        Raises:
            CheckFailed: one gave no answer of the right shape, or none at all; says which.
        """
        await self.engine.check()
        with failed_by("text"):
            texts = ["a red circle", "a photo of a dog"]
            require_rows(await asyncio.to_thread(self.encoder.embed_text, texts), len(texts), self.encoder.info)
