"""Signals: how a video changes over time, each a curve in [0, 1] on one common grid.

Packet sizes and sound are known at frame rate, embeddings and frame statistics once per sampled frame; all of them are
brought to cells of a quarter of a second, fine enough for the borders of a segment. Every curve is normalised inside
its video: 0.5 means "as usual here", so signals of different units can be weighed against each other. A signal that a
video cannot have (no sound, nothing to look for) is absent, not zero.
"""

from collections.abc import Callable

import numpy as np

from models import frame_columns
from pipeline.curves import Curves, binned, grid, normalise
from pipeline.evidence import Evidence, on_grid
from pipeline.flow import NO_FLOW, Flow
from pipeline.frames import Loudness, Samples
from pipeline.motion import motion
from pipeline.packets import PacketIndex

#: Prompts that stand in for the caller's when none are given; only for models that know everyday language.
HIGHLIGHT_PROMPTS = (
    "an exciting moment",
    "a person in action",
    "a close-up of a face showing emotion",
    "a beautiful view",
    "a celebration",
    "a surprising event",
)
FILLER_PROMPTS = (
    "an empty scene",
    "a blurry frame",
    "a black screen",
    "a blank wall",
    "nothing happening",
    "end credits",
)


def measure(
    index: PacketIndex,
    samples: Samples,
    loudness: Loudness | None = None,
    *,
    cuts_s: np.ndarray | tuple[float, ...] = (),
    flow: Flow = NO_FLOW,
    wanted: np.ndarray | None = None,
    unwanted: np.ndarray | None = None,
) -> Curves:
    """Every signal that this video has; the arguments are those of `Evidence`."""
    cells_s = grid(index.duration_s)
    evidence = Evidence(cells_s, index, samples, loudness, np.asarray(cuts_s, np.float64), flow, wanted, unwanted)
    curves = {name: signal(evidence) for name, signal in SIGNALS.items()}
    return Curves(cells_s, {name: curve.astype(np.float32) for name, curve in curves.items() if curve is not None})


# --- novelty --------------------------------------------------------------------------------------------------------

_CONTEXT = 512
"""Frames that stand for the whole video: keeps the cost linear in its length."""
_NEAR_S, _SIDE_S = 3.0, 8.0
"""A moment, and what it is compared with before and after: no longer than the shortest and the longest event."""
_LEAST_DISTANCE = 0.05
"""1 - cosine; in a video whose frames differ less from each other on average, nothing is novel."""
_CONTRAST_FLOOR = 0.8
"""As a share of the video's mean distance: a scene that is unlike the rest lies further away than that."""
_WIDTH = 0.5
"""Width of the kernel as a share of the video's mean distance: half of it still looks alike."""
_RARITY_FLOOR = 2.0
"""Nats: only frames that are e^2 = 7 times rarer than others are as novel as can be."""


def novelty(evidence: Evidence) -> np.ndarray | None:
    """How unlike the rest of the video a moment looks, and how unlike both what comes before and what comes after.

    The first is a Parzen estimate of how rare such frames are (Bishop, "Novelty detection and neural network
    validation", 1994), the second the contrast between a moment and its surroundings as in Foote, "Automatic audio
    segmentation using a measure of audio novelty", 2000. Their geometric mean: a long take of its own is rare but like
    its surroundings, one of many short takes is neither like them nor rare. Both by what a frame means (embeddings)
    and by what it looks like (colours and edges), half and half: a model sees no novelty in what it was never taught.
    """
    times_s = evidence.samples.pts_s
    if len(times_s) < 3:
        return None
    looks = evidence.samples.stats[:, frame_columns.LOOKS]
    looks = looks / np.maximum(np.linalg.norm(looks, axis=1, keepdims=True), 1e-6)
    curves = [_unlikeness(vectors, times_s) for vectors in (evidence.samples.embeddings, looks)]
    return on_grid(np.mean(curves, axis=0), evidence)


