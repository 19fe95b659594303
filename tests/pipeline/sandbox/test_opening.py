"""What is opened is a regular file, also where somebody puts another thing in its place in the meantime."""

import os
from pathlib import Path

import pytest

from pipeline.container import open_file
from pipeline.errors import InputNotFound


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
