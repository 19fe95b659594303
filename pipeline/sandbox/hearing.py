"""The sound of a video as samples, decoded by a locked-in worker."""

from collections.abc import Iterator
from typing import Final

from pipeline.limits import INPUT_LIMITS, InputLimits
from pipeline.opened import Video, open_file
from pipeline.rendition.sound import CHANNELS, RATE_HZ
from pipeline.sandbox import wire
from pipeline.sandbox.client import Sandbox
from pipeline.sandbox.media import about
from pipeline.sandbox.protocol import Hear

#: Bytes of a frame of samples.
_FRAME: Final = CHANNELS * 2


def hear(
    video: Video, sandbox: Sandbox, *, start_s: float, duration_s: float, limits: InputLimits = INPUT_LIMITS
) -> Iterator[bytes]:
    """See `rendition.sound.samples`. Raises also DecodeTimeout and DecoderCrashed."""
    left = round(duration_s * RATE_HZ) * _FRAME
    with open_file(video) as file, about(file):
        worker = sandbox.worker()
        try:
            request = Hear(
                name=file.name,
                size_bytes=file.size_bytes,
                limits=limits,
                seal=file.seal,
                start_s=start_s,
                duration_s=duration_s,
            )
            for chunk in worker.pour(request, (file.descriptor,), timeout_s=sandbox.limits.clip_s):
                left -= len(chunk)
                if left < 0 or len(chunk) % _FRAME:
                    worker.kill()
                    raise wire.Broken("more sound than the video is long")
                yield chunk
        finally:
            worker.kill()