def _unlikeness(vectors: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    """Unit vectors, float32 [N, D] -> float64 [N] in [0, 1], see `novelty`."""
    typical = max(1.0 - float(np.square(vectors.mean(0)).sum()), _LEAST_DISTANCE)
    rare = normalise(_rarity(vectors, _WIDTH * typical), _RARITY_FLOOR)
    different = normalise(_surroundings_contrast(vectors, times_s), _CONTRAST_FLOOR * typical)
    return np.sqrt(rare * different)


def _rarity(vectors: np.ndarray, width: float) -> np.ndarray:
    """float32 [N, D] -> float64 [N]: minus the logarithm of the share of the video that looks like a frame."""
    context = vectors[np.unique(np.linspace(0, len(vectors) - 1, _CONTEXT).astype(int))]
    distance = np.maximum(1.0 - vectors @ context.T, 0.0)
    return -np.log(np.exp(-np.square(distance / width)).mean(1))


def _surroundings_contrast(vectors: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    """Distance between the mean vector near a sample and that of the more similar of its two sides: float64 [N]."""
    sums = np.concatenate([np.zeros((1, vectors.shape[1])), np.cumsum(vectors, axis=0, dtype=np.float64)])

    def direction(begin_s: float, end_s: float) -> tuple[np.ndarray, np.ndarray]:
        first = np.searchsorted(times_s, times_s + begin_s, side="left")
        last = np.searchsorted(times_s, times_s + end_s, side="right")
        total = sums[last] - sums[first]
        return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-9), last > first

    half, gap = _NEAR_S / 2.0, 1e-6
    near, _ = direction(-half, half)
    sides = [direction(-half - _SIDE_S, -half - gap), direction(half + gap, half + _SIDE_S)]
    distances = [np.where(there, 1.0 - (near * side).sum(1), 0.0) for side, there in sides]
    # At either end of the video one side is all there is, and no proof that a moment is apart from both.
    both = sides[0][1] & sides[1][1]
    return np.where(both, np.minimum(*distances), 0.5 * np.maximum(*distances))


# --- the rest -------------------------------------------------------------------------------------------------------


def quality(evidence: Evidence) -> np.ndarray | None:
    """How good a frame looks: sharp, well exposed, colourful (weights and floors are ours)."""
    stats = evidence.samples.stats
    if not len(stats):
        return None
    exposed = 1.0 - frame_columns.column(stats, "dark") - frame_columns.column(stats, "bright")
    exposed = exposed - np.abs(frame_columns.column(stats, "exposure") - 0.5)
    parts = [
        normalise(frame_columns.column(stats, "sharpness"), 0.5),
        normalise(exposed, 0.2),
        normalise(frame_columns.column(stats, "colourfulness"), 20.0),
    ]
    return on_grid(np.average(parts, axis=0, weights=(2.0, 2.0, 1.0)), evidence)


def relevance(evidence: Evidence) -> np.ndarray | None:
    """How much a frame looks like what is wanted, and not like what is not: cosines of image and text vectors."""
    samples = evidence.samples
    if evidence.wanted is None or not len(evidence.wanted) or not len(samples.pts_s):
        return None
    return on_grid(resemblance(samples.embeddings, evidence.wanted, evidence.unwanted), evidence)


_RELEVANCE_FLOOR = 0.03
"""CLIP's cosines with a matching and with another text differ by little more (ViT-B/32: about 0.30 and 0.20)."""


def resemblance(embeddings: np.ndarray, wanted: np.ndarray, unwanted: np.ndarray | None = None) -> np.ndarray:
    """float32 [N, D], [P, D], [Q, D] -> float64 [N] in [0, 1]: the best cosine with a wanted text, less the best with
    an unwanted one, normalised inside the video."""
    best = (embeddings @ wanted.T).max(1)
    if unwanted is not None and len(unwanted):
        best = best - (embeddings @ unwanted.T).max(1)
    return normalise(best, _RELEVANCE_FLOOR)


_SILENCE = 1e-3
"""-60 dB full scale."""
_LEVEL_FLOOR_DB = 12.0
"""Speech and music swing this much in themselves."""


def audio(evidence: Evidence) -> np.ndarray | None:
    """How loud it is, and how much of it is sudden (`Loudness.onset`). Digital silence is no sound."""
    sound = evidence.loudness
    if sound is None or not len(sound.rms) or float(sound.rms.max()) < _SILENCE:
        return None
    level_db = 20.0 * np.log10(np.maximum(binned(sound.rms, sound.bin_s, evidence.cells_s, 1.0), _SILENCE))
    onset = binned(sound.onset, sound.bin_s, evidence.cells_s, 2.0)
    # Onsets are one hint among hits and syllables, level is the other: two to one.
    return (2.0 * normalise(level_db, _LEVEL_FLOOR_DB) + normalise(onset, 0.1)) / 3.0


SIGNALS: dict[str, Callable[[Evidence], np.ndarray | None]] = {
    "motion": motion,
    "novelty": novelty,
    "quality": quality,
    "relevance": relevance,
    "audio": audio,
}
"""Signal -> function; its keys are those of `pipeline.spec.DEFAULT_WEIGHTS`."""
