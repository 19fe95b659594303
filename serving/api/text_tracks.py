"""Text tracks of a video, for `<track>`: where its storyboard's pictures lie, its chapters, its tags."""

import asyncio
import hashlib
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode

from litestar import Request, Response, get
from litestar.params import Parameter

from pipeline import chapters as naming
from pipeline import webvtt
from pipeline.report import Report
from serving.api.access import needs
from serving.api.describing import described
from serving.api.leaving import unless_left
from serving.api.pictures import latest_of
from serving.api.signed import Signature
from serving.api.tagging_records import VideoTag, tag_views
from serving.api.versions import IfNoneMatch, has
from serving.api.videos import NO_REPORT, VideoId, find
from serving.auth.principals import Principal
from serving.db.database import Database
from serving.errors import NotFound
from serving.pictures.pictures import Pictures
from serving.playback.granting import Grants
from serving.playback.media import Media
from serving.settings import Settings
from serving.storage.store import Store
from serving.tagging.deriving import tags_of

#: Asked about each time: what is in them follows from the latest report, and from what people say.
_CACHE: Final = "private, no-cache"

_VTT: Final = "text/vtt"


@get(
    "/v1/videos/{video_id:str}/storyboard.vtt",
    operation_id="get_storyboard_track",
    **needs("videos:read"),
    by_url="storyboard",
    tags=["pictures"],
    summary="Where on its storyboard a moment is",
    media_type=_VTT,
)
async def get_storyboard_track(
    request: Request[Any, Any, Any],
    principal: Principal,
    media: Media,
    pictures: Pictures,
    grants: Grants,
    settings: Settings,
    video_id: VideoId,
    if_none_match: IfNoneMatch = None,
    signature: Signature = None,
) -> Response[str]:
    """A cue for each picture, whose text is where it is: `storyboard.jpg?sheet=0#xywh=160,90,160,90`, relative to this
    file. The URLs need no key: they have the signature that this one was asked for with, or else one of their own, as
    `create_video_urls` makes it."""
    async with unless_left(request):
        layout = await pictures.layout(media.source)
    if signature is None or "authorization" in request.headers:
        granted = await grants.grant(media, principal, ("storyboard",), settings.auth.url_s)
        signature = granted.signatures["storyboard"]
    cues = []
    for tile in range(layout.tiles):
        start_s, end_s = layout.span(tile)
        sheet, x, y = layout.place(tile)
        query = urlencode({"sheet": sheet, "signature": signature})
        where = f"storyboard.jpg?{query}#xywh={x},{y},{layout.width},{layout.height}"
        cues.append(webvtt.Cue(start_s, end_s, where))
    return _answer(webvtt.text_of(cues), if_none_match)


describe_storyboard_track = described(get_storyboard_track, "describe_storyboard_track")


@get(
    "/v1/videos/{video_id:str}/chapters.vtt",
    operation_id="get_chapters_track",
    **needs("videos:read"),
    by_url="text",
    tags=["pictures"],
    summary="Its chapters as a text track",
    media_type=_VTT,
)
async def get_chapters_track(
    media: Media,
    database: Database,
    store: Store,
    video_id: VideoId,
    by: Annotated[
        naming.By,
        Parameter(description="`chapters`: stretches between clear changes; or key segments, or each shot."),
    ] = "chapters",
    if_none_match: IfNoneMatch = None,
    signature: Signature = None,
) -> Response[str]:
    """For `<track kind="chapters">`: from its latest report, named after the tags that tell a part from the rest, with
    what was said of these."""
    report, tags = await _found(database, store, media)
    found = await asyncio.to_thread(naming.chapters, report, tags, by)
    cues = [webvtt.Cue(one.start_s, one.end_s, webvtt.shown(one.title)) for one in found]
    return _answer(webvtt.text_of(cues), if_none_match)


describe_chapters_track = described(get_chapters_track, "describe_chapters_track")


@get(
    "/v1/videos/{video_id:str}/tags.vtt",
    operation_id="get_tags_track",
    **needs("videos:read"),
    by_url="text",
    tags=["pictures"],
    summary="Its tags as a text track",
    media_type=_VTT,
)
async def get_tags_track(
    media: Media,
    database: Database,
    store: Store,
    video_id: VideoId,
    kind: Annotated[
        Literal["tag", "category"] | None, Parameter(required=False, description="Labels, or categories, only.")
    ] = None,
    if_none_match: IfNoneMatch = None,
    signature: Signature = None,
) -> Response[str]:
    """For `<track kind="metadata">`: a cue for each stretch in which a tag holds, whose text is JSON with `label`,
    `kind`, `parent`, `score` and `vocabulary`."""
    _, tags = await _found(database, store, media)
    cues = [
        webvtt.Cue(
            stretch.start_s,
            stretch.end_s,
            webvtt.data(
                {
                    "label": tag.label,
                    "kind": tag.kind,
                    "parent": tag.parent,
                    "score": round(stretch.score, 4),
                    "vocabulary": tag.vocabulary,
                }
            ),
        )
        for tag in tags
        if kind in (None, tag.kind)
        for stretch in tag.ranges
    ]
    return _answer(await asyncio.to_thread(webvtt.text_of, cues), if_none_match)


describe_tags_track = described(get_tags_track, "describe_tags_track")


async def _found(database: Database, store: Store, media: Media) -> tuple[Report, list[VideoTag]]:
    """Its latest report, and the tags that it has now, by whomever. Raises NotFound."""
    report = await (await latest_of(database, store, media)).report()
    if report is None:
        raise NotFound(NO_REPORT)
    async with database.read(media.tenant_id) as session:
        video = await find(session, media.tenant_id, media.id)
        tagged = await tags_of(session, store.keyring, media.tenant_id, video)
    return report, [tag for one in tagged for tag in tag_views(one)]


def _answer(text: str, if_none_match: str | None) -> Response[str]:
    tag = f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": _CACHE}
    if has(if_none_match, tag):
        return Response("", status_code=304, media_type=_VTT, headers=headers)
    return Response(text, media_type=_VTT, headers=headers)
