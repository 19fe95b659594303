"""What surrounds the step on a real graph; the step itself takes five minutes, and is a benchmark."""

import subprocess

import pytest

from benchmarks.scaling import comparison, real
from benchmarks.scaling.measures import Measures, Moment
from benchmarks.scaling.server import Server
from benchmarks.scaling.settings import from_yaml
from serving.graph import deploy_file
from serving.graph.checking import check
from serving.graph.machines import machine


def test_what_is_deployed_fits_two_cores_and_is_what_is_replayed(tmp_path):
    path = real.written(tmp_path)
    check(deploy_file.load(path), machine("cpus=2"))
    setting = from_yaml(str(path))
    assert setting.rules.slots == setting.slots
    assert (setting.workers["upscale_delay_s"], setting.engines["upscale_delay_s"]) == (5, 10)
    assert (setting.workers["max_replicas"], setting.engines["max_replicas"]) == (3, 2)


def test_what_starts_took_is_read_from_what_is_printed(tmp_path):
    log = tmp_path / "log"
    log.write_text(
        "graph     ray is up (16.2 s)\ngraph     engine-default starts (30.6 s)\ngraph     worker starts (30.5 s)\n"
        "graph     worker is up (42.5 s)\ngraph     engine-default is up (52.0 s)\n"
        "graph     worker is up: 3 replicas (169.0 s)\nready     jobs are worked on (after 55.4 s)\n"
    )
    with subprocess.Popen(["sleep", "60"]) as process:
        server = Server(process, "http://127.0.0.1:1", log)
        try:
            assert server.starts_s() == {"worker": pytest.approx(12.0), "engine": pytest.approx(21.4)}
            assert server.replicas("worker") == 0
            server.require_alive()
        finally:
            process.kill()
            process.wait()
        with pytest.raises(RuntimeError, match="jobs are worked on"):
            server.require_alive()


def test_the_verdict_says_when_replicas_came_and_went():
    def curves(workers: list[int]) -> dict:
        measures = Measures(2)
        for at_s, count in enumerate(workers):
            measures.seen(
                Moment(
                    at_s=float(at_s),
                    waiting=0,
                    running=0,
                    oldest_s=0.0,
                    workers=count,
                    engines=1,
                    workers_wanted=count,
                    engines_wanted=1,
                )
            )
        return measures.curves()

    told = {"lost": 0, "twice": 0, "handed_back": 1, "step_s": 2.0}
    runs = [{"curves": curves([1, 1, 1, 1, 3, 2, 1])}, {"curves": curves([1, 1, 1, 1, 1, 1, 2])}]
    lines = [*comparison.verdict({"real": told, "patterns": {"step": {"runs": runs}}})]
    assert lines == [
        "lost 0, done twice 0, handed back 1",
        "workers  real      the first more 2.0 s after the step, 3 at most, the last gone at 5.0 s",
        "workers  replayed  the first more 4.0 s after the step, 2 at most, the last gone never",
        "engines  real      the first more never, 1 at most, the last gone never",
        "engines  replayed  the first more never, 1 at most, the last gone never",
    ]
