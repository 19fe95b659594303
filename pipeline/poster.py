"""Which frame stands for a video: a sharp, well exposed one, out of no transition, where there is a choice.

Where a video was analysed, its curve of quality and its key segments say where to look; else a grid does. The frames
that are looked at are few, and each is measured as `models.frame_stats` measures, which needs a library that whoever
only wants a poster does not load. A test holds the two together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.report import Report

CANDIDATES: Final = 10
"""Frames that are looked at."""

LONG_SIDE: Final = 160
"""Pixels of the longer side at which they are, as in `models.frame_stats`."""

#: How far from a border of shots a frame has to be, seconds, beside half of the transition there.
_CLEAR_S: Final = 0.25

#: Luma at or beyond which a pixel counts as clipped, and weights of R, G and B in it (ITU-R BT.601).
_DARK, _BRIGHT = 16.0, 235.0
_LUMA: Final = np.array((0.299, 0.587, 0.114), np.float32)

#: Share of clipped pixels from which a picture is black or white, and spread of luma below which nothing is on it.
_CLIPPED, _FLAT = 0.9, 0.02

#: What each part of a score counts. Sharpness and light first, as in `pipeline.signals.quality`.
_WEIGHTS: Final = {"sharpness": 0.35, "exposure": 0.3, "contrast": 0.15, "colour": 0.1, "moment": 0.1}

#: `coarse`, from noise to what has shapes: averaging over 2 by 2 pixels leaves a quarter of noise. Of generated ones,
#: static has 0.24 to 0.42, text 0.62, scenes 0.67 and more, grain or not.
_NOISE, _SHAPES = 0.35, 0.65

#: `plain`, from pictures to text on a card: of the same, scenes have up to 0.62, text 0.75 and more.
_PICTURE, _CARD = 0.6, 0.85

#: Levels of luma on either side that look as one does.
_ALIKE: Final = 4

#: In words, for the strongest parts.
_WORDS: Final = {
    "sharpness": "it is sharp",
    "exposure": "it is well exposed",
    "contrast": "it is rich in contrast",
    "colour": "it is colourful",
    "moment": "it is in a key segment",
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A moment that may stand for the video."""

    at_s: float
    low_s: float
    """From where on a frame may be taken in its place, seconds; and up to where."""
    high_s: float
    moment: float = 0.0
    """Score of the key segment that it is in; 0 in none."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What is seen of a frame; names and units are those of `models.frame_columns.COLUMNS`, for what is in there."""

    sharpness: float
    exposure: float
    dark: float
    bright: float
    contrast: float
    colourfulness: float
    coarse: float = 1.0
    """How much of its edges is left at half its size, as a share of their energy: little of noise."""
    plain: float = 0.0
    """Share of its pixels that are about as bright as most are."""

    @property
    def blank(self) -> bool:
        """Whether there is nothing to see: black, white, or of one colour."""
        return self.dark > _CLIPPED or self.bright > _CLIPPED or self.contrast < _FLAT


@dataclass(frozen=True, slots=True)
class Poster:
    """The choice, and why."""

    place: int
    """Of the candidate."""
    score: float
    """In [0, 1]; the sum of"""
    parts: dict[str, float]
    reasons: tuple[str, ...]
    """In words, strongest first."""


