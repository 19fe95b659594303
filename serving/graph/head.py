"""One life of a cluster of this machine: starts Ray, deploys a Serve YAML, tells how that goes, and ends both.

Run by `launch` as a process of its own. Whoever kills it kills Ray: the kernel ends Ray's processes with this one, and
this one ends where Ray's do.
"""

import argparse
import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from pipeline.errors import VideoError
from serving import ending
from serving.graph import deploy_file
from serving.graph.checking import check
from serving.graph.deploying import deploy, standing
from serving.graph.launch import REFUSED, STEADY_S, told_within
from serving.graph.machines import this_machine
from serving.graph.quiet import Quiet
from serving.graph.standing import Telling, gist

#: What a cluster cannot do without. Everything else, Ray and Serve start again themselves.
_VITAL: Final = frozenset({"gcs_server", "raylet"})

#: How often it is looked at these, seconds.
_WATCH_S: Final = 0.5

#: How often Serve is asked how the deployments are: while they start, and from then on; seconds.
_STARTING_S, _ASK_S = 0.5, 5.0

#: For how long Serve may give no answer before all is started again, seconds. A new controller takes about ten.
_SILENT_S: Final = 90.0

#: How long everything has for its end, seconds: workers have ten to finish jobs or give them back.
END_S: Final = 11.0

#: For objects that are passed between processes, bytes. A clip is a few MB, and gone when it is computed.
_OBJECT_STORE_BYTES: Final = 256 << 20


def main() -> None:
    """Entry point: `python -m serving.graph.head CONFIG TEMPORARY ADDRESS --steady FD`, and what `launch` adds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path)
    parser.add_argument("temporary", type=Path)
    parser.add_argument("address", type=Path)
    parser.add_argument("--dashboard", action="store_true")
    parser.add_argument("--metrics-port", type=int)
    parser.add_argument("--steady", type=int, required=True)
    given = parser.parse_args()
    quiet: Any = (Quiet(sys.stdout), Quiet(sys.stderr))
    try:
        with contextlib.redirect_stdout(quiet[0]), contextlib.redirect_stderr(quiet[1]):
            code = run(given)
    except VideoError as error:
        print(f"error: {error} [{error.code}]", file=sys.stderr, flush=True)
        code = REFUSED
    raise SystemExit(code)


def run(given: argparse.Namespace) -> int:
    """Until this process is told to end, or there is nothing left to be done here; its exit code. `given`: see `main`.

    Raises:
        InvalidGraph: the YAML cannot be deployed on this machine; nothing was started.
    """
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"graph     {line} ({time.monotonic() - began:.1f} s)", flush=True)

    wanted = deploy_file.load(given.config)
    for warning in check(wanted, this_machine()):
        say(f"{given.config}: {warning}")
    told = threading.Event()
    try:
        _start_ray(given)
        # Ray puts handlers of its own there, which end everything without a word to anybody.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: _tell(told))
        threading.Thread(target=_end_with, args=(_vital(), told), name="vital", daemon=True).start()
        say("ray is up")
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        deploy(wanted)
        say("serve is up")
        return _watch(told, say, Steady(given.steady))
    except Exception as error:  # noqa: BLE001 - Ray raises all kinds of them; `launch` tries again
        said = gist(str(error)) or type(error).__name__
        say(f"ray failed: {said}; its logs are in {given.temporary / 'session_latest' / 'logs'}")
        return 1
    finally:
        ending.within(END_S)
        _end_ray()


def _start_ray(given: argparse.Namespace) -> None:
    import ray

    ray.init(
        "local",
        include_dashboard=given.dashboard,
        object_store_memory=_OBJECT_STORE_BYTES,
        namespace="serve",
        # What replicas say is in the server's log, as it is without Ray.
        log_to_driver=True,
        logging_level=logging.WARNING,
        _temp_dir=str(given.temporary),
        _metrics_export_port=given.metrics_port,
        # Packets of videos are among the objects: those are not written to files where the store is full.
        _system_config={"automatic_object_spilling_enabled": False},
    )
    given.address.write_text(ray.get_runtime_context().gcs_address)


def _end_ray() -> None:
    """Workers finish or give back what they do, then everything ends."""
    import ray
    from ray import serve

    if ray.is_initialized():
        serve.shutdown()
        ray.shutdown()


class Steady:
    """Tells whoever started this process, once, that all was up for long."""

    def __init__(self, descriptor: int) -> None:
        """`descriptor`: of the pipe that a byte is written to."""
        self._descriptor = descriptor
        self._up_since: float | None = None
        self._said = False

    def see(self, up: bool, at_s: float) -> None:
        """Whether all is up now; `at_s`: of a monotonic clock."""
        if not up:
            self._up_since = None
        elif self._up_since is None:
            self._up_since = at_s
        elif not self._said and at_s - self._up_since >= STEADY_S:
            self._said = True
            os.write(self._descriptor, b".")


def _watch(told: threading.Event, say: Callable[[str], None], steady: Steady) -> int:
    """Tell how the deployments are, until told to end; the exit code."""
    from ray.exceptions import RayError

    telling, heard_at, pause_s = Telling(), time.monotonic(), _STARTING_S
    while not told_within(told, pause_s):
        try:
            now = standing()
        except RayError:
            now = None
        if now is None:
            steady.see(False, time.monotonic())
            if time.monotonic() - heard_at > _SILENT_S:
                say("serve gives no answer any more")
                return 1
            continue
        heard_at, pause_s = time.monotonic(), _ASK_S if now.up else _STARTING_S
        steady.see(now.up, heard_at)
        for line in telling.news(now):
            say(line)
    return 0


def _tell(told: threading.Event) -> None:
    told.set()
    ending.within(END_S)


def _vital() -> dict[int, str]:
    """Process id -> name, of those children of ours."""
    found = {}
    for pid in Path("/proc/thread-self/children").read_text().split():
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        if name in _VITAL:
            found[int(pid)] = name
    return found


def _end_with(vital: dict[int, str], told: threading.Event) -> None:
    """End this process as soon as one of these has ended; whoever waits for Ray would wait for long."""
    while not told.wait(_WATCH_S):
        for pid, name in vital.items():
            # They are Ray's to reap.
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                print(f"graph     ray's {name} has ended", flush=True)
                os._exit(1)


if __name__ == "__main__":
    main()
