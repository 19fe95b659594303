"""Takes a file through the pipeline's front door and says what came out of a decoder, against what is known."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.clips import Clip
from pipeline.decode.base import Decoded, Decoder
from pipeline.decode.choice import choose as choose_decoder
from pipeline.errors import DecodeFailed, VideoError
from pipeline.media import Inspected, LocalMedia
from pipeline.plans import plan
from pipeline.sampling import choose
from pipeline.spec import Sampling
from tests.formats.chart import psnr
from tests.formats.decoders import EQUAL, REFERENCE, Bounds, Column, Expected, bounds, expected, refused
from tests.formats.matrix import Entry
from tests.formats.writing import Known

#: How far a frame's time may be from the known one, seconds.
_TOLERANCE_S = 1e-3

#: Pixels this near to another colour, across or down, are not in a flat area: twice a pixel of halved colour.
_BORDER = 2


@dataclass(frozen=True)
class Outcome:
    """What came of a file."""

    cell: str
    """`equal`, `refused (code)`, or what is wrong."""
    why: str = ""
    """The line that it is refused with."""

    def is_as(self, expected: Expected) -> bool:
        """Whether it is what was expected, for the reason that was expected."""
        return self.cell == expected.cell and expected.says in self.why


@dataclass(frozen=True)
class Written:
    """An entry's file, its Clips, and what is to come out of them."""

    entry: Entry
    known: Known | None
    inspected: Inspected | None
    refused: Outcome | None
    """What the file is refused with before any decoder sees a Clip of it."""
    sampled: tuple[Clip, ...] = ()
    """Clips of a sparse sampling."""
    every: tuple[Clip, ...] = ()
    """Clips of all pictures."""

    def expected(self, column: Column) -> Expected:
        """See `decoders.expected`."""
        return expected(column, self.entry, self.sampled + self.every)


def write(entry: Entry, folder: Path) -> Written:
    """Writes the entry's file into `folder`, and cuts it."""
    path = folder / f"video.{entry.suffix}"
    known = entry.make(path)
    media = LocalMedia(path)
    try:
        inspected = media.inspect()
        index = inspected.index
        sampled, every = (
            tuple(media.clips(index, plan(index, rows)))
            for rows in (choose(index, Sampling(fps=6)), index.display_order)
        )
    except VideoError as error:
        return Written(entry, known, None, _refused(error))
    return Written(entry, known, inspected, None, sampled, every)


def alone(written: Written, column: Column) -> Outcome:
    """What a decoder makes of a file by itself."""
    return _outcome(written, column.make(), bounds(column, written.entry))


def with_takeover(written: Written, column: Column) -> str | None:
    """What is wrong with a file when the decoder is asked for by name, as a user does, and the reference takes over
    what it refuses or fails at: None where everything comes out as by the reference, and was told."""
    is_able = written.expected(column).cell == EQUAL
    fallback = choose_decoder(column.decoder, column.device).decoder
    listening = _Listening(fallback)
    found = _outcome(written, listening, bounds(column if is_able else REFERENCE, written.entry))
    if not found.is_as(written.expected(REFERENCE)):
        return found.cell
    if written.refused is None and not column.on_gpu:
        clips = len(written.sampled + written.every)
        if is_able and listening.decoders != {column.decoder: clips}:
            return f"{listening.decoders} decoded {clips} Clips that {column.name} takes"
        if not is_able and not listening.passed_on:
            return f"{column.name} was expected not to decode all of it, and nothing was told"
    return None


class _Listening:
    """A decoder, and what it says of who did the work."""

    def __init__(self, decoder: Decoder) -> None:
        self.name = decoder.name
        self._decoder = decoder
        self.decoders: Counter[str] = Counter()
        self.passed_on = 0

    def decode(self, clip: Clip) -> Decoded:
        """See `Decoder.decode`."""
        decoded = self._decoder.decode(clip)
        self.decoders[decoded.decoder] += 1
        self.passed_on += len(decoded.passed_on)
        return decoded


def may_be(outcome: Outcome, written: Written, column: Column) -> bool:
    """Whether an outcome is no failure. What a GPU takes depends on its generation: it may refuse anything."""
    if column.on_gpu and written.refused is None:
        return outcome.cell in (EQUAL, refused(DecodeFailed.code))
    return outcome.is_as(written.expected(column))


def _outcome(written: Written, decoder: Decoder, bounds: Bounds) -> Outcome:
    if written.refused is not None:
        return written.refused
    try:
        sampled, every = (_decoded(clips, decoder) for clips in (written.sampled, written.every))
    except VideoError as error:
        return _refused(error)
    return Outcome(_fault(written, sampled, every, bounds) or EQUAL)


def _refused(error: VideoError) -> Outcome:
    return Outcome(refused(error.code), str(error))


Pictures = list[tuple[float, np.ndarray]]
"""(time in seconds, picture) each"""


def _decoded(clips: Sequence[Clip], decoder: Decoder) -> Pictures:
    found: Pictures = []
    for clip in clips:
        frames = decoder.decode(clip).frames
        pixels = frames.pixels if isinstance(frames.pixels, np.ndarray) else frames.pixels.cpu().numpy()
        found += zip(frames.pts_s.tolist(), pixels, strict=True)
    return found


def _fault(written: Written, sampled: Pictures, every: Pictures, bounds: Bounds) -> str | None:
    """What is wrong with the pictures, the first thing found; None where nothing is."""
    known, inspected = written.known, written.inspected
    if known is None or inspected is None:
        return f"{len(every)} pictures came out of what holds no video"
    if len(every) != len(known.frames):
        return f"{len(every)} of {len(known.frames)} pictures came out, {len(inspected.index.display_order)} are shown"
    asked = sum(len(clip.wanted) for clip in written.sampled)
    if len(sampled) != asked:
        return f"{len(sampled)} of {asked} pictures of a sparse sampling came out"
    info = inspected.info
    for at_s, pixels in (*sampled, *every):
        nearest = int(np.argmin(np.abs(np.array(known.times_s) - at_s)))
        if abs(known.times_s[nearest] - at_s) > _TOLERANCE_S:
            return f"a picture at {at_s:.4f} s, the nearest known one is at {known.times_s[nearest]:.4f} s"
        right = known.frames[nearest]
        if pixels.shape != right.shape:
            return f"a picture of {pixels.shape} instead of {right.shape}"
        if (info.width, info.height) != (pixels.shape[1], pixels.shape[0]):
            return f"said to be {info.width}x{info.height}, but {pixels.shape[1]}x{pixels.shape[0]} came out"
        if (ratio := psnr(pixels, right)) < bounds.everywhere:
            return f"the picture at {at_s:.3f} s is at {ratio:.1f} dB"
        if bounds.flat is not None and (where := flat(right)).any():
            ratio = psnr(pixels[where], right[where])
            if ratio < bounds.flat:
                return f"the picture at {at_s:.3f} s is at {ratio:.1f} dB away from borders"
    return None


def flat(picture: np.ndarray) -> np.ndarray:
    """bool [H, W]: where all around a pixel of a uint8 [H, W, 3] picture is of its own colour."""
    height, width = picture.shape[:2]
    padded = np.pad(picture, ((_BORDER, _BORDER), (_BORDER, _BORDER), (0, 0)), mode="edge")
    same = np.ones((height, width), bool)
    for down in range(2 * _BORDER + 1):
        for across in range(2 * _BORDER + 1):
            same &= (padded[down : down + height, across : across + width] == picture).all(-1)
    return same
