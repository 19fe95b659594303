"""What may be said to the graph in a Serve YAML: the application's `args`, and the `user_config` of each deployment.

Defaults and bounds are said here only. How many replicas there are, and what each asks of Ray, is said in the YAML
only: `app.build` sets neither, so that a deployment which a YAML leaves out has what Serve gives it.

Two kinds of change differ in what they cost. A `user_config` reaches replicas that run: a model, its precision, a batch
size, the shares of a canary. Whatever is in `args` is part of the application's code to Serve: changing it replaces all
replicas, one by one. So `args` holds nothing but names.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal, TypeVar, get_args, get_origin

import msgspec
from msgspec import Meta

from pipeline.errors import InvalidSettings
from pipeline.record import Record

APPLICATION: Final = "automations"
"""Name of the Serve application."""

IMPORT_PATH: Final = "serving.graph.app:build"
"""What builds it."""

TEXT: Final = "text"
WORKER: Final = "worker"
GATEWAY: Final = "gateway"

EngineName = Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$")]
"""Lower-case letters, digits and hyphens, 32 at most: it becomes a part of a deployment's name and of metrics."""

ModelName = Annotated[str, Meta(pattern=r"^\S(.*\S)?$", max_length=300)]
"""As `models.catalog` takes them: `auto`, `ViT-B-32/openai`, `local-dir:/path`, `head:/path`, `package.module:Class`,
..."""

Share = Annotated[float, Meta(ge=0, le=1)]
"""Of the jobs that ask for a model; 0 keeps a version loaded without sending it anything."""

Traffic = dict[ModelName, dict[EngineName, Share]]
"""Model -> the engines that run jobs which ask for it -> their shares, 1 together."""

Decoder = Literal["auto", "pyav", "torchcodec", "dali", "decord"]
"""As `pipeline.decode.choice.Name`, whose module is too heavy for the command line."""


class InvalidGraph(InvalidSettings):
    """A Serve YAML says what the graph does not know, or what cannot be; the message begins with the place."""


class GraphArgs(Record, frozen=True, kw_only=True):
    """The application's `args`: which engines it consists of. The rest of the graph is always there."""

    engines: Annotated[tuple[EngineName, ...], Meta(min_length=1, max_length=32)] = ("default",)
    """Each is a deployment `engine-<name>`, which scales and is swapped by itself. Models of one engine share a
    decode: a frame is decoded once for all of them."""


class ModelConfig(Record, frozen=True, kw_only=True):
    """Which network answers to a name, and how it is computed."""

    source: ModelName | None = None
    """The network, as `models.catalog.load` takes it; None: the one of the name under which jobs ask for it."""
    dtype: Literal["float32", "bfloat16"] | None = None
    """Arithmetic of the forward pass; None: whichever is faster, by a measurement of a few milliseconds."""
    device: Annotated[str, Meta(pattern=r"^(auto|cpu|cuda(:[0-9]+)?)$")] | None = None
    """`cpu`, `cuda` or `cuda:N`, N counted among the GPUs that Ray gave to the replica; None: a GPU if there is one."""
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    """What the model is made with besides, by name, see docs/models.md: plain values."""
    trial_s: Annotated[float, Meta(gt=0, le=86_400)] = 60.0
    """Of a model of others, which is tried out in a process of its own before it is loaded: longest that it may take
    there to load, or to answer to its example, seconds."""
    trial_gib: Annotated[float, Meta(gt=0, le=65_536)] = 4.0
    """Most memory that it may take there, GiB, besides what Python with torch takes; not that of a GPU."""

    def source_of(self, asked: str) -> str:
        """The network behind the name `asked`."""
        return self.source or asked


_PLAIN: Final = ModelConfig()

Models = Annotated[dict[ModelName, ModelConfig], Meta(min_length=1, max_length=64)]
"""The name under which jobs ask for a model -> what answers to it."""


