"""What Ray Serve costs: the same jobs through a graph with one engine replica, and through a worker with its models in
it, by turns on the same machine.

    python -m benchmarks serve [--runs 3] [--out FILE]

`long`: one video of ten minutes, 720p; `many`: 16 of one minute, all submitted at once. Wall time from the first
request to the last result, by the database's clock. Both servers are there all the time; the one that is not asked
idles. `hops`: Clips one after the other, from a process of their own: what a Clip takes beyond the work on it, through
the handle and in the same process, and what an empty call takes.
"""

import argparse
import asyncio
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any, Final

import httpx
import msgspec

from benchmarks import machine
from benchmarks.corpus import job as corpus
from benchmarks.corpus import long
from benchmarks.scaling.server import Server, free_port, serving
from pipeline.synthesis import Encoding
from serving.db import embedded, migrate
from serving.graph import deploy_file
from serving.graph.args import APPLICATION, WORKER
from serving.graph.cluster import Cluster, cluster
from serving.places import made_first_key, places, server_secret
from serving.settings import DEFAULTS, Settings

OUT: Final = Path("benchmarks/results/serve.json")

#: How many times as long a job may take through Ray Serve.
GOAL: Final = 1.10

#: A minute of 720p; ten of them in a row are the long video.
MINUTE: Final = corpus.JobVideo(
    "serve-minute", height=720, fps=25, duration_s=60, encoding=Encoding(codec="libx264", gop=50)
)
MANY, MINUTES = 16, 10

#: For starting, and for all jobs of a run, seconds.
_START_S, _RUN_S = 300.0, 1800.0

_MODEL: Final = "bundled"
"""The smallest there is, so that hardly anything hides what Ray costs."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run both, and write down what they took."""
    parser = argparse.ArgumentParser(
        prog="benchmarks serve", description="What Ray Serve costs, against a worker with its models in it."
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=OUT, help=f"result file (default {OUT})")
    parser.add_argument("--hops", nargs=2, metavar=("DATA", "VIDEO"), type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.hops:
        print(json.dumps(asyncio.run(_hops(*args.hops))))
        return 0
    (minute,) = corpus.written([MINUTE])
    whole = minute.with_name("serve-ten-minutes.mp4")
    if not whole.exists():
        long.repeat(minute, MINUTES, whole.with_name(f".{whole.name}")).rename(whole)
    with ExitStack() as stack:
        sides = {name: stack.enter_context(_side(name)) for name in ("local", "ray")}
        result = _measured(sides, {"long": (whole, 1), "many": (minute, MANY)}, args.runs)
        result["hops"] = _asked_hops(sides["ray"], minute)
    args.out.write_text(json.dumps({"machine": machine.record(), "goal": GOAL, **result}, indent=1) + "\n")
    for name, row in result["jobs"].items():
        print(f"{name:5} local {row['local_s']:7.2f} s   ray {row['ray_s']:7.2f} s   {row['ratio']:.3f} (goal {GOAL})")
    print(json.dumps(result["hops"]))
    return 0


@dataclass(slots=True)
class _Side:
    """A server that runs."""

    client: httpx.Client
    settings: Settings
    ready_s: float
    """From the server's start until jobs are worked on, beside the server that was started before it."""


@contextmanager
def _side(name: str) -> Iterator[_Side]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"sv-{name}-")))
        url = stack.enter_context(embedded.embedded(folder / "postgres"))
        migrate.upgrade(url)
        options = msgspec.structs.replace(DEFAULTS.server, data_dir=str(folder / "data"), database_url=url)
        settings = msgspec.structs.replace(DEFAULTS, server=options)
        with places(settings, migrated=False) as place:
            key = made_first_key(place)
        how = ("--engine", "local") if name == "local" else ("--config", str(_config(folder)))
        began = time.monotonic()
        server = stack.enter_context(serving(how, folder, url))
        headers = {"Authorization": f"Bearer {key}"}
        client = stack.enter_context(
            httpx.Client(base_url=server.address, headers=headers, trust_env=False, timeout=60)
        )
        _until_ready(server, client)
        side = _Side(client, settings, round(time.monotonic() - began, 1))
        print(f"{name}: ready after {side.ready_s} s")
        yield side


def _config(folder: Path) -> Path:
    """The package's YAML for one machine, with one worker that stays the only one."""
    deploy = deploy_file.load(deploy_file.path_of("cpu"))
    deploy["http_options"] = dict(deploy.get("http_options") or {}) | {"port": free_port()}
    for deployment in deploy["applications"][0]["deployments"]:
        if deployment["name"] == WORKER:
            deployment.pop("autoscaling_config", None)
            deployment["num_replicas"] = 1
    path = folder / "one.yaml"
    path.write_text(deploy_file.write(deploy))
    return path


def _until_ready(server: Server, client: httpx.Client) -> None:
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        server.require_alive()
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass  # not there yet
        time.sleep(0.2)
    raise RuntimeError("the server does not become ready: " + "\n".join(server.lines()[-20:]))


