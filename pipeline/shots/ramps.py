"""Ramps in a row of pictures: stretches in which one picture turns into another in a straight line.

Whether it is a line follows from the products of pictures with each other alone. They are computed once, for all pairs
that are near enough, and then stretches of any length are looked at without touching a picture again.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

#: Half lengths that are tried, in pictures: of pictures 0.1 s apart, dissolves of about 0.3 to 2 s.
_HALVES = (2, 3, 4, 6, 8, 10)

#: The ends of a ramp differ at least so much, grey levels on average.
_MIN_CHANGE = 2.0

#: A blend may miss a picture in between by this share of the difference of the ends.
_MAX_MISFIT = 0.35

#: How far from one half the middle picture's share of the later end may be: one step in a ramp of 3.5 steps is 0.3.
_MAX_SKEW = 0.16

#: From one picture to the next the share may fall by no more than the first, as pictures are noisy, and rise by no
#: more than the second, as it does at a cut.
_MAX_FALL, _MAX_RISE = 0.12, 0.75

#: The line is drawn through the pictures whose share lies between these.
_INNER = (0.1, 0.9)


@dataclass(frozen=True, slots=True)
class Ramps:
    """Stretches of 2 * half steps, K of them; they may overlap."""

    begins: np.ndarray
    """int64 [K], places of their first pictures."""
    halves: np.ndarray
    """int64 [K]"""
    shares: np.ndarray
    """float32 [K], how much of the later end is in the middle picture."""
    spans_s: np.ndarray
    """float64 [K, 2], seconds: where the line begins and ends."""

    def __len__(self) -> int:
        return len(self.begins)

    def __getitem__(self, which: np.ndarray) -> Self:
        """Some of them: bool [K], or int64 places."""
        return type(self)(self.begins[which], self.halves[which], self.shares[which], self.spans_s[which])


def ramps(pictures: np.ndarray, times_s: np.ndarray, take: np.ndarray) -> Ramps:
    """Every ramp within a take, whose middle is about the blend of its ends.

    Args:
        pictures: float32 [N, D], each laid out flat.
        times_s: float64 [N], seconds.
        take: int64 [N], equal between two cuts or fades.
    """
    products = _products(pictures)
    found = [_ramps_of(half, pictures, products, times_s, take) for half in _HALVES if len(pictures) > 2 * half]
    if not found:
        nothing = np.empty(0, np.int64)
        return Ramps(nothing, nothing, np.empty(0, np.float32), np.empty((0, 2)))
    return Ramps(
        np.concatenate([some.begins for some in found]),
        np.concatenate([some.halves for some in found]),
        np.concatenate([some.shares for some in found]),
        np.concatenate([some.spans_s for some in found]),
    )


def _products(pictures: np.ndarray) -> list[np.ndarray]:
    """For each distance up to the longest ramp's, float64 [N - distance]: the products of the pictures so far apart."""
    # In double precision and about their mean, as what is wanted are small differences of them.
    rest = pictures.astype(np.float64) - pictures.mean(axis=0)
    longest = min(2 * max(_HALVES), len(rest) - 1)
    return [np.einsum("ij,ij->i", rest[: len(rest) - apart], rest[apart:]) for apart in range(longest + 1)]


def _ramps_of(
    half: int, pictures: np.ndarray, products: list[np.ndarray], times_s: np.ndarray, take: np.ndarray
) -> Ramps:
    """Those of one length."""
    length = 2 * half
    begins = np.flatnonzero(take[:-length] == take[length:])
    begins = begins[np.abs(pictures[begins + length] - pictures[begins]).mean(axis=1) >= _MIN_CHANGE]
    ends = begins + length
    first, across = products[0][begins], products[length][begins]
    power = np.maximum(products[0][ends] - 2 * across + first, 1e-6)

    def with_first(step: int) -> np.ndarray:
        return products[step][begins]

    along = [products[length - step][begins + step] - with_first(step) - across + first for step in range(length + 1)]
    shares = np.stack(along, axis=1) / power[:, None]
    middle = shares[:, half]
    away = (products[0][begins + half] - 2 * with_first(half) + first) / power
    misfits = np.sqrt(np.maximum(away - middle**2, 0.0))
    steps = np.diff(shares, axis=1)
    straight = (steps.min(axis=1) >= -_MAX_FALL) & (steps.max(axis=1) <= _MAX_RISE)
    keep = np.flatnonzero((np.abs(middle - 0.5) <= _MAX_SKEW) & (misfits < _MAX_MISFIT) & straight)
    begins, shares = begins[keep], shares[keep]
    spans_s, rising = _lines(shares, times_s[begins[:, None] + np.arange(length + 1)])
    begins = begins[rising]
    return Ramps(begins, np.full(len(begins), half), shares[rising, half].astype(np.float32), spans_s[rising])


def _lines(shares: np.ndarray, moments_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(float64 [K, 2], bool [K]): from when to when lines through the shares (float64 [K, T]; times in seconds, the
    same) rise from 0 to 1, and whether they rise at all; by least squares."""
    inner = (shares > _INNER[0]) & (shares < _INNER[1])
    count = inner.sum(axis=1)
    enough = np.maximum(count, 1)
    middle_s, middle = ((values * inner).sum(axis=1) / enough for values in (moments_s, shares))
    off_s, off = (moments_s - middle_s[:, None]) * inner, shares - middle[:, None]
    slope = (off_s * off).sum(axis=1) / np.maximum((off_s**2).sum(axis=1), 1e-12)
    rising = (count >= 2) & (slope > 0)
    slope = np.where(rising, slope, 1.0)
    start_s = np.maximum(middle_s - middle / slope, moments_s[:, 0])
    end_s = np.minimum(middle_s + (1 - middle) / slope, moments_s[:, -1])
    return np.stack([start_s, end_s], axis=1), rising
