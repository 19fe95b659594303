"""Pictures of a video: of a moment, its poster, its storyboard. For `<img>`, with a signed URL, as for programs."""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode

from litestar import Request, Response, get
from litestar.params import Parameter

from pipeline.report import Report
from serving.api.access import needs
from serving.api.describing import described
from serving.api.leaving import unless_left
from serving.api.picture_records import PicturesView, PosterView, StoryboardView
from serving.api.reading import read_quickly
from serving.api.signed import Signature
from serving.api.versions import IfNoneMatch, has
from serving.api.videos import VideoId
from serving.auth.principals import Principal
from serving.db.database import Database
from serving.errors import NotFound
from serving.pictures.accepting import kind_for
from serving.pictures.pictures import Pictures, Shown
from serving.playback.granting import Grants
from serving.playback.media import Media
from serving.playback.signing import Purpose
from serving.settings import Settings
from serving.storage import reports
from serving.storage.store import Store

#: How pictures are made; another one where the same request gives another picture.
_VERSION: Final = "2"

#: Browsers show a picture again for as long without asking; then they ask whether it is still that one.
_CACHE: Final = "private, max-age=60"

#: What `get_pictures` has URLs for.
_PURPOSES: Final[tuple[Purpose, ...]] = ("thumbnail", "storyboard", "text")

#: Widths that may be asked for, pixels.
_MIN_WIDTH, _MAX_WIDTH = 16, 1920

Width = Annotated[
    int,
    Parameter(ge=_MIN_WIDTH, le=_MAX_WIDTH, description="Pixels; no picture is wider than its video."),
]


@get(
    "/v1/videos/{video_id:str}/pictures",
    operation_id="get_pictures",
    **needs("videos:read"),
    tags=["pictures"],
    summary="What there is to show of it",
)
async def get_pictures(
    request: Request[Any, Any, Any],
    principal: Principal,
    media: Media,
    pictures: Pictures,
    grants: Grants,
    settings: Settings,
    database: Database,
    store: Store,
    video_id: VideoId,
) -> PicturesView:
    """Its poster and why it was chosen, its storyboard and how that is laid out, and its text tracks, with signed URLs
    of each that are good for `auth.url_s`: all that a page needs."""
    from pipeline import board

    found = await latest_of(database, store, media)
    async with unless_left(request):
        layout = await pictures.layout(media.source)
        chosen = await pictures.choice(media.source, found.report, found.job_id)
    granted = await grants.grant(media, principal, _PURPOSES, settings.auth.url_s)

    def url(part: str, purpose: Purpose, **query: object) -> str:
        query["signature"] = granted.signatures[purpose]
        return f"/v1/videos/{media.id}/{part}?{urlencode(query)}"

    return PicturesView(
        expires_at=granted.expires_at,
        poster=PosterView(
            url=url("poster", "thumbnail"),
            at_s=chosen.time_s,
            score=chosen.score,
            parts=chosen.parts,
            reasons=chosen.reasons,
        ),
        thumbnail_url=url("thumbnail", "thumbnail"),
        storyboard=StoryboardView(
            track_url=url("storyboard.vtt", "storyboard"),
            sheet_urls=tuple(url("storyboard.jpg", "storyboard", sheet=sheet) for sheet in range(layout.sheets)),
            interval_s=layout.interval_s,
            pictures=layout.tiles,
            columns=board.COLUMNS,
            rows=board.ROWS,
            width=layout.width,
            height=layout.height,
        ),
        chapters_url=None if found.kept is None else url("chapters.vtt", "text"),
        tags_url=None if found.kept is None else url("tags.vtt", "text"),
    )


@get(
    "/v1/videos/{video_id:str}/thumbnail",
    operation_id="get_thumbnail",
    **needs("videos:read"),
    by_url="thumbnail",
    media=True,
    tags=["pictures"],
    summary="A picture of a moment",
    media_type="image/jpeg",
)
async def get_thumbnail(
    request: Request[Any, Any, Any],
    media: Media,
    pictures: Pictures,
    video_id: VideoId,
    at_s: Annotated[float, Parameter(ge=0, le=604_800, description="Seconds; beyond the end, the last frame.")] = 0.0,
    width: Width = 320,
    snap: Annotated[
        Literal["frame", "keyframe"],
        Parameter(description="`keyframe`: the nearest one, which is quicker and may be seconds away."),
    ] = "frame",
    if_none_match: IfNoneMatch = None,
    signature: Signature = None,
) -> Response[bytes]:
    """The frame nearest to a time, upright, as JPEG, or WebP for who accepts it. `Frame-Time` says when it begins."""
    kind = kind_for(request.headers.get("accept"))
    tag = entity_tag(media, "thumbnail", at_s, width, snap, kind)
    if has(if_none_match, tag):
        return _unchanged(tag)
    async with unless_left(request):
        found = await pictures.thumbnail(media.source, at_s, width, kind, cheap=snap == "keyframe")
    await still_there(request, pictures, media)
    return _picture(found, kind, tag)


