"""A Serve YAML as it will be deployed: every default of ours and of Serve's said, so that nothing has to be known."""

import copy
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from serving.graph.args import GATEWAY, TEXT, WORKER, ModelConfig, engine_deployment
from serving.graph.wiring import wiring

#: Options of a deployment that are shown though the YAML does not say them, with Serve's defaults: `app.build` leaves
#: them alone. What it sets itself (how requests are routed, how often a start is tried) is nobody else's to set.
OPTIONS: Final = (
    "max_ongoing_requests",
    "max_queued_requests",
    "health_check_period_s",
    "health_check_timeout_s",
    "graceful_shutdown_timeout_s",
)
AUTOSCALING: Final = (
    "min_replicas",
    "max_replicas",
    "target_ongoing_requests",
    "upscale_delay_s",
    "downscale_delay_s",
    "look_back_period_s",
)


def rendered(deploy: Mapping[str, Any]) -> dict[str, Any]:
    """The same graph, said in full. What is rendered already stays as it is.

    Raises:
        InvalidGraph: see `wiring.wiring`.
    """
    found = wiring(deploy)
    full = copy.deepcopy(dict(deploy))
    application = full["applications"][0]
    application["args"] = _builtins(found.args)
    application["deployments"] = [
        _full(name, options, found.user_config(name)) for name, options in found.options.items()
    ]
    return full


def with_engines(deploy: Mapping[str, Any], engines: Mapping[str, Mapping[str, ModelConfig]]) -> dict[str, Any]:
    """The same graph with other engines: each is like the first of the file in all but its models.

    Text towers are those of all networks. Jobs for a model that several engines have go to the first of these; the
    others are loaded and wait for a share. Where the first of the file may have no replica, so may all others.

    Args:
        engines: name -> asked name -> model.

    Raises:
        InvalidGraph: see `wiring.wiring`, for the file as it is.
    """
    found = wiring(deploy)
    full = copy.deepcopy(dict(deploy))
    application = full["applications"][0]
    first = found.args.engines[0]
    like, on_demand = found.options[engine_deployment(first)], first in found.worker.on_demand
    kept = {name: options for name, options in found.options.items() if name in (TEXT, WORKER, GATEWAY)}
    options = {engine_deployment(name): _changed(like, models=_plain(models)) for name, models in engines.items()} | {
        TEXT: _changed(kept[TEXT], models=_plain(_towers(engines))),
        WORKER: _changed(
            kept[WORKER], traffic=_traffic(engines, all_of_them=on_demand), on_demand=list(engines) if on_demand else []
        ),
        GATEWAY: kept[GATEWAY],
    }
    application["args"] = {"engines": list(engines)}
    application["deployments"] = [{**one, "name": name} for name, one in options.items()]
    return full


def _changed(options: Mapping[str, Any], **config: Any) -> dict[str, Any]:
    return {**options, "user_config": {**(options.get("user_config") or {}), **config}}


def _plain(models: Mapping[str, ModelConfig]) -> dict[str, Any]:
    return {asked: {"source": model.source} if model.source else {} for asked, model in models.items()}


def _towers(engines: Mapping[str, Mapping[str, ModelConfig]]) -> dict[str, ModelConfig]:
    """The first network of each asked name under that name, others under one of their own."""
    towers: dict[str, ModelConfig] = {}
    for name, models in engines.items():
        for asked, model in models.items():
            if model.source_of(asked) not in {tower.source_of(known) for known, tower in towers.items()}:
                free = asked if asked not in towers else f"{asked}-{name}"
                towers[free] = ModelConfig(source=model.source_of(asked)) if free != asked else model
    return towers


def _traffic(engines: Mapping[str, Mapping[str, ModelConfig]], *, all_of_them: bool) -> dict[str, dict[str, float]]:
    """Of the models that several engines have, or of all."""
    traffic = {}
    for model in dict.fromkeys(asked for models in engines.values() for asked in models):
        having = [name for name, models in engines.items() if model in models]
        if len(having) > 1 or all_of_them:
            traffic[model] = dict.fromkeys(having, 0.0) | {having[0]: 1.0}
    return traffic


def _builtins(record: msgspec.Struct) -> Any:
    """As YAML reads it: lists, no tuples."""
    return msgspec.json.decode(msgspec.json.encode(record))


def _full(name: str, options: Mapping[str, Any], config: msgspec.Struct | None) -> dict[str, Any]:
    """Imports Ray, for the defaults are its own."""
    from ray.serve._private.config import DeploymentConfig
    from ray.serve.config import AutoscalingConfig

    full: dict[str, Any] = {"name": name}
    scaling = options.get("autoscaling_config")
    if options.get("num_replicas") == "auto":
        scaling = {"max_replicas": AutoscalingConfig.default().max_replicas} | (scaling or {})
    if scaling is None:
        full["num_replicas"] = options.get("num_replicas") or 1
    else:
        shown = {option: AutoscalingConfig.model_fields[option].default for option in AUTOSCALING}
        full["autoscaling_config"] = shown | dict(scaling)
    full |= {option: DeploymentConfig.model_fields[option].default for option in OPTIONS}
    actor = {"num_cpus": 1.0, "num_gpus": 0.0} | {
        option: value for option, value in (options.get("ray_actor_options") or {}).items() if value is not None
    }
    full["ray_actor_options"] = actor
    said = {option: value for option, value in options.items() if option not in full and option != "num_replicas"}
    full |= {option: value for option, value in options.items() if option in OPTIONS} | said
    if config is not None:
        full["user_config"] = _builtins(config)
    return full
