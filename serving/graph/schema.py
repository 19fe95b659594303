"""What Ray's own schema says of a Serve YAML, and what it should say: options that it does not know, it ignores."""

import copy
import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from serving.graph.args import InvalidGraph, nearest
from serving.graph.scaling import scaling_rules

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

BACKLOG_POLICY: Final = "serving.graph.policy:BacklogPolicy"
"""What scales workers."""


def require_accepted(deploy: Mapping[str, Any]) -> None:
    """See that `serve deploy` takes a YAML, and all of it.

    Raises:
        InvalidGraph: it does not, or would ignore a part; says where.
    """
    # Takes seconds to import.
    from ray.serve import schema

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are told where their place is known
        _require_valid(schema.ServeDeploySchema, deploy, "")
    _require_known(schema.ServeDeploySchema, deploy, "")
    _require_known(schema.HTTPOptionsSchema, deploy.get("http_options"), "http_options")
    for index, application in enumerate(deploy["applications"]):
        _require_known(schema.ServeApplicationSchema, application, f"applications[{index}]")
        for options in application.get("deployments") or ():
            name = options["name"]
            _require_known(schema.DeploymentSchema, options, name)
            _require_known(schema.RayActorOptionsSchema, options.get("ray_actor_options"), f"{name}.ray_actor_options")
            if options.get("autoscaling_config") is not None:
                _require_autoscaling(options["autoscaling_config"], f"{name}.autoscaling_config")


def _require_known(model: "type[BaseModel]", values: Mapping[str, Any] | None, where: str) -> None:
    for name in values or ():
        if name not in model.model_fields:
            prefix = f"{where}: " if where else ""
            raise InvalidGraph(f"{prefix}Serve knows no {name}{nearest(str(name), model.model_fields)}")


def _require_autoscaling(values: Mapping[str, Any], where: str) -> None:
    from ray.serve.config import AutoscalingConfig, AutoscalingPolicy

    _require_known(AutoscalingConfig, values, where)
    policy = values.get("policy") or {}
    _require_known(AutoscalingPolicy, policy, f"{where}.policy")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _require_valid(AutoscalingConfig, values, where)
    if caught:
        raise InvalidGraph(f"{where}: {caught[0].message}")
    if policy.get("policy_function") == BACKLOG_POLICY:
        scaling_rules(policy.get("policy_kwargs"), f"{where}.policy.policy_kwargs")


def _require_valid(model: "type[BaseModel]", values: Mapping[str, Any], where: str) -> None:
    from pydantic import ValidationError

    try:
        # It changes what it is given, and imports what is named.
        model.model_validate(copy.deepcopy(dict(values)))
    except ValidationError as error:
        raise InvalidGraph(_said(error, values, where)) from None
    except (ImportError, AttributeError, ValueError) as error:
        prefix = f"{where}: " if where else ""
        raise InvalidGraph(f"{prefix}a policy or router that is named cannot be imported: {error}") from error


def _said(error: "ValidationError", values: Any, where: str = "") -> str:
    """The first thing that pydantic found, and the place as people say it."""
    first = error.errors()[0]
    place = ".".join(part for part in (where, *_place(first["loc"], values)) if part)
    what = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    shown = f" (it is {first['input']!r:.60})" if not isinstance(first["input"], Mapping | list) else ""
    return f"{place}: {what}{shown}" if place else what


def _place(location: Iterable[str | int], values: Any) -> list[str]:
    """Deployments are known by their names, not by their numbers."""
    place: list[str] = []
    for part in location:
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            values = None  # what is missing, or a kind of value that pydantic names
        if isinstance(part, int) and isinstance(values, Mapping) and place and place[-1] == "deployments":
            place = [str(values.get("name", part))]
        elif isinstance(part, int) and place:
            place[-1] = f"{place[-1]}[{part}]"
        else:
            place.append(str(part))
    return place
