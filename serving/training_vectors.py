"""Vectors of the videos that a head is learnt from: out of stored reports, or of an analysis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from pipeline.errors import InvalidSpec, VideoError
from pipeline.report import Embeddings
from pipeline.spec import AnalysisSpec, Sampling, check
from serving import outputs
from serving.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

    from models.base import Encoder
    from models.training.labelled import Seen
    from serving.local import LocalToolkit


@dataclass(frozen=True, slots=True)
class Stored:
    """What a report keeps of a video."""

    encoder: str
    """The name of the model that it was made with."""
    embeddings: Embeddings


@dataclass(frozen=True, slots=True)
class Vectors:
    """Of all videos that could be had."""

    seen: Mapping[Path, Seen]
    encoder: str
    space: str
    from_reports: int
    """Videos that were not looked at again."""
    left_out: tuple[str, ...]
    """Videos that could not be read, and why."""


def stored(folder: Path) -> dict[Path, list[Stored]]:
    """Video -> what reports in a folder, or below it, keep of it. Files that are no reports are passed over.

    Raises:
        InvalidSpec: there is no such folder, or not one report with vectors in it.
    """
    if not folder.is_dir():
        raise InvalidSpec(f"--reports: there is no folder {folder}")
    found: dict[Path, list[Stored]] = {}
    for file in sorted(folder.rglob("*.json")):
        try:
            report = outputs.read_report(file)
        except InvalidSpec:
            continue
        embeddings = report.features.embeddings
        if embeddings is None:
            continue
        name = next((model.name for model in report.models if model.space == embeddings.space), None)
        if name is None:
            continue
        path = Path(report.video.path).expanduser()
        # A relative path is one from where `analyze` ran: from here, or from where the reports are.
        for place in {path.resolve(), (file.parent / path).resolve()}:
            found.setdefault(place, []).append(Stored(name, embeddings))
    if not found:
        raise InvalidSpec(
            f"--reports: {folder} holds no report with vectors (`automations analyze --json` writes some)"
        )
    return found


def vectors_of(
    videos: Sequence[Path],
    reports: Mapping[Path, Sequence[Stored]],
    *,
    model: str | None,
    fps: float,
    settings: Settings,
    console: Console,
) -> Vectors:
    """The frames of videos and pictures, in the space of one encoder.

    Args:
        model: its name; None: the one that the reports were made with, where it is one, else `auto`.
        fps: frames per second that are looked at in videos without a report.
        console: where progress is shown.

    Raises:
        VideoError: the model cannot be had, or not one of the videos can be read.
    """
    whole = [video for video in videos if video in reports]
    used = {(one.encoder, one.embeddings.space) for video in whole for one in reports[video]}
    if model is None and len(used) == 1 and len(whole) == len(videos):
        ((encoder, space),) = used
        return Vectors(dict(_kept(whole, reports, space)), encoder, space, len(whole), ())
    names = {encoder for encoder, _ in used}
    spec = AnalysisSpec(
        model=model or (names.pop() if len(names) == 1 else "auto"),
        sampling=Sampling(fps=fps),
        labels=(),
        shots=False,
    )
    check(spec)
    return _looked_at(videos, reports, spec, settings, console)


def _looked_at(
    videos: Sequence[Path],
    reports: Mapping[Path, Sequence[Stored]],
    spec: AnalysisSpec,
    settings: Settings,
    console: Console,
) -> Vectors:
    from models.training.examples import BadExamples
    from models.training.labelled import IMAGES, Seen
    from models.training.pictures import embed
    from serving.local import local_toolkit
    from serving.terminal import plain

    left_out = []
    with local_toolkit(spec.model, settings=settings) as toolkit:
        for notice in toolkit.notices:
            console.print(plain(notice.message, "dim"), highlight=False)
        info = toolkit.encoder.info
        seen = dict(_kept(videos, reports, info.space))
        from_reports = len(seen)
        for video in videos:
            if video in seen:
                continue
            try:
                if video.suffix.lower() in IMAGES:
                    seen[video] = Seen(np.zeros(1), embed(video, cast("Encoder", toolkit.encoder)))
                else:
                    seen[video] = asyncio.run(_analysed(video, spec, toolkit, console))
            except (VideoError, BadExamples) as error:
                left_out.append(f"{video.name}: {error}")
                console.print(plain(f"left out: {error}", "yellow"), highlight=False)
    if not seen:
        raise InvalidSpec(f"none of the {len(videos)} videos can be read; the first: {left_out[0]}")
    return Vectors(seen, info.name, info.space, from_reports, tuple(left_out))


async def _analysed(video: Path, spec: AnalysisSpec, toolkit: LocalToolkit, console: Console) -> Seen:
    from serving.analyzing import analyze_with_bar

    report = await analyze_with_bar(video, spec, toolkit, console)
    embeddings = report.features.embeddings
    if embeddings is None:
        raise InvalidSpec(f"{video}: the analysis kept no vectors")
    return _seen(embeddings)


def _kept(videos: Sequence[Path], reports: Mapping[Path, Sequence[Stored]], space: str) -> Iterator[tuple[Path, Seen]]:
    """Of each video that has a report in this space, the one with the most frames."""
    for video in videos:
        ours = [one.embeddings for one in reports.get(video, ()) if one.embeddings.space == space]
        if ours:
            yield video, _seen(max(ours, key=lambda one: len(one.pts_s)))


def _seen(embeddings: Embeddings) -> Seen:
    from models.training.labelled import Seen
    from pipeline.rescore import unpack

    return Seen(np.array(embeddings.pts_s, np.float64), unpack(embeddings))