describe_thumbnail = described(get_thumbnail, "describe_thumbnail")


@get(
    "/v1/videos/{video_id:str}/poster",
    operation_id="get_poster",
    **needs("videos:read"),
    by_url="thumbnail",
    media=True,
    tags=["pictures"],
    summary="The picture that stands for it",
    media_type="image/jpeg",
)
async def get_poster(
    request: Request[Any, Any, Any],
    media: Media,
    pictures: Pictures,
    database: Database,
    store: Store,
    video_id: VideoId,
    width: Width = 640,
    if_none_match: IfNoneMatch = None,
    signature: Signature = None,
) -> Response[bytes]:
    """A frame that is sharp, well exposed and in no transition, chosen with what the latest report measured, where
    there is one. Why it was chosen: `get_pictures`. As `get_thumbnail` besides."""
    kind = kind_for(request.headers.get("accept"))
    latest_one = await latest_of(database, store, media)
    tag = entity_tag(media, "poster", latest_one.job_id, width, kind)
    if has(if_none_match, tag):
        return _unchanged(tag)
    async with unless_left(request):
        chosen = await pictures.choice(media.source, latest_one.report, latest_one.job_id)
        found = await pictures.poster(media.source, chosen, width, kind)
    await still_there(request, pictures, media)
    return _picture(found, kind, tag)


describe_poster = described(get_poster, "describe_poster")


@get(
    "/v1/videos/{video_id:str}/storyboard.jpg",
    operation_id="get_storyboard",
    **needs("videos:read"),
    by_url="storyboard",
    media=True,
    tags=["pictures"],
    summary="A sheet of its storyboard",
    media_type="image/jpeg",
)
async def get_storyboard(
    request: Request[Any, Any, Any],
    media: Media,
    pictures: Pictures,
    video_id: VideoId,
    sheet: Annotated[int, Parameter(ge=0, le=100, description="From 0 on; see `get_storyboard_track`.")] = 0,
    if_none_match: IfNoneMatch = None,
    signature: Signature = None,
) -> Response[bytes]:
    """Small pictures of the whole video, side by side: for whoever points at its time line. Which is where, says
    `get_storyboard_track`. Always JPEG."""
    tag = entity_tag(media, "storyboard", sheet)
    if has(if_none_match, tag):
        return _unchanged(tag)
    async with unless_left(request):
        content = await pictures.sheet(media.source, sheet)
    await still_there(request, pictures, media)
    return Response(content, media_type="image/jpeg", headers={"ETag": tag, "Cache-Control": _CACHE})


describe_storyboard = described(get_storyboard, "describe_storyboard")


def entity_tag(media: Media, *what: object) -> str:
    """Of what is made of a video: known before it is made, for a video's bytes never change. Weak, for another build of
    an encoder may write the same picture in other bytes."""
    said = "\n".join(map(str, (_VERSION, media.tenant_id, media.object_key, *what)))
    return f'W/"{hashlib.sha256(said.encode()).hexdigest()[:32]}"'


@dataclass(frozen=True, slots=True)
class Latest:
    """What the video's resources show, which may be nothing yet."""

    kept: reports.KeptReport | None

    @property
    def job_id(self) -> str:
        """Of which job it is; empty where there is none."""
        return "" if self.kept is None else self.kept.job_id

    async def report(self) -> Report | None:
        """The report, read beside the event loop, for some are large. Raises as `KeptReport.report`."""
        return None if self.kept is None else await asyncio.to_thread(self.kept.report)


async def latest_of(database: Database, store: Store, media: Media) -> Latest:
    """The latest report of a video, which is not read yet. Raises as `reports.latest`."""
    async with database.read(media.tenant_id) as session:
        return Latest(await reports.latest(session, store.keyring, media.tenant_id, media.id))


async def still_there(request: Request[Any, Any, Any], pictures: Pictures, media: Media) -> None:
    """Go on only if the video was not deleted while its picture was made. Raises NotFound."""
    if await read_quickly(request, "tenant_videos", media.id) is None:
        pictures.forget(media.object_key)
        raise NotFound("there is no such video")


def _picture(found: Shown, kind: str, tag: str) -> Response[bytes]:
    headers: Mapping[str, str] = {
        "ETag": tag,
        "Cache-Control": _CACHE,
        "Vary": "Accept",
        "Frame-Time": f"{found.time_s:.3f}",
    }
    return Response(found.content, media_type=f"image/{kind}", headers=dict(headers))


def _unchanged(tag: str) -> Response[bytes]:
    headers = {"ETag": tag, "Cache-Control": _CACHE, "Vary": "Accept"}
    return Response(b"", status_code=304, media_type="image/jpeg", headers=headers)
