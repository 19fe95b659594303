"""Which frames the models see: policies as pure functions from the packet index to rows."""

from collections.abc import Callable

import numpy as np

from pipeline.packets import PacketIndex
from pipeline.spec import Sampling

#: Slack when a time is compared with a frame's own, seconds: containers round times to their clock (Matroska: 1 ms).
_SLACK_S = 1e-3


def choose(index: PacketIndex, sampling: Sampling) -> np.ndarray:
    """Rows (int64 [W], in time order, each once) of the frames that `sampling` asks for; never none."""
    rows = POLICIES[sampling.policy](index, sampling)
    if sampling.max_frames is not None and len(rows) > sampling.max_frames:
        # The middles of equal stretches, so that neither end of the video is favoured.
        keep = (np.arange(sampling.max_frames) + 0.5) * len(rows) / sampling.max_frames
        rows = rows[keep.astype(np.int64)]
    return rows


def describe(sampling: Sampling) -> str:
    """The policy in a few words, for the report."""
    words = {
        "uniform": f"uniform, {sampling.fps:g} frame/s",
        "keyframes": f"keyframes, at most {sampling.fps:g}/s",
        "snap": f"{sampling.fps:g} frame/s, snapped to keyframes within {sampling.tolerance_s:g} s",
    }[sampling.policy]
    return words + (f", at most {sampling.max_frames} frames" if sampling.max_frames else "")


def _uniform(index: PacketIndex, sampling: Sampling) -> np.ndarray:
    # 0 s, 1 s, 2 s ... at 1 frame/s -> the frame on screen at each; one that stays on screen is taken once.
    order, times_s = _shown(index)
    return order[np.unique(_on_screen(times_s, _grid(index, sampling.fps)))]


def _keyframes(index: PacketIndex, sampling: Sampling) -> np.ndarray:
    # Keyframes at 0.0, 0.4, 0.8, 2.0 s and 1 frame/s -> 0.0 and 2.0 s.
    order, times_s = _shown(index)
    clean = index.entry[order]
    order, times_s = order[clean], times_s[clean]
    kept: list[int] = []
    for at, time_s in enumerate(times_s):
        if not kept or time_s - times_s[kept[-1]] >= 1 / sampling.fps - _SLACK_S:
            kept.append(at)
    return order[kept] if kept else _uniform(index, sampling)[:1]


def _snap(index: PacketIndex, sampling: Sampling) -> np.ndarray:
    # Keyframes at 0.0 and 2.3 s, 1 frame/s, tolerance 0.5 s -> frames at 0.0, 1.0, 2.3 (in place of 2.0) and 3.0 s.
    order, times_s = _shown(index)
    grid = _grid(index, sampling.fps)
    chosen = _on_screen(times_s, grid)
    keys = np.flatnonzero(index.entry[order])
    if len(keys):
        after = np.clip(np.searchsorted(times_s[keys], grid), 1, max(1, len(keys) - 1))
        left, right = keys[after - 1], keys[np.minimum(after, len(keys) - 1)]
        nearest = np.where(grid - times_s[left] <= times_s[right] - grid, left, right)
        chosen = np.where(np.abs(times_s[nearest] - grid) <= sampling.tolerance_s, nearest, chosen)
    return order[np.unique(chosen)]


POLICIES: dict[str, Callable[[PacketIndex, Sampling], np.ndarray]] = {
    "uniform": _uniform,
    "keyframes": _keyframes,
    "snap": _snap,
}


def _shown(index: PacketIndex) -> tuple[np.ndarray, np.ndarray]:
    order = index.display_order
    return order, index.times_s[order]


def _grid(index: PacketIndex, fps: float) -> np.ndarray:
    """The multiples of 1/fps at which another picture is on screen than at the one before; never more than pictures."""
    _, times_s = _shown(index)
    count = max(1, int(np.ceil(index.duration_s * fps - _SLACK_S)))
    steps = np.unique(np.maximum(np.ceil((times_s - _SLACK_S) * fps), 0.0))
    return steps[steps < count] / fps


def _on_screen(times_s: np.ndarray, at_s: np.ndarray) -> np.ndarray:
    """For each time, the place of the last frame that began by then."""
    return np.maximum(np.searchsorted(times_s, at_s + _SLACK_S, side="right") - 1, 0)
