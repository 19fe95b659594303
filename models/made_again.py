"""Whether a model is the same in another process: what it says of itself there."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Final

from models.trial import START_S

FIELDS: Final = ("space", "version", "dim", "kind")
"""Of a `ModelInfo`: what has to be the same."""

_CANNOT: Final = 3
"""Exit code of a process that does not find what it is to make."""

_CODE: Final = f"""
import json, os, pickle, sys
sys.path[:] = json.loads(sys.argv[1])
try:
    make = pickle.load(sys.stdin.buffer)
except Exception:
    os._exit({_CANNOT})
info = make().info
os.write(int(sys.argv[2]), json.dumps([str(getattr(info, name)) for name in {FIELDS}]).encode())
os._exit(0)
"""


def in_another_process(make: Callable[..., Any], within_s: float = START_S) -> dict[str, str] | None:
    """`FIELDS` of what `make` makes there, as texts; None where it cannot be called there, as a function in a function.

    Raises:
        ValueError: it can be called, and makes nothing there; says why.
    """
    try:
        pickled = pickle.dumps(make)
    except (pickle.PicklingError, AttributeError, TypeError):
        return None
    # Whatever goes by the hashes of texts goes by others there, also where this process was given a seed.
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    reading, writing = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-c", _CODE, json.dumps([str(path) for path in sys.path]), str(writing)],
            input=pickled,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(writing,),
            env=os.environ | {"PYTHONHASHSEED": seed},
            timeout=within_s,
            check=False,
        )
        os.close(writing)
        writing = -1
        said = os.read(reading, 1 << 16)
    except subprocess.TimeoutExpired:
        raise ValueError(f"it was not made within {within_s:g} s") from None
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)
    if done.returncode == _CANNOT:
        return None
    if not said:
        words = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        raise ValueError(words[-1][:300])
    return dict(zip(FIELDS, json.loads(said), strict=True))
