"""Tables: what the database knows of the store of objects as a whole."""

from sqlmodel import Field, SQLModel

from serving.db.columns import Moment, moment


class StoreOwner(SQLModel, table=True):
    """The name that this database has for itself. There is one, once the store was claimed: see
    `serving.storage.owning`."""

    __tablename__ = "store_owner"  # type: ignore[assignment]

    number: int = Field(primary_key=True)
    """1."""
    id: str
    """What the object in the store says, too."""


class SweptObject(SQLModel, table=True):
    """An object that nothing named, and that was deleted. No row may name it any more: the database refuses its key."""

    __tablename__ = "swept_object"  # type: ignore[assignment]

    object_key: str = Field(primary_key=True)
    at: Moment = moment(now=True)
