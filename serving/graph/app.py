"""Puts the graph together: what `import_path` of a Serve YAML names. Composes, no more.

    API --HTTP--> gateway --> text
    database <--> worker --> engine-<name>, text

How many replicas each has, on what, and with which models is said by the YAML (`configs/`), not here. What is here are
options that follow from how the classes are written.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from ray import serve
from ray.serve.config import RequestRouterConfig

from pipeline.record import Record
from serving.graph.args import (
    GATEWAY,
    TEXT,
    WORKER,
    EngineConfig,
    TextConfig,
    WorkerConfig,
    engine_deployment,
    graph_args,
)
from serving.graph.engine import EngineReplica
from serving.graph.gateway import Gateway
from serving.graph.text import TextReplica
from serving.graph.worker import WorkerReplica

#: See `EngineReplica`; by name, for Ray's annotations know of no class there.
_PINNED: Final[Any] = "serving.graph.routing:PinnedRouter"

#: How often a replica that is to go looks whether it still has requests, seconds: one without any goes at once.
_LOOK_S: Final = 0.1

#: How often a replica whose start fails is started again: what is missing, a download or a database, may come. Serve
#: waits longer from time to time. It gives up after three all the same where `cluster` did not tell it not to.
_STARTS: Final = 1_000_000


def build(args: Mapping[str, Any]) -> serve.Application:
    """The application.

    Args:
        args: see `args.GraphArgs`.

    Raises:
        InvalidGraph: an unknown name, or a value that cannot be.
    """
    pinned = {"request_router_config": RequestRouterConfig(request_router_class=_PINNED)}
    engines = {
        name: _deployment(EngineReplica, engine_deployment(name), EngineConfig(), **pinned).bind(name)
        for name in graph_args(args).engines
    }
    text = _deployment(TextReplica, TEXT, TextConfig()).bind()
    worker = _deployment(WorkerReplica, WORKER, WorkerConfig()).bind(engines, text)
    # What it does not ask is a part of the application by being named.
    return _deployment(Gateway, GATEWAY, None).bind(text, engines, worker)


def _deployment(kind: type, name: str, config: Record | None, **options: Any) -> serve.Deployment:
    """`config`: its `user_config` where the YAML has none; without any, Serve would never call `reconfigure`."""
    decorate = serve.deployment(
        name=name,
        graceful_shutdown_wait_loop_s=_LOOK_S,
        max_constructor_retry_count=_STARTS,
        user_config=None if config is None else msgspec.to_builtins(config),
        **options,
    )
    return decorate(kind)
