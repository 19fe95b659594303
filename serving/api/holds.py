"""Legal holds of videos."""

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import Controller, delete, get, put

from pipeline.record import Record
from serving.api.access import Principal, needs
from serving.api.videos import VideoId
from serving.db.database import Database
from serving.db.rights import LegalHold
from serving.rights import holds
from serving.uploads.names import PLAIN_PATTERN


class HoldRequest(Record, frozen=True, kw_only=True):
    """Why a video has to stay."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=500, pattern=PLAIN_PATTERN)]
    """A file number, for example; no names of people."""


class HoldView(Record, frozen=True, kw_only=True):
    """That a video has to stay."""

    video_id: str
    reason: str
    placed_by: str
    """Id of the key or user."""
    placed_at: datetime


class Holds(Controller):
    """`/v1/videos/{id}/hold`"""

    path = "/v1/videos/{video_id:str}/hold"
    tags = ("rights",)

    @put(operation_id="place_hold", **needs("rights:manage"), summary="Put a video under a legal hold")
    async def place(self, principal: Principal, database: Database, video_id: VideoId, data: HoldRequest) -> HoldView:
        """Have a video stay, whatever happens: deleting it is refused (409 `legal_hold`), and rules of retention pass
        over it, until the hold is released. Placed again, it stays for the new reason."""
        return _view(await holds.place(database, principal.tenant_id, video_id, data.reason, principal.actor))

    @get(operation_id="get_hold", **needs("rights:manage"), summary="The legal hold that a video is under")
    async def one(self, principal: Principal, database: Database, video_id: VideoId) -> HoldView:
        """Why a video has to stay, and since when. 404 where it does not have to."""
        return _view(await holds.find(database, principal.tenant_id, video_id))

    @delete(operation_id="release_hold", **needs("rights:manage"), summary="Release a video from its legal hold")
    async def release(self, principal: Principal, database: Database, video_id: VideoId) -> None:
        """From now on it may be deleted again; where a rule of retention is about it whose time is over, it will be."""
        await holds.release(database, principal.tenant_id, video_id)


def _view(hold: LegalHold) -> HoldView:
    return HoldView(video_id=hold.video_id, reason=hold.reason, placed_by=hold.placed_by, placed_at=hold.placed_at)
