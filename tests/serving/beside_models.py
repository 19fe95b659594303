"""Small models that look on besides, as somebody else would write them: named `tests.serving.beside_models:...`."""

import hashlib
import os
import time
from dataclasses import replace

import numpy as np

from models.base import FrameModel, Head, ModelInfo, Needs, Score, space_id

_NOTHING = Needs()


def info(name: str, *scores: Score, needs: Needs = _NOTHING, version: str = "1") -> ModelInfo:
    """Of a model of the kind `scores`."""
    space = space_id(architecture=name, weights=version, preprocessing="none", dim=len(scores))
    return ModelInfo(
        name=name, version=version, space=space, dim=len(scores), kind="scores", scores=scores, needs=needs
    )


class Brightness(FrameModel):
    """How bright a frame is: a tag where it is bright or dark, and a signal."""

    def __init__(self, threshold: float = 0.6, name: str = "brightness") -> None:
        self.info = info(
            name,
            Score("bright", threshold, parent="light"),
            Score("dark", 0.7, parent="light"),
            Score("glow", signal=True),
        )

    def run(self, pixels):
        mean = np.asarray(pixels, np.float32).reshape(len(pixels), -1).mean(1) / 255.0
        return np.stack([mean, 1.0 - mean, mean], 1)


class OnAGpu(Brightness):
    """Goes by nobody's wishes."""

    def __init__(self) -> None:
        super().__init__()
        self.info = replace(self.info, device="cuda:0")


class Sees(Head):
    """A head: how much a vector points as the first axis does."""

    def __init__(self, space: str) -> None:
        self.info = info(
            "sees", Score("first axis", 0.0), needs=Needs(space=space), version=hashlib.md5(space.encode()).hexdigest()
        )

    def run(self, vectors):
        return np.clip((vectors[:, :1] + 1.0) / 2.0, 0.0, 1.0).astype(np.float32)


class Vectors(FrameModel):
    """The mean colour of a frame, as a vector of a space of its own."""

    info = ModelInfo(name="vectors", version="1", space="vectors", dim=3)

    def run(self, pixels):
        rows = np.asarray(pixels, np.float32).reshape(len(pixels), -1, 3).mean(1) + 1.0
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class Turned(Head):
    """A head on these that gives vectors, too."""

    info = ModelInfo(name="turned", version="1", space="turned", dim=3, needs=Needs(space="vectors"))

    def run(self, vectors):
        return np.ascontiguousarray(-vectors)


class Poor(FrameModel):
    """Fails in one of several ways, from a frame's brightness on: 0 always, 2 never."""

    def __init__(self, how: str, above: float = 0.0, fps: float | None = None) -> None:
        self.info = info("poor", Score("something"), needs=Needs(fps=fps))
        self._how, self._above = how, above

    def run(self, pixels):
        pixels = np.asarray(pixels, np.float32)
        good = np.full((len(pixels), 1), 0.75, np.float32)
        if not len(pixels) or pixels.mean() / 255.0 <= self._above:
            return good
        if self._how == "raises":
            raise RuntimeError("it does not like\nthis frame")
        if self._how == "hangs":
            time.sleep(3600)
        if self._how == "ends":
            os._exit(3)
        return {
            "nan": good * np.nan,
            "beyond": good * 2,
            "double": good.astype(np.float64),
            "wide": np.hstack([good, good]),
        }[self._how]
