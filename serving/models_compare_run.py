"""Puts a comparison together: two models in one engine, each video decoded once, then both measured in turns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.pictures import Picture
from pipeline.record import Record
from pipeline.report import Notice
from pipeline.side_by_side import VideoComparison
from serving.models_bench_machine import Machine
from serving.models_bench_measure import Measured, Rate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from models.base import Encoder
    from pipeline.saying import Side, Speaker
    from pipeline.spec import AnalysisSpec, Label
    from serving.graph.args import ModelConfig
    from serving.local import LocalToolkit
    from serving.settings import Settings

_PIXELS = 64 << 20
"""Of a batch with which both are measured, bytes: frames are as large as the video's."""

_BATCH = 16


class Compared(Record, frozen=True, kw_only=True):
    """One of the two, and what it costs."""

    asked: str
    """The name that it was asked for by."""
    name: str
    version: str
    space: str
    kind: str
    dim: int
    device: str
    dtype: str
    load_s: float
    memory_bytes: int | None
    """In use since it was loaded; None where the system does not tell."""
    gflop: float | None
    """Of a frame; None where it is not known. Of a head: its own work, not that of the encoder it reads."""
    images: Rate
    """On frames as large as those of the first video, its preprocessing included; of a head: vectors."""


class Comparison(Record, frozen=True, kw_only=True):
    """Two models, on some videos."""

    machine: Machine
    frame: tuple[int, int]
    """Height and width of the frames on which both were measured, pixels."""
    a: Compared
    b: Compared
    encoder: str | None
    """Whose vectors heads read, and by which moments are chosen, where neither of the two is one."""
    videos: tuple[VideoComparison, ...]
    agreement: float | None
    """On all labels of all videos together: seconds in which both say that a label holds, as a share of those in which
    one does. None where neither found any."""
    notices: tuple[Notice, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two models in an engine."""

    toolkit: LocalToolkit
    sides: tuple[Side, Side]
    measured: tuple[Measured, Measured]
    encoder: Measured | None
    """A third, where neither of the two is an encoder."""


@contextmanager
def paired(
    names: tuple[str, str], configs: tuple[ModelConfig, ModelConfig], encoder: str, settings: Settings
) -> Iterator[Pair]:
    """Both in one engine, which ends with the block.

    Args:
        names: as they are asked for; they may be the same, with configurations that differ.
        encoder: what a third is loaded by where neither of the two is an encoder.

    Raises:
        ModelUnavailable: one cannot be loaded, does not compute, or is a head whose vectors none of the others gives.
    """
    from models.catalog import is_encoder
    from pipeline.saying import Side
    from pipeline.toolkit import EMBEDDING
    from serving.local import local_toolkit
    from serving.model_options import configured
    from serving.models_bench_measure import load_measured

    a, b = (load_measured(config, name) for config, name in zip(configs, names, strict=True))
    third = None
    if not is_encoder(a.loaded.model) and not is_encoder(b.loaded.model):
        third = load_measured(configured(settings, encoder), encoder)
    # The first encoder has the place that reports are made of; the others look on besides it.
    keys = [f"{letter} ({name})" for letter, name in zip("AB", names, strict=True)]
    known = dict(zip(keys, (a, b), strict=True))
    base = next((key for key in keys if is_encoder(known[key].loaded.model)), EMBEDDING)
    if third is not None:
        known[base] = third
    with local_toolkit(
        base,
        settings=settings,
        also=[key for key in keys if key != base],
        load=lambda key: known[key].loaded,
    ) as toolkit:
        sides = [
            Side(EMBEDDING if key == base else key, one.loaded.model.info, _text_side(one.loaded.model))
            for key, one in zip(keys, (a, b), strict=True)
        ]
        yield Pair(toolkit, (sides[0], sides[1]), (a, b), third)


def _text_side(model: Any) -> Encoder | None:
    from models.catalog import is_encoder

    return model if is_encoder(model) else None


def heard(pair: Pair, asked: Sequence[Label] | None) -> tuple[tuple[Speaker, Speaker] | None, tuple[Notice, ...]]:
    """As `pipeline.saying.speakers`, of a pair."""
    from pipeline.saying import speakers

    return speakers(*pair.sides, asked)


async def compared(
    videos: Sequence[Path],
    pair: Pair,
    speakers: tuple[Speaker, Speaker] | None,
    notices: Iterable[Notice],
    spec: AnalysisSpec,
    seconds: float,
    progress: Callable[[Path, int, int], None],
) -> tuple[Comparison, tuple[tuple[Picture, ...], ...]]:
    """Each video by both, then both measured in turns for `seconds` each; and pictures of the frames they disagree on.

    Raises:
        VideoError: as `pipeline.side_by_side.compare`.
    """
    import asyncio

    from pipeline.comparing import agreement
    from pipeline.side_by_side import compare
    from serving.models_bench_machine import machine

    found, pictures = [], []
    for video in videos:
        one = await compare(
            video,
            *pair.sides,
            speakers,
            spec,
            pair.toolkit,
            lambda done, total, video=video: progress(video, done, total),
        )
        found.append(one)
        pictures.append(await asyncio.to_thread(_pictures, video, one, pair.toolkit))
    size = (found[0].height, found[0].width)
    costs = await asyncio.to_thread(_costs, pair, size, seconds)
    told = {(one.code, one.message): one for one in (*pair.toolkit.notices, *notices)}
    comparison = Comparison(
        machine=machine(),
        frame=size,
        a=costs[0],
        b=costs[1],
        encoder=None if pair.encoder is None else pair.encoder.name,
        videos=tuple(found),
        agreement=agreement([label for one in found for label in one.tags]),
        notices=tuple(told.values()),
    )
    return comparison, tuple(pictures)


def _pictures(video: Path, one: VideoComparison, toolkit: LocalToolkit) -> tuple[Picture, ...]:
    from pipeline.pictures import pictures

    media = toolkit.open(video)
    return pictures(media, toolkit.decoder, media.inspect(), [frame.time_s for frame in one.disagreements])


def _costs(pair: Pair, size: tuple[int, int], seconds: float) -> tuple[Compared, Compared]:
    from serving.models_bench_measure import head_width, image_job, rates

    every = [*pair.measured, *([pair.encoder] if pair.encoder is not None else [])]
    batch = max(1, min(_BATCH, _PIXELS // (size[0] * size[1] * 3)))
    measured = dict(zip("ab", pair.measured, strict=True))
    jobs = {name: image_job(one.loaded.model, batch, size, head_width(one, every)) for name, one in measured.items()}
    found = rates(jobs, batch, seconds, measured)
    return _cost(measured["a"], found["a"]), _cost(measured["b"], found["b"])


def _cost(one: Measured, images: Rate) -> Compared:
    info = one.loaded.model.info
    return Compared(
        asked=one.name,
        name=info.name,
        version=info.version,
        space=info.space,
        kind=info.kind,
        dim=info.dim,
        device=info.device,
        dtype=info.dtype,
        load_s=one.load_s,
        memory_bytes=one.memory_bytes,
        gflop=one.gflop,
        images=images,
    )
