"""An object that was put outlasts a loss of power."""

import asyncio
import os

import pytest

from serving.storage.store import video_at
from tests.serving.sealing import folder_at


async def _once(content: bytes):
    yield content


def test_what_was_put_is_on_the_disk_with_its_name(tmp_path, monkeypatch):
    flushed, real = [], os.fsync

    def seen(descriptor: int) -> None:
        real(descriptor)
        flushed.append(os.readlink(f"/proc/self/fd/{descriptor}"))

    monkeypatch.setattr(os, "fsync", seen)
    asyncio.run(folder_at(tmp_path).put(video_at("a", "videos/one"), _once(b"x" * 100_000)))
    # The file under its own name, not under the one that it was written under; then the folders that name it.
    assert flushed == [str(tmp_path / "videos" / "one"), str(tmp_path / "videos"), str(tmp_path)]


def test_a_disk_that_cannot_keep_it_is_told(tmp_path, monkeypatch):
    def fails(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="Input/output"):
        asyncio.run(folder_at(tmp_path).put(video_at("a", "videos/one"), _once(b"x")))
