"""Models of others, good and bad: the source of a module `strangers`, written where a test can import it."""

from pathlib import Path

SOURCE = """
import ctypes, os, sys, time
import numpy as np
from models.base import FrameModel, ModelInfo, Score, space_id


class Good(FrameModel):
    "How bright a frame is."

    def __init__(self, factor=1.0):
        space = space_id(architecture="bright", weights=str(factor), preprocessing="none", dim=1)
        self.factor = factor
        self.info = ModelInfo(name="bright", version="1", space=space, dim=1, kind="scores", scores=(Score("bright"),))

    def run(self, pixels):
        rows = np.asarray(pixels).mean((1, 2, 3), dtype=np.float64)[:, None]
        return np.clip(rows / 255 * self.factor, 0, 1).astype(np.float32)


class TellsOfTorch(Good):
    def __init__(self):
        raise OSError("torch is " + ("loaded" if "torch" in sys.modules else "not loaded"))


class WantsTorch(Good):
    def __init__(self):
        super().__init__()
        import torch

        self.one = torch.ones(1)


class Raises(Good):
    def run(self, pixels):
        raise RuntimeError("no\\nweights")


class FailsToBeMade(Good):
    def __init__(self):
        raise OSError("there is no such file")


class Hangs(Good):
    def run(self, pixels):
        time.sleep(3600)


class Crashes(Good):
    def run(self, pixels):
        ctypes.string_at(0)


class Leaves(Good):
    def __init__(self):
        print("not here", file=sys.stderr, flush=True)
        os._exit(3)


class Exits(Good):
    def __init__(self):
        sys.exit(0)


class NotANumber(Good):
    def run(self, pixels):
        return super().run(pixels) * np.float32("nan")


class WrongShape(Good):
    def run(self, pixels):
        return super().run(pixels)[:1]


class Greedy(Good):
    def __init__(self):
        self.kept = []
        while True:
            self.kept.append(np.ones(1 << 23))


class FailsLater(Good):
    "At white frames, which its example has none of."

    def run(self, pixels):
        rows = super().run(pixels)
        if (rows > 0.95).any():
            raise ValueError("white")
        return rows


class CrashesOnWhite(Good):
    def run(self, pixels):
        rows = super().run(pixels)
        if (rows > 0.99).any():
            ctypes.string_at(0)
        return rows


class GreedyElsewhere(Good):
    "Takes memory in a process that it starts."

    def __init__(self):
        if os.fork() == 0:
            os.setsid()
            kept = []
            while True:
                kept.append(np.ones(1 << 23))
        time.sleep(3600)


class Hides(Good):
    "Starts a process that leaves its session, and whose parent ends."

    def run(self, pixels):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(3600)
            os._exit(0)
        os.wait()
        return super().run(pixels)


class Litters(Good):
    "Prints a lot, and starts a process that outlives it."

    def run(self, pixels):
        print("x" * 100_000)
        print("x" * 1_000_000, file=sys.stderr)
        if os.fork() == 0:
            time.sleep(3600)
        return super().run(pixels)
"""


def write_module(folder: Path, name: str = "strangers") -> Path:
    """Write the module into a folder, and give its file."""
    file = folder / f"{name}.py"
    file.write_text(SOURCE, encoding="utf-8")
    return file
