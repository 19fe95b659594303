"""Folds for cross-validation that keep all frames of a video together: two frames of one are no two examples."""

from __future__ import annotations

import numpy as np

MOST_FOLDS = 5


def grouped_folds(truth: np.ndarray, video: np.ndarray, seed: int, most: int = MOST_FOLDS) -> np.ndarray | None:
    """Which fold each frame is in, with frames that are true, and that are false, in two folds at least: so that
    whichever is left out, the others have both. The same for the same seed.

    Args:
        truth: bool [N].
        video: int64 [N], which video a frame is of.
        most: folds, at most; there are no more than there are videos with frames that are true, or that are false.

    Returns:
        int64 [N] from 0; None where a side has fewer than two videos, so that there are no such folds.
    """
    with_true, with_false = np.unique(video[truth]), np.unique(video[~truth])
    count = min(most, len(with_true), len(with_false))
    if count < 2:
        return None
    both = np.intersect1d(with_true, with_false)
    held = np.zeros((count, 2))
    fold_of: dict[int, int] = {}
    rng = np.random.default_rng(seed)
    # Videos that have both are dealt first: what the others have on one side only can then be balanced around them.
    for videos in (both, np.setdiff1d(with_true, both), np.setdiff1d(with_false, both)):
        for one in rng.permutation(videos):
            sides = np.array([truth[video == one].any(), (~truth[video == one]).any()])
            load = held[:, sides].sum(1)
            chosen = int(load.argmin())
            held[chosen] += sides
            fold_of[int(one)] = chosen
    return np.array([fold_of[int(one)] for one in video], np.int64)
