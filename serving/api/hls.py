"""A video in segments (HTTP Live Streaming, RFC 8216): playlist, header, segments. Nothing is encoded anew."""

from collections.abc import AsyncGenerator
from contextlib import ExitStack
from typing import Annotated, Any, Final
from urllib.parse import quote

from litestar import Request, Response, get
from litestar.params import Parameter

from serving.api.access import needs
from serving.api.describing import described
from serving.api.leaving import unless_left
from serving.api.sending import Sending, Sent
from serving.api.signed import Signature, require_still, still_may
from serving.api.streams import Streams
from serving.api.versions import IfNoneMatch, has
from serving.api.videos import VideoId
from serving.auth.credentials import Credentials
from serving.derived.shelf import Source
from serving.playback.cuts import Cut
from serving.playback.hls import Hls, playlist
from serving.playback.media import Media
from serving.settings import Settings

PLAYLIST: Final = "application/vnd.apple.mpegurl"

#: How it is repacked; another one where the same request gives other bytes.
_VERSION: Final = "2"

#: How long a client may take over a segment, which is in memory meanwhile, seconds: hls.js waits no longer either.
_TAKEN_S: Final = 120.0

#: Segments never change. They stay with whoever has seen them, and not for longer than that is of use.
_CACHE: Final = "private, max-age=600"


@get(
    "/v1/videos/{video_id:str}/hls/index.m3u8",
    operation_id="get_playlist",
    **needs("videos:read"),
    by_url="hls",
    media=True,
    tags=["playback"],
    summary="Its HLS playlist",
    media_type=PLAYLIST,
)
async def get_playlist(
    request: Request[Any, Any, Any],
    media: Media,
    hls: Hls,
    video_id: VideoId,
    signature: Signature = None,
) -> Response[str]:
    """The video in segments of about four seconds, each from where decoding can start; of its rendition, where it
    has one (`get_playback`). Where it was asked for with a signed URL, so is what it names, with the same
    signature."""
    _, cut, _ = await _played(request, media, hls)
    query = "" if signature is None else f"?signature={quote(signature, safe='')}"
    return Response(playlist(cut, query), media_type=PLAYLIST, headers={"Cache-Control": "no-store"})


describe_playlist = described(get_playlist, "describe_playlist")


@get(
    "/v1/videos/{video_id:str}/hls/{name:str}",
    operation_id="get_segment",
    **needs("videos:read"),
    by_url="hls",
    media=True,
    tags=["playback"],
    summary="What its playlist names",
    media_type="video/mp4",
)
async def get_segment(
    request: Request[Any, Any, Any],
    media: Media,
    hls: Hls,
    sending: Streams,
    credentials: Credentials,
    settings: Settings,
    video_id: VideoId,
    name: Annotated[
        str,
        Parameter(
            pattern=r"^(init\.mp4|(0|[1-9][0-9]{0,6})\.m4s)$", description="`init.mp4`, or a segment's from 0 on."
        ),
    ],
    if_none_match: IfNoneMatch = None,
    signature: Signature = None,
) -> Sent:
    """The header that all segments have in common, or a segment: fragmented MP4."""
    sha256, cut, source = await _played(request, media, hls)
    tag = f'"{sha256[:32]}-{_VERSION}-{name.partition(".")[0]}"'
    headers = {"ETag": tag, "Cache-Control": _CACHE}
    if has(if_none_match, tag):
        return Sent(304, headers)
    allowed = still_may(request, media, credentials)
    with ExitStack() as held:
        # Before anything is made for it.
        held.enter_context(sending.take(media.tenant_id))
        if name == "init.mp4":
            content = cut.seen.header
        else:
            async with unless_left(request):
                loan = held.enter_context(await hls.segment(source, int(name.partition(".")[0])))
            content = loan.content
            # It may have waited for its turn for long.
            await require_still(request, allowed)
        sent = held.pop_all()
    # By which it counts as what may take its time.
    headers |= {"Content-Type": "video/mp4", "Content-Length": str(len(content)), "Accept-Ranges": "none"}
    return Sent(
        200,
        headers,
        Sending(
            pieces=_whole(content),
            size_bytes=len(content),
            allowed=allowed,
            slot=sent,
            stalled_s=settings.server.stalled_s,
            least_bytes_per_s=_least(settings, len(content)),
            name=media.id,
        ),
    )


describe_segment = described(get_segment, "describe_segment")


async def _played(request: Request[Any, Any, Any], media: Media, hls: Hls) -> tuple[str, Cut, Source]:
    """(hash, what it is made of, where it is) of the video, or of its rendition where there is one. Raises as
    `Hls.cut` and `unless_left`."""
    played = media if media.made is None else media.made
    source = media.source if media.made is None else media.source_of(media.made)
    async with unless_left(request):
        return played.sha256, await hls.cut(source), source


def _least(settings: Settings, size_bytes: int) -> float:
    least = settings.server.least_bytes_per_s
    return max(least, size_bytes / _TAKEN_S) if least else 0.0


async def _whole(content: bytes) -> AsyncGenerator[bytes]:
    yield content
