"""A video whose bytes are read by locked-in workers only: a fresh one for every reading."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import NoneType
from uuid import uuid4

from pipeline.clips import Clip
from pipeline.cutting import clip_of
from pipeline.errors import DecoderCrashed, DecodeTimeout, VideoError
from pipeline.frames import Loudness
from pipeline.limits import INPUT_LIMITS, InputLimits
from pipeline.media import Inspected, Reopened
from pipeline.opened import OpenFile, Video
from pipeline.packets import PacketIndex
from pipeline.plans import ClipPlan
from pipeline.report import Notice
from pipeline.sandbox import distrust
from pipeline.sandbox.client import Sandbox
from pipeline.sandbox.protocol import Check, Cut, Heard, Inspect, Listen

_GB = 1 << 30


class SandboxedMedia:
    """A `Media` that never touches the bytes in this process."""

    def __init__(self, video: Video, sandbox: Sandbox, limits: InputLimits = INPUT_LIMITS) -> None:
        self._video = Reopened(video)
        self._sandbox = sandbox
        self._limits = limits
        self._owner = uuid4().hex

    def check(self) -> None:
        """See `Media.check`."""
        with self._video.again() as file, about(file):
            worker = self._sandbox.worker()
            try:
                request = Check(name=file.name, size_bytes=file.size_bytes, limits=self._limits, seal=file.seal)
                worker.ask(request, NoneType, (file.descriptor,), timeout_s=self._sandbox.limits.inspect_s)
            finally:
                worker.kill()

    def inspect(self) -> Inspected:
        """See `Media.inspect`. Raises also DecodeTimeout and DecoderCrashed."""
        with self._video.to_inspect() as file, about(file):
            worker = self._sandbox.worker()
            try:
                timeout_s = self._sandbox.limits.inspect_s * max(1.0, file.size_bytes / _GB)
                request = Inspect(name=file.name, size_bytes=file.size_bytes, limits=self._limits, seal=file.seal)
                return worker.ask(
                    request,
                    Inspected,
                    (file.descriptor,),
                    timeout_s=timeout_s,
                    max_bytes=distrust.inspected_bytes(self._limits),
                    check=lambda seen: distrust.inspected(seen, file.name, file.size_bytes, self._limits),
                )
            finally:
                worker.kill()

    def clips(self, index: PacketIndex, plans: Sequence[ClipPlan], **how) -> Generator[Clip]:
        """See `Media.clips`. Raises also DecodeTimeout and DecoderCrashed."""
        with self._video.again() as file, about(file):
            worker = self._sandbox.worker()
            try:
                request = Cut(
                    name=file.name,
                    size_bytes=file.size_bytes,
                    limits=self._limits,
                    seal=file.seal,
                    index=index,
                    plans=tuple(plans),
                )
                checks = (
                    (distrust.packets_bytes(plan, index), partial(distrust.packets, plan=plan, index=index))
                    for plan in request.plans
                )
                cut = worker.stream(
                    request, tuple[bytes, ...], (file.descriptor,), timeout_s=self._sandbox.limits.clip_s, checks=checks
                )
                job = uuid4().hex
                for plan, packets in zip(request.plans, cut, strict=True):
                    yield clip_of(plan, index, packets, job=job, owner=self._owner, **how)
            finally:
                worker.kill()

    def listen(self, *, start_s: float, duration_s: float) -> tuple[Loudness | None, Notice | None]:
        """See `Media.listen`. A worker that does not come back costs the sound, not the video."""
        with self._video.again() as file, about(file):
            worker = self._sandbox.worker()
            try:
                request = Listen(
                    name=file.name,
                    size_bytes=file.size_bytes,
                    limits=self._limits,
                    seal=file.seal,
                    start_s=start_s,
                    duration_s=duration_s,
                )
                timeout_s = self._sandbox.limits.inspect_s * max(1.0, file.size_bytes / _GB)
                heard = worker.ask(
                    request,
                    Heard,
                    (file.descriptor,),
                    timeout_s=timeout_s,
                    max_bytes=distrust.heard_bytes(duration_s),
                    check=lambda answer: distrust.heard(answer, duration_s),
                )
                return heard.loudness, heard.notice
            except (DecodeTimeout, DecoderCrashed) as error:
                return None, Notice(code="audio_unreadable", message=f"the sound cannot be used ({error})")
            finally:
                worker.kill()


@contextmanager
def about(file: OpenFile) -> Iterator[None]:
    """Errors of the block say which file they are about; a worker that is gone could not."""
    try:
        yield
    except VideoError as error:
        if str(error).startswith(file.name):
            raise
        raise type(error)(f"{file.name}: {error}") from error
