"""The signal "motion", from three sources that fail in different places.

What the encoder spends on changes is known for every frame, but not in intra-only video, and says little where there is
little to encode. How fast edges move is known where pictures were decoded close together, which finding shots does.
How far colours move from sample to sample is always known, and coarse.
"""

import numpy as np

from models import frame_columns
from pipeline.curves import fill, normalise
from pipeline.evidence import Evidence, on_grid

_STILL_BYTES_PER_S = 1000.0
"""A still picture costs an encoder less than this; differences below it say nothing."""
_MOTION_WINDOW_S = 1.0
_RATE_FLOOR = 1.5
"""Octaves. Calm scenes differ by one in what they cost (texture, a slow pan), a burst of motion adds two."""
_TILE_FLOOR = 0.06
"""Change of a colour layout between samples: 15 levels of 255."""
_TILE_WINDOW_S = 3.0
"""Two frames may look alike by chance; three seldom do."""
_STILL_SPEED = 0.05
"""Picture widths a second: a slow pan is no motion worth showing."""
_SPEED_FLOOR = 1.5
"""Octaves: something must move nearly three times as fast as the rest to be as lively as can be."""
_SHARES = (0.3, 0.5, 0.2)
"""What packets, flow and tiles count for. The constants of this section: benchmarks/segments.py, seeds 1 and 2."""


def motion(evidence: Evidence) -> np.ndarray | None:
    """How much moves: what the encoder spends on changes, how fast edges move, how far colours do between samples.

    Compressed size is the classic motion proxy of the compressed domain (e.g. Yeo & Liu, "Rapid scene analysis on
    compressed video", 1995). Of the three sources (see above) those that the video has are averaged.
    """
    sources = (_packet_motion(evidence), _flow_motion(evidence), _tile_motion(evidence))
    known = [(share, curve) for share, curve in zip(_SHARES, sources, strict=True) if curve is not None]
    if not known:
        return None
    shares, curves = zip(*known, strict=True)
    return np.average(curves, axis=0, weights=shares)


def _packet_motion(evidence: Evidence) -> np.ndarray | None:
    """Bytes per second of predicted frames around each cell; None where nearly everything is a keyframe."""
    index = evidence.index
    order = index.display_order
    predicted = order[~index.keyframe[order]]
    if len(predicted) < 0.5 * len(order) or len(predicted) < 4:
        return None
    size = index.size[predicted].astype(np.float64)
    # A cut inside a GOP costs one frame as much as a keyframe does: that is novelty, not motion.
    size = np.minimum(size, 4.0 * _rolling_median(size, 15))
    half = _MOTION_WINDOW_S / 2.0
    frame_s = index.duration_s / len(order)
    spent = np.concatenate([[0.0], np.cumsum(size)])
    first, last = (np.searchsorted(index.times_s[predicted], evidence.cells_s + shift) for shift in (-half, half))
    # Per frame that is there, so that keyframes and the ends of the video leave no dent.
    per_frame = (spent[last] - spent[first]) / np.maximum(last - first, 1)
    rate = np.where(last > first, per_frame / frame_s, np.nan)
    return normalise(np.log2(_STILL_BYTES_PER_S + fill(rate)), _RATE_FLOOR)


def _flow_motion(evidence: Evidence) -> np.ndarray | None:
    """Mean speed around each cell; None where hardly any pictures lay close enough together."""
    flow = evidence.flow
    if len(flow.speed) < 4:
        return None
    half = _MOTION_WINDOW_S / 2.0
    sums = np.concatenate([[0.0], np.cumsum(flow.speed, dtype=np.float64)])
    first, last = (np.searchsorted(flow.times_s, evidence.cells_s + shift) for shift in (-half, half))
    mean = np.where(last > first, (sums[last] - sums[first]) / np.maximum(last - first, 1), np.nan)
    return normalise(np.log2(_STILL_SPEED + fill(mean)), _SPEED_FLOOR)


def _tile_motion(evidence: Evidence) -> np.ndarray | None:
    """Change of the colour layout from sample to sample, averaged over the neighbours in the same shot."""
    times_s = evidence.samples.pts_s
    if len(times_s) < 3:
        return None
    tiles = evidence.samples.stats[:, frame_columns.LAYOUT]
    # Root mean square: something that moves in a corner should not drown in a background that stands still.
    change = np.sqrt(np.square(np.diff(tiles, axis=0)).mean(1))
    shot = np.searchsorted(evidence.cuts_s, times_s, side="right")
    change[shot[1:] != shot[:-1]] = np.nan
    reach = int(np.clip(round(_TILE_WINDOW_S / 2.0 / max(float(np.median(np.diff(times_s))), 1e-3)), 1, 16))
    padded = np.pad(change, reach, constant_values=np.nan)
    shots = np.pad(shot[1:].astype(np.float64), reach, constant_values=-1.0)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach)
    known = np.isfinite(windows) & (np.lib.stride_tricks.sliding_window_view(shots, 2 * reach) == shot[:, None])
    count = known.sum(1)
    mean = np.where(count > 0, np.where(known, windows, 0.0).sum(1) / np.maximum(count, 1), np.nan)
    return on_grid(normalise(fill(mean), _TILE_FLOOR), evidence)


def _rolling_median(values: np.ndarray, width: int) -> np.ndarray:
    """Median over `width` (odd) neighbours, float64 [N]; the ends are repeated."""
    padded = np.pad(values, width // 2, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, width), axis=1)
