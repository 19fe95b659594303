"""Videos that say in each line of their pictures, packed and unpacked, what may be nowhere on a disk."""

from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream

WIDTH, HEIGHT = 160, 120
FPS = 4


def film(path: Path, pixels: bytes, said: bytes, frames: int = 64) -> bytes:
    """A Matroska file of uncompressed pictures.

    Args:
        pixels: stands in each line of each picture, as brightness.
        said: in its title, its comment, and a file that is attached to it.
    """
    with av.open(str(path), "w", format="matroska") as container:
        container.metadata["title"] = f"{said.decode()} title"
        container.metadata["comment"] = f"{said.decode()} comment"
        container.add_attachment("notes.txt", "text/plain", said + b" attached")
        stream = cast(VideoStream, container.add_stream("rawvideo", rate=FPS))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(frames):
            line = np.full(WIDTH, 40 + number % 200, np.uint8)
            line[8 : 8 + len(pixels)] = np.frombuffer(pixels, np.uint8)
            picture = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
            picture[:HEIGHT] = line
            frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return path.read_bytes()
