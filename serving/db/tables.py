"""All tables, for those who need to know all of them: migrations and their test."""

from sqlmodel import SQLModel

from serving.db import accounts, media, work

__all__ = ["METADATA", "accounts", "media", "work"]

METADATA = SQLModel.metadata
