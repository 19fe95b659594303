"""Every attack through every door: refused for the right reason, cheaply, and nothing of what it is after comes out.

Then all of them again at workers whose FFmpeg has no lists of what it may open (`open_zygote`): still nothing comes
out, so the isolation holds alone. A control without either shows that the same files do reach the canaries.
"""

import random
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.limits import WorkerLimits
from pipeline.sandbox import isolation
from pipeline.sandbox.client import Sandbox
from tests.pipeline.sandbox import forge
from tests.pipeline.sandbox.attacks import Attack, Place
from tests.pipeline.sandbox.nonsense import ATTACKS
from tests.pipeline.sandbox.reading import ANALYSED, Read, costs, read

pytestmark = pytest.mark.skipif(not isolation.supported(), reason="no system call filter for this kind of machine")

ROOT = Path(__file__).resolve().parents[3]
OPEN = str(Path(__file__).with_name("open_zygote.py"))
BY_NAME = {attack.name: attack for attack in ATTACKS}
TOKEN = random.Random(1).randbytes(48).hex()[:64]

#: Size of the canary video, and of no other.
CANARY_SIZE = (208, 112)

#: Bounds on a refusal.
CPU_S, MEMORY_BYTES = 2.0, 512 << 20
LIMITS = WorkerLimits(memory_bytes=MEMORY_BYTES, inspect_s=30.0, clip_s=30.0)


@pytest.fixture(scope="module")
def listener() -> Iterator[tuple[int, list[str]]]:
    """(port, connections that came)"""
    came: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        ended = threading.Event()

        def accept() -> None:
            while not ended.is_set():
                try:
                    connection, peer = server.accept()
                except TimeoutError:
                    continue
                came.append(str(peer))
                connection.close()

        thread = threading.Thread(target=accept)
        thread.start()
        yield server.getsockname()[1], came
        ended.set()
        thread.join()


@pytest.fixture(scope="module")
def lay(tmp_path_factory, listener) -> Callable[[Attack], tuple[Path, Place]]:
    """Writes an attack and its canaries into a folder of their own."""

    def write(attack: Attack) -> tuple[Path, Place]:
        folder = tmp_path_factory.mktemp("attack")
        place = Place(folder, listener[0])
        place.token.write_text(TOKEN)
        place.video.write_bytes(forge.honest("ts", 60, *CANARY_SIZE))
        (folder / "inner.m3u8").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{place.video}\n")
        path = folder / attack.file
        path.write_bytes(attack.make(place))
        return path, place

    return write


@pytest.fixture(scope="module", params=["as it is", "lists off"])
def sandbox(request) -> Iterator[tuple[Sandbox, bool]]:
    """(sandbox, whether its workers have their lists)"""
    command = {} if request.param == "as it is" else {"command": (sys.executable, OPEN)}
    with Sandbox(LIMITS, required=True, **command) as made:
        made.worker().kill()
        zygote = made._zygote
        yield made, not command
        assert made._zygote is zygote
        assert zygote is not None
        assert zygote.poll() is None, "the process that workers come from died"


@pytest.mark.parametrize("name", BY_NAME)
def test_an_attack(name, sandbox, lay, listener, monkeypatch):
    made, listed = sandbox
    attack = BY_NAME[name]
    path, place = lay(attack)
    # By its bare name: a name like a URL is one only where nothing stands before it.
    monkeypatch.chdir(place.folder)
    with costs() as used:
        done = read(path.name, made)
    shutil.rmtree(place.folder)
    assert listener[1] == []
    _assert_nothing_came_out(done)
    if not listed:
        return
    expected = {"inspect", "decode"} if done.outcomes["inspect"] == ANALYSED else {"inspect"}
    assert {done.outcomes[door] for door in expected} <= attack.expect, done
    assert done.outcomes["check"] in attack.expect | {ANALYSED}, done
    # The first worker checked, the second listened, the third inspected.
    if done.outcomes["inspect"] != ANALYSED:
        assert max(cost.cpu_s for cost in used) <= CPU_S, used
    assert max(cost.peak_bytes for cost in used) <= MEMORY_BYTES, used


def _assert_nothing_came_out(done: Read) -> None:
    text, data = "".join(done.said), b"".join(done.data)
    assert TOKEN not in text
    assert TOKEN.encode() not in data
    assert CANARY_SIZE not in done.sizes
    assert "208x112" not in text


#: Attacks that do connect, and that do show the canary video, when nothing holds them.
CONNECTS = ("hls http, known suffix", "hls key by http", "ffconcat http")
SHOWS = ("hls absolute path", "ffconcat relative", "ffconcat absolute")


def test_without_isolation_the_canaries_are_reached(lay, listener):
    """So the tests above can fail."""
    files = {name: lay(BY_NAME[name])[0] for name in (*SHOWS, *CONNECTS)}
    command = [sys.executable, OPEN, "read", *map(str, files.values())]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=True)
    outcomes = dict(zip(files, done.stdout.split(), strict=True))
    assert {outcomes[name] for name in SHOWS} == {"208x112"}, outcomes
    came = len(listener[1])
    listener[1].clear()
    assert came >= len(CONNECTS)


@pytest.mark.parametrize(
    "name",
    [
        "hls file URL",
        "hls http, known suffix",
        "ffconcat relative",
        "10,000 tracks",
        "no video, a name of several lines",
    ],
)
def test_the_command_refuses_in_one_line(name, lay, listener):
    path, place = lay(BY_NAME[name])
    program = "from serving.cli import main; main()"
    command = [sys.executable, "-c", program, "analyze", "--model", "bundled", "--json", "-", "--", path.name]
    done = subprocess.run(command, cwd=place.folder, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "\x1b" not in done.stderr
    assert done.stderr.rsplit("[")[-1].rstrip("]\n") in BY_NAME[name].expect
    assert TOKEN not in done.stderr
    assert listener[1] == []


def test_the_table_is_what_it_says():
    assert len(ATTACKS) >= 55
    assert len(BY_NAME) == len(ATTACKS)
    assert all(attack.expect for attack in ATTACKS)
