"""Who takes part in `python -m benchmarks decode`. Every one hands out every `step`-th picture of a file as RGB at full
size, on the CPU, and is alone in its process; usual settings of the library."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.contender import Answer, Unavailable, serve
from benchmarks.contenders import _first_line
from benchmarks.machine import cpu_s

#: Pictures that a library is asked for at once: all of a long file would not fit into memory.
BATCH = 32

#: (width, height) of the thumbnails by which pictures are checked.
THUMB = (64, 36)

Reader = Callable[[Path, int], Iterator[np.ndarray]]
"""(file, step) -> uint8 [H, W, 3] RGB of every step-th picture, in order."""


class Reading:
    """A `Contender` of a reader. Pictures are counted and let go; thumbnails are only made where they are checked."""

    def __init__(self, reader: Reader) -> None:
        self._read = reader

    def prepare(self, path: Path, *, step: int, check: bool) -> None:
        """Nothing: opening and indexing a file is part of reading it."""

    def run(self, path: Path, *, step: int, check: bool) -> Answer:
        """See `Contender.run`."""
        thumbs = []
        count = 0
        for picture in self._read(path, step):
            count += 1
            if check:
                thumbs.append(thumb(picture))
        return Answer(np.arange(count, dtype=float), np.array(thumbs, np.uint8))


def thumb(picture: np.ndarray) -> np.ndarray:
    """uint8 [D] of uint8 [H, W, 3]."""
    import cv2

    return cv2.resize(picture, THUMB, interpolation=cv2.INTER_AREA).ravel()


def ours(path: Path, step: int) -> Iterator[np.ndarray]:
    """Index, plan, cut, decode on one thread; pictures come Clip by Clip."""
    from pipeline.cutting import cut
    from pipeline.decode.pyav import PyAVDecoder
    from pipeline.packets import read_index
    from pipeline.plans import plan

    decoder = PyAVDecoder()
    index = read_index(path)
    for clip in cut(path, index, plan(index, index.display_order[::step])):
        yield from decoder.decode(clip).frames.pixels


def pyav(path: Path, step: int) -> Iterator[np.ndarray]:
    """Every picture decoded, the wanted ones converted."""
    import av

    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number % step == 0:
                yield frame.to_ndarray(format="rgb24")


def opencv(path: Path, step: int) -> Iterator[np.ndarray]:
    """`grab` everything, `retrieve` what is wanted."""
    import cv2

    capture = cv2.VideoCapture(str(path))
    number = 0
    while capture.grab():
        if number % step == 0:
            yield cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB)
        number += 1
    capture.release()


def scenedetect(path: Path, step: int) -> Iterator[np.ndarray]:
    """PySceneDetect's reader, told not to hand out what is not wanted."""
    import cv2
    from scenedetect import open_video

    video = open_video(str(path))
    number = 0
    while (picture := video.read(decode=number % step == 0)) is not False:
        if number % step == 0:
            yield cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        number += 1


def decord(path: Path, step: int) -> Iterator[np.ndarray]:
    """`get_batch`."""
    import decord as library

    reader = library.VideoReader(str(path))
    numbers = list(range(0, len(reader), step))
    for at in range(0, len(numbers), BATCH):
        yield from reader.get_batch(numbers[at : at + BATCH]).asnumpy()


def torchcodec(path: Path, step: int) -> Iterator[np.ndarray]:
    """`get_frames_at`."""
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(str(path), dimension_order="NHWC")
    numbers = list(range(0, len(decoder), step))
    for at in range(0, len(numbers), BATCH):
        yield from decoder.get_frames_at(numbers[at : at + BATCH]).data.numpy()


def ffmpeg(path: Path, step: int) -> Iterator[np.ndarray]:
    """The command, writing raw pictures into a pipe."""
    import cv2

    capture = cv2.VideoCapture(str(path))
    width, height = (int(capture.get(kind)) for kind in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    capture.release()
    select = f"select=not(mod(n\\,{step}))"
    command = ("ffmpeg", "-v", "error", "-i", str(path), "-vf", select, "-fps_mode", "passthrough")
    raw = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    with subprocess.Popen((*command, *raw), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while len(data := process.stdout.read(width * height * 3)) == width * height * 3:
            yield np.frombuffer(data, np.uint8).reshape(height, width, 3)


class Adapters:
    """The adapters of `pipeline.decode` on the Clips that they take, each beside PyAV on the same Clips.

    `parts`: `<name>_cpu_s`, `<name>_pyav_cpu_s` (PyAV on the same Clips), `<name>_clips`, and `clips` in all."""

    def __init__(self) -> None:
        from pipeline.decode.available import support
        from pipeline.decode.dali import DaliDecoder
        from pipeline.decode.decord import DecordDecoder
        from pipeline.decode.pyav import PyAVDecoder
        from pipeline.decode.torchcodec import TorchCodecDecoder

        self._reference = PyAVDecoder()
        made = (TorchCodecDecoder(), DecordDecoder(), DaliDecoder())
        self._decoders = [decoder for decoder in made if support(decoder.name, "cpu").works]

    def prepare(self, path: Path, *, step: int, check: bool) -> None:
        """Cut the Clips."""
        from pipeline.cutting import cut
        from pipeline.packets import read_index
        from pipeline.plans import plan

        index = read_index(path)
        self._clips = list(cut(path, index, plan(index, index.display_order[::step])))

    def run(self, path: Path, *, step: int, check: bool) -> Answer:
        """See `Contender.run`."""
        parts: dict[str, float] = {"clips": len(self._clips)}
        for decoder in self._decoders:
            taken = [clip for clip in self._clips if decoder.refuses(clip) is None]
            parts[f"{decoder.name}_clips"] = len(taken)
            for name, one in ((decoder.name, decoder), (f"{decoder.name}_pyav", self._reference)):
                began = cpu_s()
                for clip in taken:
                    one.decode(clip)
                parts[f"{name}_cpu_s"] = cpu_s() - began
        return Answer(np.empty(0), np.empty((0, 0), np.uint8), parts)


READERS: dict[str, Reader] = {
    "ours": ours,
    "pyav": pyav,
    "decord": decord,
    "torchcodec": torchcodec,
    "opencv": opencv,
    "ffmpeg": ffmpeg,
    "scenedetect": scenedetect,
}


def make(name: str) -> Reading | Adapters:
    """The contender of that name. Raises Unavailable where it cannot run here."""
    try:
        if name == "adapters":
            return Adapters()
        if name == "ffmpeg":
            subprocess.run(("ffmpeg", "-version"), check=True, capture_output=True)
        if name in ("decord", "torchcodec"):
            from pipeline.decode.available import support

            if (found := support(name, "cpu")).why_not is not None:
                raise Unavailable(f"{found.why_not}; {found.fix}")
    except OSError as error:
        raise Unavailable(f"{name}: {_first_line(error)}") from error
    return Reading(READERS[name])


def main() -> None:
    """A contender's process."""
    serve(lambda: make(sys.argv[1]))


if __name__ == "__main__":
    main()
