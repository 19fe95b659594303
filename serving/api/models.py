"""Models that jobs may ask for, and where they are loaded."""

from datetime import datetime
from typing import Annotated, Literal, get_args

from litestar import Controller, get
from litestar.params import Parameter

from pipeline.record import Record
from serving.api.access import needs
from serving.db.database import Database
from serving.errors import NotFound
from serving.named_models import allowed
from serving.settings import Settings
from serving.workers import ModelReport, WorkerSeen, alive

State = Literal["ready", "loading", "unavailable", "asleep"]

_BEST_FIRST: tuple[State, ...] = get_args(State)


class LoadedModel(Record, frozen=True, kw_only=True):
    """A model at one worker, or at an engine that the worker sends its jobs' frames to."""

    worker_id: str
    state: State
    stands_for: str | None
    """The model's own name, which `auto` does not tell. None while it is not loaded, as what follows; while it is
    asleep, as it was last."""
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
    kind: str | None
    """`embedding`: what `spec.model` may be. `scores`: one that looks on besides (`spec.models`), for further tags and
    signals. `measurement`: likewise, without either."""
    loaded_at: datetime | None
    checked_at: datetime | None
    """When it last had to compute something, which it has to about twice a minute."""
    error: str | None
    """Why it is unavailable; of one that is asleep, why it was when it was needed last."""
    engine: str | None
    """Engine of the graph that has it, as the worker sees it. None where it is in the worker's own process, as is what
    follows."""
    replicas: int | None
    """Of the engine, that answer. None also while nobody needs it and it is not asked."""
    generation: int | None
    """Which of the models that the engine had by this name so far, from 1 since it was started."""
    share: float | None
    """Of the jobs that ask for it, how many this engine gets, 0 to 1; None: all of them."""
    coming: str | None
    """The model that is being loaded to replace it."""
    swap_error: str | None
    """Why the last model that was to replace it did not; it goes on as it was."""


class ModelView(Record, frozen=True, kw_only=True):
    """A model that jobs may ask for."""

    name: str
    """What `spec.model`, or one of `spec.models`, has to be."""
    state: Literal["ready", "loading", "unavailable", "asleep", "not_loaded"]
    """`ready`: a worker has it and it computes. `loading`: one is about to. `unavailable`: it could not be loaded, or
    does not compute; `workers` say why. `asleep`: its engine may have no replica just now; a job that asks for it waits
    until one has started. `not_loaded`: a worker loads it when the first job asks for it."""
    loaded: int
    """Workers that have it ready."""
    workers: tuple[LoadedModel, ...]
    """All that have it, load it, or tried to; of each worker, one entry for each engine that has it."""


class Models(Controller):
    """`/v1/models`"""

    path = "/v1/models"
    tags = ("models",)

    @get(operation_id="list_models", **needs("jobs:read"), summary="Models that jobs may ask for")
    async def many(self, database: Database, settings: Settings) -> tuple[ModelView, ...]:
        """All models that jobs may ask for, with what workers say about them. The first is loaded by every worker."""
        workers = await alive(database)
        return tuple(_view(name, workers) for name in _names(settings, workers))

    @get("/{name:path}", operation_id="get_model", **needs("jobs:read"), summary="A model")
    async def one(
        self,
        database: Database,
        settings: Settings,
        name: Annotated[str, Parameter(description="Name of a model; a slash in it may be as it is")],
    ) -> ModelView:
        """A model that jobs may ask for, with what workers say about it."""
        wanted, workers = name.removeprefix("/"), await alive(database)
        if wanted not in _names(settings, workers):
            raise NotFound("jobs may ask for no such model")
        return _view(wanted, workers)


def _names(settings: Settings, workers: tuple[WorkerSeen, ...]) -> tuple[str, ...]:
    """What jobs may ask for: of workers with models of their own the settings say it, of a graph its engines do. While
    no worker is there, nobody knows of which kind the next one will be."""
    seen = [model for worker in workers for model in worker.models]
    engines = [model.name for model in seen if model.engine is not None]
    own = () if engines and len(engines) == len(seen) else allowed(settings)
    return tuple(dict.fromkeys((*own, *engines)))


def _view(name: str, workers: tuple[WorkerSeen, ...]) -> ModelView:
    found = tuple(_loaded(worker, model) for worker in workers for model in worker.models if model.name == name)
    return ModelView(
        name=name,
        state=_best({model.state for model in found}),
        loaded=len({model.worker_id for model in found if model.state == "ready"}),
        workers=found,
    )


def _best(states: set[State]) -> State | Literal["not_loaded"]:
    for state in _BEST_FIRST:
        if state in states:
            return state
    return "not_loaded"


def _loaded(worker: WorkerSeen, model: ModelReport) -> LoadedModel:
    works, error = worker.works(model), model.error
    if model.state == "ready" and not works:
        error = "it was not checked for too long"
    return LoadedModel(
        worker_id=worker.id,
        state="ready" if works else model.state if model.state in ("loading", "asleep") else "unavailable",
        stands_for=model.stands_for,
        version=model.version,
        space=model.space,
        dim=model.dim,
        device=model.device,
        dtype=model.dtype,
        kind=model.kind,
        loaded_at=worker.moment(model.loaded_ago_s),
        checked_at=worker.moment(model.checked_ago_s),
        error=error,
        engine=model.engine,
        replicas=model.replicas,
        generation=model.generation,
        share=model.share,
        coming=model.coming,
        swap_error=model.swap_error,
    )
