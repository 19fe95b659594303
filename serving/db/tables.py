"""All tables, for those who need to know all of them: migrations and their test."""

from sqlmodel import SQLModel

from serving.db import (
    accounts,
    audit,
    copies,
    derived,
    keys,
    limits,
    media,
    playback,
    rights,
    search,
    tagging,
    uploads,
    vocabularies,
    work,
    workers,
)

__all__ = [
    "METADATA",
    "accounts",
    "audit",
    "copies",
    "derived",
    "keys",
    "limits",
    "media",
    "playback",
    "rights",
    "search",
    "tagging",
    "uploads",
    "vocabularies",
    "work",
    "workers",
]

METADATA = SQLModel.metadata
