"""Vocabularies: what tags are made of, under a name that jobs may use. As JSON, or as the command line's TOML."""

from typing import Annotated, Any, Final

import msgspec
from litestar import Controller, Request, Response, delete, get, post, put
from litestar.openapi import ResponseSpec
from litestar.params import Parameter
from sqlmodel import col, select

from pipeline import vocabulary as files
from serving.api.access import Principal, needs
from serving.api.page import DEFAULT_LIMIT, MAX_LIMIT, Page, decode_cursor, page_of
from serving.api.problem import CONTENT_TYPE, Problem
from serving.api.strict import StrictRequest
from serving.api.versions import IfMatch, IfNoneMatch, etag, is_known, require_match
from serving.api.vocabulary_records import (
    NAME_PATTERN,
    VocabularyRequest,
    VocabularySummary,
    VocabularyView,
    Which,
    summary,
    view,
)
from serving.db.database import Database
from serving.db.vocabularies import Vocabulary
from serving.errors import InvalidRequest
from serving.vocabularies import builtin, rows
from serving.vocabularies.builtin import BuiltIn

TOML: Final = "application/toml"

_WRITE: Final = needs("vocabularies:write")
_REPLACE: Final = needs("vocabularies:write")
_REPLACE["responses"] |= {412: ResponseSpec(Problem, media_type=CONTENT_TYPE, generate_examples=False)}

NameOfToml = Annotated[
    str | None,
    Parameter(query="name", pattern=NAME_PATTERN, required=False, description="Of a body in TOML, which holds none"),
]


class _EitherType(StrictRequest):
    """Reads bodies in TOML as if they had been JSON."""

    async def json(self) -> Any:
        """See `Request.json`."""
        if self.content_type[0] != TOML:
            return await super().json()
        name = self.query_params.get("name")
        if name is None:
            raise InvalidRequest("a body in TOML holds no name", (("?name", "has to be there"),))
        text = (await self.body()).decode("utf-8", "replace")
        labels = files.parse(text, "the vocabulary")
        return {"name": name, "labels": msgspec.to_builtins(labels)}


class Vocabularies(Controller):
    """`/v1/vocabularies`"""

    path = "/v1/vocabularies"
    tags = ("vocabularies",)
    request_class = _EitherType

    @post(operation_id="create_vocabulary", **_WRITE, summary="Make a vocabulary")
    async def create(
        self, principal: Principal, database: Database, data: VocabularyRequest, name: NameOfToml = None
    ) -> Response[VocabularyView]:
        """Make a vocabulary that jobs may name. The body may also be a file of the command line (`configs/vocabularies`
        has some) as `application/toml`; its name is then said by `?name=`."""
        labels = files.checked(data.labels)
        row = await rows.create(database, principal.tenant_id, data.name, data.description, labels)
        return _answer(row, 201, {"Location": f"/v1/vocabularies/{row.id}"})

    @get(operation_id="list_vocabularies", **needs("videos:read"), summary="All vocabularies")
    async def many(
        self,
        principal: Principal,
        database: Database,
        limit: Annotated[int, Parameter(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
        cursor: Annotated[str | None, Parameter(max_length=512, required=False)] = None,
    ) -> Page[VocabularySummary]:
        """Those that come with the server, by name, and then your own, latest first."""
        place = None if cursor is None else decode_cursor(cursor, tuple[bool, str])
        found: list[BuiltIn | Vocabulary] = []
        if place is None or place[0]:
            found += [one for one in builtin.all_of_them().values() if place is None or one.name > place[1]]
        if len(found) <= limit:
            query = select(Vocabulary).where(Vocabulary.tenant_id == principal.tenant_id)
            if place is not None and not place[0]:
                query = query.where(col(Vocabulary.id) < place[1])
            query = query.order_by(col(Vocabulary.id).desc()).limit(limit + 1 - len(found))
            async with database.read(principal.tenant_id) as session:
                found += (await session.exec(query)).all()
        return page_of(found[: limit + 1], limit, summary, _place)

    @get(
        "/{vocabulary:str}",
        operation_id="get_vocabulary",
        **needs("videos:read"),
        summary="A vocabulary",
    )
    async def one(
        self,
        request: Request[Any, Any, Any],
        principal: Principal,
        database: Database,
        vocabulary: Which,
        if_none_match: IfNoneMatch = None,
    ) -> Response[VocabularyView]:
        """A vocabulary with its labels; with `Accept: application/toml`, as a file that the command line reads."""
        found: BuiltIn | Vocabulary | None = builtin.all_of_them().get(vocabulary)
        if found is None:
            async with database.read(principal.tenant_id) as session:
                found = await rows.find(session, principal.tenant_id, vocabulary)
        if is_known(if_none_match, _version(found)):
            return Response(None, status_code=304, headers={"ETag": etag(_version(found)), "Vary": "Accept"})  # type: ignore[return-value]
        return _answer(found, 200, {"Vary": "Accept"}, toml=request.headers.get("Accept", "").startswith(TOML))

    @put("/{vocabulary:str}", operation_id="replace_vocabulary", **_REPLACE, summary="Replace a vocabulary")
    async def replace(
        self,
        principal: Principal,
        database: Database,
        vocabulary: Which,
        data: VocabularyRequest,
        if_match: IfMatch = None,
        name: NameOfToml = None,
    ) -> Response[VocabularyView]:
        """Replace all of a vocabulary. With `If-Match`, only if it is still the version that you saw: of two who change
        it at once, the second is told (412). Jobs that were submitted keep the labels that they have; where it stands
        for your library, that is tagged anew."""
        row = await rows.replace(
            database,
            principal.tenant_id,
            vocabulary,
            data.name,
            data.description,
            files.checked(data.labels),
            lambda version: require_match(if_match, version),
        )
        return _answer(row, 200)

    @delete("/{vocabulary:str}", operation_id="delete_vocabulary", **_REPLACE, summary="Delete a vocabulary")
    async def remove(
        self, principal: Principal, database: Database, vocabulary: Which, if_match: IfMatch = None
    ) -> None:
        """Delete a vocabulary, with the tags that it found in your library, what was said of them and learnt. Jobs that
        were submitted with it keep the labels that they have."""
        await rows.remove(database, principal.tenant_id, vocabulary, lambda version: require_match(if_match, version))


def _answer(
    found: BuiltIn | Vocabulary, status: int, headers: dict[str, str] | None = None, *, toml: bool = False
) -> Response[VocabularyView]:
    shown, headers = view(found), {"ETag": etag(_version(found)), **(headers or {})}
    if toml:
        return Response(files.written(shown.labels), status_code=status, media_type=TOML, headers=headers)  # type: ignore[return-value]
    return Response(shown, status_code=status, headers=headers)


def _version(found: BuiltIn | Vocabulary) -> int:
    return 1 if isinstance(found, BuiltIn) else found.version


def _place(found: BuiltIn | Vocabulary) -> tuple[bool, str]:
    return (True, found.name) if isinstance(found, BuiltIn) else (False, found.id)
