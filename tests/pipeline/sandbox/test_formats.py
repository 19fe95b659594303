"""A file of every codec and container, read and decoded by locked-in workers: no decoder misses a system call."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.decode.base import Decoder
from pipeline.decode.pyav import PyAVDecoder
from pipeline.errors import VideoError
from pipeline.media import LocalMedia, Media
from pipeline.plans import plan
from pipeline.sandbox import isolation
from pipeline.sandbox.client import Sandbox
from pipeline.sandbox.decoder import SandboxedDecoder
from pipeline.sandbox.media import SandboxedMedia
from tests.formats.matrix import Entry, entries

pytestmark = pytest.mark.skipif(not isolation.supported(), reason="no system call filter for this kind of machine")


def _sample() -> list[Entry]:
    """The first entry of each codec with each kind of pixels, and of each container."""
    chosen: dict[Any, Entry] = {}
    for entry in entries():
        if "*" not in entry.refusals:
            chosen.setdefault((entry.codec, entry.pixels), entry)
            chosen.setdefault(entry.suffix, entry)
    return list({entry.name: entry for entry in chosen.values()}.values())


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(required=True) as made:
        yield made


def _all(media: Media, decoder: Decoder) -> list[Any]:
    """Everything that comes out, or the refusal at the end of it."""
    found: list[Any] = []
    try:
        seen = media.inspect()
        loudness, notice = media.listen(start_s=0.0, duration_s=2.0)
        found += [seen.info, seen.cut_off, notice, None if loudness is None else loudness.rms.tobytes()]
        for clip in media.clips(seen.index, plan(seen.index, seen.index.display_order), glimpse=True):
            decoded = decoder.decode(clip)
            found += [decoded.rows, decoded.frames.pts_s.tolist(), np.asarray(decoded.frames.pixels).tobytes()]
    except VideoError as error:
        found.append((error.code, str(error)))
    return found


@pytest.mark.parametrize("entry", _sample(), ids=lambda entry: entry.name)
def test_the_same_as_in_this_process(entry: Entry, sandbox: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / f"video.{entry.suffix}"
    entry.make(path)
    decoder = SandboxedDecoder(sandbox)
    try:
        assert _all(SandboxedMedia(path, sandbox), decoder) == _all(LocalMedia(path), PyAVDecoder())
    finally:
        decoder.close()
