"""The commands themselves, on the smallest things they can run on."""

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import __main__ as commands
from benchmarks import contender, job
from benchmarks.corpus import job as corpus


def test_help_lists_every_benchmark(capsys):
    assert commands.main([]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in commands.BENCHMARKS)


def test_an_unknown_name_is_refused(capsys):
    assert commands.main(["jobs"]) == 2
    assert "there is no benchmark 'jobs'" in capsys.readouterr().err


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A corpus of one small video, and no bfloat16 probe."""
    video = replace(corpus.WARM_UP, height=90, duration_s=2)
    monkeypatch.setattr(corpus, "WARM_UP", video)
    monkeypatch.setattr(corpus, "QUICK", (replace(video, name="tiny"),))
    monkeypatch.setattr(corpus.written, "__defaults__", (tmp_path,))
    figures = {f"{dtype}_{kind}": 0.1 for dtype in ("float32", "bfloat16") for kind in ("cpu_s", "wall_s")}
    monkeypatch.setattr(job, "_bf16", lambda: figures | {"slower": 50.0, "scripts": "none"})
    return tmp_path


class FakeHandle:
    """Answers as a contender's process would."""

    def __init__(self, name, environment=None):
        self.name = name
        self.unavailable = "not installed" if name == "decord" else None

    def ask(self, path, save=None):
        if save is not None:
            np.savez(save, times_s=np.arange(2.0), embeddings=np.eye(2, dtype=np.float32))
        cpu_s = {"ours-embed": 1.0, "opencv": 4.0}[self.name]
        return {"wall_s": cpu_s / 2, "cpu_s": cpu_s, "others": 0.0, "frames": 2, "parts": {}}

    def close(self):
        pass


def test_job_writes_and_shows_what_it_found(tiny, monkeypatch, capsys):
    monkeypatch.setattr(job, "Handle", FakeHandle)
    out = tiny / "job.json"
    assert job.main(["--quick", "--contenders", "ours-embed", "opencv", "decord", "--out", str(out)]) == 0
    result = json.loads(out.read_text())
    assert result["unavailable"] == {"decord": "not installed"}
    assert result["geometric_means"]["opencv"] == {"cpu": 4.0, "wall": 4.0}
    assert result["videos"][0]["contenders"]["opencv"]["agreement"]["matched"] == 1
    assert result["quiet"]
    assert "decord could not take part: not installed" in capsys.readouterr().out


def test_job_refuses_a_video_it_does_not_have(capsys):
    with pytest.raises(SystemExit):
        job.main(["--videos", "nope"])
    assert "no such video: nope" in capsys.readouterr().err


def test_a_contender_answers_over_its_pipe(tmp_path, monkeypatch, capfd):
    class Echo:
        def prepare(self, path):
            print("libraries may print")

        def run(self, path):
            if path.name == "bad":
                raise ValueError("no such thing")
            return contender.Answer(np.arange(3.0), np.zeros((3, 2), np.float32), {"x": 1.0})

    requests = [json.dumps({"path": name, "save": None}) + "\n" for name in ("good", "bad")]
    monkeypatch.setattr("sys.stdin", requests)
    contender.serve(Echo)
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines() if line.startswith("{")]
    assert lines[0] == {}
    assert lines[1]["frames"] == 3
    assert "no such thing" in lines[2]["failed"]
