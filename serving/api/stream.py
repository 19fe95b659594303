"""A video's bytes, whole or in ranges, straight from where they are sealed."""

from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing
from pathlib import PurePosixPath
from typing import Annotated, Any, Final
from urllib.parse import quote

from litestar import Request, Response, get, head
from litestar.params import Parameter

from pipeline.structure import HEAD_BYTES, media_type_of_head
from serving.api.access import needs
from serving.api.sending import Sending, Sent
from serving.api.signed import Signature, still_may
from serving.api.streams import Streams
from serving.api.videos import VideoId
from serving.auth.credentials import Credentials
from serving.errors import NotFound
from serving.playback.conditions import Answer, Conditions, Representation, answer_to
from serving.playback.media import Made, Media
from serving.settings import Settings
from serving.storage.store import Store, video_at

_TEXT: Final = {"max_length": 2000, "required": False}

Range = Annotated[
    str | None,
    Parameter(header="Range", description="One range of bytes; all of it is sent where there are several", **_TEXT),
]
IfRange = Annotated[
    str | None, Parameter(header="If-Range", description="The tag or date of what the range is of", **_TEXT)
]
IfNoneMatch = Annotated[
    str | None, Parameter(header="If-None-Match", description="Tags of what the client has", **_TEXT)
]


class MediaTypes:
    """What objects are, as HTTP has it, by what they begin with. Objects never change."""

    def __init__(self, most: int = 10_000) -> None:
        """`most`: how many are remembered."""
        self._known: OrderedDict[str, str] = OrderedDict()
        self._most = most

    async def of(self, store: Store, tenant: str, played: Media | Made) -> str:
        """The media type of a video. Raises as `Store.read`."""
        found = self._known.get(played.object_key)
        if found is None:
            what = video_at(tenant, played.object_key)
            async with aclosing(store.read(what, played.key, 0, HEAD_BYTES)) as pieces:
                found = media_type_of_head(b"".join([bytes(piece) async for piece in pieces]))
            self._known[played.object_key] = found
            if len(self._known) > self._most:
                self._known.popitem(last=False)
        return found


@get(
    "/v1/videos/{video_id:str}/stream",
    operation_id="stream_video",
    **needs("videos:read", 412, 416),
    by_url="stream",
    media=True,
    tags=["playback"],
    summary="The video's bytes, in ranges",
)
async def stream_video(
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
    """The bytes of the video as they were uploaded, all of them or one range (RFC 9110, 14). They never change: the
    entity tag is a strong one. An answer that is under way ends about a second after what it was asked for with was
    revoked, or the video was deleted."""
    return await sent(
        request, media, media, store, media_types, sending=sending, credentials=credentials, settings=settings
    )


@head(
    "/v1/videos/{video_id:str}/stream",
    operation_id="describe_stream",
    **needs("videos:read", 412),
    by_url="stream",
    media=True,
    tags=["playback"],
    summary="What the video's bytes are",
)
async def describe_stream(
    request: Request[Any, Any, Any],
    media: Media,
    store: Store,
    media_types: MediaTypes,
    video_id: VideoId,
    if_none_match: IfNoneMatch = None,
    signature: Signature = None,
) -> Response[None]:
    """As `stream_video` for all of them, without them."""
    answer, headers = await answered(request, media, media, store, media_types)
    return Sent(answer.status, headers)


async def sent(
    request: Request[Any, Any, Any],
    media: Media,
    played: Media | Made,
    store: Store,
    media_types: MediaTypes,
    *,
    sending: Streams,
    credentials: Credentials,
    settings: Settings,
) -> Sent:
    """The bytes that a request wants: of the video as it came, or of its rendition, whichever is `played`."""
    with ExitStack() as held:
        # Before anything of it is opened.
        slot = held.enter_context(sending.take(media.tenant_id))
        answer, headers = await answered(request, media, played, store, media_types)
        if answer.status == 304:
            return Sent(304, headers)
        pieces = store.read(video_at(media.tenant_id, played.object_key), played.key, answer.start, answer.stop)
        # Whatever is wrong with the first of it is told, and not only that there is no more.
        first = await begun(pieces)
        held.pop_all()
    return Sent(
        answer.status,
        headers,
        Sending(
            pieces=first,
            size_bytes=answer.stop - answer.start,
            allowed=still_may(request, media, credentials),
            slot=slot,
            stalled_s=settings.server.stalled_s,
            least_bytes_per_s=settings.server.least_bytes_per_s,
            name=media.id,
        ),
    )


async def answered(
    request: Request[Any, Any, Any], media: Media, played: Media | Made, store: Store, media_types: MediaTypes
) -> tuple[Answer, dict[str, str]]:
    """What is sent, and its headers. `played`: see `sent`."""
    kept = Representation(size_bytes=played.size_bytes, tag=played.sha256, since=played.created_at)
    answer = answer_to(_conditions(request), kept)
    headers = {"Accept-Ranges": "bytes", "ETag": kept.etag, "Last-Modified": kept.last_modified}
    if answer.status == 304:
        return answer, headers
    try:
        headers["Content-Type"] = await media_types.of(store, media.tenant_id, played)
    except FileNotFoundError as error:
        # Deleted since its row was read.
        raise NotFound("there is no such video") from error
    headers["Content-Length"] = str(answer.stop - answer.start)
    headers["Content-Disposition"] = disposition(_name(media, played))
    if answer.status == 206:
        headers["Content-Range"] = f"bytes {answer.start}-{answer.stop - 1}/{played.size_bytes}"
    return answer, headers


def _name(media: Media, played: Media | Made) -> str | None:
    if played is media or media.filename is None:
        return media.filename
    return f"{PurePosixPath(media.filename).stem}.mp4"


def _conditions(request: Request[Any, Any, Any]) -> Conditions:
    said = request.headers.get
    return Conditions(
        # Of other methods, no ranges are taken.
        range=said("range") if request.method == "GET" else None,
        if_range=said("if-range"),
        if_match=said("if-match"),
        if_none_match=said("if-none-match"),
        if_modified_since=said("if-modified-since"),
        if_unmodified_since=said("if-unmodified-since"),
    )


def disposition(filename: str | None) -> str:
    """`Content-Disposition`: shown where it is, and saved under its name (RFC 6266)."""
    return f"inline; filename*=UTF-8''{quote(filename, safe='')}" if filename else "inline"


async def begun(pieces: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """The same pieces, once the first of them is there. Raises as they do."""
    try:
        first = await anext(pieces, None)
    except FileNotFoundError as error:
        raise NotFound("there is no such video") from error
    return _with(first, pieces)


async def _with(first: bytes | None, pieces: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    async with aclosing(pieces):
        if first is not None:
            yield first
        async for piece in pieces:
            yield piece