class EngineConfig(Record, frozen=True, kw_only=True):
    """The `user_config` of a deployment `engine-<name>`."""

    models: Models = msgspec.field(default_factory=lambda: {"auto": _PLAIN, "bundled": _PLAIN})
    """What jobs may ask for here. Two entries with the same network, precision and device are loaded once."""
    batch_size: Annotated[int, Meta(gt=0, le=4096)] | None = 32
    """Most frames in one forward pass, of whatever Clips and videos; None: for each encoder the smallest that is as
    fast as any, by a measurement of two seconds that is kept, see `models.sizing`."""
    batch_wait_s: Annotated[float, Meta(ge=0, le=10)] = 0.0
    """How long at most a batch that is not full waits for frames of other Clips, seconds. What comes while a batch is
    computed goes into the next one anyway: more pays only where a forward pass is short and many jobs run at once."""
    decode_threads: Annotated[int, Meta(gt=0, le=256)] | None = None
    """Clips decoded at the same time, one thread each; None: as many as this machine lets the process use cores."""
    torch_threads: Annotated[int, Meta(gt=0, le=256)] | None = None
    """Threads of a forward pass on the CPU; None: as many as there are cores. Left alone, Ray would have a replica of
    less than two CPUs use one."""
    clips_in_flight: Annotated[int, Meta(gt=0, le=1024)] | None = None
    """Clips that may be decoded, waiting or inferred at once in one replica, which bounds its memory; None: two more
    than are decoded at the same time."""
    decoder: Decoder = "auto"
    """`auto` goes by a table of measurements, Clip by Clip; see `pipeline.decode.choice`."""
    require_gpu: bool = False
    """Whether a Clip that the GPU cannot decode fails, rather than be decoded on the CPU."""
    load_timeout_s: Annotated[float, Meta(gt=0, le=86_400)] = 600.0
    """How long loading, warming up and checking new models may take, seconds: ten minutes, for a download is part of
    it. Then the old ones stay."""
    linger_s: Annotated[float, Meta(ge=0, le=86_400)] = 60.0
    """How long models that were replaced stay loaded after the last Clip that wanted just them, seconds: jobs that
    began with them end with them."""


class TextConfig(Record, frozen=True, kw_only=True):
    """The `user_config` of the deployment `text`."""

    models: Models = msgspec.field(default_factory=lambda: {"auto": _PLAIN, "bundled": _PLAIN})
    """Text towers. A query without a space is embedded by the model of the name that it asks for; one with a space by
    whichever model here has that space. So every network of an engine is listed, a canary's under a name of its own."""
    batch_size: Annotated[int, Meta(gt=0, le=4096)] = 256
    """Most texts in one forward pass."""
    load_timeout_s: Annotated[float, Meta(gt=0, le=86_400)] = 600.0
    """As an engine's."""
    linger_s: Annotated[float, Meta(ge=0, le=86_400)] = 60.0
    """As an engine's."""


class WorkerConfig(Record, frozen=True, kw_only=True):
    """The `user_config` of the deployment `worker`."""

    slots: Annotated[int, Meta(gt=0, le=256)] = 2
    """Jobs that one replica runs at once."""
    clips_in_flight: Annotated[int, Meta(gt=0, le=1024)] = 8
    """Clips that one replica has out at once, over all its jobs and all replicas of all engines; one job has at most 4
    (`pipeline.dispatch.CLIPS_AHEAD`)."""
    traffic: Annotated[Traffic, Meta(max_length=64)] = msgspec.field(default_factory=dict)
    """Which version of a model runs a job. One that is not named here is run by the one engine that has it."""
    on_demand: Annotated[tuple[EngineName, ...], Meta(max_length=32)] = ()
    """Engines that may have no replica (`min_replicas: 0`). The first job that is for one wakes it and waits until it
    has started; it is asked how it is only while jobs need it, for Serve takes nothing away that is asked. `traffic`
    has to name all its models, so that it is known whom to wake."""


R = TypeVar("R", bound=Record)


def engine_deployment(engine: str) -> str:
    """Name of an engine's deployment: `default` -> `engine-default`."""
    return f"engine-{engine}"


