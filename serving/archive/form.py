"""What is in an archive: docs/archive-format.md says it in words."""

import hashlib
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec

from pipeline.record import Record
from pipeline.report import Tag
from pipeline.spec import Label
from serving.tagging.corrections import MAX_OF_A_VIDEO
from serving.uploads.names import PLAIN_PATTERN

FORMAT: Final = "automations archive"
VERSION: Final = 2

#: Versions that are read. In the first one, what else is held about a tenant is in the first manifest.
VERSIONS: Final = (1, VERSION)

#: Names of the first and the last entry.
FIRST, LAST = "manifest.json", "end.json"

#: Bytes of the first manifest; of one of a video, a part of what is held about a tenant, and the end; and of another
#: JSON document: what is read of them is in memory.
MAX_MANIFEST_BYTES: Final = 64 << 20
MAX_ENTRIES_BYTES: Final = 4 << 20
MAX_DOCUMENT_BYTES: Final = 128 << 20
#: Of all documents of one video.
MAX_DOCUMENTS_BYTES: Final = 512 << 20

Kind = Literal["video", "tenant"]
Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
Finite = Annotated[float, msgspec.Meta(ge=-1, le=1e9)]
Title = Annotated[str, msgspec.Meta(min_length=1, max_length=500, pattern=PLAIN_PATTERN)]
#: As many as a caller may give it.
Labels = Annotated[tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=100)], ...], msgspec.Meta(max_length=100)]
When = Annotated[datetime, msgspec.Meta(tz=True)]


class ArchivedSpace(Record, frozen=True, kw_only=True):
    """A vector space that reports have vectors of."""

    space: str
    dim: int
    model: str
    scale: float
    bias: float | None
    state: str


class ArchivedVocabulary(Record, frozen=True, kw_only=True):
    """A vocabulary."""

    id: str
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    description: str
    labels: tuple[Label, ...]
    applied: bool
    """Whether it stands for the library."""


class Archive(Record, frozen=True, kw_only=True):
    """`manifest.json`."""

    format: str
    version: int
    kind: Kind
    created_at: When
    tenant_id: str
    spaces: tuple[ArchivedSpace, ...]
    vocabularies: tuple[ArchivedVocabulary, ...]
    tenant: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    """Of version 1, what is in entries of its own by now."""


class Entry(Record, frozen=True, kw_only=True):
    """An entry of a video."""

    name: str
    """Below `videos/ID/`."""
    size_bytes: Annotated[int, msgspec.Meta(ge=0, le=1 << 50)]
    sha256: Sha256


class VideoManifest(Record, frozen=True, kw_only=True):
    """`videos/ID/manifest.json`: the entries behind it, in their order."""

    id: Annotated[str, msgspec.Meta(pattern=r"^vid_[0-9A-Za-z_]{1,60}$")]
    entries: tuple[Entry, ...]


class ArchivedReport(Record, frozen=True, kw_only=True):
    """A report, by its entry."""

    name: str
    job_id: str
    created_at: When


class ArchivedCorrection(Record, frozen=True, kw_only=True):
    """Something that was said of a tag."""

    vocabulary_id: str | None
    label: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
    from_s: Finite
    to_s: Finite
    accepted: bool
    judged_at: When


class ArchivedTags(Record, frozen=True, kw_only=True):
    """What a vocabulary that stands found."""

    vocabulary_id: str
    space: str
    tags: tuple[Tag, ...]


class ArchivedLooks(Record, frozen=True, kw_only=True):
    """What it looks like, to find copies by."""

    pts_s: tuple[Finite, ...]
    float16: bytes
    """[N, 147] halves, little-endian."""


class ArchivedVideo(Record, frozen=True, kw_only=True):
    """`video.json`."""

    id: str
    title: Title
    labels: Labels
    user_metadata: dict[str, Any]
    filename: Annotated[str, msgspec.Meta(max_length=255, pattern=PLAIN_PATTERN)] | None
    size_bytes: int
    sha256: Sha256
    created_at: When
    updated_at: When
    reports: tuple[ArchivedReport, ...]
    """Earliest first."""
    corrections: Annotated[tuple[ArchivedCorrection, ...], msgspec.Meta(max_length=MAX_OF_A_VIDEO)]
    """Earliest first."""
    found_tags: tuple[ArchivedTags, ...]
    looks: ArchivedLooks | None


class End(Record, frozen=True, kw_only=True):
    """`end.json`: without it, the archive is cut off."""

    videos: int
    sha256: Sha256
    """Of all manifests, and all that is held about the tenant, one behind the other as they come."""


def part_name(number: int) -> str:
    """Of a part of what else is held about a tenant; counted from 1."""
    return f"tenant/{number:06}.json"


def report_name(number: int) -> str:
    """Of a report of a video; counted from 1."""
    return f"reports/{number:06}.json"


def encoded(record: msgspec.Struct | dict[str, Any]) -> bytes:
    """A document."""
    return msgspec.json.encode(record)


def entry_of(name: str, content: bytes) -> Entry:
    """The entry that a document is."""
    return Entry(name=name, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


class Imported(Record, frozen=True, kw_only=True):
    """What an import did."""

    videos: dict[str, str]
    """Id in the archive -> id here, of videos that came with it."""
    there: dict[str, str]
    """The same of videos whose bytes were here already: nothing was changed of them."""
    without_bytes: tuple[str, ...]
    """Ids in the archive of videos whose bytes had been lost where it was made: they cannot come back."""
    vocabularies: tuple[str, ...]
    """Names of vocabularies that came with it."""
    vocabularies_there: tuple[str, ...]
    """Names of those that were here already, and stay as they were."""
