"""Videos as people upload them, for timing a whole job: cuts, a hand-held camera over textures, moving things, grain.

Drawn from a seed and encoded once into `build/corpus/job`; several codecs, sizes and distances between keyframes,
because what sparse decoding saves depends on all three.
"""

import argparse
import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from pipeline.synthesis import Encoding, write_video

FOLDER = Path("build/corpus/job")

#: Standard deviation of the film grain, 8-bit steps: visible on a dark wall, as from a phone indoors.
GRAIN = 2.5


@dataclass(frozen=True, slots=True)
class JobVideo:
    """One video of the corpus."""

    name: str
    height: int
    fps: int
    duration_s: int
    encoding: Encoding
    suffix: str = ".mp4"
    seed: int = 1

    @property
    def width(self) -> int:
        """16:9."""
        return self.height * 16 // 9


def _h264(gop: int) -> Encoding:
    return Encoding(codec="libx264", gop=gop, b_frames=3, options={"preset": "superfast", "crf": "24"})


def _hevc(gop: int) -> Encoding:
    return Encoding(
        codec="libx265",
        gop=gop,
        options={"preset": "ultrafast", "crf": "24", "x265-params": "log-level=error:bframes=3:scenecut=40"},
    )


def _vp9(gop: int, bit_rate_bps: int) -> Encoding:
    # "good" and not "realtime": only it uses hidden alternate references, as the VP9 of video sites does.
    options = {"deadline": "good", "cpu-used": "5", "lag-in-frames": "16", "auto-alt-ref": "1"}
    return Encoding(codec="libvpx-vp9", gop=gop, options=options, bit_rate_bps=bit_rate_bps)


VIDEOS: tuple[JobVideo, ...] = (
    JobVideo("h264-720p-gop30", 720, 30, 40, _h264(30), seed=1),
    JobVideo("h264-720p-gop250", 720, 30, 40, _h264(250), seed=2),
    JobVideo("h264-1080p-gop60", 1080, 30, 30, _h264(60), seed=3),
    JobVideo("h264-1080p-gop250", 1080, 25, 30, _h264(250), seed=4),
    JobVideo("hevc-720p-gop60", 720, 30, 30, _hevc(60), seed=5),
    JobVideo("hevc-1080p-gop120", 1080, 25, 30, _hevc(120), seed=6),
    JobVideo("vp9-720p-gop128", 720, 25, 30, _vp9(128, 2_500_000), suffix=".webm", seed=7),
)

#: Short and small: for `--quick`, warming up and the tests.
QUICK: tuple[JobVideo, ...] = (
    JobVideo("quick-h264-720p-gop60", 720, 30, 8, _h264(60), seed=8),
    JobVideo("quick-hevc-360p-gop30", 360, 30, 8, _hevc(30), seed=9),
)
WARM_UP = JobVideo("warm-up-360p", 360, 25, 6, _h264(50), seed=10)


