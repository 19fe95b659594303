"""Corrections: what people say of tags, which then is so."""

from typing import Annotated, Any

from litestar import Controller, delete, get, post
from litestar.params import Parameter
from sqlmodel import col, select

from serving.api.access import Principal, needs
from serving.api.correction_records import (
    CorrectionId,
    CorrectionRequest,
    CorrectionView,
    Verdict,
    saying,
    view,
)
from serving.api.page import DEFAULT_LIMIT, MAX_LIMIT, Page, decode_cursor, page_of
from serving.api.vocabulary_records import Which
from serving.db.database import Database
from serving.db.tagging import Correction
from serving.errors import InvalidRequest
from serving.storage.store import Store
from serving.tagging import corrections
from serving.vocabularies import rows


class Corrections(Controller):
    """`/v1/corrections`"""

    path = "/v1/corrections"
    tags = ("taxonomies",)

    @post(
        operation_id="correct",
        **needs("vocabularies:write"),
        summary="Accept or reject a tag",
        status_code=200,
    )
    async def correct(
        self, principal: Principal, database: Database, store: Store, data: CorrectionRequest
    ) -> CorrectionView:
        """Say that a label holds in a stretch of a video, or that it does not. From then on the stretch is answered so,
        by whatever it is tagged anew; said again of the same stretch, it replaces what was said. Once nobody has said
        more for a few seconds, a worker learns from it for all videos."""
        if data.segment is not None and (data.start_s is not None or data.end_s is not None):
            raise InvalidRequest("a segment and a stretch", (("/segment", "goes without start_s and end_s"),))
        return view(await corrections.say(database, store.keyring, principal.tenant_id, saying(data)))

    @get(operation_id="list_corrections", **needs("videos:read"), summary="What was said of tags, latest first")
    async def many(
        self,
        principal: Principal,
        database: Database,
        vocabulary: Which | None = None,
        label: Annotated[
            str | None, Parameter(max_length=1000, required=False, description="Of this label, by its name.")
        ] = None,
        video_id: Annotated[str | None, Parameter(max_length=64, required=False)] = None,
        verdict: Annotated[Verdict | None, Parameter(required=False, description="This one only.")] = None,
        limit: Annotated[int, Parameter(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
        cursor: Annotated[str | None, Parameter(max_length=512, required=False)] = None,
    ) -> Page[CorrectionView]:
        """All that was said, or what meets all that is asked for."""
        tenant = principal.tenant_id
        query: Any = select(Correction).where(Correction.tenant_id == tenant)
        for column, value in ((Correction.label, label), (Correction.video_id, video_id)):
            if value is not None:
                query = query.where(column == value)
        if verdict is not None:
            query = query.where(col(Correction.accepted) == (verdict == "accepted"))
        if cursor is not None:
            query = query.where(col(Correction.id) < decode_cursor(cursor, str))
        async with database.read(tenant) as session:
            if vocabulary is not None:
                query = query.where(Correction.vocabulary_id == (await rows.find(session, tenant, vocabulary)).id)
            found = (await session.exec(query.order_by(col(Correction.id).desc()).limit(limit + 1))).all()
        return page_of(found, limit, view, lambda row: row.id)

    @delete("/{correction_id:str}", operation_id="delete_correction", **needs("vocabularies:write"), summary="Unsay it")
    async def remove(self, principal: Principal, database: Database, store: Store, correction_id: CorrectionId) -> None:
        """Forget what was said of a stretch: there, what models find holds again."""
        await corrections.unsay(database, store.keyring, principal.tenant_id, correction_id)
