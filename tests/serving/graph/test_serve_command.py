"""`automations serve` as its users start it: from nothing to a result through Ray, and back to nothing.

One server for all of it, in the order in which it happens: a start takes half a minute.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
import yaml
from sqlmodel import select

from serving.db import embedded
from serving.db.database import SYSTEM, Database
from serving.db.work import Job
from tests.serving.commands import ROOT, environment
from tests.serving.cutting import free_port
from tests.serving.graph.launching import Started, config, start, until

#: How long what takes ten seconds or half a minute may take, on a machine that has other things to do.
SOON_S, LATER_S = 120, 240


@dataclass
class Server:
    """What runs, and its client."""

    started: Started
    yaml: Path
    port: int
    api: httpx.Client
    said_before: str
    """What was printed by the time that the API took jobs."""
    video: str = ""
    space: str = ""
    """Of the first job's model."""

    def command(self, *arguments: object) -> "subprocess.CompletedProcess[str]":
        """A command for it."""
        key = self.api.headers["authorization"].removeprefix("Bearer ")
        settings = {
            "AUTOMATIONS_SERVER__DATA_DIR": self.started.folder,
            "AUTOMATIONS_CLIENT__SERVER": str(self.api.base_url),
            "AUTOMATIONS_CLIENT__KEY": key,
        }
        command = [sys.executable, "-m", "serving.cli", *map(str, arguments)]
        env = environment(settings) | {"COLUMNS": "200"}
        return subprocess.run(command, cwd=ROOT, env=env, text=True, capture_output=True, timeout=LATER_S)

    def job(self, video: str, within_s: float, fps: float = 1.0) -> dict:
        """A job of the bundled model, once it is over."""
        body = {"video_id": video, "spec": {"model": "bundled", "sampling": {"fps": fps}}}
        job = self.api.post("/v1/jobs", json=body).raise_for_status().json()["id"]

        def over() -> dict | None:
            found = self.api.get(f"/v1/jobs/{job}").raise_for_status().json()
            return found if found["state"] not in ("queued", "running") else None

        return until(over, within_s, f"{job} is over")


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    """With a database of its own, as nothing is said of one."""
    folder = tmp_path_factory.mktemp("serve")
    path, port = config(folder), free_port()
    started = start(folder, "serve", "--config", path, AUTOMATIONS_SERVER__PORT=port)
    api = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False)

    def takes_jobs() -> bool:
        assert started.process.poll() is None, started.said()
        try:
            return api.get("/readyz", params={"part": "api"}).status_code == 200
        except httpx.TransportError:
            return False

    try:
        until(takes_jobs, SOON_S, "the API takes jobs")
        said = started.said()
        key = re.search(r"^key +(\S+)", started.says("\nkey ", 10), re.MULTILINE)
        assert key is not None
        api.headers["authorization"] = f"Bearer {key[1]}"
        yield Server(started, path, port, api, said)
    finally:
        api.close()
        started.kill()


def test_the_api_answers_and_takes_jobs_before_ray_is_up(server):
    assert "ray is up" not in server.said_before
    assert server.api.get("/readyz").status_code == 503
    refused = server.api.post("/v1/embeddings", json={"input": ["a red circle"]})
    assert (refused.status_code, refused.json()["code"]) == (503, "engine_unavailable")
    assert refused.json()["retryable"] is True
    assert int(refused.headers["retry-after"]) > 0


def test_who_keeps_the_graph_up_may_be_killed(server):
    """Before it has started Ray, so that this takes no second start of that; what would be left is tested elsewhere."""
    (keeper,) = server.started.named("serving.cli graph")
    os.kill(keeper, signal.SIGKILL)
    server.started.says("graph     was ended by SIGKILL", SOON_S)
    again = until(lambda: server.started.named("serving.cli graph"), SOON_S, "it is started again")
    assert keeper not in again
    assert server.started.process.poll() is None
    assert server.api.get("/readyz", params={"part": "api"}).status_code == 200


def test_a_result_comes_through_ray(server, film):
    server.video = server.api.post("/v1/videos", params={"filename": "film.mp4"}, content=film.read_bytes()).json()[
        "id"
    ]
    job = server.job(server.video, LATER_S)
    assert job["state"] == "succeeded", job
    assert job["attempt"] == 1
    report = server.api.get(f"/v1/jobs/{job['id']}/report").json()
    assert report["segments"]
    assert report["decode"]["frames_decoded"] == report["decode"]["frames_wanted"] == 12
    server.space = report["models"][0]["space"]
    said = server.started.says("ready     jobs are worked on", SOON_S)
    assert said.index("ray is up") < said.index("ready ")
    server.started.says("engine-default is up", SOON_S)
    assert server.api.get("/readyz").status_code == 200
    assert server.started.named("ray::ServeReplica", "engine-default"), server.started.processes()


