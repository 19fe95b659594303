"""Whether browsers play a video as it is, and having it encoded anew where they do not."""

from datetime import datetime
from typing import Annotated, Final, Literal, cast

from litestar import get, post
from litestar.params import Parameter

from pipeline.errors import InputNotFound, UnsupportedCodec
from pipeline.record import Record
from serving.api.access import needs
from serving.api.videos import VideoId, find
from serving.auth.principals import Principal
from serving.db.database import Database
from serving.db.playback import Rendition
from serving.errors import Conflict
from serving.playback import renditions
from serving.playback.cuts import Cut
from serving.playback.hls import Hls
from serving.playback.media import Media
from serving.settings import Settings
from serving.storage.store import Store, video_at
from serving.uploads import quota

_BEGINNING: Final = "browsers do not play it as it is: "


class RenditionView(Record, frozen=True, kw_only=True):
    """The video as H.264 and AAC."""

    state: Literal["due", "done", "failed"]
    """`due`: it waits for a worker, or one is at it."""
    code: str | None
    """Of the problem that it failed with."""
    detail: str | None
    width: int | None
    height: int | None
    size_bytes: int | None
    created_at: datetime
    done_at: datetime | None


class PlaybackView(Record, frozen=True, kw_only=True):
    """How a video can be played."""

    as_it_is: bool
    """Whether browsers play it, repacked by HLS, as far as its packets tell; most do by its stream then, too."""
    why_not: str | None
    codecs: str | None
    """As `MediaSource.isTypeSupported` takes them; of what HLS plays."""
    duration_s: float | None
    hls: Literal["original", "rendition"] | None
    """What its playlist is of: the rendition where there is one. None where there is no playlist before there is."""
    stream: Literal["stream", "rendition"] | None
    """What a `<video>` without HLS is given: the purpose whose URL is that of the bytes that browsers play. Of what
    browsers play as it is, most do out of its own container, too; of the rest, some, as MP3 or sound with gaps."""
    rendition: RenditionView | None


@get(
    "/v1/videos/{video_id:str}/playback",
    operation_id="get_playback",
    **needs("videos:read"),
    tags=["playback"],
    summary="How it can be played",
)
async def get_playback(media: Media, hls: Hls, database: Database, video_id: VideoId) -> PlaybackView:
    """Whether browsers play it as it is, why not, and how its rendition is."""
    reason, cut, gone = None, None, None
    plays: Literal["original", "rendition"] = "original"
    try:
        cut = await _original(media, hls)
    except UnsupportedCodec as error:
        reason = str(error).removeprefix(_BEGINNING)
    if media.made is not None:
        try:
            cut, plays = await hls.cut(media.source_of(media.made)), "rendition"
        except InputNotFound:
            # Nor does its playlist.
            cut, gone = None, media.made.object_key
    async with database.read(media.tenant_id) as session:
        row = await session.get(Rendition, media.id)
    if row is not None and row.state == "done" and media.made is None:
        # Since the video was read. What is told is of one moment: who asks again finds it.
        row = Rendition(video_id=row.video_id, tenant_id=row.tenant_id, created_at=row.created_at)
    if row is not None and gone is not None and row.object_key == gone:
        # As if there had been none: who asks for one gets it.
        row = None
    return PlaybackView(
        as_it_is=reason is None,
        why_not=reason,
        codecs=cut and cut.seen.codecs,
        duration_s=cut and sum(part.duration_s for part in cut.segments),
        hls=cut and plays,
        stream=None if cut is None else "stream" if plays == "original" else "rendition",
        rendition=None if row is None else _view(row),
    )


@post(
    "/v1/videos/{video_id:str}/rendition",
    operation_id="create_rendition",
    **needs("videos:write"),
    tags=["playback"],
    summary="Have it encoded for browsers",
    status_code=202,
)
async def create_rendition(
    principal: Principal,
    settings: Settings,
    media: Media,
    hls: Hls,
    store: Store,
    database: Database,
    video_id: VideoId,
    force: Annotated[bool, Parameter(description="Though browsers play it as it is: some of your players do not.")] = (
        False
    ),
) -> RenditionView:
    """Have a worker encode it as H.264 and AAC, of 1920 pixels at the longer side at most. What is under way or done is
    not begun anew; what failed is, or whose bytes are gone. One that browsers play as it is, is encoded with `force`
    only. Its bytes count against the quota."""
    try:
        await _original(media, hls)
    except UnsupportedCodec:
        pass
    else:
        if not force:
            raise Conflict("browsers play it as it is, as far as is known; where some of yours do not, say force=true")
    gone = None
    if media.made is not None:
        try:
            await store.size(video_at(media.tenant_id, media.made.object_key), media.made.key)
        except FileNotFoundError:
            gone = media.made.object_key
    async with database.write("rendition.write", principal.tenant_id) as session:
        if not await renditions.goes_on(session, principal.tenant_id, video_id, gone):
            await quota.require_room(session, principal.tenant_id, 1, settings.upload.tenant_max_bytes)
        await find(session, principal.tenant_id, video_id, lock=True)
        await renditions.ask(session, principal.tenant_id, video_id, gone)
        row = await session.get(Rendition, video_id)
        assert row is not None
        return _view(row)


async def _original(media: Media, hls: Hls) -> Cut:
    return await hls.cut(media.source)


def _view(row: Rendition) -> RenditionView:
    return RenditionView(
        state=cast(Literal["due", "done", "failed"], row.state),
        code=row.code,
        detail=row.detail,
        width=row.width,
        height=row.height,
        size_bytes=row.size_bytes,
        created_at=row.created_at,
        done_at=row.done_at,
    )
