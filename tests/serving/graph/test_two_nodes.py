"""Two Ray nodes on this machine, of which the one without the storage dies in the middle of a video."""

import json
import subprocess
import sys

import pytest

from tests.serving.commands import ROOT, environment


@pytest.mark.drill
def test_a_node_that_dies_in_the_middle_of_a_video_costs_nothing():
    # A process of its own: Ray reads the environment once, and here it has to know of a token.
    command = [sys.executable, "-m", "tests.serving.graph.two_nodes"]
    done = subprocess.run(command, cwd=ROOT, env=environment({}), text=True, capture_output=True, timeout=400)
    assert done.returncode == 0, done.stderr[-4000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["differences"] == []
    assert min(told["spread"]) > 0, told
    assert min(told["here"], told["elsewhere"]) >= 2, told
    assert told["clips"] > told["clips_before"], "it was over before the node died"
    assert told["resent"], "no Clip was out at the node that died"
    assert told["known_elsewhere"] == [], "what the second node's processes know of the storage"
    assert told["frames_shipped"] == 0
