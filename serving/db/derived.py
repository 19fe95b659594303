"""Table: what was made of videos, to be shown and played."""

from sqlalchemy import LargeBinary
from sqlmodel import Field, SQLModel

from serving.db.columns import Moment, moment


class Derived(SQLModel, table=True):
    """Something that was made of an object of a video, and can be made anew. The object's name is never used again, so
    that what was made of one is never taken for another's."""

    video_id: str = Field(primary_key=True, foreign_key="video.id", ondelete="CASCADE")
    object_key: str = Field(primary_key=True)
    """What it was made of: the video's own bytes, or its rendition's."""
    name: str = Field(primary_key=True)
    """What it is; see `serving.derived.shelf`."""
    tenant_id: str = Field(foreign_key="tenant.id")
    sealed: bytes = Field(sa_type=LargeBinary)
    """By the key of the video."""
    made_at: Moment = moment(now=True)
