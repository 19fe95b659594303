"""Videos whose frames say which they are, and putting them where the API has them."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from PIL import Image

from pipeline.report import Report
from pipeline.synthesis import Encoding, write_video
from serving.jobs import outcomes
from tests.formats.writing import remux
from tests.serving.api.fuzz_world import METRICS

WIDTH, HEIGHT, FPS = 160, 96, 10

#: Levels of grey of a digit: far enough apart for any codec.
_STEP, _FIRST, _BASE = 30, 20, 8

QUICK = Encoding(gop=20, options={"preset": "ultrafast", "crf": "18"})


def numbered(number: int) -> np.ndarray:
    """A frame that says its number in two patches of grey, under a red bar at the top."""
    frame = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    frame[:, : WIDTH // 2] = _FIRST + _STEP * (number // _BASE)
    frame[:, WIDTH // 2 :] = _FIRST + _STEP * (number % _BASE)
    frame[: HEIGHT // 4] = (230, 20, 20)
    return frame


def number_of(picture: Image.Image) -> int:
    """What a picture of such a frame, upright, says."""
    pixels = np.asarray(picture.convert("RGB")).astype(float)
    height, width = pixels.shape[:2]
    low = slice(height // 2, height * 7 // 8)
    tens, ones = (pixels[low, at : at + width // 4].mean() for at in (width // 8, width * 5 // 8))
    return _BASE * round((tens - _FIRST) / _STEP) + round((ones - _FIRST) / _STEP)


def is_upright(picture: Image.Image) -> bool:
    """Whether the red bar is at the top."""
    red, green, _ = np.asarray(picture.convert("RGB"))[: picture.height // 5].mean((0, 1))
    return red > 180 and green < 80


def film(
    path: Path,
    count: int = 60,
    times_s: Sequence[float] | None = None,
    encoding: Encoding = QUICK,
    audio: np.ndarray | None = None,
) -> bytes:
    """The bytes of a video of such frames, ten a second unless `times_s` says when each begins; with `audio` from 0 on,
    where there is some."""
    frames = (numbered(number) for number in range(count))
    return write_video(path, frames, fps=FPS, times_s=times_s, encoding=encoding, audio=audio).read_bytes()


def turned(path: Path, quarters: int) -> bytes:
    """A video that is stored lying on its side, as telephones do, and has to be turned clockwise."""
    plain = path.with_name("plain.mp4")
    frames = (np.ascontiguousarray(np.rot90(numbered(number), quarters)) for number in range(10))
    write_video(plain, frames, fps=FPS, encoding=QUICK)
    return remux(plain, path, prepare=lambda stream: stream.set_display_rotation(-90 * quarters)).read_bytes()


def image(answer) -> Image.Image:
    """The picture of an answer, which has to be one."""
    assert answer.status_code == 200, answer.text
    picture = Image.open(io.BytesIO(answer.content))
    assert answer.headers["content-type"] == f"image/{(picture.format or '').lower()}"
    return picture


async def put(client, content: bytes, name: str = "film.mp4") -> str:
    """The id of a video with these bytes."""
    answer = await client.post(f"/v1/videos?filename={name}", content=content)
    assert answer.status_code in (200, 201), answer.text
    return answer.json()["id"]


async def analyzed(api, video_id: str, report: Report, duration_s: float) -> None:
    """Have a job succeed with a report of a video."""
    answer = await api.a.post("/v1/jobs", json={"video_id": video_id})
    assert answer.status_code == 202, answer.text
    lease = await api.world.queue.claim("test")
    report = replace(report, video=replace(report.video, duration_s=duration_s))
    await outcomes.succeed(api.world.database, api.world.keyring, lease, report, METRICS)
