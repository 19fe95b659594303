"""Two videos that share stretches, as rows have them and as callers see them: from either side."""

from collections.abc import Sequence
from typing import Literal

from pipeline.copies import WHOLE_FROM, Shared
from pipeline.record import Record
from pipeline.tracks import Aligned

Relation = Literal["same", "first_in_second", "second_in_first", "overlap"]
"""`same`: each is all but contained in the other; or one in the other; or both have more besides."""


class Stretch(Record, frozen=True, kw_only=True):
    """A stretch that two videos share, on the time line of each."""

    first_start_s: float
    first_end_s: float
    second_start_s: float
    second_end_s: float
    speed: float
    """How fast the second shows it, against the first: 1.05 is 5 % faster."""
    likeness: float
    """How much alike both are along it, 0 to 1."""
    moments: float
    """How many different pictures agree: what it is evidenced by. A still one is one, however long."""

    @property
    def turned(self) -> "Stretch":
        """The same, from the other side."""
        return Stretch(
            first_start_s=self.second_start_s,
            first_end_s=self.second_end_s,
            second_start_s=self.first_start_s,
            second_end_s=self.first_end_s,
            speed=1.0 / self.speed,
            likeness=self.likeness,
            moments=self.moments,
        )


class Pair(Record, frozen=True, kw_only=True):
    """What two videos have in common."""

    first_id: str
    second_id: str
    first_share: float
    """How much of the first one the second shows, 0 to 1."""
    second_share: float
    likeness: float
    """How much alike both are along what they share, 0 to 1."""
    moments: float
    """Of all stretches."""
    stretches: tuple[Stretch, ...]
    """The best first."""

    @property
    def turned(self) -> "Pair":
        """The same, from the other side."""
        return Pair(
            first_id=self.second_id,
            second_id=self.first_id,
            first_share=self.second_share,
            second_share=self.first_share,
            likeness=self.likeness,
            moments=self.moments,
            stretches=tuple(one.turned for one in self.stretches),
        )


class Found(Record, frozen=True, kw_only=True):
    """Another video that one shares stretches with."""

    video_id: str
    shared: Shared

    def of(self, video_id: str) -> Pair:
        """The pair with the video that was asked about, by the order of their ids."""
        stretches = tuple(_stretch(one) for one in self.shared.stretches)
        moments = sum(one.moments for one in stretches)
        pair = Pair(
            first_id=video_id,
            second_id=self.video_id,
            first_share=round(self.shared.share, 4),
            second_share=round(self.shared.share_of_other, 4),
            likeness=round(sum(one.likeness * one.moments for one in stretches) / moments, 4),
            moments=round(moments, 2),
            stretches=stretches,
        )
        return pair if video_id < self.video_id else pair.turned


def relation(first_share: float, second_share: float) -> Relation:
    """Which of two videos is contained in which."""
    if min(first_share, second_share) >= WHOLE_FROM:
        return "same"
    if first_share >= WHOLE_FROM:
        return "first_in_second"
    return "second_in_first" if second_share >= WHOLE_FROM else "overlap"


def alike(first: tuple[float, float], second: tuple[float, float], stretches: Sequence[Stretch]) -> bool:
    """Whether a stretch of the first video and one of the second (start, end; seconds) show the same, for the most
    part: laid on one time line, they share half of what they cover together."""
    for one in stretches:
        slope = (one.second_end_s - one.second_start_s) / max(one.first_end_s - one.first_start_s, 1e-6)
        start_s, end_s = (one.second_start_s + slope * (t - one.first_start_s) for t in first)
        low, high = max(start_s, second[0], one.second_start_s), min(end_s, second[1], one.second_end_s)
        whole = max(end_s, second[1]) - min(start_s, second[0])
        if high - low >= 0.5 * max(whole, 1e-6):
            return True
    return False


def within(second: tuple[float, float], stretches: Sequence[Stretch]) -> bool:
    """Whether the first video shows at least half of a stretch of the second one (start, end; seconds)."""
    start_s, end_s = second
    shown_s = sum(max(0.0, min(end_s, one.second_end_s) - max(start_s, one.second_start_s)) for one in stretches)
    return shown_s > 0 and shown_s >= 0.5 * (end_s - start_s)


def _stretch(one: Aligned) -> Stretch:
    return Stretch(
        first_start_s=round(one.a_start_s, 3),
        first_end_s=round(one.a_end_s, 3),
        second_start_s=round(one.b_start_s, 3),
        second_end_s=round(one.b_end_s, 3),
        speed=round(one.speed, 5),
        likeness=round(one.score, 4),
        moments=round(one.moments, 2),
    )
