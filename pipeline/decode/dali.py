"""Decodes Clips with NVIDIA DALI: on the GPU what NVDEC takes, on the CPU VP8, VP9 and MJPEG only.

DALI does not say which picture it hands out, and where one is missing it leaves memory as it was and says nothing. So
pictures are counted, and the Clip's first packet is repeated at its end: where that picture comes out in its place,
none before it was missing. It takes every picture to be as large as the first one, and reads past the end of one that
is smaller: so packets are asked for their sizes first. Colours are close to PyAV's and never identical: the matrix is
always BT.601, put right afterwards, and colour is brought to full size in a simpler way (measured: `tests/decoders`).
"""

import time
from typing import Any

import numpy as np

from pipeline import clip_file
from pipeline.clips import Clip
from pipeline.decode import matrix, whole
from pipeline.decode.base import Decoded
from pipeline.decode.sizes import sizes_of
from pipeline.errors import DecodeFailed

_ON_CPU = frozenset({"vp8", "vp9", "mjpeg"})
_ON_GPU = _ON_CPU | {"h264", "hevc", "av1", "mpeg4"}

#: AVCOL_RANGE_JPEG
_FULL_RANGE = 2


class DaliDecoder:
    """DALI's dynamic mode, one Clip a call, read from memory."""

    name = "dali"

    def __init__(self, device: str = "cpu") -> None:
        self.device = device

    def refuses(self, clip: Clip) -> str | None:
        """See `SelectiveDecoder.refuses`."""
        codec = clip.codec
        if codec.name not in (_ON_GPU if self._on_gpu else _ON_CPU):
            return f"DALI does not decode {codec.name} on {'a GPU' if self._on_gpu else 'a CPU'}"
        if not matrix.can_convert(matrix.BT601, matrix.matrix_of(codec)):
            return "its colour matrix is not known here"
        if codec.color_range == _FULL_RANGE and codec.name != "mjpeg" and not self._on_gpu:
            return "full range, which DALI takes for limited range on a CPU"
        if self._on_gpu and (codec.width % 2 or codec.height % 2):
            return "an odd size, for which DALI looks for colour in the wrong place"
        return whole.refusal(clip) or _refusal_by_size(clip) or whole.refusal_by_rank(clip)

    def decode(self, clip: Clip) -> Decoded:
        """See `Decoder.decode`."""
        began = time.perf_counter()
        if (why := self.refuses(clip)) is not None:
            raise DecodeFailed(why)
        import nvidia.dali.experimental.dynamic as dali

        rank_of = dict(zip(clip.rows, clip.ranks, strict=True))
        rows = sorted(clip.wanted, key=rank_of.__getitem__)
        file = np.frombuffer(clip_file.matroska(clip, encore=True), np.uint8)
        # No index: with one, DALI would jump, and pictures missing before a jump would not be noticed.
        ranks = [*map(rank_of.__getitem__, rows), clip.ranks[0], len(clip.ranks)]
        try:
            pictures = dali.decoders.video(dali.Tensor(file), frames=ranks, build_index=False, **self._where)
            # A copy, on the same device: DALI uses the memory again.
            pixels = pictures.torch(copy=True) if self._on_gpu else np.array(pictures.evaluate())
        except RuntimeError as error:
            raise DecodeFailed(f"dali: {str(error).strip().rpartition(chr(10))[2]}") from error
        if not bool((pixels[-1] == pixels[-2]).all()):
            raise DecodeFailed("fewer pictures than packets came out")
        found = {row: place for place, row in enumerate(rows)}
        pixels = matrix.converted(pixels[:-2], matrix.BT601, matrix.matrix_of(clip.codec))
        return whole.frames_of(clip, found, pixels, began)

    @property
    def _on_gpu(self) -> bool:
        return self.device.startswith("cuda")

    @property
    def _where(self) -> dict[str, Any]:
        """DALI's words for the device. Threads are not bound to cores: several Clips are decoded side by side."""
        if not self._on_gpu:
            return {"device": "cpu"}
        _, _, number = self.device.partition(":")
        return {"device": f"gpu:{number or 0}", "affine": False}


def _refusal_by_size(clip: Clip) -> str | None:
    # The others' pictures are decoded by NVDEC, and say their size in parameter sets that are not read here.
    if clip.codec.name not in _ON_CPU:
        return None
    geometry = clip.codec.geometry
    for packet in clip.packets:
        sizes = sizes_of(clip.codec.name, packet)
        if sizes is None or sizes - {(geometry.width, geometry.height)}:
            return "its pictures are not all of one size, which DALI would not notice"
    return None
