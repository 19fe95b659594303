"""What is opened is a regular file, and the one that was inspected, also where somebody puts another in its place."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import CorruptVideo, InputNotFound
from pipeline.media import LocalMedia, Media
from pipeline.opened import Video, open_file
from pipeline.plans import plan
from pipeline.sandbox.client import Sandbox
from pipeline.sandbox.media import SandboxedMedia
from pipeline.synthesis import Encoding, write_video


def test_a_regular_file_is_read_as_usual(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"x")
    with open_file(path) as file:
        assert os.get_blocking(file.descriptor)
        assert not os.get_inheritable(file.descriptor)


@pytest.mark.timeout(20)
def test_a_pipe_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    os.mkfifo(path)
    with pytest.raises(InputNotFound, match=r"a.mp4: not a regular file"), open_file(path):
        pass


@pytest.mark.timeout(20)
def test_a_pipe_that_took_a_files_place_is_refused_without_waiting(tmp_path: Path, monkeypatch) -> None:
    path, real = tmp_path / "a.mp4", os.stat
    path.write_bytes(b"x")
    open_files = len(os.listdir("/proc/self/fd"))

    def swap_after(name, **how):
        seen = real(name, **how)
        if name == path and not how:
            path.unlink()
            os.mkfifo(path)
        return seen

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", swap_after)
        patch.setattr(os.path, "exists", lambda _: True)
        with pytest.raises(InputNotFound, match=r"a.mp4: not a regular file"), open_file(path):
            pass
    assert path.is_fifo()
    assert len(os.listdir("/proc/self/fd")) == open_files


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox() as made:
        yield made


@pytest.fixture(params=["here", "locked in"])
def media_of(request: pytest.FixtureRequest, sandbox: Sandbox) -> Callable[[Video], Media]:
    """What videos are read with."""
    return LocalMedia if request.param == "here" else partial(SandboxedMedia, sandbox=sandbox)


def _grey(path: Path, level: int) -> Path:
    """Pictures that take as many bytes as those of any other level."""
    frames = (np.full((32, 32, 3), level, np.uint8) for _ in range(5))
    return write_video(path, frames, fps=5, encoding=Encoding("rawvideo"))


def _replace(path: Path, other: Path) -> None:
    os.replace(other, path)


def _write_over(path: Path, other: Path) -> None:
    """And set the time back at which this was done."""
    before = path.stat()
    path.write_bytes(other.read_bytes())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", [_replace, _write_over])
def test_a_video_that_is_another_one_by_now_is_refused(media_of, change, tmp_path: Path) -> None:
    path, other = _grey(tmp_path / "a.avi", 40), _grey(tmp_path / "b.avi", 200)
    assert path.stat().st_size == other.stat().st_size
    unaware, media = media_of(path), media_of(path)
    index = media.inspect().index
    wanted = plan(index, index.display_order)
    before = [clip.packets for clip in media.clips(index, wanted)]
    media.check()
    media.listen(start_s=0.0, duration_s=1.0)

    change(path, other)
    # Its packets are as long as those of the plan: nothing but the file itself shows that it is another.
    assert [*map(len, before[0])] == [len(p) for clip in unaware.clips(index, wanted) for p in clip.packets]
    with pytest.raises(CorruptVideo, match=r"a.avi: the file, its names or its rights were changed while it was read"):
        list(media.clips(index, wanted))
    with pytest.raises(CorruptVideo, match=r"a.avi: the file, its names or its rights were changed while it was read"):
        media.listen(start_s=0.0, duration_s=1.0)

    index = media.inspect().index
    assert [clip.packets for clip in media.clips(index, wanted)] != before
