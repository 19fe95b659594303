"""How much two tiny pictures differ once the camera's and the things' motion and a change of exposure are allowed for.

A value is a mean absolute difference of square-rooted grey levels (0 to 255 before and after the root is scaled). The
root gives dark scenes, whose differences are small, the weight that eyes give them. Unrelated pictures differ by 10 to
100, neighbours of one take by less than 2.
"""

from functools import lru_cache

import numpy as np

#: Blocks of (rows, columns) thumb pixels that may each move on their own.
_BLOCK = (9, 8)

#: The same blocks in pictures of half the size, in which motion is followed.
_SMALL_BLOCK = (4, 4)

#: The farthest that a block may move there, pixels down and across: a twelfth of the picture, the reach of a fast pan
#: in a few frames. Larger reaches let unrelated pictures pass for each other.
_REACH = (1, 2)

#: Up to this plain difference, nothing moved and no search is needed.
_STILL = 1.5

#: Two pictures are one scene in another exposure only if their structure correlates at least so.
_SAME_STRUCTURE = 0.85

#: ... and their mean levels are so far apart that exposure matters at all.
_OTHER_EXPOSURE = 1.02

#: Floats of pictures that are worked on at once when motion is followed: with what is made of them, a core's cache.
_CACHE_FLOATS = 1 << 16

#: A block of two pictures has changed from here on.
BLOCK_CHANGE = 2.4

#: How many pairs are compared at once; bounds the memory to some tens of MB.
_AT_ONCE = 512

#: ... without following motion: as many as fit a core's cache.
_PLAIN_AT_ONCE = 32

#: From RGB to luma, and to a quarter of (blue - luma) and of (red - luma). BT.601's luma.
_TO_TONES = np.array(
    [[0.299, 0.587, 0.114], [-0.07475, -0.14675, 0.2215], [0.17525, -0.14675, -0.0285]],
    np.float32,
)


def tones(thumbs: np.ndarray) -> np.ndarray:
    """uint8 [N, h, w, 3] RGB -> float32 [N, 3, h, w]: rooted luma, and the two colour differences at half weight."""
    n, h, w, _ = thumbs.shape
    out = np.empty((n, 3, h, w), np.float32)
    for first in range(0, n, _AT_ONCE):
        some = thumbs[first : first + _AT_ONCE]
        planes = np.ascontiguousarray(some.reshape(len(some), h * w, 3).transpose(0, 2, 1), np.float32)
        np.matmul(_TO_TONES, planes, out=out[first : first + _AT_ONCE].reshape(len(some), 3, h * w))
    np.sqrt(np.maximum(out[:, 0], 0.0) * 255.0, out=out[:, 0])
    return out


def change(before: np.ndarray, after: np.ndarray, *, fine: bool = False) -> np.ndarray:
    """float32 [M]: how much each of the pictures `after` differs from its picture `before`.

    Args:
        before: float32 [M, 3, h, w] of `tones`.
        after: the same shape.
        fine: follow motion at the thumbnails' full size: sharper, at four times the work and more.
    """
    return changed_blocks(before, after, fine=fine).mean(axis=(1, 2))


