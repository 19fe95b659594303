"""Models of others, for tests: what a class by its import path may be."""

import numpy as np

from models.base import FrameModel, ModelInfo, Pixels, Score, space_id


class Reds(FrameModel):
    """Says how red a frame is, and how bright: a label each; and, as a signal, how far from grey."""

    def __init__(self, threshold: float = 0.5) -> None:
        scores = (Score("red", threshold), Score("white", 0.9), Score("colour", signal=True))
        space = space_id(architecture="reds", weights=str(threshold), preprocessing="none", dim=3)
        self.info = ModelInfo(name="reds", version="1", space=space, dim=3, kind="scores", scores=scores)

    def run(self, pixels: Pixels) -> np.ndarray:
        """uint8 [N, H, W, 3] -> float32 [N, 3]."""
        means = np.asarray(pixels, np.float32).reshape(len(pixels), -1, 3).mean(1) / 255.0
        red = np.clip(4 * (means[:, 0] - means[:, 1:].mean(1)), 0, 1)
        return np.stack([red, means.mean(1), means.max(1) - means.min(1)], axis=1).astype(np.float32)
