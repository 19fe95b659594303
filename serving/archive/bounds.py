"""What a document of an archive may hold: as much as an analysis can make, and no more.

JSON is small beside what becomes of it: `0,` are two bytes, and 32 once they are a number in a tuple. Of text, as
vectors are, nothing grows. So values are counted before a document is decoded.
"""

from collections.abc import Iterable
from typing import Final

from pipeline.curves import MAX_CELLS
from pipeline.report import Report, Tag
from pipeline.spec import MAX_LABELS, MAX_MODELS, MAX_SEGMENTS, MAX_TEXT
from serving.errors import ArchiveRefused

#: Values of a document. The report of a day at a frame a second has 0.25 million; 128 MiB of short vectors, a million.
MAX_VALUES: Final = 2_000_000

#: Bytes of a report beside its vectors: 20,000 cells of 50 signals have 20 MB, 5000 labels of 1000 characters 5 MB.
MAX_BESIDES_BYTES: Final = 48 << 20

#: Labels and categories of all models that looked on, and texts of a segment.
_MAX_TAGS: Final = MAX_LABELS * (MAX_MODELS + 1)
_MAX_REASONS: Final = 1000

#: Characters: a reason has a prompt or a label in it, and words around that.
_MAX_REASON_CHARS: Final = 4 * MAX_TEXT

_SLICE: Final = 1 << 20


def require_few_values(name: str, content: bytes) -> None:
    """Raises ArchiveRefused where a document may have more values than any has. Each one but the first of its array or
    object is behind a comma; those in texts count with them, of which texts that are written here have few."""
    count = 0
    # In slices: others of this process go on between them.
    for start in range(0, len(content), _SLICE):
        count += sum(content.count(sign, start, start + _SLICE) for sign in (b",", b"[", b"{"))
        if count > MAX_VALUES:
            raise ArchiveRefused(f"{name}: more than the {MAX_VALUES} values that any document has")


def require_plausible(name: str, report: Report, size_bytes: int) -> None:
    """Raises ArchiveRefused where no analysis makes a report like this. `size_bytes`: of it as JSON."""
    features, vectors = report.features, report.features.embeddings
    cells = len(features.pts_s)
    text = 0
    if vectors is not None:
        text = len(vectors.float16_base64)
        wanted = 4 * -(-2 * len(vectors.pts_s) * vectors.dim // 3)
        _require(vectors.dim > 0 and text == wanted, name, "its vectors are not as many, or not as long, as it says")
    _require(size_bytes - text <= MAX_BESIDES_BYTES, name, f"more than {MAX_BESIDES_BYTES} bytes beside its vectors")
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
