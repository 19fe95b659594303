"""What is counted as memory: that of a process, and of all that it started."""

import sys

import pytest

from benchmarks import memory

#: Starts a child that starts a child; each fills memory of its own and waits a little, and the last shares some.
_TREE = """
import json, mmap, os, time
first = os.getpid()
shared = mmap.mmap(-1, 256 << 20)
for _ in range(256):
    shared.write(b"x" * (1 << 20))
for _ in range(2):
    if os.fork():
        os.wait()
        break
    shared[::4096]
    own = bytearray(os.urandom(1 << 20) * 100)
else:
    time.sleep(2.0)
if os.getpid() == first:
    print(json.dumps({"said": 1}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Pss is Linux's")
def test_what_processes_share_counts_once_and_all_else_of_each():
    found = memory.watched((sys.executable, "-c", _TREE))
    assert found["said"] == 1
    assert found["processes_at_peak"] == 3
    assert found["looks_per_s"] > 0
    # 256 shared, 100 in each of two; three interpreters have some more (30 to 40 each), and copies of what
    # was there at the fork. Shared pages that counted for each would be 512 more.
    assert 456 <= found["peak_with_workers_mib"] <= 456 + 250, found
