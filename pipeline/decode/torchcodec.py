"""Decodes Clips with torchcodec, on the CPU or with the GPU's decoder (NVDEC).

Pictures carry their time, so each is known by name. On the CPU they are identical to PyAV's to the bit where both
convert 8-bit 4:2:0 with the same matrix (measured: `tests/decoders`); on a GPU the conversion is NVIDIA's, a few levels
off. Needs FFmpeg's shared libraries from the system: torchcodec brings none, and those inside PyAV's wheel have names
of their own and cannot stand in.
"""

import re
import time
from typing import TYPE_CHECKING

import numpy as np

from pipeline import clip_file
from pipeline.clips import Clip
from pipeline.decode import matrix, strips, whole
from pipeline.decode.base import Decoded
from pipeline.errors import DecodeFailed

if TYPE_CHECKING:
    import torch

#: What NVDEC knows in some generation; whether this GPU does, torchcodec says when it opens a Clip.
_NVDEC = frozenset({"h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mpeg2video", "mpeg1video", "mjpeg"})

#: A picture belongs to the tick that it is this close to, seconds.
_TOLERANCE_S = 1e-3

#: Pictures that are at full size at a time, beside those that are kept.
_BATCH = 8


class TorchCodecDecoder:
    """A new `VideoDecoder` for every Clip, single-threaded on a CPU; torchcodec itself keeps NVDEC sessions."""

    name = "torchcodec"

    def __init__(self, device: str = "cpu") -> None:
        self.device = device

    def refuses(self, clip: Clip) -> str | None:
        """See `SelectiveDecoder.refuses`."""
        if self._on_gpu and clip.codec.name not in _NVDEC:
            return f"no GPU decodes {clip.codec.name}"
        if not matrix.can_convert(self._matrix(clip), matrix.matrix_of(clip.codec)):
            return "its colour matrix is not known here"
        return whole.refusal(clip, strips=True)

    def decode(self, clip: Clip) -> Decoded:
        """See `Decoder.decode`."""
        began = time.perf_counter()
        if (why := self.refuses(clip)) is not None:
            raise DecodeFailed(why)
        import torch
        from torchcodec.decoders import VideoDecoder  # pyright: ignore[reportPrivateImportUsage]

        in_strip = strips.rows_of(clip) if clip.glimpse else set()
        rank_of = dict(zip(clip.rows, clip.ranks, strict=True))
        asked = sorted({*clip.wanted, *in_strip}, key=rank_of.__getitem__)
        kept: list[torch.Tensor] = []
        found: list[int] = []
        thumbs: list[np.ndarray] = []
        glimpsed: list[int] = []
        try:
            decoder = VideoDecoder(
                clip_file.matroska(clip, matrix.matrix_of(clip.codec)),
                dimension_order="NHWC",
                num_ffmpeg_threads=1,
                device=self.device,
            )
            if self._on_gpu and decoder.cpu_fallback:
                raise DecodeFailed(f"this GPU does not decode it ({decoder.cpu_fallback})")
            for at in range(0, len(asked), _BATCH):
                rows = asked[at : at + _BATCH]
                ranks = [rank_of[row] for row in rows]
                batch = decoder.get_frames_at(ranks)
                # Asked for a picture that does not come out, torchcodec hands out the next one, with that one's time.
                right = (batch.pts_seconds - torch.tensor(ranks) * (clip_file.TICK_MS / 1000)).abs() < _TOLERANCE_S
                came = {row: place for place, row in enumerate(rows) if right[place]}
                wanted = [row for row in came if row in clip.wanted]
                if wanted:
                    kept.append(batch.data[[came[row] for row in wanted]])
                    found += wanted
                small = [row for row in came if row in in_strip]
                if small:
                    thumbs.append(self._thumbs(clip, batch.data[[came[row] for row in small]]))
                    glimpsed += small
            if not kept:
                raise DecodeFailed("none of the wanted pictures came out")
            # Raises where pictures of one batch are of another size than those of the one before.
            pixels = torch.cat(kept) if self._on_gpu else torch.cat(kept).numpy()
        except (RuntimeError, IndexError, ValueError, OSError) as error:
            raise DecodeFailed(f"torchcodec: {_gist(error)}") from error
        return whole.frames_of(
            clip,
            {row: place for place, row in enumerate(found)},
            matrix.converted(pixels, self._matrix(clip), matrix.matrix_of(clip.codec)),
            began,
            strips.strip(clip, glimpsed, thumbs) if clip.glimpse else None,
        )

    def _thumbs(self, clip: Clip, pixels: "torch.Tensor") -> np.ndarray:
        """Read with the matrix that PyAV's thumbnails are read with: strips of both kinds meet in one video."""
        told = clip.codec.colorspace
        like_pyav = matrix.BT601 if told == matrix.UNSPECIFIED else told
        return np.asarray(matrix.converted(strips.shrunk(pixels), self._matrix(clip), like_pyav))

    @property
    def _on_gpu(self) -> bool:
        return self.device.startswith("cuda")

    def _matrix(self, clip: Clip) -> int:
        """The colour matrix that torchcodec reads the Clip with: the bitstream's; else on a CPU the container's."""
        told = clip.codec.colorspace
        if told != matrix.UNSPECIFIED:
            return told
        # VP9 always says something of its own, "unknown" included, which overrules the container.
        in_band = self._on_gpu or clip.codec.name == "vp9"
        return matrix.BT601 if in_band else matrix.matrix_of(clip.codec)


def _gist(error: BaseException) -> str:
    """The message without the function and source file that torchcodec puts before it."""
    line = str(error).strip().partition("\n")[0]
    return re.sub(r"^.*\.cpp:\d+, ", "", line)
