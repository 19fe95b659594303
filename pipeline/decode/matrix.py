"""Colour matrices of decoders that cannot be told which one to use, put right afterwards.

A picture is stored as brightness and two colour differences; which differences, a tag says, and where none does, a
rule (`pipeline.decode.color`). Some libraries read everything, or everything without a tag in the bitstream, as
BT.601. Their RGB is then off by up to 30 levels in saturated colours: a linear map takes it to what ours is, except
where the wrong matrix had cut a value off at 0 or 255.
"""

from functools import lru_cache

import numpy as np

from models.base import Pixels
from pipeline.clips import CodecParameters

#: FFmpeg's numbers (AVColorSpace).
UNSPECIFIED, BT709, BT601 = 2, 1, 6

#: Weights of red and blue in the brightness, by AVColorSpace.
_WEIGHTS = {BT709: (0.2126, 0.0722), 5: (0.299, 0.114), BT601: (0.299, 0.114), 9: (0.2627, 0.0593)}

#: As in `pipeline.decode.color`: untagged pictures from this height on are BT.709.
_HD_HEIGHT = 720


def matrix_of(codec: CodecParameters) -> int:
    """AVColorSpace that the pictures of this codec are to be read with."""
    if codec.colorspace != UNSPECIFIED:
        return codec.colorspace
    return BT709 if codec.height >= _HD_HEIGHT else BT601


def can_convert(source: int, target: int) -> bool:
    """Whether `converted` knows both."""
    return source == target or {source, target} <= _WEIGHTS.keys()


def converted(pixels: Pixels, source: int, target: int) -> Pixels:
    """Pixels (uint8 [N, H, W, 3] RGB) that were read with the matrix `source`, as if read with `target`."""
    if source == target or _WEIGHTS[source] == _WEIGHTS[target]:
        return pixels
    change = _change(source, target)
    if isinstance(pixels, np.ndarray):
        return np.clip(np.rint(pixels @ change.T), 0, 255).astype(np.uint8)
    import torch

    mapped = pixels.float() @ torch.from_numpy(change.T.copy()).to(pixels.device)
    return mapped.round_().clamp_(0, 255).to(torch.uint8)


@lru_cache
def _change(source: int, target: int) -> np.ndarray:
    """float32 [3, 3] from RGB read with one matrix to RGB read with the other."""
    return (_to_rgb(*_WEIGHTS[target]) @ np.linalg.inv(_to_rgb(*_WEIGHTS[source]))).astype(np.float32)


def _to_rgb(red: float, blue: float) -> np.ndarray:
    """float64 [3, 3] from (Y, Pb, Pr) to (R, G, B)."""
    green = 1 - red - blue
    return np.array(
        [
            [1, 0, 2 * (1 - red)],
            [1, -2 * blue * (1 - blue) / green, -2 * red * (1 - red) / green],
            [1, 2 * (1 - blue), 0],
        ]
    )
