"""A cluster that was up for a while may fall as if for the first time; one that never comes up is tried less often."""

import os
import re
import signal
import subprocess
import sys

import pytest

from serving.graph.head import Steady
from serving.graph.launch import STEADY_S
from tests.serving.commands import ROOT, environment

#: Heads that end at once; what each of them has told before is in a file, a line each. The last one is refused, which
#: is no reason to give up what was good before.
_HEAD = """
import os, pathlib, sys
lives = pathlib.Path(sys.argv[1])
told, *left = lives.read_text().splitlines()
lives.write_text("\\n".join(left))
if told == "steady":
    os.write(int(sys.argv[sys.argv.index("--steady") + 1]), b".")
raise SystemExit(int(left == []) * 2)
"""

_KEEP_UP = """
import sys
from pathlib import Path
from serving.graph import launch
from serving.graph.cluster import cluster
folder = Path(sys.argv[1])
launch._HEAD, launch._FIRST_S = (sys.executable, "-c", sys.argv[2]), 0.01
raise SystemExit(launch.keep_up(folder / "lives", cluster(folder, b"s" * 32)))
"""


@pytest.mark.parametrize(
    ("lives", "pauses"),
    [
        (["up", "up", "up", "last"], [0.01, 0.02, 0.04, 0.08]),
        (["up", "up", "steady", "up", "last"], [0.01, 0.02, 0.01, 0.02, 0.04]),
    ],
)
def test_pauses_grow_until_a_cluster_was_steady(tmp_path, lives, pauses):
    (tmp_path / "lives").write_text("\n".join(lives))
    command = [sys.executable, "-c", _KEEP_UP, str(tmp_path), _HEAD]
    said = ""
    with subprocess.Popen(command, cwd=ROOT, env=environment({}), text=True, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while (found := [float(one) for one in re.findall("again in (.*) s", said)]) != pauses:
            line = process.stdout.readline()
            assert line, said
            said += line
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert found == pauses


def test_steady_is_what_was_up_for_a_minute_without_a_break():
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    steady = Steady(writing)

    def told() -> bytes:
        try:
            return os.read(reading, 10)
        except BlockingIOError:
            return b""

    for up, at_s in ((False, 0.0), (True, 10.0), (True, 9.9 + STEADY_S), (False, 80.0), (True, 90.0)):
        steady.see(up, at_s)
        assert told() == b""
    steady.see(True, 90.0 + STEADY_S)
    assert told() == b"."
    steady.see(True, 900.0)
    assert told() == b"", "once is enough"
    os.close(reading)
    os.close(writing)
