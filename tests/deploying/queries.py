"""PromQL in alerts and dashboards: what it asks for."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser
import yaml

TOP = Path(__file__).resolve().parents[2]
DASHBOARD = TOP / "configs/grafana/dashboards/automations.json"
ALERTS = TOP / "configs/prometheus/alerts.yaml"


@dataclass(frozen=True)
class Asked:
    """One series that a query selects."""

    where: str
    """Name of the alert, or title of the panel."""
    metric: str
    labels: frozenset[str]
    """Names that its matchers go by."""


def rules() -> list[dict[str, Any]]:
    """All alerts."""
    said = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))
    return [rule for group in said["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    """Panels of the dashboard, but for headings."""
    return [panel for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"] if panel["type"] != "row"]


def asked() -> Iterator[Asked]:
    """What alerts and dashboard ask for. Raises ValueError where a query is none."""
    for rule in rules():
        yield from _selected(rule["alert"], rule["expr"])
    for panel in panels():
        for target in panel["targets"]:
            # Grafana puts a duration there.
            yield from _selected(panel["title"], target["expr"].replace("$__rate_interval", "1m"))


def _selected(where: str, query: str) -> list[Asked]:
    found: list[Asked] = []

    def visit(part: Any) -> None:
        if isinstance(part, promql_parser.VectorSelector):
            assert part.name, f"{where}: a selector without a name: {query}"
            found.append(Asked(where, part.name, frozenset(one.name for one in part.matchers.matchers)))

    promql_parser.walk(promql_parser.parse(query), visit)
    return found