def _measured(sides: dict[str, _Side], asked: dict[str, tuple[Path, int]], runs: int) -> dict[str, Any]:
    times: dict[str, dict[str, list[float]]] = {what: {name: [] for name in sides} for what in asked}
    videos = {
        (name, what): _uploaded(side.client, path) for name, side in sides.items() for what, (path, _) in asked.items()
    }
    number = 0
    for name, side in sides.items():
        # What is slow only once is nobody's.
        number += 1
        _run(side.client, videos[name, "many"], 2, number)
    for run in range(runs):
        for what, (_, count) in asked.items():
            # Each goes first as often as the other.
            for name in sorted(sides, reverse=bool(run % 2)):
                number += 1
                took_s = _run(sides[name].client, videos[name, what], count, number)
                times[what][name].append(took_s)
                print(f"{what} {name}: {took_s:.2f} s", flush=True)
    rows = {}
    for what, by_side in times.items():
        local_s, ray_s = median(by_side["local"]), median(by_side["ray"])
        ratios = [ray / local for ray, local in zip(by_side["ray"], by_side["local"], strict=True)]
        rows[what] = {
            "local_s": round(local_s, 3),
            "ray_s": round(ray_s, 3),
            "ratio": round(median(ratios), 4),
            "runs_local_s": [round(one, 3) for one in by_side["local"]],
            "runs_ray_s": [round(one, 3) for one in by_side["ray"]],
        }
    return {"model": _MODEL, "ready_s": {name: side.ready_s for name, side in sides.items()}, "jobs": rows}


def _uploaded(client: httpx.Client, path: Path) -> str:
    answer = client.post("/v1/videos", params={"filename": path.name}, content=path.read_bytes())
    answer.raise_for_status()
    return answer.json()["id"]


def _run(client: httpx.Client, video: str, count: int, number: int) -> float:
    """Seconds from the first request to the last result of so many jobs of a video."""
    jobs = []
    for place in range(count):
        # Jobs that ask for the same would be told what was found before: these ask for ever so little else.
        sampling = {"tolerance_s": 0.5 + 1e-6 * (number * MANY + place)}
        answer = client.post("/v1/jobs", json={"video_id": video, "spec": {"model": _MODEL, "sampling": sampling}})
        answer.raise_for_status()
        jobs.append(answer.json()["id"])
    until = time.monotonic() + _RUN_S
    seen = [_ended(client, job, until) for job in jobs]
    began = min(datetime.fromisoformat(job["created_at"]) for job in seen)
    return (max(datetime.fromisoformat(job["finished_at"]) for job in seen) - began).total_seconds()


def _ended(client: httpx.Client, job: str, until: float) -> dict[str, Any]:
    while time.monotonic() < until:
        found = client.get(f"/v1/jobs/{job}").json()
        if found["state"] == "succeeded":
            if found["metrics"]["features"] != "computed":
                raise RuntimeError(f"{job} found what another job had computed")
            return found
        if found["state"] in ("failed", "canceled"):
            raise RuntimeError(f"{job}: {found['error']}")
        time.sleep(0.25)
    raise RuntimeError(f"{job} does not end within {_RUN_S:g} s")


def _cluster(side: _Side) -> Cluster:
    return cluster(Path(side.settings.server.data_dir).resolve(), server_secret(side.settings))


def _asked_hops(side: _Side, video: Path) -> dict[str, Any]:
    """What `_hops` finds, in a process that may connect to the cluster."""
    folder = Path(side.settings.server.data_dir)
    command = (sys.executable, "-m", "benchmarks", "serve", "--hops", str(folder), str(video))
    address = _cluster(side).address.read_text().strip()
    environment = _cluster(side).environment(os.environ) | {"RAY_ADDRESS": address}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise RuntimeError(f"hops could not be measured: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


async def _hops(data: Path, video: Path) -> dict[str, Any]:
    """Of Clips of a video, one after the other, by the graph that runs and by an engine in this process."""
    import ray
    from ray import serve

    from pipeline.media import LocalMedia
    from pipeline.plans import plan
    from pipeline.sampling import choose
    from pipeline.spec import Sampling
    from serving.graph.calling import Remote
    from serving.graph.remote import RemoteEngine, Slots
    from serving.graph.seen import chosen
    from serving.local import local_toolkit

    ray.init(logging_level=logging.ERROR, log_to_driver=False)
    remote = Remote("default", serve.get_deployment_handle("engine-default", APPLICATION))
    replicas = await remote.descriptions()
    found = chosen(replicas, _MODEL)
    assert found is not None
    engine = RemoteEngine(remote, found[1], Slots(1))
    media = LocalMedia(video)
    index = media.inspect().index
    plans = plan(index, choose(index, Sampling(fps=1.0)))
    with local_toolkit(_MODEL) as toolkit:
        beyond: dict[str, list[float]] = {"local": [], "ray": []}
        for _ in range(3):
            for name, one in (("local", toolkit.engine), ("ray", engine)):
                for clip in media.clips(index, plans):
                    began = time.perf_counter()
                    output = await one.run(clip)
                    work_s = output.decode_s + output.preprocess_s + output.infer_s
                    beyond[name].append(time.perf_counter() - began - work_s)
    empty = []
    for _ in range(100):
        began = time.perf_counter()
        await remote.descriptions()
        empty.append(time.perf_counter() - began)
    after = (await remote.descriptions())[0].handled
    ray.shutdown()
    return {
        "clips": len(beyond["ray"]) // 3,
        "beyond_work_local_ms": round(1e3 * median(beyond["local"]), 2),
        "beyond_work_ray_ms": round(1e3 * median(beyond["ray"]), 2),
        "empty_call_ms": round(1e3 * median(empty), 2),
        "requests": after.requests,
        "bytes_in_per_request": after.bytes_in // max(after.requests, 1),
        "bytes_out_per_request": after.bytes_out // max(after.requests, 1),
        "frames": after.frames,
        "frames_shipped": after.frames_shipped,
    }


if __name__ == "__main__":
    sys.exit(main())
