"""Videos: what is known of them, and what their latest report found."""

import asyncio
from datetime import datetime
from types import SimpleNamespace
from typing import Annotated, Any, Final, Literal, cast

import msgspec
from litestar import Controller, Request, Response, delete, get, patch
from litestar.di import Provide
from litestar.params import Parameter
from sqlalchemy import text
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline.record import Record
from pipeline.report import Report, Segment, Shot
from serving.api.access import Principal, needs
from serving.api.constraints import ABOVE_ZERO, FROM_ZERO
from serving.api.metadata import require_modest
from serving.api.page import DEFAULT_LIMIT, MAX_CURSOR, MAX_LIMIT, Page, page_of
from serving.api.reading import read_quickly
from serving.api.tagging_records import VideoTag, tag_views
from serving.api.video_list import Sort, Status, VideoFilters, filters, narrowed, ordered
from serving.api.vocabulary_records import Which
from serving.db.database import Database
from serving.db.documents import Document
from serving.db.media import Video
from serving.errors import NotFound
from serving.pictures.pictures import Pictures
from serving.playback.hls import Hls
from serving.rights import erasing
from serving.storage import reports
from serving.storage.reports import KeptReport
from serving.storage.store import Store
from serving.tagging.deriving import tags_of
from serving.uploads.names import PLAIN_PATTERN
from serving.weights import segment_spec

VideoId = Annotated[str, Parameter(pattern=r"^vid_[0-9A-Z]{26}$", description="Id of a video")]
Title = Annotated[str, msgspec.Meta(min_length=1, max_length=500, pattern=PLAIN_PATTERN)]
Label = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Labels = Annotated[tuple[Label, ...], msgspec.Meta(max_length=100)]


class VideoView(Record, frozen=True, kw_only=True):
    """A video, as callers see it."""

    id: str
    title: str
    labels: tuple[str, ...]
    user_metadata: dict[str, Any]
    status: Status
    """That of its latest job, once there is one."""
    filename: str | None
    size_bytes: int
    sha256: str
    duration_s: float | None
    """Known, as what follows, once it was analysed."""
    width: int | None
    height: int | None
    codec: str | None
    container: str | None
    created_at: datetime
    updated_at: datetime
    links: dict[str, str]
    """Where more of it is; `pictures` has all there is to show, with URLs for browsers."""


class VideoPatch(Record, frozen=True, kw_only=True):
    """What is to be changed; what is left out stays."""

    title: Title | msgspec.UnsetType = msgspec.UNSET
    labels: Labels | msgspec.UnsetType = msgspec.UNSET
    user_metadata: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class Signals(Record, frozen=True, kw_only=True):
    """The curves that segments are chosen by."""

    times_s: tuple[float, ...]
    signals: dict[str, tuple[float, ...]]
    """Name -> its value at each time, 0 to 1."""


NO_REPORT: Final = "the video has no report yet; submit a job for it, or wait for the one that runs"

_METADATA: Final[Document[dict[str, Any]]] = Document(dict[str, Any])


def view(video: Video | SimpleNamespace) -> VideoView:
    """A row as callers see it."""
    here = f"/v1/videos/{video.id}"
    parts = ("report", "segments", "shots", "tags", "signals", "pictures", "thumbnail", "poster")
    return VideoView(
        id=video.id,
        title=video.title,
        labels=tuple(video.labels),
        user_metadata=_METADATA.read(video.user_metadata),
        status=cast(Status, video.status),
        filename=video.filename,
        size_bytes=video.size_bytes,
        sha256=video.sha256,
        duration_s=video.duration_s,
        width=video.width,
        height=video.height,
        codec=video.codec,
        container=video.container,
        created_at=video.created_at,
        updated_at=video.updated_at,
        links={"self": here} | {part: f"{here}/{part}" for part in parts},
    )


