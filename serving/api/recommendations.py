"""Recommendations: what is like a video or a segment, what somebody may like, what to begin with."""

from typing import Annotated, Any

import msgspec
from litestar import get, post
from litestar.di import Provide
from litestar.params import Parameter

from serving.api.access import Principal, needs
from serving.api.constraints import FROM_ZERO
from serving.api.page import MAX_LIMIT
from serving.api.recommendations_schema import (
    DIVERSITY,
    FEW,
    RecommendationRequest,
    Recommendations,
    items_of,
    left_out,
    recommendation,
)
from serving.api.search_schema import where_of
from serving.api.titles import titles_of
from serving.api.video_list import VideoFilters, filters
from serving.api.videos import VideoId, find
from serving.db.database import Database
from serving.recommending import recommending
from serving.recommending.items import Item, require_in_space
from serving.recommending.recommending import Asked
from serving.search.retrieving import Where
from serving.search.searching import space_of

Diversity = Annotated[
    float,
    Parameter(ge=0, schema_extra=FROM_ZERO, le=1, description="0: the most relevant; 1: the most different of those."),
]
Limit = Annotated[int, Parameter(ge=1, le=MAX_LIMIT)]
Holds = Annotated[
    str | None, Parameter(max_length=200, required=False, description="A label that holds there, by a report.")
]

_FILTERED: dict[str, Any] = {"dependencies": {"filters": Provide(filters, sync_to_thread=False)}}


@get(
    "/v1/videos/{video_id:str}/similar",
    operation_id="list_similar_videos",
    **needs("videos:read"),
    **_FILTERED,
    tags=["recommendations"],
    summary="Videos like it",
)
async def similar_videos(
    principal: Principal,
    database: Database,
    video_id: VideoId,
    filters: VideoFilters,
    holds: Holds = None,
    diversity: Diversity = DIVERSITY,
    limit: Limit = FEW,
) -> Recommendations:
    """Videos that show what this one does, each with its reason: relevant ones that are not all alike. Copies of it are
    `left_out`, copies of each other stand for one another. Filters are those of `GET /v1/videos`."""
    return await _like(
        database,
        Asked(
            tenant=principal.tenant_id,
            kind="videos",
            liked=(Item("video", video_id),),
            where=Where(videos=filters, holds=holds),
            diversity=diversity,
            limit=limit,
        ),
    )


@get(
    "/v1/videos/{video_id:str}/segments/{index:int}/similar",
    operation_id="list_similar_segments",
    **needs("videos:read"),
    **_FILTERED,
    tags=["recommendations"],
    summary="Segments like one of its",
)
async def similar_segments(
    principal: Principal,
    database: Database,
    video_id: VideoId,
    index: Annotated[int, Parameter(ge=0, schema_extra=FROM_ZERO, le=100_000, description="Its place, from 0 on.")],
    filters: VideoFilters,
    holds: Holds = None,
    diversity: Diversity = DIVERSITY,
    limit: Limit = FEW,
) -> Recommendations:
    """Key segments that show what this one does, of any video, likewise."""
    return await _like(
        database,
        Asked(
            tenant=principal.tenant_id,
            kind="segments",
            liked=(Item("segment", video_id, number=index),),
            where=Where(videos=filters, holds=holds),
            diversity=diversity,
            limit=limit,
        ),
    )


@post(
    "/v1/recommendations",
    operation_id="recommend",
    **needs("videos:read"),
    tags=["recommendations"],
    status_code=200,
    summary="What somebody may like",
)
async def recommend(principal: Principal, database: Database, data: RecommendationRequest) -> Recommendations:
    """Videos or key segments by what was liked and disliked, each with the liked item that it is nearest to; or, of
    nothing liked, a start: good ones that show what there is. The same question has the same answer, while the library
    stays as it is.

    Items that were not analysed in the space that is searched, or are not there, are refused by name
    (`not_in_space`)."""
    asked = Asked(
        tenant=principal.tenant_id,
        kind=data.kind,
        liked=items_of(data.liked, "/liked"),
        disliked=items_of(data.disliked, "/disliked"),
        where=msgspec.structs.replace(where_of(data.where), without=data.exclude),
        diversity=data.diversity,
        limit=data.limit,
    )
    return await _answer(database, asked)


async def _like(database: Database, asked: Asked) -> Recommendations:
    """What is like the one item that is liked. Raises NotFound: there is no such video."""
    (item,) = asked.liked
    async with database.read(asked.tenant) as session:
        await find(session, asked.tenant, item.video_id)
    return await _answer(database, asked)


async def _answer(database: Database, asked: Asked) -> Recommendations:
    space = await space_of(database, asked.tenant, None)
    if space is None:
        require_in_space({"/liked": asked.liked, "/disliked": asked.disliked}, (), "of any model")
        return Recommendations(data=(), way="no video was analysed yet")
    async with database.read(asked.tenant) as session:
        answered = await recommending.answer(session, asked, space)
        titles = await titles_of(session, asked.tenant, [one.row.video_id for one in answered.picks])
    return Recommendations(
        data=tuple(
            recommendation(one, answered, titles.get(one.row.video_id, ""), asked.kind) for one in answered.picks
        ),
        left_out=tuple(left_out(one, like, answered, asked.kind) for one, like in answered.left_out),
        space=space.space,
        way=answered.way,
    )
