"""An application of engines and text towers alone: the graph without its workers, which need a database."""

from typing import Any

from ray import serve
from ray.serve.config import RequestRouterConfig

from serving.graph.engine import EngineReplica
from serving.graph.text import TextReplica
from tests.serving.graph.light import Echo, Front


def build(args: dict[str, Any]) -> serve.Application:
    """See `serving.graph.app.build`. `args`: `engines`, names of those beside `default`."""
    router = RequestRouterConfig(request_router_class="serving.graph.routing:PinnedRouter")
    engines = [
        serve.deployment(EngineReplica, name=f"engine-{name}", request_router_config=router).bind(name)
        for name in ("default", *args.get("engines", ()))
    ]
    echo = serve.deployment(Echo, name="echo", request_router_config=router)
    text = serve.deployment(TextReplica, name="text")
    return serve.deployment(Front, name="front").bind(*engines, text.bind(), echo.bind())
