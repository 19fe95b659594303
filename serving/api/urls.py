"""Signed URLs of a video: asked for, and revoked."""

from datetime import datetime
from typing import Annotated, Final

import msgspec
from litestar import delete, post
from sqlalchemy import update
from sqlmodel import col

from pipeline.record import Record
from serving.api.access import needs
from serving.api.videos import VideoId, find
from serving.auth.principals import Principal
from serving.db.accounts import Tenant
from serving.db.database import Database
from serving.db.media import Video
from serving.db.statements import execute
from serving.errors import InvalidRequest
from serving.playback.granting import Grants
from serving.playback.media import Media
from serving.playback.signing import PURPOSES, Purpose
from serving.settings import Settings

#: Where a video has what a purpose is about.
_PATHS: Final[dict[Purpose, str]] = {
    "stream": "stream",
    "hls": "hls/index.m3u8",
    "rendition": "rendition/stream",
    "thumbnail": "thumbnail",
    "storyboard": "storyboard.vtt",
    "text": "chapters.vtt",
}


class UrlsWanted(Record, frozen=True, kw_only=True):
    """What URLs are asked for."""

    purposes: Annotated[tuple[Purpose, ...], msgspec.Meta(min_length=1, max_length=len(PURPOSES))] = PURPOSES
    expires_in_s: Annotated[int, msgspec.Meta(ge=1, le=604_800)] | None = None
    """Seconds for which they are good; where it is left out, as long as the server says (`auth.url_s`)."""


class SignedUrl(Record, frozen=True, kw_only=True):
    """A URL that needs no key."""

    url: str
    """Relative to the server."""
    signature: str
    """The one that is in it: good for other URLs of the same purpose and video, too, as `?signature=`."""


class UrlsView(Record, frozen=True, kw_only=True):
    """What was asked for."""

    expires_at: datetime
    """No new request is answered from then on. One that is being answered goes on."""
    urls: dict[str, SignedUrl]
    """Purpose -> its URL."""


@post(
    "/v1/videos/{video_id:str}/urls",
    operation_id="create_video_urls",
    **needs("videos:read"),
    tags=["playback"],
    summary="URLs of a video that need no key, for a while",
)
async def create_video_urls(
    principal: Principal, settings: Settings, grants: Grants, media: Media, video_id: VideoId, data: UrlsWanted
) -> UrlsView:
    """A URL for each purpose, which whoever has it may read, for a while. It ends before that when it is revoked, when
    the video is deleted, and when the key or session that it was asked for with is no longer good."""
    lifetime_s = settings.auth.url_s if data.expires_in_s is None else data.expires_in_s
    if lifetime_s > settings.auth.max_url_s:
        most = f"{settings.auth.max_url_s} s are the most here (auth.max_url_s)"
        raise InvalidRequest("that is too long for a signed URL", (("/expires_in_s", most),))
    granted = await grants.grant(media, principal, data.purposes, lifetime_s)
    urls: dict[str, SignedUrl] = {}
    for purpose, signature in granted.signatures.items():
        url = f"/v1/videos/{media.id}/{_PATHS[purpose]}?signature={signature}"
        urls[purpose] = SignedUrl(url=url, signature=signature)
    return UrlsView(expires_at=granted.expires_at, urls=urls)


@delete(
    "/v1/videos/{video_id:str}/urls",
    operation_id="revoke_video_urls",
    **needs("videos:write"),
    tags=["playback"],
    summary="End all signed URLs of a video",
)
async def revoke_video_urls(principal: Principal, database: Database, video_id: VideoId) -> None:
    """None of those that there are is good any more, from the next request on; answers that are under way end within a
    second or two."""
    async with database.write("url.revoke", principal.tenant_id) as session:
        video = await find(session, principal.tenant_id, video_id)
        more = {"url_generation": Video.url_generation + 1}
        await execute(session, update(Video).where(col(Video.id) == video.id).values(more))


@delete(
    "/v1/urls",
    operation_id="revoke_urls",
    **needs("videos:write"),
    tags=["playback"],
    summary="End all signed URLs of all your videos",
)
async def revoke_urls(principal: Principal, database: Database) -> None:
    """As `revoke_video_urls`, for all of them."""
    async with database.write("url.revoke", principal.tenant_id) as session:
        more = {"url_generation": Tenant.url_generation + 1}
        await execute(session, update(Tenant).where(col(Tenant.id) == principal.tenant_id).values(more))
