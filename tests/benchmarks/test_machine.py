"""The head of every result file."""

import json
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
