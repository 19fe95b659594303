"""What replicas count, as Prometheus reads it from Ray's agent."""

import socket
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from models.base import FrameModel, ModelInfo
from pipeline.frames import ClipOutput, PassedOn
from serving.graph.metrics import ENGINE, WORKER, EngineMeters, WorkerMeters, exported

#: Ray's agent is told every few seconds.
PATIENCE_S = 90

Found = dict[str, list[tuple[dict[str, str], float]]]
"""Name -> labels and value of each series."""


class Ones(FrameModel):
    """A model whose answer is one."""

    info = ModelInfo(name="ones", version="1", space="s", dim=1)

    def run(self, pixels: Any) -> np.ndarray:
        return np.ones((len(pixels), 1), np.float32)


def output(**changed: Any) -> ClipOutput:
    """Of a Clip with two frames, which a GPU passed on to PyAV."""
    said = {
        "chain": 0,
        "part": 0,
        "rows": (0, 5),
        "pts_s": np.array([0.0, 1.0]),
        "arrays": {},
        "strip": None,
        "packets": 6,
        "decode_s": 0.2,
        "preprocess_s": 0.01,
        "infer_s": 3.0,
        "decoder": "pyav",
        "passed_on": (PassedOn("torchcodec", "no such codec", True),),
    }
    return ClipOutput(**said | changed)


def counting() -> None:
    """What a replica of an engine and one of a worker would note."""
    meters, worker = EngineMeters(), WorkerMeters()
    meters.served("auto", "1", 1, 2.0)
    meters.clip("auto", "1", output())
    meters.clip("auto", "1", output(lost="it crashed"))
    meters.watched("auto", Ones()).encode(np.zeros((7, 8, 8, 3), np.uint8))
    meters.swap_failed("auto", 9.0)
    meters.served("auto", "2", 2, 4.0)
    meters.refused("auto", "corrupt_video")
    worker.in_flight(3)
    worker.resent("replica_died")


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What Ray exports once a replica has counted."""
    import ray
    from ray import serve

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    @serve.deployment(ray_actor_options={"num_cpus": 0.1})
    class Counting:
        def __init__(self) -> None:
            counting()

    here = str(Path(__file__).resolve().parents[3])
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
        _metrics_export_port=port,
        runtime_env={"env_vars": {"PYTHONPATH": here}},
        log_to_driver=False,
    )
    try:
        serve.start(http_options={"location": "NoServer"})
        serve.run(Counting.bind(), name="counting", route_prefix=None)
        yield _everything(f"http://127.0.0.1:{port}/metrics")
    finally:
        serve.shutdown()
        ray.shutdown()


def _everything(address: str) -> Found:
    """Once all that we export is there."""
    wanted = exported(ENGINE) | exported(WORKER)
    until = time.monotonic() + PATIENCE_S
    found: Found = {}
    while time.monotonic() < until:
        try:
            found = _read(httpx.get(address, timeout=10).text)
        except httpx.TransportError:
            found = {}
        if wanted <= set(found):
            return found
        time.sleep(1)
    pytest.fail(f"not exported after {PATIENCE_S} s: {sorted(wanted - set(found))}; there are {sorted(found)}")


def _read(text: str) -> Found:
    found: Found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def values(found: Found, name: str, **labels: str) -> list[float]:
    return [value for had, value in found[name] if labels.items() <= had.items()]


def test_all_that_is_named_here_is_exported_with_serves_labels(scraped):
    for name in exported(ENGINE) | exported(WORKER):
        for labels, _ in scraped[name]:
            assert labels["deployment"] == "Counting", name
            assert labels["application"] == "counting", name
            assert labels["replica"], name


def test_labels_are_those_that_are_said(scraped):
    for metrics in (ENGINE, WORKER):
        for name, metric in metrics.items():
            for labels, _ in scraped[sorted(exported({name: metric}))[0]]:
                assert set(metric.labels) <= set(labels), name


def test_a_clip_counts_its_frames_stages_and_decoders(scraped):
    assert values(scraped, "ray_automations_clips_total", model="auto", version="1") == [1]
    assert values(scraped, "ray_automations_frames_decoded_total", model="auto", decoder="pyav") == [2]
    assert values(scraped, "ray_automations_decode_fallbacks_total", decoder="torchcodec") == [1]
    for stage, took_s in (("decode", 0.2), ("preprocess", 0.01), ("infer", 3.0)):
        found = values(scraped, "ray_automations_clip_stage_seconds_total", model="auto", stage=stage)
        assert found == [pytest.approx(took_s)], stage
    for bound, within in (("2.5", 0), ("5.0", 1)):
        assert values(scraped, "ray_automations_clip_seconds_bucket", le=bound) == [within], bound


def test_clips_that_came_to_nothing_are_counted_by_why(scraped):
    assert values(scraped, "ray_automations_clips_refused_total", code="decoder_lost") == [1]
    assert values(scraped, "ray_automations_clips_refused_total", code="corrupt_video") == [1]


def test_forward_passes_are_counted_with_their_frames(scraped):
    assert values(scraped, "ray_automations_frames_encoded_total", model="auto") == [7]
    assert values(scraped, "ray_automations_encode_seconds_total", model="auto")[0] > 0
    for bound, within in (("4.0", 0), ("8.0", 1)):
        assert values(scraped, "ray_automations_batch_frames_bucket", le=bound) == [within], bound


def test_a_swap_moves_the_generation_and_ends_the_failure(scraped):
    assert values(scraped, "ray_automations_model_generation", model="auto", version="2") == [2]
    assert values(scraped, "ray_automations_model_generation", model="auto", version="1") == [0]
    assert values(scraped, "ray_automations_model_swaps_total", outcome="failed") == [1]
    assert values(scraped, "ray_automations_model_swaps_total", outcome="served") == [2]
    assert values(scraped, "ray_automations_model_swap_failed", model="auto") == [0]
