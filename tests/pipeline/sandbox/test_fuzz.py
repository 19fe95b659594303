"""Damaged files by the thousand: cut off and with flipped bits, each read as an analysis would read it.

The normal run reads a sample. All of it, 64 offsets and 10,000 flips, takes minutes: FUZZ=all.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.limits import WorkerLimits
from pipeline.sandbox import isolation
from pipeline.sandbox.client import Sandbox
from tests.pipeline.sandbox import forge
from tests.pipeline.sandbox.reading import ANALYSED, read

pytestmark = pytest.mark.skipif(not isolation.supported(), reason="no system call filter for this kind of machine")

ALL = os.environ.get("FUZZ") == "all"

KINDS = ("mp4", "fragmented", "mkv", "webm", "ts", "avi")

#: Cuts a kind, and files with flipped bits a kind with so many flips in each.
CUTS, FLIPPED, FLIPS = (64, 278, 6) if ALL else (12, 30, 6)

#: What damage may end in. A timeout would be a hang, a crash of the worker one that FFmpeg's authors should hear of.
FINE = {
    ANALYSED,
    "unsupported_container",
    "truncated",
    "corrupt",
    "no_video_stream",
    "unsupported_codec",
    "limit_exceeded",
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """Workers with half the memory that the product gives them."""
    with Sandbox(WorkerLimits(memory_bytes=512 << 20, inspect_s=20.0, clip_s=20.0), required=True) as made:
        made.worker().kill()
        yield made


def _cut(kind: str) -> Iterator[bytes]:
    video = forge.honest(kind, 40, 160, 96)
    for number in range(CUTS):
        yield video[: 1 + len(video) * number // CUTS]


def _flipped(kind: str) -> Iterator[bytes]:
    video = forge.honest(kind, 40, 160, 96)
    choice = random.Random(kind)
    for number in range(FLIPPED):
        damaged = bytearray(video)
        # Half of them in the first kilobytes, where headers are; MP4 has them at its end.
        head = 4096 if number % 2 else len(video)
        for _ in range(FLIPS):
            at = choice.randrange(min(head, len(video)))
            damaged[-1 - at if kind == "mp4" and number % 2 else at] ^= 1 << choice.randrange(8)
        yield bytes(damaged)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("damage", [_cut, _flipped], ids=["cut off", "flipped"])
@pytest.mark.parametrize("kind", KINDS)
def test_damage_ends_in_a_result_or_a_typed_error(kind, damage, sandbox, tmp_path):
    outcomes: Counter[str] = Counter()
    zygote = sandbox._zygote
    for number, data in enumerate(damage(kind)):
        path = tmp_path / f"{number}.bin"
        path.write_bytes(data)
        done = read(path, sandbox, doors=("decode",))
        assert all("\n" not in text for text in done.said)
        outcomes[done.outcomes.get("decode", done.outcomes["inspect"])] += 1
        path.unlink()
    print(kind, damage.__name__, dict(outcomes))
    assert set(outcomes) <= FINE, outcomes
    # But for an MP4 without its end, where its index is, damage leaves something to see.
    assert outcomes[ANALYSED] or (kind, damage) == ("mp4", _cut)
    assert sandbox._zygote is zygote
    assert zygote is not None
    assert zygote.poll() is None


@pytest.mark.timeout(1800)
def test_nothing_is_left_of_many_files(sandbox, tmp_path):
    """Memory, open files and processes of this process after many files, good, bad and given up half-way."""
    files = []
    for number, data in enumerate((forge.honest("mp4"), forge.honest("mkv")[:3000], b"#EXTM3U\n", forge.honest("avi"))):
        files.append(tmp_path / f"{number}.bin")
        files[-1].write_bytes(data)
    us = psutil.Process()

    def lives(child: psutil.Process) -> bool:
        try:
            return child.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def state(most: int | None = None) -> tuple[int, int, int]:
        # A process that was killed takes a moment to end.
        deadline = time.monotonic() + 10.0
        while True:
            count = sum(lives(child) for child in us.children(recursive=True))
            if most is None or count <= most or time.monotonic() > deadline:
                return us.memory_info().rss, len(os.listdir("/proc/self/fd")), count
            time.sleep(0.1)

    def some(count: int) -> None:
        for number in range(count):
            read(Path(files[number % len(files)]), sandbox, doors=("decode",))

    some(40)
    memory, open_files, processes = state()
    some(2000 if ALL else 160)
    memory_after, open_files_after, processes_after = state(processes)
    print(f"{memory >> 10} -> {memory_after >> 10} KiB, {open_files} -> {open_files_after} files")
    assert open_files_after == open_files
    assert processes_after <= processes
    assert memory_after - memory < 16 << 20
