"""Models that break the contract of `models.base` in one way each, and one that keeps it."""

import itertools
import threading
import time
from typing import Any

import numpy as np

from models.base import Encoder, FrameModel, Head, ModelInfo, Needs, Score

BRIGHT = ModelInfo(name="bright", version="1", space="s", dim=1, kind="scores", scores=(Score("bright"),))


class Good(FrameModel):
    """How bright frames are."""

    info = BRIGHT

    def run(self, pixels: Any) -> np.ndarray:
        return (
            np.asarray(pixels).reshape(len(pixels), -1).mean(1, keepdims=True).astype(np.float32) / 255
            if len(pixels)
            else np.zeros((0, 1), np.float32)
        )


class Undeclared(Good):
    info = ModelInfo(name="b", version="1", space="s", dim=1, kind="scores", dtype="float16", scores=(Score("bright"),))


class BadExample(Good):
    def example(self) -> Any:
        return super().example().astype(np.float32)


class WantsFrames(Good):
    def run(self, pixels: Any) -> np.ndarray:
        assert len(pixels), "nothing to do"
        return super().run(pixels)


class LosesOne(Good):
    def run(self, pixels: Any) -> np.ndarray:
        tall = pixels.shape[1] > pixels.shape[2]
        return super().run(pixels)[: 6 if tall else None]


class Double(Good):
    def run(self, pixels: Any) -> Any:
        return super().run(pixels).astype(np.float64)


class DividesByContrast(Good):
    def run(self, pixels: Any) -> np.ndarray:
        spread = np.asarray(pixels).reshape(len(pixels), -1).std(1, keepdims=True) if len(pixels) else 1
        return super().run(pixels) * np.where(np.equal(spread, 0), np.nan, 1).astype(np.float32)


class TooSure(Good):
    def run(self, pixels: Any) -> np.ndarray:
        rows = super().run(pixels)
        return np.where(rows > 0.99, np.float32(1.2), rows)


class OtherTheSecondTime(Good):
    """Gives something else for five frames that it has just seen."""

    last: bytes = b""

    def run(self, pixels: Any) -> np.ndarray:
        rows = super().run(pixels)
        if threading.current_thread() is not threading.main_thread():
            return rows
        again, self.last = np.asarray(pixels).tobytes() == self.last, np.asarray(pixels).tobytes()
        return rows + np.float32(0.1 * (again and len(rows) == 5))

    def encode(self, frames: Any) -> np.ndarray:
        return Good.run(self, frames)


class GoesByItsBatch(Good):
    def run(self, pixels: Any) -> np.ndarray:
        rows = super().run(pixels)
        return rows / max(rows.max(initial=0.0), np.float32(1e-6))


class Sorts(Good):
    def run(self, pixels: Any) -> np.ndarray:
        return np.sort(super().run(pixels), axis=0)


class OtherInStages(Good):
    def encode(self, frames: Any) -> np.ndarray:
        return super().encode(frames) + np.float32(0.1)


class Overwrites(Good):
    def run(self, pixels: Any) -> np.ndarray:
        rows = super().run(pixels)
        pixels[:] = 0
        return rows


class Shares(Good):
    """Has one place for what it looks at, whoever asks."""

    def run(self, pixels: Any) -> np.ndarray:
        self.looked_at = np.array(pixels)
        time.sleep(0.002)
        pixels = self.looked_at
        return super().run(pixels)


class Keeps(Good):
    def __init__(self) -> None:
        self.kept: list[Any] = []

    def run(self, pixels: Any) -> np.ndarray:
        # Blocks of a size that always gets pages of its own: smaller ones may lie where other tests have left room.
        if pixels.shape[1] == 360 and len(self.kept) < 16:
            self.kept.append(np.ones(33 << 20, np.uint8))
        return super().run(pixels)


class KeepsTheLast(Good):
    def run(self, pixels: Any) -> np.ndarray:
        self.last = pixels[1:]
        return super().run(pixels)


class NumpyOnly(Good):
    def run(self, pixels: Any) -> np.ndarray:
        return super().run(pixels.astype(np.uint8))


class OtherSpaces(Good):
    numbers = itertools.count()

    def __init__(self) -> None:
        self.info = ModelInfo(
            name="b", version="1", space=str(next(self.numbers)), dim=1, kind="scores", scores=(Score("bright"),)
        )


class SpaceOfItsProcess(Good):
    info = ModelInfo(name="b", version="1", space=str(hash("weights")), dim=1, kind="scores", scores=(Score("bright"),))


class LongTexts(Encoder):
    """Vectors that say how bright a frame is, and texts of any length."""

    info = ModelInfo(name="long", version="1", space="s", dim=2)
    likelihood: Any = None
    known_words = None

    def run(self, pixels: Any) -> np.ndarray:
        turn = Good().run(pixels)
        return np.concatenate([np.cos(turn), np.sin(turn)], axis=1)

    def embed_text(self, texts: list[str]) -> np.ndarray:
        return np.array([[len(text), 1.0] for text in texts], np.float32).reshape(-1, 2)


class GivesWhatItGot(Head):
    info = ModelInfo(
        name="h", version="1", space="t", dim=1, kind="measurement", columns=("first",), needs=Needs(space="s")
    )

    def run(self, vectors: np.ndarray) -> np.ndarray:
        return vectors[:, :1]

    def example(self) -> np.ndarray:
        return np.eye(2, 4, dtype=np.float32)
