"""What an analysis needs besides the video: an engine, and the text side of the model that the engine runs."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from models.base import Likelihood, ModelInfo, TextModel
from pipeline.checking import failed_by, require_rows
from pipeline.decode.base import Decoding
from pipeline.engine import Engine
from pipeline.media import LocalMedia, Media
from pipeline.opened import Video
from pipeline.report import Notice

#: Names of the engine's models.
EMBEDDING, STATS = "embedding", "stats"


class TextTower(TextModel, Protocol):
    """The text side of an encoder, here or elsewhere; see `models.base.Encoder`."""

    likelihood: Likelihood
    known_words: frozenset[str] | None
    """The words that its text tower was taught; None: everyday language."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Toolkit:
    """Put together once, used for any number of videos."""

    engine: Engine
    """Runs models under the names `EMBEDDING` and `STATS`."""
    encoder: TextTower
    decoding: Decoding
    """What the engine decodes with."""
    open: Callable[[Video], Media] = LocalMedia
    """What videos are read with."""
    notices: tuple[Notice, ...] = ()
    """What the caller should know of the choice of model."""
    later: Callable[[], tuple[Notice, ...]] = tuple
    """What there is to say by now of how the models do, once a video was looked at."""
    added: Mapping[str, ModelInfo] = field(default_factory=dict)
    """Models that the engine runs besides, by the names that `AnalysisSpec.models` has."""

    @property
    def identity(self) -> str:
        """Of all numbers that come out, see `ModelInfo.identity`."""
        return "+".join(
            (self.encoder.info.identity, *sorted(f"{name}={one.identity}" for name, one in self.added.items()))
        )

    async def check(self) -> None:
        """Run the engine's models, and the text tower, on a small example each.

        Raises:
            CheckFailed: one gave no answer of the right shape, or none at all; says which.
        """
        await self.engine.check()
        with failed_by("text"):
            texts = ["a red circle", "a photo of a dog"]
            require_rows(await asyncio.to_thread(self.encoder.embed_text, texts), len(texts), self.encoder.info)
