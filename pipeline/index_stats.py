"""What the packets of a video say about how cheaply it can be sampled."""

import numpy as np

from pipeline.packets import PacketIndex
from pipeline.plans import needed
from pipeline.record import Record
from pipeline.sampling import choose
from pipeline.spec import Sampling


class IndexStats(Record, frozen=True, kw_only=True):
    """Statistics of a packet index."""

    packets: int
    shown: int
    """Pictures that are displayed; others are hidden by the codec or cut off by an edit list."""
    keyframes: int
    """As the container flags them."""
    entries: int
    """Packets at which decoding can start cleanly, as the bitstream says; fewer than keyframes in open groups."""
    disposable_share: float
    """Share of packets that no other picture refers to, 0 to 1: they are never decoded unless wanted."""
    longest_group_s: float
    """Longest stretch between two entries, seconds: the worst case of reaching one picture."""
    median_group_s: float
    picture_bytes: int
    """Bytes of all packets."""
    needed_share: float
    """Share of packets that must be decoded for one picture a second, 0 to 1."""


def describe_index(index: PacketIndex) -> IndexStats:
    """The statistics of `index`."""
    entry_s = np.sort(index.times_s[index.entry])
    groups_s = np.diff(np.append(entry_s, index.duration_s))
    wanted = choose(index, Sampling(fps=1.0))
    return IndexStats(
        packets=len(index),
        shown=int(index.shown.sum()),
        keyframes=int(index.keyframe.sum()),
        entries=int(index.entry.sum()),
        disposable_share=round(float(index.disposable.mean()), 4),
        longest_group_s=round(float(groups_s.max()), 3),
        median_group_s=round(float(np.median(groups_s)), 3),
        picture_bytes=int(index.size.astype(np.int64).sum()),
        needed_share=round(float(needed(index, wanted).mean()), 4),
    )
