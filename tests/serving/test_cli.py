"""The command as its users run it: a real process, real videos, what it prints and how it exits."""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from pipeline.synthesis import AUDIO_RATE_HZ, Encoding, write_video
from tests.formats.unwelcome import CUT_OFF, ENCRYPTED
from tests.serving.commands import ROOT, automations, environment, here


def scene(number: int, time_s: float) -> np.ndarray:
    """Three looks: a red disc, stripes, a blue square; the disc races between 2 and 4 s."""
    picture = np.full((180, 320, 3), (245, 245, 245), np.uint8)
    rows, columns = np.mgrid[:180, :320]
    if number == 0:
        x = 160 + (100 * np.sin(9 * time_s) if 2 <= time_s < 4 else 0)
        picture[(rows - 90) ** 2 + (columns - x) ** 2 < 50**2] = (218, 30, 35)
    elif number == 1:
        picture[(columns // 20) % 2 == 0] = (36, 158, 58)
    else:
        picture[40:140, 110:210] = (34, 66, 214)
    return picture


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    """Twelve seconds at 25 frames/s in three shots, with sound."""
    frames = (scene(min(n // 125, 2), n / 25) for n in range(300))
    rng = np.random.default_rng(3)
    sound = (0.02 * rng.standard_normal(12 * AUDIO_RATE_HZ)).astype(np.float32)
    sound[2 * AUDIO_RATE_HZ : 4 * AUDIO_RATE_HZ] *= 20
    return write_video(
        tmp_path_factory.mktemp("film") / "film.mp4", frames, fps=25, encoding=Encoding(gop=50), audio=sound
    )


@pytest.fixture(scope="module")
def analysed(film) -> tuple[subprocess.CompletedProcess[str], Path, Path]:
    """One run that writes everything: (process, report.json, report.html)."""
    report, page = film.with_suffix(".json"), film.with_suffix(".html")
    done = automations("analyze", film, "--model", "bundled", "--json", report, "--html", page, "--fps", 2)
    return done, report, page


def test_help_teaches():
    done = automations("--help")
    assert done.returncode == 0
    for word in ("analyze", "demo", "rescore", "Exit codes"):
        assert word in done.stdout


def test_analyze_finds_what_is_there(analysed):
    done, path, page = analysed
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    report = json.loads(path.read_text())
    schema = json.loads((ROOT / "docs" / "report.schema.json").read_text())
    jsonschema.validate(report, schema)
    assert {"video", "decode", "shots", "segments", "tags", "models", "timings", "warnings"} <= set(report)
    assert [shot["start_s"] for shot in report["shots"]] == pytest.approx([0.0, 5.0, 10.0], abs=0.041)
    assert report["shots"][-1]["end_s"] == pytest.approx(12.0)
    assert report["decode"]["frames_decoded"] == report["decode"]["frames_wanted"] == 24
    assert report["video"]["audio"]["codec"] == "aac"
    best = report["segments"][0]
    assert best["start_s"] < 4.0, "the racing disc with its noise is the key moment"
    assert best["end_s"] > 2.0
    assert sum(best["signals"].values()) == pytest.approx(best["score"], abs=1e-3)
    labels = {tag["label"] for tag in report["tags"]}
    assert {"red", "circle", "stripes", "blue", "square"} <= labels
    assert page.read_text().lstrip().lower().startswith("<!doctype html")


def test_rescore_needs_no_video_and_follows_the_weights(analysed, film, tmp_path):
    _, path, _ = analysed
    copy = tmp_path / "report.json"
    copy.write_bytes(path.read_bytes())
    again = tmp_path / "again.json"
    weights = "motion=0,novelty=0,quality=0,relevance=0,audio=1"
    done = here("rescore", copy, "--weights", weights, "--json", again)
    assert done.returncode == 0, done.stderr
    segments = json.loads(again.read_text())["segments"]
    assert all({name for name, part in s["signals"].items() if part > 0} <= {"audio"} for s in segments)
    assert abs((segments[0]["start_s"] + segments[0]["end_s"]) / 2 - 3.0) < 1.5


def test_own_labels_and_an_unknown_one(film, tmp_path):
    target = tmp_path / "r.json"
    done = here("analyze", film, "--model", "bundled", "--labels", "red circle,giraffe", "--json", target)
    assert done.returncode == 0, done.stderr
    report = json.loads(target.read_text())
    tags = {tag["label"]: tag for tag in report["tags"] if tag["kind"] == "tag"}
    assert set(tags) == {"red circle"}
    assert tags["red circle"]["end_s"] == pytest.approx(5.0, abs=1.1)
    assert any("giraffe" in notice["message"] for notice in report["warnings"])


def test_several_videos_one_of_them_bad(film, tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_text("no video at all\n" * 10)
    folder = tmp_path / "out"
    done = here("analyze", bad, film, "--model", "bundled", "--json", folder)
    assert done.returncode == 2
    assert "[unsupported_container]" in done.stderr
    assert (folder / "film.mp4.json").exists()


def test_probe_says_what_a_file_is(film):
    done = here("probe", film, "--json")
    assert done.returncode == 0, done.stderr
    probed = json.loads(done.stdout)
    assert (probed["video"]["codec"], probed["lost"]) == ("h264", [])
    assert probed["index"]["packets"] == probed["video"]["frames"]
    assert 0 < probed["index"]["needed_share"] <= 1
    shown = here("probe", film)
    assert "h264" in shown.stdout
    assert "at 1 frame/s" in shown.stdout


def test_doctor_says_what_is_there_and_how_to_mend_the_rest():
    done = here("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = {line[4:].split("  ")[0].strip(): line[:2] for line in done.stdout.splitlines() if line[:2] in ("ok", "no")}
    assert {"isolation", "pyav on cpu", "bundled model"} <= {name for name, mark in lines.items() if mark == "ok"}
    for name, mark in lines.items():
        if mark == "no":
            assert f"\n{name}: " in done.stdout, "whatever is missing has its remedy below"


def test_doctor_says_so_when_nothing_can_read_videos():
    code = "import pipeline.sandbox.client as c; c.Sandbox.__init__.__kwdefaults__['command'] = ('/bin/false',)"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; from serving.cli import main; main()", "doctor"],
        cwd=ROOT, capture_output=True, text=True, timeout=240, env=environment({}),
    )  # fmt: skip
    assert done.returncode == 1
    assert "no  isolation" in done.stdout
    assert "could not be started" in done.stdout
    assert "isolation: no video can be read" in done.stdout.replace("\n", " ")
    assert "ok  pyav on cpu" in done.stdout, "the rest is looked at all the same"


@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_a_decoder_by_name_is_in_the_report(film, tmp_path, decoder):
    target = tmp_path / "report.json"
    done = here("analyze", film, "--model", "bundled", "--decoder", decoder, "--json", target)
    assert done.returncode == 0, done.stderr
    assert decoder in json.loads(target.read_text())["decode"]["backend"]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["analyze", "gone.mp4"], "no such file [not_found]"),
        (["analyze", "README.md"], "[unsupported_container]"),
        (["analyze", "gone.mp4", "--weights", "glamour=2"], "unknown signal 'glamour'"),
        (["analyze", "gone.mp4", "--weights", "motion=much"], "not of the form"),
        (["analyze", "gone.mp4", "--fps", "0"], "sampling.fps"),
        (["analyze", "gone.mp4", "--sampling", "best"], "not one of uniform, keyframes, snap"),
        (["analyze", "gone.mp4", "--decoder", "best"], "not one of auto, pyav"),
        (["probe", "gone.mp4"], "no such file [not_found]"),
        (["probe", "README.md"], "[unsupported_container]"),
        (["analyze", "gone.mp4", "--labels", "a", "--vocabulary", "b.toml"], "exclude each other"),
        (["rescore", "README.md"], "not a report"),
        (["rescore", "gone.json"], "cannot be read"),
    ],
)
def test_refusals_are_one_typed_line_and_exit_code_2(args, says):
    done = here(*args)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("command", ["analyze", "probe"])
@pytest.mark.parametrize(("files", "code"), [(ENCRYPTED, "encrypted"), (CUT_OFF, "truncated")])
def test_encrypted_and_cut_off_files_are_refused_at_the_door(tmp_path, command, files, code):
    for name in ("cenc", "no-index"):
        if name in files:
            suffix, *_, make = files[name]
            make(path := tmp_path / f"film.{suffix}")
            done = here(command, path)
            assert done.returncode == 2
            assert f"[{code}]" in done.stderr
            assert "film." in done.stderr
            assert len(done.stderr.strip().splitlines()) == 1


def test_a_cut_off_file_whose_rest_is_damaged_is_truncated(tmp_path):
    """Of the half that is there, a twentieth can be decoded."""
    noise = np.random.default_rng(5).integers(0, 256, (90, 160, 3), dtype=np.uint8)
    how = Encoding("mjpeg", pixel_format="yuvj420p", container_options={"movflags": "faststart"})
    whole = write_video(tmp_path / "whole.mov", (np.roll(noise, n, 1) for n in range(200)), fps=25, encoding=how)
    data = bytearray(whole.read_bytes())
    start = data.index(b"mdat") + len(data) // 40
    data[start:] = bytes(len(data) - start)
    path = tmp_path / "damaged.mov"
    for size, code in ((len(data) // 2, "truncated"), (len(data), "corrupt")):
        path.write_bytes(data[:size])
        done = here("analyze", path, "--model", "bundled", "--fps", 10)
        assert done.returncode == 2, done.stdout
        assert f"[{code}]" in done.stderr
        assert "wanted frames cannot be decoded" in done.stderr


def test_two_videos_of_one_name_are_not_written_over_each_other(film, tmp_path):
    other = tmp_path / film.name
    other.write_bytes(film.read_bytes())
    done = here("analyze", film, other, "--model", "bundled", "--json", tmp_path / "out")
    assert done.returncode == 2
    assert "two of the videos" in done.stderr


@pytest.mark.parametrize("option", ["--json", "--html"])
def test_an_unwritable_target_is_refused_before_the_work(film, tmp_path, option):
    done = here("analyze", film, "--model", "bundled", option, tmp_path)
    assert done.returncode == 2
    assert "it is a folder" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_names_cannot_speak_to_the_terminal(tmp_path):
    done = automations("analyze", tmp_path / "a\x1b[31m\nb.mp4")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize("damage", ["short", "empty", "zero"])
def test_a_damaged_report_is_refused(analysed, tmp_path, damage):
    _, path, _ = analysed
    report = json.loads(path.read_text())
    if damage == "short":
        report["features"]["signals"]["motion"].pop()
    elif damage == "empty":
        report["features"]["pts_s"] = []
    else:
        report["features"]["pts_s"] = [0.0] * len(report["features"]["pts_s"])
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps(report))
    done = here("rescore", bad)
    assert done.returncode == 2
    assert "damaged" in done.stderr


def test_an_unknown_model_is_refused_by_name(film):
    done = here("analyze", film, "--model", "ViT-Z-99/nobody")
    assert done.returncode == 2
    assert "[model_unavailable]" in done.stderr
    assert "Traceback" not in done.stderr
