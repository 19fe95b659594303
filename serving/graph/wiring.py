"""What a Serve YAML says about the graph: which engines there are, what each computes, and who gets which jobs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.record import Record
from serving.graph.args import (
    APPLICATION,
    IMPORT_PATH,
    TEXT,
    WORKER,
    EngineConfig,
    GraphArgs,
    InvalidGraph,
    ModelConfig,
    TextConfig,
    WorkerConfig,
    deployments,
    engine_deployment,
    graph_args,
    nearest,
    read,
    worker_config,
)


@dataclass(frozen=True, slots=True)
class Wiring:
    """All that is configurable, with its defaults."""

    args: GraphArgs
    options: Mapping[str, Mapping[str, Any]]
    """Deployment -> what the YAML says about it; empty for one that it leaves out."""
    engines: Mapping[str, EngineConfig]
    """By the engine's name, not the deployment's."""
    text: TextConfig
    worker: WorkerConfig

    def may_sleep(self, engine: str) -> bool:
        """Whether an engine may have no replica."""
        return (self.options[engine_deployment(engine)].get("autoscaling_config") or {}).get("min_replicas") == 0

    def user_config(self, deployment: str) -> Record | None:
        """Of a deployment; None where it has none."""
        engines = {engine_deployment(name): config for name, config in self.engines.items()}
        return {**engines, TEXT: self.text, WORKER: self.worker}.get(deployment)


def wiring(deploy: Mapping[str, Any]) -> Wiring:
    """Read a Serve YAML and see that its parts agree with each other.

    Raises:
        InvalidGraph: a deployment or engine that does not exist, a `user_config` that cannot be, a model that has no
            such name, is on several engines without a word on who gets its jobs, or has no text tower.
    """
    application = _application(deploy)
    args = graph_args(application.get("args"))
    options = _options(application, args)

    def said(deployment: str) -> tuple[Any, str]:
        return options[deployment].get("user_config"), f"{deployment}.user_config"

    for deployment, kind in deployments(args).items():
        if kind is None and said(deployment)[0]:
            raise InvalidGraph(f"{deployment}.user_config: there is nothing to be configured; leave it out")
    found = Wiring(
        args=args,
        options=options,
        engines={name: read(EngineConfig, *said(engine_deployment(name))) for name in args.engines},
        text=read(TextConfig, *said(TEXT)),
        worker=worker_config(*said(WORKER)),
    )
    _require_known_models(found)
    _require_traffic(found)
    _require_on_demand(found)
    _require_towers(found)
    return found


def _application(deploy: Mapping[str, Any]) -> Mapping[str, Any]:
    applications = deploy.get("applications") or ()
    others = [one.get("import_path") for one in applications if one.get("import_path") != IMPORT_PATH]
    if len(applications) != 1 or others:
        said = ", ".join(str(path) for path in others) or f"{len(applications)} of them"
        raise InvalidGraph(f"applications: has to be one, whose import_path is {IMPORT_PATH}, not {said}")
    if (name := applications[0].get("name")) != APPLICATION:
        raise InvalidGraph(f"applications[0].name: has to be {APPLICATION}, by which it is found, not {name}")
    return applications[0]


def _options(application: Mapping[str, Any], args: GraphArgs) -> dict[str, Mapping[str, Any]]:
    names = deployments(args)
    found: dict[str, Mapping[str, Any]] = {}
    for options in application.get("deployments") or ():
        name = options.get("name")
        if name not in names:
            there = f"; there are {', '.join(names)} (args.engines names the engines)"
            raise InvalidGraph(f"deployments: there is no {name}{nearest(str(name), names)}{there}")
        if name in found:
            raise InvalidGraph(f"deployments: {name} is there twice")
        found[name] = options
    return {name: found.get(name, {}) for name in names}


def _models(found: Wiring) -> Iterator[tuple[str, str, ModelConfig]]:
    """Where, asked name, model: of all engines and the text towers."""
    for name, config in found.engines.items():
        yield from ((f"{engine_deployment(name)}.user_config", asked, model) for asked, model in config.models.items())
    yield from ((f"{TEXT}.user_config", asked, model) for asked, model in found.text.models.items())


def _require_known_models(found: Wiring) -> None:
    """By the form of their names: loading one is for the machine that has its weights."""
    from models.catalog import FACTORIES, factory_of
    from models.errors import BadModel

    for where, asked, model in _models(found):
        name = model.source_of(asked)
        try:
            known = factory_of(name) is not None
        except BadModel as error:
            raise InvalidGraph(f"{where}.models[{asked!r}]: {error}") from error
        if not known:
            forms = ", ".join(dict.fromkeys(pattern for pattern, _ in FACTORIES))
            raise InvalidGraph(f"{where}.models[{asked!r}]: {name!r} is no name of a model; they look like {forms}")


def _require_traffic(found: Wiring) -> None:
    where = f"{WORKER}.user_config.traffic"
    for model, shares in found.worker.traffic.items():
        for engine in shares:
            _require_engine(found, engine, f"{where}[{model!r}]")
            if model not in found.engines[engine].models:
                has = ", ".join(found.engines[engine].models)
                raise InvalidGraph(f"{where}[{model!r}]: the engine {engine} has no {model}; it has {has}")
    for model in dict.fromkeys(asked for config in found.engines.values() for asked in config.models):
        having = [name for name, config in found.engines.items() if model in config.models]
        if len(having) > 1 and model not in found.worker.traffic:
            example = ", ".join(f"{name}: {share}" for name, share in zip(having, _example(len(having)), strict=True))
            raise InvalidGraph(
                f"{where}: {model} is on the engines {' and '.join(having)}; say who gets how many of its jobs, "
                f"for example {{{model}: {{{example}}}}}"
            )


def _require_engine(found: Wiring, engine: str, where: str) -> None:
    if engine not in found.engines:
        hint = nearest(engine, found.engines) or f"; there are {', '.join(found.engines)}"
        raise InvalidGraph(f"{where}: there is no engine {engine}{hint}")


def _require_on_demand(found: Wiring) -> None:
    """An engine that has no replica can be asked nothing: workers have to be told that it may have none, and what it
    runs."""
    where = f"{WORKER}.user_config"
    for engine in found.worker.on_demand:
        _require_engine(found, engine, f"{where}.on_demand")
    for engine, config in found.engines.items():
        name = engine_deployment(engine)
        named = engine in found.worker.on_demand
        if named != found.may_sleep(engine):
            all_named = ", ".join((*found.worker.on_demand, engine))
            raise InvalidGraph(
                f"{where}.on_demand: {engine} always has replicas; leave it out, or say min_replicas: 0 in {name}'s "
                "autoscaling_config"
                if named
                else f"{name}.autoscaling_config.min_replicas: workers wake no engine of which they do not know that "
                f"it may have no replica; say on_demand: [{all_named}] in {where}"
            )
        for model in config.models if named else ():
            shares = found.worker.traffic.get(model, {})
            if engine not in shares:
                said = ", ".join(f"{one}: {share:g}" for one, share in {**shares, engine: 0 if shares else 1}.items())
                raise InvalidGraph(
                    f"{where}.traffic: does not say that {engine} runs {model}, and while it has no replica nobody "
                    f"can ask it; add {model}: {{{said}}}"
                )


def _example(count: int) -> list[float]:
    return [round(1 - 0.1 * (count - 1), 1), *[0.1] * (count - 1)] if count < 10 else [1.0, *[0.0] * (count - 1)]


def _require_towers(found: Wiring) -> None:
    """Jobs with prompts or labels need the text tower of the very network that ran their frames."""
    from models.catalog import names_encoder

    towers = {model.source_of(asked) for asked, model in found.text.models.items()}
    for name, config in found.engines.items():
        for asked, model in config.models.items():
            source = model.source_of(asked)
            if source not in towers and names_encoder(source):
                free = asked if asked not in found.text.models else f"{asked}-{name}"
                raise InvalidGraph(
                    f"{TEXT}.user_config.models: has no text tower for {engine_deployment(name)}'s {asked}; "
                    f"add {free}: {{source: {source}}}"
                )
