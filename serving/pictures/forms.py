"""How what was made of videos for their pictures is kept. Loading this loads what draws, as `drawing` does."""

import msgspec

from pipeline.limits import InputLimits
from pipeline.media import Inspected
from pipeline.moments import Moments
from pipeline.packing import packed, unpacked
from pipeline.sandbox import distrust, wire
from serving.pictures.drawing import Chosen, Known


def known_written(known: Known) -> bytes:
    """As it is kept; takes some 10 ms an hour of video."""
    seen = known.inspected
    # Where it lay is nobody's business, and it may lie elsewhere by then.
    return packed(Inspected(seen.index, msgspec.structs.replace(seen.info, path=""), seen.cut_off))


def known_read(kept: bytes, limits: InputLimits) -> Known:
    """What was kept, held to what a locked-in worker is: one said so, once. Raises ValueError: it is none that would be
    made now."""
    seen: Inspected = unpacked(kept, Inspected, distrust.inspected_bytes(limits))
    try:
        seen = distrust.inspected(seen, "", seen.info.size_bytes, limits)
    except wire.Broken as error:
        raise ValueError(str(error)) from error
    return Known(seen, Moments.of(seen.index))


def choice_written(chosen: Chosen, version: str) -> bytes:
    """As it is kept. `version`: of what it was chosen by."""
    return packed((version, chosen))


def choice_read(kept: bytes, version: str, known: Known) -> Chosen | None:
    """What was kept; None where it was chosen by something else. Raises ValueError: it is none."""
    by, chosen = unpacked(kept, tuple[str, Chosen], 0)
    if by != version:
        return None
    if not 0 <= chosen.place < len(known.moments):
        raise ValueError(f"{chosen.place = } of {len(known.moments)}")
    return chosen


def sheets_written(sheets: tuple[bytes, ...]) -> bytes:
    """As they are kept."""
    return packed(sheets)


def sheets_read(kept: bytes, count: int) -> tuple[bytes, ...]:
    """What was kept. Raises ValueError: they are not as many."""
    sheets: tuple[bytes, ...] = unpacked(kept, tuple[bytes, ...], 0)
    if len(sheets) != count:
        raise ValueError(f"{len(sheets)} sheets, not {count}")
    return sheets
