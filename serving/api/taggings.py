"""Vocabularies that stand for a library: applied, and the runs that tag it anew."""

from typing import Annotated, Any

from litestar import Controller, Response, delete, get, post
from litestar.params import Parameter
from sqlmodel import col, select

from serving.api.access import Principal, needs
from serving.api.page import DEFAULT_LIMIT, MAX_LIMIT, Page, decode_cursor, page_of
from serving.api.tagging_records import State, TaggingId, TaggingView, view
from serving.api.vocabulary_records import Which
from serving.db.database import Database
from serving.db.tagging import Tagging
from serving.tagging import applying, runs
from serving.vocabularies import rows


class Applying(Controller):
    """`/v1/vocabularies/{vocabulary}/apply`"""

    path = "/v1/vocabularies/{vocabulary:str}/apply"
    tags = ("taxonomies",)

    @post(
        operation_id="apply_vocabulary",
        **needs("vocabularies:write"),
        summary="Have it stand for your library",
        status_code=202,
    )
    async def apply(self, principal: Principal, database: Database, vocabulary: Which) -> Response[TaggingView]:
        """Tag every video by a vocabulary, from the vectors that are kept of it: nothing is decoded. From then on it
        stands for your library: videos that come are tagged, and where it is replaced, all are tagged anew. Its tags
        are beside those of reports, and found in the same ways. Applied again, it tags all videos again."""
        return accepted(await applying.apply(database, principal.tenant_id, vocabulary))

    @delete(
        operation_id="unapply_vocabulary",
        **needs("vocabularies:write"),
        summary="No longer have it stand for your library",
    )
    async def unapply(self, principal: Principal, database: Database, vocabulary: Which) -> None:
        """Take the tags of a vocabulary from all videos. What was said of them, and learnt, is kept for when it is
        applied again."""
        await applying.unapply(database, principal.tenant_id, vocabulary)


class Taggings(Controller):
    """`/v1/taggings`"""

    path = "/v1/taggings"
    tags = ("taxonomies",)

    @get(operation_id="list_taggings", **needs("videos:read"), summary="Runs over your library, latest first")
    async def many(
        self,
        principal: Principal,
        database: Database,
        vocabulary: Which | None = None,
        tagging_state: Annotated[State | None, Parameter(query="state", required=False)] = None,
        limit: Annotated[int, Parameter(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
        cursor: Annotated[str | None, Parameter(max_length=512, required=False)] = None,
    ) -> Page[TaggingView]:
        """Runs in which videos were tagged anew; of one vocabulary, or in one state."""
        tenant = principal.tenant_id
        query: Any = select(Tagging).where(Tagging.tenant_id == tenant)
        if tagging_state is not None:
            query = query.where(Tagging.state == tagging_state)
        if cursor is not None:
            query = query.where(col(Tagging.id) < decode_cursor(cursor, str))
        async with database.read(tenant) as session:
            if vocabulary is not None:
                query = query.where(Tagging.vocabulary_id == (await rows.find(session, tenant, vocabulary)).id)
            found = (await session.exec(query.order_by(col(Tagging.id).desc()).limit(limit + 1))).all()
        return page_of(found, limit, view, lambda row: row.id)

    @get("/{tagging_id:str}", operation_id="get_tagging", **needs("videos:read"), summary="A run over your library")
    async def one(self, principal: Principal, database: Database, tagging_id: TaggingId) -> TaggingView:
        """How far a run is, and what it changed."""
        async with database.read(principal.tenant_id) as session:
            return view(await runs.find(session, principal.tenant_id, tagging_id))

    @post(
        "/{tagging_id:str}/cancel",
        operation_id="cancel_tagging",
        **needs("vocabularies:write"),
        summary="Stop a run",
        status_code=200,
    )
    async def cancel(self, principal: Principal, database: Database, tagging_id: TaggingId) -> TaggingView:
        """Stop a run; what it did stays, and videos that it did not come to keep the tags that they had. One that is
        over stays as it is."""
        return view(await runs.cancel(database, principal.tenant_id, tagging_id))


def accepted(run: Tagging) -> Response[TaggingView]:
    """The answer to whoever began a run."""
    return Response(view(run), status_code=202, headers={"Location": f"/v1/taggings/{run.id}"})
