"""All tables, for those who need to know all of them: migrations and their test."""

from sqlmodel import SQLModel

from serving.db import accounts, media, uploads, work

__all__ = ["METADATA", "accounts", "media", "uploads", "work"]

METADATA = SQLModel.metadata
