"""Alerts and dashboard: their form, and that they ask for nothing that nobody tells."""

import asyncio
import json
import re
import shutil
import subprocess
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import httpx
import msgspec
import pytest
import yaml
from jsonschema import Draft202012Validator
from prometheus_client.parser import text_string_to_metric_families

from serving.graph.metrics import ENGINE, WORKER, exported
from serving.options import ServerOptions
from tests.deploying import kinds, queries
from tests.deploying.queries import TOP
from tests.serving.api.conftest import SETTINGS, served
from tests.serving.sealing import store_at

ASKED = list(queries.asked())

#: What Prometheus adds to what is scraped.
TARGET_LABELS = frozenset({"job", "instance", "le"})

#: What Serve adds to metrics of replicas.
SERVE_LABELS = frozenset({"deployment", "application", "replica"})


@cache
def rays() -> frozenset[str]:
    """Names that Ray's own source gives to metrics of Serve and of nodes, as they are exported."""
    spec = find_spec("ray")
    assert spec is not None
    ray = Path(next(iter(spec.submodule_search_locations or [])))
    files = [*ray.glob("serve/**/*.py"), ray / "dashboard/modules/reporter/reporter_agent.py"]
    names = {
        name
        for file in files
        for name in re.findall(r'"((?:serve|node)_[a-z0-9_]+)"', file.read_text(encoding="utf-8"))
    }
    ends = ("", "_total", "_bucket", "_sum", "_count")
    return frozenset(f"ray_{name}{end}" for name in names for end in ends)


def test_all_that_is_asked_of_the_api_is_told_with_these_labels(url, tmp_path):
    told = asyncio.run(_told(url, tmp_path))
    ours = [one for one in ASKED if one.metric.startswith(("automations_", "process_"))]
    assert len(ours) > 20
    for one in ours:
        assert one.metric in told, f"{one.where} asks for {one.metric}"
        assert one.labels <= told[one.metric] | TARGET_LABELS, f"{one.where}: {one.metric}{set(one.labels)}"


async def _told(url: str, folder: Path) -> dict[str, set[str]]:
    """Name -> labels, of what an API process tells."""
    settings = msgspec.structs.replace(SETTINGS, server=ServerOptions(data_dir=str(folder)))
    async with (
        served(url, store_at(folder / "objects"), settings) as address,
        httpx.AsyncClient(base_url=address) as client,
    ):
        assert (await client.get("/livez")).status_code == 200
        text = (await client.get("/metrics")).text
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_all_that_is_asked_of_replicas_is_exported_with_these_labels():
    kept = {**ENGINE, **WORKER}
    labels = {end: set(metric.labels) for name, metric in kept.items() for end in exported({name: metric})}
    ours = [one for one in ASKED if one.metric.startswith("ray_automations_")]
    assert len(ours) > 10
    for one in ours:
        assert one.metric in labels, f"{one.where} asks for {one.metric}"
        assert one.labels <= labels[one.metric] | SERVE_LABELS | TARGET_LABELS, one.where


def test_all_that_is_asked_of_ray_is_in_its_source():
    theirs = [one for one in ASKED if one.metric.startswith("ray_") and not one.metric.startswith("ray_automations_")]
    assert len(theirs) > 10
    for one in theirs:
        assert one.metric in rays(), f"{one.where} asks for {one.metric}"


def test_nothing_else_is_asked():
    rest = {one.metric for one in ASKED if not one.metric.startswith(("automations_", "ray_", "process_"))}
    assert rest == {"up"}


def test_all_that_replicas_count_is_shown():
    titles = {panel["title"] for panel in queries.panels()}
    shown = {one.metric for one in ASKED if one.where in titles}
    unseen = {name for kept in (ENGINE, WORKER) for name in kept if not exported({name: kept[name]}) & shown}
    assert unseen == {"automations_clip_seconds"}, "of clips, what Serve measures is shown, waiting included"


def test_alerts_are_rules_of_prometheus():
    schema = kinds.ours("prometheusrule")
    said = yaml.safe_load(queries.ALERTS.read_text(encoding="utf-8"))
    errors = list(Draft202012Validator({**schema["$defs"]["rules"], "$defs": schema["$defs"]}).iter_errors(said))
    assert not errors, errors[0].message
    names = [rule["alert"] for rule in queries.rules()]
    assert len(names) == len(set(names))


def test_every_alert_has_a_test():
    said = yaml.safe_load((TOP / "tests/deploying/alerts_tests.yaml").read_text(encoding="utf-8"))
    fired = {
        test["alertname"] for one in said["tests"] for test in one.get("alert_rule_test", ()) if test["exp_alerts"]
    }
    assert fired == {rule["alert"] for rule in queries.rules()}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (apt-get install prometheus)")
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "--syntax-only", "configs/prometheus/prometheus.yaml"),
        ("check", "rules", "configs/prometheus/alerts.yaml"),
        ("test", "rules", "tests/deploying/alerts_tests.yaml"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_promtool_agrees(arguments):
    done = subprocess.run(["promtool", *arguments], cwd=TOP, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_is_one_that_grafana_takes():
    board = json.loads(queries.DASHBOARD.read_text(encoding="utf-8"))
    assert board["uid"] == "automations"
    assert "id" not in board, "the number is the database's of each Grafana"
    assert [one["name"] for one in board["templating"]["list"]] == ["datasource"]
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    taken = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + dx, place["y"] + dy) for dx in range(place["w"]) for dy in range(place["h"])}
        assert place["x"] >= 0, panel["title"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        assert not cells & taken, f"{panel['title']} lies on another panel"
        taken |= cells
    for panel in queries.panels():
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert [target["refId"] for target in panel["targets"]] == [chr(65 + n) for n in range(len(panel["targets"]))]


def test_grafana_finds_prometheus_and_the_dashboard():
    folder = TOP / "configs/grafana/provisioning"
    sources = yaml.safe_load((folder / "datasources/prometheus.yaml").read_text(encoding="utf-8"))
    assert sources["apiVersion"] == 1
    assert [one["type"] for one in sources["datasources"]] == ["prometheus"]
    providers = yaml.safe_load((folder / "dashboards/automations.yaml").read_text(encoding="utf-8"))
    assert providers["providers"][0]["options"]["path"] == "/var/lib/grafana/dashboards"
