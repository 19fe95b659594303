"""How a deployed graph is, and what is told of it while it starts: pure, so that nothing has to start to test it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pipeline.record import Record
from serving.graph.quiet import NOISE

#: What a deployment says then is what it waits for.
_WELL: Final = ("HEALTHY", "UPSCALING", "DOWNSCALING")

#: Without a replica then, a deployment has as many as it is to have.
_ENOUGH: Final = ("HEALTHY", "DOWNSCALING")

#: What is told of one that has no replica: not yet, until something is to be done, or no longer.
_STARTS: Final = "starts"
_ASLEEP: Final = "has no replica until one is needed"
_LOST: Final = "has no replica"


class DeploymentStanding(Record, frozen=True, kw_only=True):
    """How a deployment is."""

    name: str
    status: str
    """As Serve has it: `UPDATING`, `HEALTHY`, `UNHEALTHY`, `DEPLOY_FAILED`, `UPSCALING`, `DOWNSCALING`."""
    running: int
    """Replicas that take requests."""
    message: str
    """What Serve says about it, often empty; may hold a traceback."""


class Standing(Record, frozen=True, kw_only=True):
    """How the application is."""

    status: str
    """As Serve has it: `DEPLOYING`, `RUNNING`, `UNHEALTHY`, `DEPLOY_FAILED`, ..."""
    message: str
    deployments: tuple[DeploymentStanding, ...]

    @property
    def up(self) -> bool:
        """Whether every deployment has what it needs."""
        return self.status == "RUNNING"


@dataclass(slots=True)
class _Told:
    replicas: str
    """As it was said."""
    trouble: str


class Telling:
    """Says what has changed since it was last asked."""

    def __init__(self) -> None:
        self._told: dict[str, _Told] = {}
        self._up = False
        self._trouble = ""

    def news(self, now: Standing) -> Iterator[str]:
        """A line for each thing that is different."""
        for deployment in now.deployments:
            yield from self._of(deployment)
        trouble = gist(now.message) if now.status in ("DEPLOY_FAILED", "UNHEALTHY") else ""
        if trouble and trouble != self._trouble and not any(told.trouble for told in self._told.values()):
            yield trouble
        self._trouble = trouble
        if now.up and not self._up:
            yield "all is up"
        self._up = now.up

    def _of(self, now: DeploymentStanding) -> Iterator[str]:
        trouble = "" if now.status in _WELL or any(noise in now.message for noise in NOISE) else gist(now.message)
        before = self._told.get(now.name)
        replicas = _counted(now, None if before is None else before.replicas)
        self._told[now.name] = _Told(replicas, trouble)
        if before is None or replicas != before.replicas:
            yield f"{now.name} {replicas}"
        if trouble and (before is None or trouble != before.trouble):
            yield f"{now.name}: {trouble}"


def gist(message: str) -> str:
    """Of a message of Serve's, in one line: what was raised, where it ends with a traceback; else its beginning."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    if not lines:
        return ""
    raised = any(line.startswith("Traceback") or line.endswith("Error:") for line in lines)
    return lines[-1 if raised else 0][:500]


def _counted(now: DeploymentStanding, before: str | None) -> str:
    """How many replicas there are; `before`: what was said of them."""
    if now.running:
        return "is up" if now.running == 1 else f"is up: {now.running} replicas"
    if now.status in _ENOUGH:
        return _ASLEEP
    return _STARTS if before in (None, _STARTS, _ASLEEP) else _LOST
