"""Spaces: which model's vectors searches are answered from, and the change to another model's."""

from datetime import datetime
from typing import Annotated

from litestar import Controller, Response, delete, get, post
from litestar.params import Parameter
from msgspec import Meta

from pipeline.record import Record
from serving.api.access import Principal, needs
from serving.db.database import Database
from serving.search import spaces
from serving.search.asking import Asking
from serving.search.spaces import WHOLE, Standing, State
from serving.tagging import runs

Name = Annotated[str, Parameter(max_length=64, description="A space, as reports and searches name it")]


class SpaceRequest(Record, frozen=True, kw_only=True):
    """A space that is to be filled."""

    model: Annotated[str, Meta(min_length=1, max_length=200)]
    """A model that jobs may ask for (`GET /v1/models`); its vectors are what the space holds."""


class Activation(Record, frozen=True, kw_only=True):
    """When a space may answer."""

    least_coverage: Annotated[float, Meta(ge=0, le=1)] = WHOLE
    """Share of the library's videos that have to be in it; what is not in it is not found."""


class SpaceView(Record, frozen=True, kw_only=True):
    """A space of vectors that videos are in."""

    space: str
    """As reports name it (`models`); vectors of two spaces are never compared."""
    model: str
    """What jobs ask for to get its vectors."""
    dim: int
    """Numbers of a vector."""
    state: State
    """`active`: searches are answered from it. `shadow`: workers put every video into it, so that it may answer.
    `side`: only what was analysed with its model is in it. `leaving`: it is being removed."""
    videos: int
    """That are in it."""
    library: int
    """Videos that are in any space."""
    coverage: float
    """Their ratio, 0 to 1."""
    given_up: int
    """Videos that could not be put into it, after several attempts."""
    error: str | None
    """Why one of them could not, or has to wait."""
    indexed: bool
    """Whether a graph is there for it; small spaces need none."""
    created_at: datetime


class Spaces(Controller):
    """`/v1/spaces`"""

    path = "/v1/spaces"
    tags = ("search",)

    @get(operation_id="list_spaces", **needs("videos:read"), summary="Spaces that videos are in")
    async def many(self, principal: Principal, database: Database) -> tuple[SpaceView, ...]:
        """All spaces, the one that answers first."""
        async with database.read(principal.tenant_id) as session:
            return tuple(map(_view, await spaces.standings(session, principal.tenant_id)))

    @post(operation_id="build_space", **needs("jobs:write"), status_code=202, summary="Build a space in the shadow")
    async def build(
        self, principal: Principal, database: Database, asking: Asking, data: SpaceRequest
    ) -> Response[SpaceView]:
        """Have all videos put into the space of a model, by workers, while no job waits; searches go on in the one that
        answers. Videos that are analysed meanwhile are put into both. Asked for again, it goes on. While no worker can
        say what the model's space is, this is 503 (`engine_unavailable`) with `Retry-After`."""
        tenant = principal.tenant_id
        described = await asking.described(tenant, data.model)
        async with database.write("space.write", tenant) as session:
            await spaces.build(session, tenant, data.model, described)
        shown = await self._shown(database, tenant, described.space)
        return Response(shown, status_code=202, headers={"Location": f"/v1/spaces/{described.space}"})

    @get("/{space:str}", operation_id="get_space", **needs("videos:read"), summary="A space")
    async def one(self, principal: Principal, database: Database, space: Name) -> SpaceView:
        """A space, and how far it is."""
        return await self._shown(database, principal.tenant_id, space)

    @post(
        "/{space:str}/activate",
        operation_id="activate_space",
        **needs("jobs:write"),
        status_code=200,
        summary="Answer searches from a space",
    )
    async def activate(self, principal: Principal, database: Database, space: Name, data: Activation) -> SpaceView:
        """Answer searches from this space from now on, all at once; vocabularies that stand for the library tag it anew
        by its vectors. The one before is kept and filled as a shadow; activating it undoes this."""
        async with database.write("space.write", principal.tenant_id) as session:
            if await spaces.activate(session, principal.tenant_id, space, data.least_coverage):
                # What vocabularies say goes by the vectors that answer.
                await runs.begin_all(session, principal.tenant_id)
        return await self._shown(database, principal.tenant_id, space)

    @delete("/{space:str}", operation_id="remove_space", **needs("jobs:write"), summary="Remove a space")
    async def remove(self, principal: Principal, database: Database, space: Name) -> None:
        """Remove a space with its vectors, any but the one that answers. Reports keep what they have."""
        async with database.write("space.write", principal.tenant_id) as session:
            await spaces.leave(session, principal.tenant_id, space)

    async def _shown(self, database: Database, tenant: str, space: str) -> SpaceView:
        async with database.read(tenant) as session:
            return _view((await spaces.standings(session, tenant, space))[0])


def _view(standing: Standing) -> SpaceView:
    space = standing.space
    return SpaceView(
        space=space.space,
        model=space.model,
        dim=space.dim,
        state=space.state,  # type: ignore[arg-type]
        videos=standing.videos,
        library=standing.library,
        coverage=round(standing.coverage, 4),
        given_up=standing.given_up,
        error=standing.error,
        indexed=standing.indexed,
        created_at=space.created_at,
    )
