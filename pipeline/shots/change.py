"""How much two tiny pictures differ once the camera's and the things' motion and a change of exposure are allowed for.

A value is a mean absolute difference of square-rooted grey levels (0 to 255 before and after the root is scaled). The
root gives dark scenes, whose differences are small, the weight that eyes give them. Unrelated pictures differ by 10 to
100, neighbours of one take by less than 2.
"""

import numpy as np

#: Blocks of (rows, columns) thumb pixels that may each move on their own.
_BLOCK = (9, 8)

#: The farthest that a block may move, thumb pixels down and across: a twelfth of the picture, the reach of a fast pan
#: in a few frames. Larger reaches let unrelated pictures pass for each other.
_REACH = (2, 4)

#: Up to this plain difference, nothing moved and no search is needed.
_STILL = 1.5

#: Two pictures are one scene in another exposure only if their structure correlates at least so.
_SAME_STRUCTURE = 0.85

#: How many pairs are compared at once; bounds the memory to some tens of MB.
_AT_ONCE = 512

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def tones(thumbs: np.ndarray) -> np.ndarray:
    """uint8 [N, h, w, 3] RGB -> float32 [N, h, w, 3]: rooted luma, and the two colour differences at half weight."""
    rgb = thumbs.astype(np.float32)
    luma = rgb @ _LUMA
    out = np.empty_like(rgb)
    out[..., 0] = np.sqrt(luma * 255.0)
    out[..., 1] = 0.25 * (rgb[..., 2] - luma)
    out[..., 2] = 0.25 * (rgb[..., 0] - luma)
    return out


def change(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """float32 [M]: how much each of the pictures `after` differs from its picture `before`.

    Args:
        before: float32 [M, h, w, 3] of `tones`.
        after: the same shape.
    """
    return changed_blocks(before, after).mean(axis=(1, 2))


def changed_blocks(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """float32 [M, block rows, block columns]: `change`, block by block."""
    plain = _in_blocks(np.abs(after - before).sum(axis=-1))
    out = plain
    moving = np.flatnonzero(plain.mean(axis=(1, 2)) > _STILL)
    for first in range(0, len(moving), _AT_ONCE):
        some = moving[first : first + _AT_ONCE]
        a, b = before[some], after[some]
        best = np.minimum(plain[some], _moved(a, b))
        exposed, same = _exposed_alike(a, b)
        if same.any():
            best[same] = np.minimum(best[same], _moved(exposed[0][same], exposed[1][same]))
        out[some] = best
    return out


def _in_blocks(pixels: np.ndarray) -> np.ndarray:
    """Means over blocks, float32 [M, h, w] -> [M, h // block, w // block]."""
    m, h, w = pixels.shape
    rows, columns = h // _BLOCK[0], w // _BLOCK[1]
    # Two matrix products: several times as fast as numpy's mean over inner axes.
    across = np.repeat(np.eye(columns, dtype=np.float32), _BLOCK[1], axis=0) / _BLOCK[1]
    down = np.repeat(np.eye(rows, dtype=np.float32), _BLOCK[0], axis=0).T / _BLOCK[0]
    return down @ (pixels[:, : rows * _BLOCK[0], : columns * _BLOCK[1]] @ across)


def _moved(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The least difference of each block over all shifts; luma is searched, colour is compared by block means."""
    up, across = _REACH
    height, width = a.shape[1:3]
    padded = np.pad(b[..., 0], ((0, 0), (up, up), (across, across)), mode="edge")
    luma = np.ascontiguousarray(a[..., 0])
    best = None
    for down in range(2 * up + 1):
        for right in range(2 * across + 1):
            here = _in_blocks(np.abs(luma - padded[:, down : down + height, right : right + width]))
            best = here if best is None else np.minimum(best, here)
    colour = sum(np.abs(_in_blocks(a[..., c]) - _in_blocks(b[..., c])) for c in (1, 2))
    return best + colour


def _exposed_alike(a: np.ndarray, b: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """The pairs with the darker picture raised to the brighter one's level, clipped as a camera would, and
    bool [M]: whether the pair has the same structure, so that this makes sense."""
    mean_a, mean_b = a[..., 0].mean(axis=(1, 2)) + 1, b[..., 0].mean(axis=(1, 2)) + 1
    gain_a, gain_b = np.maximum(mean_b / mean_a, 1), np.maximum(mean_a / mean_b, 1)
    flat_a = a[..., 0] - a[..., 0].mean(axis=(1, 2), keepdims=True)
    flat_b = b[..., 0] - b[..., 0].mean(axis=(1, 2), keepdims=True)
    product = (flat_a * flat_b).mean(axis=(1, 2))
    norm = np.sqrt((flat_a**2).mean(axis=(1, 2)) * (flat_b**2).mean(axis=(1, 2)))
    same = product > _SAME_STRUCTURE * np.maximum(norm, 1.0)
    return (_raised(a, gain_a), _raised(b, gain_b)), same


def _raised(tone: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """`gain` is of the rooted luma; colour differences, not rooted, follow with its square."""
    out = tone * gain[:, None, None, None]
    out[..., 1:] *= gain[:, None, None, None]
    np.clip(out[..., 0], 0, 255, out=out[..., 0])
    return out
