"""A video's rendition, for browsers without HLS: its bytes, whole or in ranges, as `stream` has those of the video."""

from typing import Any

from litestar import Request, Response, get, head

from serving.api.access import needs
from serving.api.sending import Sent
from serving.api.signed import Signature
from serving.api.stream import IfNoneMatch, IfRange, MediaTypes, Range, answered, sent
from serving.api.streams import Streams
from serving.api.videos import VideoId
from serving.auth.credentials import Credentials
from serving.errors import NotFound
from serving.playback.media import Made, Media
from serving.settings import Settings
from serving.storage.store import Store


@get(
    "/v1/videos/{video_id:str}/rendition/stream",
    operation_id="stream_rendition",
    **needs("videos:read", 412, 416),
    by_url="rendition",
    media=True,
    tags=["playback"],
    summary="Its rendition's bytes, in ranges",
)
async def stream_rendition(
    request: Request[Any, Any, Any],
    media: Media,
    store: Store,
    media_types: MediaTypes,
    sending: Streams,
    credentials: Credentials,
    settings: Settings,
    video_id: VideoId,
    range_: Range = None,
    if_range: IfRange = None,
    if_none_match: IfNoneMatch = None,
    signature: Signature = None,
) -> Sent:
    """The rendition as an MP4, all of it or one range, as `stream_video` has the bytes that were uploaded. What is
    where comes first in it, so that browsers go to any moment without having loaded what is before. 404 where there is
    none (`create_rendition`)."""
    return await sent(
        request, media, _made(media), store, media_types, sending=sending, credentials=credentials, settings=settings
    )


@head(
    "/v1/videos/{video_id:str}/rendition/stream",
    operation_id="describe_rendition_stream",
    **needs("videos:read", 412),
    by_url="rendition",
    media=True,
    tags=["playback"],
    summary="What its rendition's bytes are",
)
async def describe_rendition_stream(
    request: Request[Any, Any, Any],
    media: Media,
    store: Store,
    media_types: MediaTypes,
    video_id: VideoId,
    if_none_match: IfNoneMatch = None,
    signature: Signature = None,
) -> Response[None]:
    """As `stream_rendition` for all of them, without them."""
    answer, headers = await answered(request, media, _made(media), store, media_types)
    return Sent(answer.status, headers)


def _made(media: Media) -> Made:
    if media.made is None:
        raise NotFound("it has no rendition; have it encoded (POST /v1/videos/{video_id}/rendition)")
    return media.made