def chosen(
    args: argparse.Namespace, parser: argparse.ArgumentParser, videos: Sequence[JobVideo], quick: Sequence[JobVideo]
) -> tuple[JobVideo, ...]:
    """The videos that a command line's `--videos` or `--quick` asks for; all of `videos` without either.

    A name that is in neither `videos` nor `quick` ends the command with a message.
    """
    if not args.videos:
        return tuple(quick if args.quick else videos)
    known = {video.name: video for video in (*videos, *quick)}
    if unknown := set(args.videos) - set(known):
        parser.error(f"no such video: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return tuple(known[name] for name in args.videos)


def written(videos: Sequence[JobVideo], folder: Path = FOLDER) -> list[Path]:
    """Paths of the videos, encoded side by side where they are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{video.name}-{_fingerprint(video)}{video.suffix}" for video in videos]
    missing = [(video, path) for video, path in zip(videos, paths, strict=True) if not path.exists()]
    if missing:
        # Not forked: OpenCV's and torch's threads of this process may hold locks that a fork would never see released.
        with ProcessPoolExecutor(min(len(missing), os.cpu_count() or 1), get_context("spawn")) as pool:
            list(pool.map(_write, *zip(*missing, strict=True)))
    return paths


def _fingerprint(video: JobVideo) -> str:
    return hashlib.sha256(f"{video!r} {Path(__file__).read_text()}".encode()).hexdigest()[:8]


def _write(video: JobVideo, path: Path) -> None:
    # One thread each: as many videos are written side by side as there are cores.
    cv2.setNumThreads(1)
    unfinished = path.with_name(f".{os.getpid()}-{path.name}")
    write_video(unfinished, frames(video), fps=video.fps, encoding=video.encoding)
    unfinished.rename(path)


def frames(video: JobVideo) -> Iterator[np.ndarray]:
    """uint8 [H, W, 3] RGB each: a new scene every 5 to 9 seconds."""
    rng = np.random.default_rng([20_240_607, video.seed])
    size = (video.height, video.width)
    grain = _grain(rng, size)
    total, number = video.duration_s * video.fps, 0
    while number < total:
        length = min(total - number, round(rng.uniform(5, 9) * video.fps))
        scene = _Scene(rng, size)
        for at in range(length):
            top, left = (int(rng.integers(0, 64)) for _ in range(2))
            noise = grain[top : top + size[0], left : left + size[1]]
            yield cv2.add(scene.at(at / video.fps), noise)
        number += length


def _grain(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """uint8 [H + 64, W + 64, 3], the same in all channels, 10 on average; frames cut different windows from it."""
    noise = rng.standard_normal((size[0] + 64, size[1] + 64), np.float32)
    noise = cv2.GaussianBlur(noise, (3, 3), 0.7)
    plane = np.clip(10 + noise * (GRAIN / noise.std()), 0, 20).astype(np.uint8)
    return np.repeat(plane[:, :, None], 3, axis=2)


class _Scene:
    """A texture larger than the picture, over which the camera pans and zooms, with things that move in front."""

    def __init__(self, rng: np.random.Generator, size: tuple[int, int]) -> None:
        self._size = size
        self._backdrop = _texture(rng, (size[0] * 3 // 2, size[1] * 3 // 2))
        self._pan = rng.uniform(-0.04, 0.04, 2) * size[1]
        self._zoom = rng.uniform(-0.015, 0.015)
        self._shake = rng.uniform(0, 2 * np.pi, 2)
        self._things = [_Thing(rng, size) for _ in range(int(rng.integers(3, 8)))]

    def at(self, time_s: float) -> np.ndarray:
        """uint8 [H, W, 3], not shared."""
        height, width = self._size
        scale = 1 + self._zoom * time_s
        wobble = 0.002 * width * np.sin(2 * np.pi * np.array([0.9, 1.3]) * time_s + self._shake)
        x, y = self._pan * time_s + wobble + np.array([width, height]) / 4
        window = np.array([[scale, 0, x], [0, scale, y]], np.float32)
        picture = cv2.warpAffine(
            self._backdrop,
            window,
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT,
        )
        for thing in self._things:
            thing.paint(picture, time_s)
        return picture


class _Thing:
    """A textured ellipse that crosses the picture and bounces off its edges."""

    def __init__(self, rng: np.random.Generator, size: tuple[int, int]) -> None:
        self._span = np.array([size[1], size[0]], float)
        side = (rng.uniform(0.1, 0.35, 2) * size[0]).astype(int) + 8
        self._texture = _texture(rng, (int(side[1]), int(side[0])))
        mask = np.zeros(self._texture.shape[:2], np.uint8)
        cv2.ellipse(mask, (side[0] // 2, side[1] // 2), (side[0] // 2 - 2, side[1] // 2 - 2), 0, 0, 360, 255, -1)
        self._mask = mask
        self._start = rng.uniform(0, 1, 2) * self._span
        self._speed = rng.uniform(-0.2, 0.2, 2) * size[1]

    def paint(self, picture: np.ndarray, time_s: float) -> None:
        height, width = self._mask.shape
        reach = self._span - (width, height)
        left, top = np.abs((self._start + self._speed * time_s) % (2 * reach) - reach).astype(int)
        cv2.copyTo(self._texture, self._mask, picture[top : top + height, left : left + width])


def _texture(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """uint8 [h, w, 3]: sums of noise whose strength falls with its frequency, as in photographs."""
    height, width = size
    total = np.zeros((height, width, 3), np.float32)
    cells, strength = 3, 45.0
    while cells < max(size):
        grid = (max(2, cells * height // width), cells)
        # Mostly brightness, some colour.
        coarse = rng.standard_normal((*grid, 1), np.float32) + 0.5 * rng.standard_normal((*grid, 3), np.float32)
        total += strength * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        cells, strength = cells * 2, strength * 0.75
    return np.clip(total + rng.uniform(80, 170, 3), 0, 255).astype(np.uint8)
