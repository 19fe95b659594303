"""What a document of an archive may hold: as much as an analysis can make, and no more.

JSON is small beside what becomes of it: `0,` are two bytes, and 32 once they are a number in a tuple; one letter may
make each of a text four bytes. Vectors, which are plain letters, are as large as they were. So values are counted, and
what is not vectors is measured, before a document is decoded.
"""

import re
from collections.abc import Iterable
from typing import Final

from pipeline.curves import MAX_CELLS
from pipeline.report import Report, Tag
from pipeline.spec import MAX_LABELS, MAX_MODELS, MAX_SEGMENTS, MAX_TEXT
from serving.errors import ArchiveRefused

#: Values of a document. The report of a day at a frame a second has 0.2 million; 128 MiB of short vectors, a million.
MAX_VALUES: Final = 2_000_000

#: Bytes of a document beside its vectors: 20,000 cells of 50 signals have 20 MB, 5000 labels of 1000 characters 5 MB.
MAX_BESIDES_BYTES: Final = 48 << 20

#: Labels and categories of all models that looked on, and texts of a segment.
_MAX_TAGS: Final = MAX_LABELS * (MAX_MODELS + 1)
_MAX_REASONS: Final = 1000

#: Characters: a reason has a prompt or a label in it, and words around that.
_MAX_REASON_CHARS: Final = 4 * MAX_TEXT

_SLICE: Final = 1 << 20

#: What vectors are behind. In a text, its quotes would have a backslash before them.
_VECTORS: Final = re.compile(rb'"float16(?:_base64)?"\s*:\s*"')


def require_bounded(name: str, content: bytes) -> None:
    """Raises ArchiveRefused where a document may become more than any does. Each value but the first of its array or
    object is behind a comma; those in texts count with them, of which texts that are written here have few."""
    count = 0
    # In slices: others of this process go on between them.
    for start in range(0, len(content), _SLICE):
        count += sum(content.count(sign, start, start + _SLICE) for sign in (b",", b"[", b"{"))
        _require(count <= MAX_VALUES, name, f"more than the {MAX_VALUES} values that any document has")
    besides = len(content) - sum(_plain_bytes(content, found.end()) for found in _VECTORS.finditer(content))
    _require(besides <= MAX_BESIDES_BYTES, name, f"more than {MAX_BESIDES_BYTES} bytes beside its vectors")


def _plain_bytes(content: bytes, start: int) -> int:
    """Of a text that begins there, if all its letters are plain ones."""
    end = content.find(b'"', start)
    slices = range(start, end, _SLICE)
    return max(0, end - start) if all(content[at : min(at + _SLICE, end)].isascii() for at in slices) else 0


def require_plausible(name: str, report: Report) -> None:
    """Raises ArchiveRefused where no analysis makes a report like this."""
    features, vectors = report.features, report.features.embeddings
    cells = len(features.pts_s)
    if vectors is not None:
        wanted = 4 * -(-2 * len(vectors.pts_s) * vectors.dim // 3)
        agree = vectors.dim > 0 and len(vectors.float16_base64) == wanted
        _require(agree, name, "its vectors are not as many, or not as long, as it says")
    _require(cells <= MAX_CELLS, name, f"signals of more than {MAX_CELLS} cells")
    equal = all(len(curve) == cells for curve in features.signals.values())
    _require(equal, name, "signals that have not a value for each cell")
    _require(len(report.segments) <= MAX_SEGMENTS, name, f"more than {MAX_SEGMENTS} segments")
    for one in report.segments:
        _require(max(len(one.reasons), len(one.tags)) <= _MAX_REASONS, name, "a segment with more reasons than any")
        _require_short(name, (*one.reasons, *one.tags), _MAX_REASON_CHARS)
    require_tags(name, report.tags)


def require_tags(name: str, tags: tuple[Tag, ...]) -> None:
    """Raises ArchiveRefused where there are more than can be found, or longer names."""
    _require(len(tags) <= _MAX_TAGS, name, f"more than {_MAX_TAGS} tags")
    for tag in tags:
        _require_short(name, (tag.label, tag.parent or ""), MAX_TEXT)


def _require_short(name: str, texts: Iterable[str], most: int) -> None:
    _require(all(len(one) <= most for one in texts), name, f"a text of more than {most} characters")


def _require(holds: bool, name: str, wrong: str) -> None:
    if not holds:
        raise ArchiveRefused(f"{name}: {wrong}")
