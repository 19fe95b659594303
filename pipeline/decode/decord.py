"""Decodes Clips with decord, on the CPU.

decord does not say which picture it hands out, so pictures are counted; and where one is missing it hands out another
one twice, unless it is told to tolerate nothing and is read to the end, as here. It is only ever given a file that was
written here, in memory: it would open URLs and playlists. Identical to PyAV's pictures to the bit for 8-bit 4:2:0
(measured: `tests/decoders`). Its FFmpeg is 4.1, of 2018: no AV1.
"""

import io
import time

import numpy as np

from pipeline import clip_file
from pipeline.clips import Clip
from pipeline.decode import matrix, whole
from pipeline.decode.base import Decoded
from pipeline.errors import DecodeFailed

_CODECS = frozenset({"h264", "hevc", "vp8", "vp9", "mpeg4", "mpeg2video", "mpeg1video", "mjpeg"})

#: Share of pictures that may be made up before decord raises: documented for values above zero only.
_NO_TOLERANCE = 1e-9


class DecordDecoder:
    """A new reader for every Clip, with one decoding thread."""

    name = "decord"
    device = "cpu"

    def refuses(self, clip: Clip) -> str | None:
        """See `SelectiveDecoder.refuses`."""
        if clip.codec.name not in _CODECS:
            return f"decord does not know {clip.codec.name}"
        if not matrix.can_convert(self._matrix(clip), matrix.matrix_of(clip.codec)):
            return "its colour matrix is not known here"
        return whole.refusal(clip) or whole.refusal_by_rank(clip)

    def decode(self, clip: Clip) -> Decoded:
        """See `Decoder.decode`. Converts every picture, wanted or not: those passed over could not be counted."""
        began = time.perf_counter()
        if (why := self.refuses(clip)) is not None:
            raise DecodeFailed(why)
        row_of = dict(zip(clip.ranks, clip.rows, strict=True))
        wanted = set(clip.wanted)
        found: dict[int, int] = {}
        pictures: list[np.ndarray] = []
        import decord

        try:
            # It writes to the terminal what the exceptions say too.
            decord.logging.set_level(decord.logging.QUIET)
            file = io.BytesIO(clip_file.matroska(clip, matrix.matrix_of(clip.codec)))
            reader = decord.VideoReader(
                file,
                ctx=decord.cpu(0),
                num_threads=1,
                # Typed by its default; a share is documented.
                fault_tol=_NO_TOLERANCE,  # pyright: ignore[reportArgumentType]
            )
            if len(reader) != len(clip.packets):
                raise DecodeFailed(f"decord found {len(reader)} pictures in {len(clip.packets)} packets")
            for rank in range(len(clip.packets)):
                picture = reader.next()
                if row_of[rank] in wanted:
                    found[row_of[rank]] = len(pictures)
                    pictures.append(picture.asnumpy())
        except StopIteration as error:
            raise DecodeFailed("fewer pictures than packets came out") from error
        except (decord.DECORDError, decord.DECORDLimitReachedError, RuntimeError, AssertionError) as error:
            raise DecodeFailed(f"decord: {_gist(error)}") from error
        pixels = np.stack(pictures)
        read_with = self._matrix(clip)
        return whole.frames_of(clip, found, matrix.converted(pixels, read_with, matrix.matrix_of(clip.codec)), began)

    def _matrix(self, clip: Clip) -> int:
        """The colour matrix that decord reads the Clip with."""
        told = clip.codec.colorspace
        # VP9 always says something of its own, "unknown" included, which overrules the container.
        if told == matrix.UNSPECIFIED and clip.codec.name == "vp9":
            return matrix.BT601
        return matrix.matrix_of(clip.codec)


def _gist(error: BaseException) -> str:
    """The message without decord's time, source file and stack."""
    return str(error).strip().partition("\n")[0].rpartition(".cc:")[2]