def distance(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """float32 [M, h, w]: plain difference of each pixel, over all three tones."""
    apart = after - before
    np.abs(apart, out=apart)
    return apart[:, 0] + apart[:, 1] + apart[:, 2]


def changed_blocks(before: np.ndarray, after: np.ndarray, *, fine: bool = False) -> np.ndarray:
    """float32 [M, block rows, block columns]: `change`, block by block."""
    plain = _plain_blocks(before, after)
    out = plain
    moving = np.flatnonzero(plain.mean(axis=(1, 2)) > _STILL)
    for first in range(0, len(moving), _AT_ONCE):
        some = moving[first : first + _AT_ONCE]
        a, b = before[some], after[some]
        best = np.minimum(plain[some], _moved(a, b, fine))
        same = _same_structure(a, b)
        if same.any():
            best[same] = np.minimum(best[same], _moved(*_exposed_alike(a[same], b[same]), fine))
        out[some] = best
    return out


def _plain_blocks(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """float32 [M, block rows, block columns]: `distance`, block by block."""
    out = np.empty((len(before), before.shape[2] // _BLOCK[0], before.shape[3] // _BLOCK[1]), np.float32)
    for first in range(0, len(before), _PLAIN_AT_ONCE):
        some = slice(first, first + _PLAIN_AT_ONCE)
        out[some] = _in_blocks(distance(before[some], after[some]), _BLOCK)
    return out


def _in_blocks(pixels: np.ndarray, block: tuple[int, int]) -> np.ndarray:
    """Means over blocks, float32 [M, h, w] -> [M, h // block, w // block]."""
    m, h, w = pixels.shape
    rows, columns = h // block[0], w // block[1]
    # Rows first, then one matrix product: several times as fast as numpy's mean over inner axes.
    stacked = pixels[:, : rows * block[0]].reshape(m, rows, block[0], w).sum(axis=2)
    return stacked[..., : columns * block[1]] @ _across(columns, block)


@lru_cache(maxsize=8)
def _across(columns: int, block: tuple[int, int]) -> np.ndarray:
    """float32 [columns * block width, columns] that sums the columns of each block and divides by its area."""
    return np.repeat(np.eye(columns, dtype=np.float32), block[1], axis=0) / (block[0] * block[1])


def quick_change(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """float32 [M]: `change` by luma alone, exposure not allowed for, of pictures from `halved`."""
    return _searched(before, after, _SMALL_BLOCK, _REACH).mean(axis=(1, 2))


def slid(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """float32 [M]: least difference of what two pictures share when the whole of one is slid over the other, as a pan
    does within a second; of pictures from `halved`."""
    height, width = before.shape[1:]
    best = np.full(len(before), np.inf, np.float32)
    for down in range(-(height // 4), height // 4 + 1):
        for right in range(-(width // 2), width // 2 + 1):
            here = before[:, max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)]
            there = after[:, max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)]
            apart = here - there
            np.abs(apart, out=apart)
            np.minimum(best, apart.reshape(len(best), -1).sum(axis=1) / apart[0].size, out=best)
    return best


def _moved(a: np.ndarray, b: np.ndarray, fine: bool) -> np.ndarray:
    """The least difference of each block over all shifts; luma is searched, colour is compared by block means."""
    if fine:
        best = _searched(a[:, 0], b[:, 0], _BLOCK, (2 * _REACH[0], 2 * _REACH[1]))
    else:
        best = _searched(halved(a), halved(b), _SMALL_BLOCK, _REACH)
    for colour in (1, 2):
        best += np.abs(_in_blocks(a[:, colour], _BLOCK) - _in_blocks(b[:, colour], _BLOCK))
    return best


def _searched(a: np.ndarray, b: np.ndarray, block: tuple[int, int], reach: tuple[int, int]) -> np.ndarray:
    """float32 [M, block rows, block columns]: least mean difference over all shifts; `a`, `b` float32 [M, h, w] of
    whole blocks."""
    (up, across), (tall, wide) = reach, block
    m, height, width = a.shape
    rows, columns = height // tall, width // wide
    # Beyond its edges a picture goes on as it ends.
    lines = np.clip(np.arange(-up, height + up), 0, height - 1)
    places = np.clip(np.arange(-across, width + across), 0, width - 1)
    best = np.empty((m, rows, columns), np.float32)
    at_once = max(1, _CACHE_FLOATS // (height * width))
    for first in range(0, m, at_once):
        some = slice(first, first + at_once)
        # The pairs go last: whatever the shift, all of one line then lie side by side in memory.
        here = np.ascontiguousarray(a[some].transpose(1, 2, 0))
        there = np.ascontiguousarray(b[some].transpose(1, 2, 0))[lines][:, places]
        pairs = here.shape[2]
        apart = np.empty_like(here)
        in_rows = np.empty((rows, width * pairs), np.float32)
        blocks = np.empty((rows, columns, pairs), np.float32)
        least = np.full_like(blocks, np.inf)
        for down in range(2 * up + 1):
            for right in range(2 * across + 1):
                np.subtract(there[down : down + height, right : right + width], here, out=apart)
                np.abs(apart, out=apart)
                np.add.reduce(apart.reshape(rows, tall, width * pairs), axis=1, out=in_rows)
                np.add.reduce(in_rows.reshape(rows, columns, wide, pairs), axis=2, out=blocks)
                np.minimum(least, blocks, out=least)
        best[some] = least.transpose(2, 0, 1)
    best /= tall * wide
    return best


def halved(tones: np.ndarray) -> np.ndarray:
    """float32 [M, 3, h, w] of `tones` -> luma [M, block rows * 4, w / 2]: enough to follow motion at a quarter of the
    work."""
    h, w = tones.shape[2:]
    rows = h // _BLOCK[0] * _SMALL_BLOCK[0]
    columns = w // _BLOCK[1] * _SMALL_BLOCK[1]
    top = tones[:, 0, : rows * 2, : columns * 2]
    pairs = top[:, ::2] + top[:, 1::2]
    return np.ascontiguousarray((pairs[..., ::2] + pairs[..., 1::2]) * 0.25)


def _same_structure(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """bool [M]: whether the pair shows one structure at two levels of brightness."""
    flat_a, flat_b = (x[:, 0].reshape(len(x), -1) for x in (a, b))
    mean_a, mean_b = flat_a.mean(axis=1), flat_b.mean(axis=1)
    levels = np.maximum(mean_a, mean_b) / np.maximum(np.minimum(mean_a, mean_b), 1)
    same = levels > _OTHER_EXPOSURE
    rest_a, rest_b = flat_a[same] - mean_a[same, None], flat_b[same] - mean_b[same, None]
    product, power_a, power_b = (
        np.einsum("ij,ij->i", x, y) / flat_a.shape[1] for x, y in ((rest_a, rest_b), (rest_a, rest_a), (rest_b, rest_b))
    )
    same[same] = product > _SAME_STRUCTURE * np.maximum(np.sqrt(power_a * power_b), 1.0)
    return same


def _exposed_alike(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pairs with the darker picture raised to the brighter one's level, clipped as a camera would."""
    mean_a, mean_b = a[:, 0].mean(axis=(1, 2)) + 1, b[:, 0].mean(axis=(1, 2)) + 1
    return _raised(a, np.maximum(mean_b / mean_a, 1)), _raised(b, np.maximum(mean_a / mean_b, 1))


def _raised(tone: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """`gain` is of the rooted luma; colour differences, not rooted, follow with its square."""
    out = tone * gain[:, None, None, None]
    out[:, 1:] *= gain[:, None, None, None]
    np.clip(out[:, 0], 0, 255, out=out[:, 0])
    return out
