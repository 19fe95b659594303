"""A contender in a process of its own: loaded once, then handed videos one by one over a pipe.

Every contender of `python -m benchmarks job` runs in a fresh process, so that none inherits another's threads, caches
or settings; all of them are alive at once, so that the runs can be interleaved video by video. Loading and importing
happen before the first video and are not timed.
"""

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from benchmarks.machine import Stopwatch

#: The architecture, and its name in the product's catalogue: the same seeded weights.
ARCHITECTURE, MODEL = "ViT-B-32", "ViT-B-32/random"

#: Frames a forward pass of the scripts.
BATCH = 32


#: Threads that wait for others at the end of a layer sleep and do not spin, in all contenders alike: spinning would
#: count as CPU time, without bound where other processes hold the cores.
WAITING = {"OMP_WAIT_POLICY": "passive"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a contender found."""

    times_s: np.ndarray
    """float64 [N], seconds."""
    embeddings: np.ndarray
    """float32 [N, D]; for decoders, [N, D] uint8 thumbnails where they are to be checked."""
    parts: dict[str, float] = field(default_factory=dict)
    """Further figures of its own, seconds unless their names say otherwise."""


class Contender(Protocol):
    """Made once, untimed."""

    def prepare(self, path: Path, **how: Any) -> None:
        """What is not to be timed."""
        ...

    def run(self, path: Path, **how: Any) -> Answer:
        """The timed part."""
        ...


class Unavailable(Exception):
    """The contender cannot run here; says why."""


class Handle:
    """A contender's process, seen from the benchmark."""

    def __init__(
        self, name: str, environment: dict[str, str] | None = None, *, module: str = "benchmarks.contenders"
    ) -> None:
        self.name = name
        command = (sys.executable, "-m", module, name)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | WAITING | (environment or {}),
        )
        self.unavailable: str | None = self._answer().get("unavailable")

    def ask(self, path: Path, save: Path | None = None, **how: Any) -> dict[str, Any]:
        """Cost, parts and frame count of one run; `save` names a file for times and embeddings, `how` goes to the
        contender's methods."""
        assert self._process.stdin is not None
        request = {"path": str(path), "save": str(save) if save else None, "how": how}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the contender {self.name} ended with status {self._process.wait()}; see above")
        return json.loads(line)


def serve(make: Callable[[], Contender]) -> None:
    """The other end of `Handle`: one JSON object a line in and out."""
    # Whatever a library prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(content: dict[str, Any]) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    try:
        contender = make()
    except Unavailable as error:
        answer({"unavailable": str(error)})
        return
    answer({})
    for line in sys.stdin:
        request = json.loads(line)
        path = Path(request["path"])
        try:
            how = request.get("how", {})
            contender.prepare(path, **how)
            watch = Stopwatch()
            found = contender.run(path, **how)
            cost = watch.cost()
        except Exception as error:  # noqa: BLE001 - a contender that fails on one video is a result, not the end
            traceback.print_exc()
            answer({"failed": f"{type(error).__name__}: {error}".splitlines()[0]})
            continue
        if request["save"]:
            np.savez(request["save"], times_s=found.times_s, embeddings=found.embeddings)
        answer(asdict(cost) | {"frames": len(found.times_s), "parts": found.parts})
