"""What crosses the handles of the graph, as bytes: small records and small arrays, no picture of full size, no pickle.

Bytes are those of `pipeline.sandbox.wire`. Refusals are answers like others, for an exception would be pickled with
whatever it holds, and raised as the same error where they arrive.
"""

from collections.abc import Iterator
from typing import Any, Final, Literal, TypeVar

import msgspec
import numpy as np

from models.base import Likelihood, ModelInfo
from pipeline import errors
from pipeline.clips import Clip
from pipeline.decode.base import Decoding
from pipeline.errors import EngineFault, VideoError
from pipeline.frames import ClipOutput
from pipeline.record import Record
from pipeline.report import Notice
from pipeline.sandbox import wire
from pipeline.thumbs import THUMB_SIZE

T = TypeVar("T")


class RunClip(Record, frozen=True, kw_only=True, tag="run"):
    """Asks an engine for a Clip's frames. Answer: `Ran` or `Refused`."""

    clip: Clip
    model: str
    """As jobs ask for it."""
    identity: str
    """Of the numbers that the job began with, see `models.base.ModelInfo.identity`: only that model will do."""
    also: dict[str, str] = msgspec.field(default_factory=dict)
    """Models that look on besides, as jobs ask for them -> their identities, likewise."""


class EmbedTexts(Record, frozen=True, kw_only=True, tag="embed"):
    """Asks for vectors of texts. Answer: `Embedded` or `Refused`."""

    model: str
    space: str | None
    """That they have to be of; None: whatever the model's is now."""
    texts: tuple[str, ...]


class Ran(Record, frozen=True, kw_only=True, tag="ran"):
    """What became of a Clip."""

    output: ClipOutput
    """Its arrays are named as in `pipeline.toolkit`, whichever model was asked for; those of models that look on
    besides by the names under which they were."""
    replica: str
    """That has the decoder of the Clip's chain."""


class Embedded(Record, frozen=True, kw_only=True, tag="embedded"):
    """Vectors of texts."""

    rows: np.ndarray
    """float32 [N, D], of length 1."""
    space: str


class Refused(Record, frozen=True, kw_only=True, tag="refused"):
    """An error, for whoever asked to raise."""

    code: str
    """As `VideoError.code`."""
    message: str


State = Literal["loading", "ready", "failed"]


class ModelDescription(Record, frozen=True, kw_only=True):
    """A model that a replica answers with."""

    name: str
    """As jobs ask for it."""
    info: ModelInfo
    likelihood: Likelihood | None
    """None of a model that is no encoder, and can only look on besides."""
    known_words: tuple[str, ...] | None
    """See `models.base.Encoder.known_words`."""
    notices: tuple[Notice, ...] = ()
    """What whoever uses it should know."""


class GenerationDescription(Record, frozen=True, kw_only=True):
    """Models that were loaded together."""

    number: int
    """Counts from 1 in each replica."""
    models: tuple[ModelDescription, ...]
    loaded_ago_s: float


class SwapFailure(Record, frozen=True, kw_only=True):
    """Why the models that were to come are not there."""

    wanted: dict[str, str]
    """The name under which jobs ask -> the network that was to answer."""
    error: str
    ago_s: float


class Handled(Record, frozen=True, kw_only=True):
    """What a replica had to do since it is there."""

    requests: int = 0
    refused: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    frames: int = 0
    """Frames that models ran on, in this process."""
    frames_shipped: int = 0
    """Of them, those that left it as pictures. There is no way for one to: what would be such an answer is refused."""


class ReplicaDescription(Record, frozen=True, kw_only=True):
    """How a replica is. Moments are told as seconds since then, for clocks of machines differ."""

    deployment: str
    replica: str
    """Its id in Serve."""
    host: str
    pid: int
    state: State
    generations: tuple[GenerationDescription, ...]
    """The one that new jobs get first; then those that stay for jobs that began with them."""
    coming: dict[str, str] | None = None
    """What is being loaded beside them, as `SwapFailure.wanted`."""
    failure: SwapFailure | None = None
    """Why the last models that were to come did not; None where they did."""
    checked_ago_s: float | None = None
    """Since a model last really computed something."""
    error: str | None = None
    """Why none does."""
    decoding: Decoding | None = None
    """What an engine decodes with; None of a replica that does not."""
    notices: tuple[Notice, ...] = ()
    """What whoever uses it should know, whichever the model."""
    handled: Handled


def encode(message: Record) -> bytes:
    """Its bytes."""
    return wire.encode(message)


def decode(data: bytes, kind: type[T] | Any) -> T:
    """A message of one of our own processes. Raises EngineFault where it is none: another version of the program."""
    try:
        return wire.decode(data, kind, wire.MAX_BYTES)
    except wire.Broken as error:
        raise EngineFault(f"what came is not what was to come: {error}") from error


def answer(data: bytes, kind: type[T]) -> T:
    """What came back.

    Raises:
        VideoError: it is a refusal; the error that it tells of.
    """
    message = decode(data, kind | Refused)
    if isinstance(message, Refused):
        raise error_of(message)
    return message


def refusal(error: VideoError) -> Refused:
    """An error on its way."""
    return Refused(code=error.code, message=str(error))


def error_of(refused: Refused) -> VideoError:
    """The error that was refused with."""
    kind = _BY_CODE.get(refused.code)
    return EngineFault(f"{refused.code}: {refused.message}") if kind is None else kind(refused.message)


def require_small(output: ClipOutput) -> None:
    """Whether all of it may leave the process: rows of numbers and thumbnails.

    Raises:
        TypeError: there is a picture in it.
    """
    for name, rows in output.arrays.items():
        if rows.ndim != 2 or rows.dtype != np.float32:
            raise TypeError(f"{name}: {rows.dtype} of shape {rows.shape} does not leave an engine")
    if output.strip is not None and output.strip.thumbs.shape[1:] != (*THUMB_SIZE[::-1], 3):
        raise TypeError(f"thumbnails of shape {output.strip.thumbs.shape} do not leave an engine")


def _kinds(base: type[VideoError]) -> Iterator[type[VideoError]]:
    yield base
    for kind in base.__subclasses__():
        if kind.__module__ == errors.__name__:
            yield from _kinds(kind)


_BY_CODE: Final = {kind.code: kind for kind in _kinds(VideoError)}
