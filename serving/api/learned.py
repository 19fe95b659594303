"""What vocabularies learn of what is said of their tags: told, asked for, undone."""

from typing import Annotated

from litestar import Controller, get, post
from litestar.params import Parameter

from serving.api.access import Principal, needs
from serving.api.learned_records import (
    LabelRequest,
    LearnedView,
    LearningView,
    learned_view,
    learning_view,
)
from serving.api.page import DEFAULT_LIMIT, MAX_LIMIT, Page, decode_cursor, page_of
from serving.api.vocabulary_records import Which
from serving.db.database import Database
from serving.tagging import learned


class Learned(Controller):
    """`/v1/vocabularies/{vocabulary}/learned` and `learning`"""

    path = "/v1/vocabularies/{vocabulary:str}"
    tags = ("taxonomies",)

    @get("/learned", operation_id="list_learned", **needs("videos:read"), summary="What was learnt, latest first")
    async def many(
        self,
        principal: Principal,
        database: Database,
        vocabulary: Which,
        label: Annotated[
            str | None, Parameter(max_length=1000, required=False, description="For this label, by any of its names.")
        ] = None,
        limit: Annotated[int, Parameter(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
        cursor: Annotated[str | None, Parameter(max_length=512, required=False)] = None,
    ) -> Page[LearnedView]:
        """What was learnt for labels of a vocabulary, of how many examples, how good it is by cross-validation beside
        what there was, and what it changed."""
        before = None if cursor is None else decode_cursor(cursor, str)
        async with database.read(principal.tenant_id) as session:
            found = await learned.page(session, principal.tenant_id, vocabulary, label, before, limit + 1)
        return page_of(found, limit, learned_view, lambda told: told.row.id)

    @post(
        "/learned/undo",
        operation_id="undo_learned",
        **needs("vocabularies:write"),
        summary="Undo what was learnt last",
        status_code=200,
    )
    async def undo(
        self, principal: Principal, database: Database, vocabulary: Which, data: LabelRequest
    ) -> LearnedView:
        """Have a label be tagged as it was before what holds for it was learnt; your library is tagged anew so. What
        was said stays said; `learn` learns of it again, and so does whatever is said next."""
        return learned_view(await learned.undo(database, principal.tenant_id, vocabulary, data.label))

    @get("/learning", operation_id="list_learning", **needs("videos:read"), summary="What is to be learnt")
    async def standing(self, principal: Principal, database: Database, vocabulary: Which) -> tuple[LearningView, ...]:
        """Of each label of which something was said: whether it is to be learnt from, and what came of it last."""
        async with database.read(principal.tenant_id) as session:
            found = await learned.all_of(session, principal.tenant_id, vocabulary)
        return tuple(map(learning_view, found))

    @post(
        "/learning",
        operation_id="learn",
        **needs("vocabularies:write"),
        summary="Learn for a label now",
        status_code=202,
    )
    async def learn(
        self, principal: Principal, database: Database, vocabulary: Which, data: LabelRequest
    ) -> LearningView:
        """Have a worker learn for a label of all that was said of it so far, without waiting for more."""
        return learning_view(await learned.ask(database, principal.tenant_id, vocabulary, data.label))