def candidates(duration_s: float, report: Report | None = None) -> tuple[Candidate, ...]:
    """Where to look, earliest first. `report`: of the video, where it has one."""
    grid = [duration_s * (n + 0.5) / CANDIDATES for n in range(CANDIDATES)]
    if report is None or not report.shots:
        half = duration_s / CANDIDATES / 2
        return tuple(Candidate(at_s, at_s - half, at_s + half) for at_s in grid)
    calm = _calm(report)
    wanted = [one.thumbnail_s for one in sorted(report.segments, key=lambda one: -one.score)][: CANDIDATES // 2]
    wanted += _best_moments(report, CANDIDATES - len(wanted)) or grid[: CANDIDATES - len(wanted)]
    found: dict[float, Candidate] = {}
    for at_s in wanted:
        low_s, high_s = min(calm, key=lambda stretch: max(stretch[0] - at_s, at_s - stretch[1]))
        # The end of a stretch belongs to it no more.
        inside_s = min(max(at_s, low_s), low_s + 0.999 * (high_s - low_s))
        # A frame near by looks the same, unless a border lies between them.
        near = Candidate(
            inside_s, max(low_s, inside_s - 0.5), min(high_s, inside_s + 0.5), _in_segment(report, inside_s)
        )
        found.setdefault(round(inside_s, 1), near)
    return tuple(sorted(found.values(), key=lambda one: one.at_s))


def _calm(report: Report) -> list[tuple[float, float]]:
    """Stretches without the transitions at their ends; of a shot that is all transition, its middle."""
    found = []
    for number, shot in enumerate(report.shots):
        following = report.shots[number + 1] if number + 1 < len(report.shots) else None
        low_s = shot.start_s + (shot.transition_s / 2 + _CLEAR_S if number else 0.0)
        high_s = shot.end_s - (following.transition_s / 2 + _CLEAR_S if following else 0.0)
        if low_s >= high_s:
            low_s = high_s = (shot.start_s + shot.end_s) / 2
        found.append((low_s, high_s))
    return found


def _best_moments(report: Report, most: int) -> list[float]:
    """Times of the best pictures by the stored curve, each a part of the video apart from the others."""
    curve = report.features.signals.get("quality")
    if not curve or most < 1:
        return []
    times_s, values = np.array(report.features.pts_s), np.array(curve)
    apart_s = report.video.duration_s / (2 * most)
    found: list[float] = []
    for place in np.argsort(-values, kind="stable"):
        if all(abs(times_s[place] - other) >= apart_s for other in found):
            found.append(float(times_s[place]))
        if len(found) == most:
            break
    return found


def _in_segment(report: Report, at_s: float) -> float:
    return max((one.score for one in report.segments if one.start_s <= at_s < one.end_s), default=0.0)


def measured(pixels: np.ndarray) -> Measured:
    """uint8 [H, W, 3] RGB, longer side about `LONG_SIDE`."""
    rgb = pixels.astype(np.float32)
    luma = rgb @ _LUMA
    edges = _edges(luma)
    height, width = (side // 2 for side in luma.shape)
    half = luma[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean((1, 3))
    levels = np.bincount(luma.astype(np.uint8).ravel(), minlength=256)
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    opponents = np.stack([red - green, 0.5 * (red + green) - blue])
    spread = np.sqrt(np.square(opponents.std((1, 2))).sum())
    offset = np.sqrt(np.square(opponents.mean((1, 2))).sum())
    return Measured(
        sharpness=float(np.log10(1.0 + edges)),
        exposure=float(luma.mean() / 255.0),
        dark=float((luma <= _DARK).mean()),
        bright=float((luma >= _BRIGHT).mean()),
        contrast=float(luma.std() / 255.0),
        colourfulness=float(spread + 0.3 * offset),
        coarse=float((1.0 + _edges(half)) / (1.0 + edges)),
        plain=float(np.convolve(levels, np.ones(2 * _ALIKE + 1), "same").max() / luma.size),
    )


def _edges(luma: np.ndarray) -> float:
    """Energy of the edges: the variance of the Laplacian of [H, W]."""
    padded = np.pad(luma, 1, mode="edge")
    return float((padded[1:-1, :-2] + padded[1:-1, 2:] + padded[:-2, 1:-1] + padded[2:, 1:-1] - 4.0 * luma).var())


def choose(found: Sequence[tuple[Candidate, Measured]]) -> Poster:
    """The best of those that were looked at, which are one at least; of equal ones, the earliest. A blank one is
    taken only where all are."""
    scored = [(place, _parts(candidate, seen)) for place, (candidate, seen) in enumerate(found)]
    shown = [one for one in scored if not found[one[0]][1].blank]
    place, parts = max(shown or scored, key=lambda one: sum(one[1].values()))
    strongest = sorted(parts, key=lambda name: -parts[name] / _WEIGHTS[name])
    reasons = [_WORDS[name] for name in strongest if parts[name] >= 0.6 * _WEIGHTS[name]]
    if not shown:
        reasons = ["all frames that were looked at are black, white or of one colour"]
    return Poster(place, min(1.0, sum(parts.values())), parts, tuple(reasons or ["it is the best of those looked at"]))


def _parts(candidate: Candidate, seen: Measured) -> dict[str, float]:
    """Contributions to a score; floors and ceilings are ours."""
    clipped = seen.dark + seen.bright
    shares = {
        # From blurred (1) to sharp (3), see `COLUMNS`.
        "sharpness": (seen.sharpness - 1.0) / 2.0,
        "exposure": 1.0 - clipped - 2.0 * max(0.0, abs(seen.exposure - 0.5) - 0.15),
        "contrast": seen.contrast / 0.2,
        "colour": seen.colourfulness / 60.0,
        "moment": candidate.moment,
    }
    shapes = _share((seen.coarse - _NOISE) / (_SHAPES - _NOISE))
    picture = 1.0 - _share((seen.plain - _PICTURE) / (_CARD - _PICTURE))
    # What is noise has no edges, and its contrast and colours are nobody's; the edges of text show nothing.
    heeded = {"sharpness": shapes * picture, "contrast": shapes, "colour": shapes}
    return {name: _WEIGHTS[name] * heeded.get(name, 1.0) * _share(share) for name, share in shares.items()}


def _share(value: float) -> float:
    return min(1.0, max(0.0, value))