class Videos(Controller):
    """`/v1/videos`"""

    path = "/v1/videos"
    tags = ("videos",)

    @get(
        operation_id="list_videos",
        **needs("videos:read"),
        summary="Videos, latest first",
        dependencies={"filters": Provide(filters, sync_to_thread=False)},
    )
    async def many(
        self,
        principal: Principal,
        database: Database,
        filters: VideoFilters,
        sort: Sort = "-created_at",
        limit: Annotated[int, Parameter(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
        cursor: Annotated[str | None, Parameter(max_length=MAX_CURSOR, required=False)] = None,
    ) -> Page[VideoView]:
        """Videos that meet all that is asked for, in the order of `sort`; `-` is downwards. A cursor goes on with the
        list that it comes from: with the same sort and filters. Unknown durations count as the shortest."""
        order = ordered(filters, sort)
        query = order.page(select(Video), limit, cursor)
        async with database.read(principal.tenant_id) as session:
            found = (await session.exec(await narrowed(session, query, principal.tenant_id, filters))).all()
        return page_of(found, limit, view, order.place)

    @get("/{video_id:str}", operation_id="get_video", **needs("videos:read"), summary="A video")
    async def one(self, request: Request[Any, Any, Any], video_id: VideoId) -> VideoView:
        """A video."""
        video = await read_quickly(request, "tenant_videos", video_id)
        if video is None:
            raise NotFound("there is no such video")
        return view(video)

    @patch("/{video_id:str}", operation_id="change_video", **needs("videos:write"), summary="Change a video")
    async def change(self, principal: Principal, database: Database, video_id: VideoId, data: VideoPatch) -> VideoView:
        """Change a video's title, labels or metadata."""
        if data.user_metadata is not msgspec.UNSET:
            require_modest(data.user_metadata)
        async with database.write("video.write", principal.tenant_id) as session:
            # Locked, so that it is not deleted meanwhile.
            video = await find(session, principal.tenant_id, video_id, lock=True)
            for name in ("title", "labels", "user_metadata"):
                value = getattr(data, name)
                if value is not msgspec.UNSET:
                    setattr(video, name, list(value) if name == "labels" else value)
            video.updated_at = text("now()")  # type: ignore[assignment]
            session.add(video)
            await session.flush()
            await session.refresh(video)
            return view(video)

    @delete("/{video_id:str}", operation_id="delete_video", **needs("videos:write"), summary="Delete a video")
    async def remove(
        self, principal: Principal, database: Database, store: Store, pictures: Pictures, hls: Hls, video_id: VideoId
    ) -> None:
        """Erase a video: its keys first, which makes its bytes unreadable wherever copies of them are, with all that is
        known of it, and its jobs, those that run included. What stays is a record without what was in it
        (`/v1/erasures`). One that is under a legal hold is refused (409 `legal_hold`)."""
        erasure = await erasing.erase_now(database, store, principal.tenant_id, video_id)
        for object_key in erasure.pending:
            pictures.forget(object_key)
            hls.forget(object_key)

    @get("/{video_id:str}/report", operation_id="get_report", **needs("videos:read"), summary="Its latest report")
    async def report(
        self, principal: Principal, database: Database, store: Store, video_id: VideoId
    ) -> Response[Report]:
        """All that its latest analysis found."""
        kept = await _stored(database, store, principal.tenant_id, video_id)
        return Response(kept.json(), media_type="application/json")  # type: ignore[return-value]

    @get("/{video_id:str}/segments", operation_id="list_segments", **needs("videos:read"), summary="Its key segments")
    async def segments(
        self,
        principal: Principal,
        database: Database,
        store: Store,
        video_id: VideoId,
        weights: Annotated[
            str | None, Parameter(max_length=500, required=False, description="`motion=2,audio=0`: others keep theirs")
        ] = None,
        most: Annotated[
            int | None, Parameter(query="max", ge=0, schema_extra=FROM_ZERO, le=1000, required=False)
        ] = None,
        target_s: Annotated[float | None, Parameter(gt=0, schema_extra=ABOVE_ZERO, required=False)] = None,
    ) -> tuple[Segment, ...]:
        """Its key segments; with weights, a number or a length, chosen anew from stored signals. Decodes nothing."""
        report = await _report(database, store, principal.tenant_id, video_id)
        if weights is None and most is None and target_s is None:
            return report.segments
        return await asyncio.to_thread(_again, report, weights, most, target_s)

    @get("/{video_id:str}/shots", operation_id="list_shots", **needs("videos:read"), summary="Its shots")
    async def shots(
        self, principal: Principal, database: Database, store: Store, video_id: VideoId
    ) -> tuple[Shot, ...]:
        """Its shots, in order."""
        return (await _report(database, store, principal.tenant_id, video_id)).shots

    @get("/{video_id:str}/tags", operation_id="list_tags", **needs("videos:read"), summary="Its tags")
    async def tagged(
        self,
        principal: Principal,
        database: Database,
        store: Store,
        video_id: VideoId,
        kind: Annotated[
            Literal["tag", "category"] | None, Parameter(required=False, description="Labels, or categories, only.")
        ] = None,
        vocabulary: Which | None = None,
    ) -> tuple[VideoTag, ...]:
        """Its tags and categories, and when they hold: those of its latest report and of all vocabularies that stand
        for your library, with what was said of them. Of each origin, most probable first, and tags before categories;
        of one kind, most probable first. The score of a category is the probability that the video shows it, the
        coverage for how much of it."""
        async with database.read(principal.tenant_id) as session:
            video = await find(session, principal.tenant_id, video_id)
            found = await tags_of(session, store.keyring, principal.tenant_id, video)
        if not found:
            raise NotFound(NO_REPORT)
        if vocabulary is not None:
            found = [one for one in found if one.vocabulary and vocabulary in (one.vocabulary.id, one.vocabulary.name)]
        tags = [tag for one in found for tag in tag_views(one)]
        if kind is not None:
            tags = sorted((tag for tag in tags if tag.kind == kind), key=lambda tag: (-tag.score, -tag.coverage))
        return tuple(tags)

    @get("/{video_id:str}/signals", operation_id="get_signals", **needs("videos:read"), summary="Its signal curves")
    async def signals(self, principal: Principal, database: Database, store: Store, video_id: VideoId) -> Signals:
        """The curves that its segments were chosen by."""
        features = (await _report(database, store, principal.tenant_id, video_id)).features
        return Signals(times_s=features.pts_s, signals=features.signals)


async def find(session: AsyncSession, tenant: str, video_id: str, *, lock: bool = False) -> Video:
    """A video; `lock`: for the rest of the transaction. Raises NotFound."""
    query = select(Video).where(Video.tenant_id == tenant, Video.id == video_id)
    video = (await session.exec(query.with_for_update(key_share=True) if lock else query)).one_or_none()
    if video is None:
        raise NotFound("there is no such video")
    return video


async def _stored(database: Database, store: Store, tenant: str, video_id: str) -> KeptReport:
    async with database.read(tenant) as session:
        await find(session, tenant, video_id)
        kept = await reports.latest(session, store.keyring, tenant, video_id)
    if kept is None:
        raise NotFound(NO_REPORT)
    return kept


async def _report(database: Database, store: Store, tenant: str, video_id: str) -> Report:
    kept = await _stored(database, store, tenant, video_id)
    return await asyncio.to_thread(kept.report)


def _again(report: Report, weights: str | None, most: int | None, target_s: float | None) -> tuple[Segment, ...]:
    # Numpy is loaded by who asks for this first, not by every process at its start.
    from pipeline.rescore import rescore

    return rescore(report, segment_spec(report.spec, weights, most, target_s)).segments