def test_texts_are_embedded_in_the_space_of_the_frames(server):
    answer = server.api.post("/v1/embeddings", json={"model": "bundled", "input": ["a red circle", "a blue square"]})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    rows = np.array(found["data"])
    assert rows.shape == (2, found["dim"])
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1.0, abs=1e-3)
    assert (found["model"], found["space"]) == ("bundled", server.space)
    unknown = server.api.post("/v1/embeddings", json={"model": "ViT-Z-99/nobody", "input": ["x"]})
    assert (unknown.status_code, unknown.json()["code"]) == (422, "model_unavailable")


def test_nothing_of_it_is_reached_from_elsewhere_or_without_the_token(server):
    """Ray's processes listen on loopback. Replicas have a port on all addresses, which Serve gives no choice about: it
    wants the token, as all else does."""
    elsewhere = {}
    for pid, name in server.started.processes().items():
        for host, port in _listening(pid):
            if host not in ("127.0.0.1", "::ffff:127.0.0.1", "::1"):
                elsewhere[port] = name
    assert all(name.startswith("ray::ServeReplica") for name in elsewhere.values()), elsewhere
    assert len(elsewhere) == 4, "one of each replica, or this test has seen nothing"
    for port in elsewhere:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(grpc.RpcError) as refused:
            channel.unary_unary("/ray.serve.ASGIService/HandleRequest")(b"", timeout=20)
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
    where = server.started.cluster()
    port = int(where.address.read_text().rpartition(":")[2])
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary("/ray.rpc.NodeInfoGcsService/GetClusterId")(b"", timeout=20)
    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
    assert where.token.read_text() not in server.started.said()


def test_the_gateway_wants_the_servers_key(server):
    port = yaml.safe_load(server.yaml.read_text())["http_options"]["port"]
    for headers in ({}, {"x-automations-graph": "0" * 64}):
        answer = httpx.post(f"http://127.0.0.1:{port}/embed", headers=headers, content=b"", trust_env=False)
        assert answer.status_code == 403


def test_a_model_that_is_no_good_does_not_replace_one_that_is(server):
    """Deployed with a command, and told by another one."""
    shown = server.command("models", "status")
    assert shown.returncode == 0, shown.stderr
    assert re.search(rf"^bundled +default +ready +bundled.* {server.space} ", shown.stdout, re.MULTILINE), shown.stdout
    broken = config(server.yaml.parent, models={"bundled": {"source": f"local-dir:{server.yaml.parent}"}})
    deploy = yaml.safe_load(broken.read_text())
    text = next(one for one in deploy["applications"][0]["deployments"] if one["name"] == "text")
    text["user_config"]["models"]["other"] = {"source": f"local-dir:{server.yaml.parent}"}
    broken.write_text(yaml.safe_dump(deploy))
    done = server.command("graph", "deploy", broken)
    assert done.returncode == 0, done.stdout + done.stderr

    def failed() -> dict | None:
        (model,) = server.api.get("/v1/models").json()
        (engine,) = model["workers"]
        return engine if engine["swap_error"] else None

    engine = until(failed, SOON_S, "the swap fails")
    assert (engine["state"], engine["engine"], engine["generation"]) == ("ready", "default", 1)
    assert engine["space"] == server.space
    told = server.command("models", "status")
    assert told.returncode == 0
    assert "bundled at default: what was to replace it failed: " in told.stdout
    (model,) = json.loads(server.command("models", "status", "--json").stdout)
    assert model["workers"][0]["swap_error"] == engine["swap_error"]
    # Another sampling: the first job's features are no help.
    assert server.job(server.video, SOON_S, fps=2.0)["state"] == "succeeded"


def test_it_ends_on_ctrl_c_with_nothing_left_though_an_engine_hangs(server):
    """The job that waits for that engine is handed back."""
    (engine,) = server.started.named("ray::ServeReplica", "engine-default")
    os.kill(engine, signal.SIGSTOP)
    body = {"video_id": server.video, "spec": {"model": "bundled", "sampling": {"fps": 3.0}}}
    job = server.api.post("/v1/jobs", json=body).raise_for_status().json()["id"]
    until(lambda: server.api.get(f"/v1/jobs/{job}").json()["state"] == "running", SOON_S, "the job runs")
    there = server.started.processes()
    assert len(there) > 10, there
    # As a terminal sends it: to all in the foreground.
    os.killpg(server.started.process.pid, signal.SIGINT)
    assert server.started.process.wait(40) == 0, server.started.said()
    server.started.nothing_left(10)
    said = server.started.said()
    assert not [line for line in said.splitlines() if line.startswith("Traceback")], said
    assert asyncio.run(_state(server.started.folder, job)) == "queued"


async def _state(folder: Path, job: str) -> str:
    """Of a job, by the database in a data folder that nobody uses."""
    with embedded.embedded(folder / "postgres") as url:
        database = Database(url)
        try:
            async with database.read(SYSTEM) as session:
                return (await session.exec(select(Job.state).where(Job.id == job))).one()
        finally:
            await database.close()


def _listening(pid: int) -> Iterator[tuple[str, int]]:
    """(host, port) of a process."""
    import psutil

    for one in psutil.Process(pid).net_connections("tcp"):
        if one.status == psutil.CONN_LISTEN:
            yield one.laddr.ip, one.laddr.port