def deployments(args: GraphArgs) -> dict[str, type[Record] | None]:
    """Every deployment that the application consists of -> the kind of its `user_config`, None where it has none."""
    engines: dict[str, type[Record] | None] = {engine_deployment(name): EngineConfig for name in args.engines}
    return {**engines, TEXT: TextConfig, WORKER: WorkerConfig, GATEWAY: None}


def graph_args(values: Mapping[str, Any] | None, where: str = "args") -> GraphArgs:
    """The application's `args`, as Serve hands them to the builder.

    Raises:
        InvalidGraph: an unknown name, a value that cannot be, or an engine that is named twice.
    """
    args = read(GraphArgs, values, where)
    if len(set(args.engines)) < len(args.engines):
        raise InvalidGraph(f"{where}.engines: names an engine twice: {', '.join(args.engines)}")
    return args


def worker_config(values: Mapping[str, Any] | None, where: str = "user_config") -> WorkerConfig:
    """The `user_config` of the deployment `worker`.

    Raises:
        InvalidGraph: as `read`, shares of a model that are not 1 together, or an engine that is named twice.
    """
    config = read(WorkerConfig, values, where)
    if len(set(config.on_demand)) < len(config.on_demand):
        raise InvalidGraph(f"{where}.on_demand: names an engine twice: {', '.join(config.on_demand)}")
    for model, shares in config.traffic.items():
        total = sum(shares.values())
        if abs(total - 1) > 1e-6:
            said = " + ".join(f"{engine} {share:g}" for engine, share in shares.items()) or "nothing"
            raise InvalidGraph(f"{where}.traffic[{model!r}]: the shares have to be 1 together: {said} = {total:g}")
    return config


def read(kind: type[R], values: Mapping[str, Any] | None, where: str) -> R:
    """A record of what a YAML says; None, as for an empty mapping, stands for the defaults.

    Args:
        where: where in the YAML the values are, which errors begin with.

    Raises:
        InvalidGraph: an unknown name or a value that cannot be.
    """
    try:
        return msgspec.convert({} if values is None else values, kind)
    except msgspec.ValidationError as error:
        raise InvalidGraph(_said(kind, values, where, str(error))) from None


_AT: Final = re.compile(r"^(?P<what>.*?)(?: - at `(?P<key>key` in `)?\$(?P<path>.*)`)?$", re.DOTALL)
_UNKNOWN: Final = re.compile(r"^Object contains unknown field `(?P<name>.*)`$", re.DOTALL)


def nearest(name: str, known: Iterable[str]) -> str:
    """`; is ... meant?` for a name that is not known; empty where none is near."""
    close = difflib.get_close_matches(name, list(known), 1)
    return f"; is {close[0]} meant?" if close else ""


def _said(kind: type[Record], values: Any, where: str, error: str) -> str:
    """An error of msgspec, with the key that it leaves out of a mapping's path."""
    for field in msgspec.structs.fields(kind):
        if not error.partition(" - at ")[2].startswith(f"`$.{field.encode_name}[...]"):
            continue
        of_values = get_args(_bare(field.type))[1]
        for key, value in values[field.encode_name].items():
            try:
                msgspec.convert(value, of_values)
            except msgspec.ValidationError as inner:
                return _placed(of_values, f"{where}.{field.encode_name}[{key!r}]", str(inner))
    return _placed(kind, where, error)


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _placed(kind: Any, where: str, error: str) -> str:
    found = _AT.match(error)
    assert found is not None  # it matches anything
    where = f"{where}{found['path'] or ''}{' (a name in it)' if found['key'] else ''}"
    unknown = _UNKNOWN.match(found["what"])
    if unknown is None:
        return f"{where}: {found['what'].replace('`', '').replace('Expected', 'has to be', 1)}"
    known = [field.name for field in msgspec.structs.fields(kind)]
    hint = nearest(unknown["name"], known) or f"; there are {', '.join(known)}"
    return f"{where}: there is no {unknown['name']}{hint}"
