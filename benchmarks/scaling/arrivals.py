"""When jobs come, and how long their videos are. The same seed gives the same ones."""

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

#: Lengths of videos: half are shorter than this, seconds; two of three are between 54 and 267 s.
MEDIAN_S: Final = 120.0
_SPREAD: Final = 0.8
_SHORTEST_S, _LONGEST_S = 5.0, 3600.0

_HOUR_S: Final = 3600.0
_DAY_S: Final = 24 * _HOUR_S


@dataclass(frozen=True, slots=True)
class Arrival:
    """A job that comes."""

    at_s: float
    video_s: float
    """Length of its video."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A way in which they come."""

    what: str
    until_s: float
    """How long it is looked at, and longer if jobs are left then."""
    make: Callable[[random.Random], list[Arrival]]

    def arrivals(self, seed: int) -> tuple[Arrival, ...]:
        """All of them, by time."""
        return tuple(sorted(self.make(random.Random(seed)), key=lambda arrival: arrival.at_s))


def _length_s(chance: random.Random) -> float:
    return min(max(chance.lognormvariate(math.log(MEDIAN_S), _SPREAD), _SHORTEST_S), _LONGEST_S)


def _steady(chance: random.Random) -> list[Arrival]:
    """One every ten seconds on average, for two hours."""
    return _by_rate(chance, 2 * _HOUR_S, lambda at_s: 0.1, 0.1)


def _burst(chance: random.Random) -> list[Arrival]:
    """One, and 30 at once a minute later."""
    return [Arrival(0.0, MEDIAN_S), *(Arrival(60.0, _length_s(chance)) for _ in range(30))]


def _day(chance: random.Random) -> list[Arrival]:
    """40 a minute at two in the afternoon, next to none at two in the morning."""
    most = 40 / 60

    def rate(at_s: float) -> float:
        return most * ((1 - math.cos(2 * math.pi * (at_s / _HOUR_S - 2) / 24)) / 2) ** 2

    return _by_rate(chance, _DAY_S, rate, most)


def _by_rate(chance: random.Random, until_s: float, rate: Callable[[float], float], most: float) -> list[Arrival]:
    """Independent of each other, so many a second at each time; `most`: at any time."""
    found, at_s = [], 0.0
    while (at_s := at_s + chance.expovariate(most)) < until_s:
        if chance.random() < rate(at_s) / most:
            found.append(Arrival(at_s, _length_s(chance)))
    return found


#: Name -> what is replayed.
PATTERNS: Final[Mapping[str, Pattern]] = MappingProxyType(
    {
        "steady": Pattern("a job every ten seconds on average, for two hours", 2 * _HOUR_S, _steady),
        "burst": Pattern("one job, and 30 at once a minute later", 1800.0, _burst),
        "day": Pattern("a day: 40 jobs a minute at 14:00, next to none at 2:00", _DAY_S, _day),
    }
)
