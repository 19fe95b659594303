"""Vocabularies as callers see them."""

from datetime import datetime
from typing import Annotated

import msgspec
from litestar.params import Parameter

from pipeline.record import Record
from pipeline.spec import Label
from pipeline.vocabulary import MAX_LABELS
from serving.db.vocabularies import Vocabulary
from serving.vocabularies.builtin import BuiltIn

#: `$(?!\n)`: see `PLAIN_PATTERN`.
NAME_PATTERN = r"^(?!voc_)[a-z0-9][a-z0-9_-]{0,99}$(?!\n)"

Name = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
Which = Annotated[
    str,
    Parameter(
        pattern=r"^(voc_[0-9A-Z]{26}|[a-z0-9][a-z0-9_-]{0,99})$",
        description="Id or name of a vocabulary, or the name of one that comes with the server",
    ),
]


class VocabularyRequest(Record, frozen=True, kw_only=True):
    """What a vocabulary is to hold."""

    name: Name
    """Lower-case letters, digits, `-` and `_`; unique, and none that comes with the server."""
    labels: Annotated[tuple[Label, ...], msgspec.Meta(min_length=1, max_length=MAX_LABELS)]
    """A parent may be a label of the vocabulary, which then may have a parent itself, or only the name of a category.
    At most 8 levels, and no circles."""
    description: Annotated[str, msgspec.Meta(max_length=1000)] = ""


class VocabularySummary(Record, frozen=True, kw_only=True):
    """A vocabulary without its labels."""

    id: str
    """`voc_...`, or the name of one that comes with the server."""
    name: str
    description: str
    built_in: bool
    """Whether it comes with the server; such cannot be changed."""
    version: int
    """Counts its replacements from 1; `ETag` has it, too."""
    label_count: int
    applied_at: datetime | None
    """Since when it stands for your library: every video has its tags. None: it does not."""
    created_at: datetime | None
    """None where it is built in, as `updated_at`."""
    updated_at: datetime | None
    links: dict[str, str]


class VocabularyView(Record, frozen=True, kw_only=True):
    """A vocabulary."""

    id: str
    """`voc_...`, or the name of one that comes with the server."""
    name: str
    description: str
    built_in: bool
    """Whether it comes with the server; such cannot be changed."""
    version: int
    """Counts its replacements from 1; `ETag` has it, too."""
    labels: tuple[Label, ...]
    applied_at: datetime | None
    """Since when it stands for your library: every video has its tags. None: it does not."""
    created_at: datetime | None
    """None where it is built in, as `updated_at`."""
    updated_at: datetime | None
    links: dict[str, str]


def view(vocabulary: Vocabulary | BuiltIn) -> VocabularyView:
    """One as callers see it."""
    if isinstance(vocabulary, BuiltIn):
        return VocabularyView(
            id=vocabulary.name,
            name=vocabulary.name,
            description=vocabulary.description,
            built_in=True,
            version=1,
            labels=vocabulary.labels,
            applied_at=None,
            created_at=None,
            updated_at=None,
            links=_links(vocabulary.name),
        )
    return VocabularyView(
        id=vocabulary.id,
        name=vocabulary.name,
        description=vocabulary.description,
        built_in=False,
        version=vocabulary.version,
        labels=msgspec.convert(vocabulary.labels, tuple[Label, ...]),
        applied_at=vocabulary.applied_at,
        created_at=vocabulary.created_at,
        updated_at=vocabulary.updated_at,
        links=_links(vocabulary.id),
    )


def summary(vocabulary: Vocabulary | BuiltIn) -> VocabularySummary:
    """One in a list."""
    whole = msgspec.structs.asdict(view(vocabulary))
    return VocabularySummary(label_count=len(whole.pop("labels")), **whole)


def _links(which: str) -> dict[str, str]:
    return {"self": f"/v1/vocabularies/{which}"}
