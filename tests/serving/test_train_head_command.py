"""`automations models train-head` and `import-head` as people run them, and `--with` what they made."""

import csv
import itertools
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.heads import from_path
from models.training.scenes import Background, Object, Scene, render
from pipeline.synthesis import Encoding, write_video
from tests.serving.commands import here

WARM, COLD = ("orange", "red", "yellow"), ("blue", "green", "purple")
SHAPES = ("circle", "square", "heart")
SIZE = 160, 96


def picture(color: str, shape: str, x: float = 0.5) -> np.ndarray:
    """uint8 [96, 160, 3]."""
    return render(Scene(Background(color="white"), (Object(shape, color, x=x, size=0.6),)), *SIZE)


def film(path: Path, color: str, shape: str) -> Path:
    """A second and a half at 4 frames/s in which a thing moves."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = (picture(color, shape, 0.35 + 0.05 * n) for n in range(6))
    return write_video(path, frames, fps=4, encoding=Encoding(gop=4, options={"preset": "ultrafast"}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two films and nine pictures that show something warm, as many that do not, and a note."""
    root = tmp_path_factory.mktemp("labelled")
    for name, colors in (("warm", WARM), ("_other", COLD)):
        for color in colors[:2]:
            film(root / name / f"{color}.mp4", color, "triangle")
        for color, shape in itertools.product(colors, SHAPES):
            Image.fromarray(picture(color, shape)).save(root / name / f"{color} {shape}.png")
    (root / "warm" / "notes.txt").touch()
    return root


@pytest.fixture(scope="module")
def learnt(folder: Path) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A head of that folder, and how it was made."""
    out = folder.parent / "heads" / "warm.safetensors"
    options = ("--model", "bundled", "--fps", 2, "--min-examples", 3, "--json")
    return out, here("models", "train-head", "--labels", folder, "--out", out, *options)


def test_a_folder_of_examples_becomes_a_head(learnt: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    out, done = learnt
    assert done.returncode == 0, done.stderr
    assert "notes.txt is neither" in " ".join(done.stderr.split())
    told = json.loads(done.stdout)
    (label,) = told["labels"]
    assert label["label"] == "warm"
    assert label["accepted"] == {"examples": 11, "videos": 11, "frames": 15}
    assert label["other"]["examples"] == 11
    assert label["folds"] == 5
    assert told["encoder"] == "bundled"
    head = from_path("head:x", out)
    assert head.trained_on == "bundled"
    assert json.loads(out.with_suffix(".json").read_text()) == told
    assert "Not tried on" in out.with_suffix(".md").read_text()


@pytest.fixture(scope="module")
def reports(
    learnt: tuple[Path, subprocess.CompletedProcess[str]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, dict]]:
    """A folder with reports of two new videos with the head beside, and the reports by name. The videos are gone."""
    root = tmp_path_factory.mktemp("new")
    films = film(root / "hot.mp4", "red", "star"), film(root / "cool.mp4", "blue", "star")
    head = f"head:{learnt[0]}"
    done = here(
        "analyze", *films, "--model", "bundled", "--with", head, "--fps", 2, "--json", root / "out", timeout_s=280
    )
    assert done.returncode == 0, done.stderr
    for one in films:
        one.unlink()
    return root, {path.name.split(".")[0]: json.loads(path.read_text()) for path in (root / "out").glob("*.json")}


def test_its_tags_are_in_reports_at_once(
    learnt: tuple[Path, subprocess.CompletedProcess[str]], reports: tuple[Path, dict[str, dict]]
) -> None:
    head = from_path(f"head:{learnt[0]}", learnt[0])
    hot, cool = reports[1]["hot"], reports[1]["cool"]
    (tag,) = [tag for tag in hot["tags"] if tag["label"] == "warm"]
    assert tag["source"] == {"name": head.info.name, "version": head.info.space}
    assert not [tag for tag in cool["tags"] if tag["label"] == "warm"]
    assert hot["models"][1]["needs_space"] == hot["models"][0]["space"]


def test_corrections_of_videos_that_are_gone_are_learnt_from_their_reports(
    reports: tuple[Path, dict[str, dict]], tmp_path: Path
) -> None:
    root, _ = reports
    table = tmp_path / "labels.csv"
    with table.open("w", newline="") as opened:
        write = csv.writer(opened).writerow
        write(("video", "start_s", "end_s", "label", "accepted"))
        write((root / "hot.mp4", 0, 1.5, "glow", "true"))
        write((root / "cool.mp4", "", "", "glow", "false"))
        write((root / "hot.mp4", 50, 60, "glow", "true"))
    out = tmp_path / "glow.safetensors"
    options = ("--reports", root / "out", "--min-examples", 1, "--signal", "--kind", "mlp")
    done = here("models", "train-head", "--labels", table, "--out", out, *options)
    assert done.returncode == 0, done.stderr
    told = " ".join(done.stdout.split())
    assert "2 of 2 videos from reports" in told
    assert "1 examples in which no sampled frame lies" in told
    assert "fewer than 2 videos show it" in told
    head = from_path("head:x", out)
    assert [(score.label, score.signal) for score in head.info.scores] == [("glow", True)]
    assert head.trained_on == "bundled"


def test_what_cannot_be_is_refused_in_one_line(folder: Path, tmp_path: Path) -> None:
    def refused(*arguments: object) -> str:
        done = here("models", *arguments)
        assert done.returncode == 2, done.stdout + done.stderr
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        return line

    out = tmp_path / "x.safetensors"
    (tmp_path / "alone" / "warm").mkdir(parents=True)
    Image.fromarray(picture("red", "square")).save(tmp_path / "alone" / "warm" / "a.png")
    options = ("--model", "bundled", "--min-examples", 1)
    line = refused("train-head", "--labels", tmp_path / "alone", "--out", out, *options)
    assert "nothing to tell it from" in line
    assert not out.exists()
    assert "end in .safetensors" in refused("train-head", "--labels", folder, "--out", tmp_path / "x.pt")
    assert "no report with vectors" in refused("train-head", "--labels", folder, "--out", out, "--reports", tmp_path)


def test_a_head_of_elsewhere_is_brought_in(tmp_path: Path) -> None:
    """Of the form of LAION's aesthetic predictor."""
    file, out = tmp_path / "mlp.pth", tmp_path / "aesthetic.safetensors"
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(192, 8), torch.nn.Dropout(), torch.nn.Linear(8, 1))
    torch.save({f"layers.{key}": value for key, value in network.state_dict().items()}, file)
    options = ("import-head", file, "--encoder", "bundled", "--label", "aesthetic", "--signal", "--out", out)
    asked = here("models", *options, "--scale", "1,10")
    assert asked.returncode == 2
    assert "--activation none" in asked.stderr
    done = here("models", *options, "--scale", "1,10", "--activation", "none")
    assert done.returncode == 0, done.stderr
    head = from_path("head:x", out)
    assert (head.card.output, head.card.activation, head.trained_on) == ("clip", "none", "bundled")
    vectors = np.eye(192, dtype=np.float32)[:5]
    with torch.inference_mode():
        marks = network.eval()(torch.from_numpy(vectors)).numpy()
    assert np.allclose(head.run(vectors), np.clip((marks - 1.0) / 9.0, 0.0, 1.0), atol=1e-6)
