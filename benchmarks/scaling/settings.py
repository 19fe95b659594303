"""What is compared: settings of ours, of a Serve YAML, and those with one number changed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec

from benchmarks.scaling.plant import Plant, Setting
from serving.graph import deploy_file
from serving.graph.args import WORKER, InvalidGraph, engine_deployment, graph_args, worker_config
from serving.graph.scaling import ScalingRules, scaling_rules

#: Three workers keep an engine of `Plant` busy, with twelve Clips out; three quarters of these, so that there is room.
_ENGINES: Final = {"min_replicas": 1, "max_replicas": 4, "target_ongoing_requests": 9}
_WORKERS: Final = {"min_replicas": 1, "max_replicas": 8}

#: Side by side unless others are asked for. A worker of `Plant` clears 20 s of video a second.
SETTINGS: Final = (
    # As many as the busiest hour takes, all the time: what scaling is to be cheaper than.
    Setting(name="fixed", rules=ScalingRules(), workers={"num_replicas": 6}, engines={"num_replicas": 3}),
    # Serve's own delays.
    Setting(
        name="patient",
        rules=ScalingRules(video_s_per_s=20, clear_within_s=300, oldest_s=120),
        workers=_WORKERS | {"upscale_delay_s": 30, "downscale_delay_s": 600},
        engines=_ENGINES | {"upscale_delay_s": 30, "downscale_delay_s": 600},
    ),
    Setting(
        name="eager",
        rules=ScalingRules(video_s_per_s=20, clear_within_s=60, oldest_s=30),
        workers=_WORKERS | {"upscale_delay_s": 5, "downscale_delay_s": 120},
        engines=_ENGINES | {"upscale_delay_s": 5, "downscale_delay_s": 300},
    ),
    Setting(
        name="to zero",
        rules=ScalingRules(video_s_per_s=20, clear_within_s=60, oldest_s=30),
        workers=_WORKERS | {"min_replicas": 0, "upscale_delay_s": 5, "downscale_delay_s": 120},
        engines=_ENGINES | {"min_replicas": 0, "upscale_delay_s": 5, "downscale_delay_s": 300},
    ),
)


def from_yaml(name: str) -> Setting:
    """What a Serve YAML says about workers, and about its first engine, on which all jobs are taken to run.

    Raises:
        InvalidGraph: it cannot be read, or has no such deployments.
    """
    path = deploy_file.path_of(name)
    for application in deploy_file.load(path).get("applications") or ():
        deployments = {one.get("name"): one for one in application.get("deployments") or ()}
        engine = engine_deployment(graph_args(application.get("args")).engines[0])
        if WORKER in deployments and engine in deployments:
            workers = deployments[WORKER]
            config = worker_config(workers.get("user_config"))
            policy = (workers.get("autoscaling_config") or {}).get("policy") or {}
            return Setting(
                name=path.name,
                rules=scaling_rules(policy.get("policy_kwargs")),
                workers=_replicas(workers),
                engines=_replicas(deployments[engine]),
                slots=config.slots,
                clips_in_flight=config.clips_in_flight,
            )
    raise InvalidGraph(f"{path}: no application has the deployments {WORKER!r} and 'engine-...'")


def _replicas(deployment: Mapping[str, Any]) -> dict[str, Any]:
    scaling = deployment.get("autoscaling_config")
    if scaling is None:
        return {"num_replicas": deployment.get("num_replicas") or 1}
    # What decides about workers here is the class that `policy` names, with another source of what waits.
    return {key: value for key, value in scaling.items() if key != "policy"}


def varied(setting: Setting, change: str) -> list[Setting]:
    """The setting with one number changed: `workers.upscale_delay_s=5,30,60` makes three.

    Raises:
        ValueError: nothing can be changed like this.
    """
    name, _, values = change.partition("=")
    part, _, key = name.partition(".")
    if part not in ("rules", "workers", "engines") or not key or not values:
        raise ValueError(f"{change!r}: rules.KEY=1,2,3, workers.KEY=... or engines.KEY=... is wanted")
    return [_with(setting, f"{name}={value}", part, key, float(value)) for value in values.split(",")]


def _with(setting: Setting, name: str, part: str, key: str, value: float) -> Setting:
    number = int(value) if value.is_integer() else value
    if part == "rules":
        rules = scaling_rules(msgspec.to_builtins(setting.rules) | {key: number}, "rules")
        return replace(setting, name=name, rules=rules)
    return replace(setting, name=name, **{part: getattr(setting, part) | {key: number}})


def plant(said: Sequence[str]) -> Plant:
    """What replicas are like, with what is said of them: `engine_video_s_per_s=200`.

    Raises:
        ValueError: there is no such property.
    """
    figures = {}
    for one in said:
        name, _, value = one.partition("=")
        if name not in Plant.__dataclass_fields__:
            raise ValueError(f"{one!r}: there are {', '.join(Plant.__dataclass_fields__)}")
        figures[name] = float(value)
    return Plant(**figures)
