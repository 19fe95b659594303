"""What videos are made of for players, and how that is kept."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pipeline.errors import UnsupportedCodec
from pipeline.limits import InputLimits

if TYPE_CHECKING:
    # With what they load, which few processes need.
    from pipeline.remux.reading import Repacked
    from pipeline.remux.tables import Segment

#: What a part of a playlist is counted as, bytes.
_SEGMENT_BYTES: Final = 200

#: What is kept of a video that browsers do not play begins so; then comes why not.
_REFUSED: Final = b"refused "


@dataclass(frozen=True, slots=True)
class Cut:
    """What a video is made of for a player, and where it is cut."""

    seen: "Repacked"
    segments: "tuple[Segment, ...]"

    @property
    def size_bytes(self) -> int:
        """Memory that it takes, about."""
        sound = self.seen.sound.nbytes if self.seen.sound is not None else 0
        return self.seen.video.nbytes + sound + len(self.segments) * _SEGMENT_BYTES + len(self.seen.header)


def cut_of(seen: "Repacked") -> Cut:
    """Where it is cut. Raises UnsupportedCodec: a segment would be too large."""
    from pipeline.remux.tables import segments
    from pipeline.sandbox.repacking import require_small

    parts = segments(seen.video, seen.sound)
    for part in parts:
        require_small(part)
    return Cut(seen, parts)


def written(cut: Cut | UnsupportedCodec) -> bytes:
    """As it is kept, or that browsers do not play it; takes some 50 ms an hour of video."""
    from pipeline.packing import packed

    return _REFUSED + str(cut).encode() if isinstance(cut, UnsupportedCodec) else packed(cut.seen)


def read(kept: bytes, limits: InputLimits) -> Cut | UnsupportedCodec:
    """What was kept, held to what a locked-in worker is: one said so, once. Raises ValueError: it is none that would be
    made now."""
    from pipeline.packing import unpacked
    from pipeline.remux.reading import Repacked
    from pipeline.sandbox import wire
    from pipeline.sandbox.repacking import answer_bytes, checked

    if kept.startswith(_REFUSED):
        return UnsupportedCodec(kept.removeprefix(_REFUSED).decode())
    try:
        return cut_of(checked(unpacked(kept, Repacked, answer_bytes(limits)), limits))
    except (UnsupportedCodec, wire.Broken) as error:
        raise ValueError(str(error)) from error
