"""The head of every result file."""

import json
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import machine


def test_the_record_says_what_matters_and_no_folder():
    record = machine.record()
    text = json.dumps(record)
    assert record["cores"] >= 1
    assert {"torch", "av", "numpy"} <= set(record["versions"])
    assert str(Path.home()) not in text
    assert str(Path(__file__).parents[2]) not in text


def test_the_stopwatch_counts_work_and_not_sleep():
    watch = machine.Stopwatch()
    time.sleep(0.2)
    slept = watch.cost()
    assert slept.wall_s >= 0.2
    assert slept.cpu_s < 0.1
    assert slept.others >= 0


def test_cpu_time_of_those_that_a_child_started_counts_too():
    """As with the pool that reads videos: a process that stays, and whose own children come and go."""
    burn = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    stays = (
        "import subprocess, sys; "
        f"subprocess.run([sys.executable, '-c', {burn!r}]); print('burnt', flush=True); sys.stdin.read()"
    )
    watch = machine.Stopwatch()
    with subprocess.Popen(
        [sys.executable, "-c", stays], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "burnt\n"
        running_s = watch.cost().cpu_s
        child.communicate("")
    assert running_s >= 0.3
    assert watch.cost().cpu_s >= running_s
