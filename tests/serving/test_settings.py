"""Settings as an operator uses them: variables and a file in, what holds and what is refused out."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from pipeline.synthesis import AUDIO_RATE_HZ, Encoding, write_video
from serving import settings, settings_page
from tests.formats.chart import moments
from tests.formats.unwelcome import many_streams
from tests.serving.commands import ROOT, here


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    """Sixteen pictures of 160 by 96, with sound."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    return write_video(path, moments(16), fps=25, encoding=Encoding(gop=8), audio=np.zeros(AUDIO_RATE_HZ, np.float32))


def _shown(**variables: object) -> dict[str, dict]:
    done = here("config", "show", "--json", **variables)
    assert done.returncode == 0, done.stderr
    return {one["name"]: one for one in json.loads(done.stdout)["settings"]}


def test_defaults_are_those_of_the_records():
    shown = _shown()
    assert {one["origin"] for one in shown.values()} == {"default"}
    for section in msgspec.structs.fields(settings.Settings):
        for name, value in msgspec.structs.asdict(section.type()).items():
            assert shown.pop(f"{section.name}.{name}")["value"] == value
    assert not shown


def test_a_variable_goes_before_the_file_and_the_file_before_the_default(tmp_path):
    file = tmp_path / "server.toml"
    file.write_text("[input]\nmax_pixels = 5_000\n[worker]\nclip_s = 7\ninspect_s = 8.5\n")
    shown = _shown(AUTOMATIONS_CONFIG=file, AUTOMATIONS_WORKER__CLIP_S="9.5")
    found = {name: (one["value"], one["origin"]) for name, one in shown.items()}
    assert found["input.max_pixels"] == (5000, "file")
    assert found["worker.clip_s"] == (9.5, "environment")
    assert found["worker.inspect_s"] == (8.5, "file")
    assert found["worker.memory_bytes"][1] == "default"


def test_the_table_shows_all_of_them():
    done = here("config", "show", AUTOMATIONS_INPUT__MAX_STREAMS=7)
    assert done.returncode == 0
    lines = {line.split()[0]: line.split()[1:3] for line in done.stdout.splitlines() if "." in line.split()[0]}
    assert lines["input.max_streams"] == ["7", "environment"]
    assert lines["worker.clip_s"] == ["120.0", "default"]
    assert len(lines) == len(list(settings.names()))


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("AUTOMATIONS_INPUT__MAX_PIXEL", 1, "no such setting; is AUTOMATIONS_INPUT__MAX_PIXELS meant?"),
        ("AUTOMATIONS_WORKER_CLIP_S", 1, "is AUTOMATIONS_WORKER__CLIP_S meant?"),
        ("automations_input__max_pixels", 1, "is AUTOMATIONS_INPUT__MAX_PIXELS meant?"),
        ("AUTOMATIONS_INPUT", "{}", "AUTOMATIONS_INPUT: there is no such setting"),
        ("AUTOMATIONS_COLOUR", "red", "docs/settings.md lists them all"),
        ("AUTOMATIONS_INPUT__MAX_PIXELS", 0, "'0' should be greater than 0"),
        ("AUTOMATIONS_INPUT__MAX_PIXELS", "8K", "'8K' should be a valid integer"),
        ("AUTOMATIONS_INPUT__MAX_PIXELS", "", "'' should be a valid integer"),
        ("AUTOMATIONS_INPUT__MAX_REREAD", "inf", "should be a finite number"),
        ("AUTOMATIONS_WORKER__CLIP_S", "1e300", "should be less than or equal to"),
        ("AUTOMATIONS_CONFIG", "gone.toml", "AUTOMATIONS_CONFIG: gone.toml cannot be read"),
        ("AUTOMATIONS_CONFIG", "README.md", "README.md: no TOML file"),
    ],
)
def test_what_is_unknown_or_cannot_be_is_refused_in_one_line(name, value, says):
    done = here("config", "show", **{name: value})
    assert done.returncode == 2
    assert name in done.stderr or "README.md" in done.stderr
    assert says in done.stderr
    assert done.stderr.strip().endswith("[invalid_settings]")
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[input]\nmax_pixel = 1", "there is no setting input.max_pixel; is input.max_pixels meant?"),
        ("[workers]\nclip_s = 1", "there is no section [workers]; is worker meant?"),
        ("input = 1", "input has to be a section"),
        ("[worker]\nclip_s = -1.0", "worker.clip_s: -1.0 should be greater than 0"),
        ("[worker]\nclip_s = true", "worker.clip_s: True should be a number"),
        ("[worker]\nclip_s = {}", "worker.clip_s: {} should be a valid number"),
    ],
)
def test_the_file_is_held_to_the_same(tmp_path, content, says):
    file = tmp_path / "server.toml"
    file.write_text(content)
    done = here("config", "show", AUTOMATIONS_CONFIG=file)
    assert done.returncode == 2
    assert f"{file}: {says}" in done.stderr


def test_kubernetes_may_set_its_own_variables():
    links = {
        "AUTOMATIONS_SERVICE_HOST": "10.0.0.1",
        "AUTOMATIONS_SERVICE_PORT_HTTP": "80",
        "AUTOMATIONS_PORT": "tcp://10.0.0.1:80",
        "AUTOMATIONS_API_PORT_80_TCP_ADDR": "10.0.0.1",
    }
    assert _shown(**links)


@pytest.mark.parametrize("command", ["probe", "analyze"])
@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"AUTOMATIONS_INPUT__MAX_PIXELS": 1000}, "at most 1000 are read (max_pixels) [limit_exceeded]"),
        ({"AUTOMATIONS_INPUT__MAX_STREAMS": 1}, "more than 1 streams are not read (max_streams) [limit_exceeded]"),
        ({"AUTOMATIONS_INPUT__MAX_PIXEL": 1000}, "[invalid_settings]"),
    ],
)
def test_limits_reach_the_process_that_reads(film, command, variables, says):
    done = here(command, film, **variables)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_limits_may_be_raised_for_every_reading_of_a_file(tmp_path):
    """Also where Clips are cut and sound is heard, a larger limit than the default holds."""
    path = tmp_path / "many.mp4"
    many_streams(path, 70, sound=True)
    refused = here("probe", path)
    assert "[limit_exceeded]" in refused.stderr
    target = tmp_path / "report.json"
    done = here("analyze", path, "--model", "bundled", "--json", target, AUTOMATIONS_INPUT__MAX_STREAMS=71)
    assert done.returncode == 0, done.stderr
    report = json.loads(target.read_text())
    assert report["decode"]["frames_decoded"] == report["decode"]["frames_wanted"] > 0
    assert report["video"]["audio"]["codec"] == "aac"
    assert not [notice for notice in report["warnings"] if notice["code"].startswith("audio")]


def test_the_page_says_what_the_records_say():
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert page == settings_page.page(), "run: python -m serving.settings_page > docs/settings.md"
