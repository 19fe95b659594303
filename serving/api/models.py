"""Models that jobs may ask for, and where they are loaded."""

from datetime import datetime
from typing import Annotated, Literal, get_args

from litestar import Controller, get
from litestar.params import Parameter

from pipeline.record import Record
from serving.api.access import needs
from serving.db.database import Database
from serving.errors import NotFound
from serving.settings import Settings
from serving.workers import WorkerSeen, alive

State = Literal["ready", "loading", "unavailable"]

_BEST_FIRST: tuple[State, ...] = get_args(State)


class LoadedModel(Record, frozen=True, kw_only=True):
    """A model at one worker."""

    worker_id: str
    state: State
    stands_for: str | None
    """The model's own name, which `auto` does not tell. None while it is not loaded, as what follows."""
    version: str | None
    """Revision of its weights."""
    space: str | None
    """Identity of its vector space; vectors of two spaces are never compared."""
    dim: int | None
    """Numbers of a vector."""
    device: str | None
    """`cpu`, `cuda:0`, ..."""
    dtype: str | None
    """Arithmetic: `float32` or `bfloat16`."""
    loaded_at: datetime | None
    checked_at: datetime | None
    """When it last had to compute something, which it has to about twice a minute."""
    error: str | None
    """Why it is unavailable."""


class ModelView(Record, frozen=True, kw_only=True):
    """A model that jobs may ask for."""

    name: str
    """What `spec.model` has to be."""
    state: Literal["ready", "loading", "unavailable", "not_loaded"]
    """`ready`: a worker has it and it computes. `loading`: one is about to. `unavailable`: it could not be loaded, or
    does not compute; `workers` say why. `not_loaded`: a worker loads it when the first job asks for it."""
    loaded: int
    """Workers that have it ready."""
    workers: tuple[LoadedModel, ...]
    """All that have it, load it, or tried to."""


class Models(Controller):
    """`/v1/models`"""

    path = "/v1/models"
    tags = ("models",)

    @get(operation_id="list_models", **needs("jobs:read"), summary="Models that jobs may ask for")
    async def many(self, database: Database, settings: Settings) -> tuple[ModelView, ...]:
        """All models that jobs may ask for, with what workers say about them. The first is loaded by every worker."""
        workers = await alive(database)
        return tuple(_view(name, workers) for name in settings.jobs.models.split(","))

    @get("/{name:path}", operation_id="get_model", **needs("jobs:read"), summary="A model")
    async def one(
        self,
        database: Database,
        settings: Settings,
        name: Annotated[str, Parameter(description="Name of a model; a slash in it may be as it is")],
    ) -> ModelView:
        """A model that jobs may ask for, with what workers say about it."""
        wanted = name.removeprefix("/")
        if wanted not in settings.jobs.models.split(","):
            raise NotFound("jobs may ask for no such model")
        return _view(wanted, await alive(database))


def _view(name: str, workers: tuple[WorkerSeen, ...]) -> ModelView:
    having = tuple(_loaded(worker, name) for worker in workers)
    found = tuple(model for model in having if model is not None)
    return ModelView(
        name=name,
        state=_best({model.state for model in found}),
        loaded=sum(model.state == "ready" for model in found),
        workers=found,
    )


def _best(states: set[State]) -> State | Literal["not_loaded"]:
    for state in _BEST_FIRST:
        if state in states:
            return state
    return "not_loaded"


def _loaded(worker: WorkerSeen, name: str) -> LoadedModel | None:
    model = next((model for model in worker.models if model.name == name), None)
    if model is None:
        return None
    works, error = worker.works(model), model.error
    if model.state == "ready" and not works:
        error = "it was not checked for too long"
    return LoadedModel(
        worker_id=worker.id,
        state="ready" if works else "loading" if model.state == "loading" else "unavailable",
        stands_for=model.stands_for,
        version=model.version,
        space=model.space,
        dim=model.dim,
        device=model.device,
        dtype=model.dtype,
        loaded_at=worker.moment(model.loaded_ago_s),
        checked_at=worker.moment(model.checked_ago_s),
        error=error,
    )
