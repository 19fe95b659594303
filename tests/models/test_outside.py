"""docs/models.md, followed to the letter: its package is built, installed, checked and used; and bad ones are refused.

Everything runs as its users run it: by commands.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.synthesis import write_video
from serving.cli import main
from tests.models.strangers import write_module
from tests.serving.commands import environment, here

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")


def command(*words: object, site: Path) -> subprocess.CompletedProcess[str]:
    """Run `automations` in a process of its own where packages of `site` are installed, too."""
    return subprocess.run(
        [sys.executable, "-c", "from serving.cli import main; main()", *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        env=environment({"PYTHONPATH": site}),
    )


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Packages of `site` are installed in this process, too, while a test lasts."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(site)
    yield
    for name in {"greenery", "strangers"} & (set(sys.modules) - before):
        del sys.modules[name]


def refusal(code: int | str | None, stderr: str) -> str:
    """The one line that was said of a refusal."""
    assert code == 2, stderr
    (line,) = (line for line in stderr.splitlines() if line.startswith("error"))
    assert "Traceback" not in stderr
    return line


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed packages: the page's, and the module of bad models."""
    source, site = tmp_path_factory.mktemp("greenery"), tmp_path_factory.mktemp("site")
    files = dict(re.findall(r"`([\w.]+)`:\n\n```\w+\n(.*?)```", PAGE, re.DOTALL))
    assert set(files) == {"pyproject.toml", "greenery.py", "test_greenery.py"}
    for name, text in files.items():
        (source / name).write_text(text, encoding="utf-8")
    install = ["uv", "pip", "install", "--quiet", "--offline", "--no-deps", "--no-build-isolation"]
    uv = [sys.executable, "-m", *install, "--python", sys.executable, "--target", str(site), str(source)]
    done = subprocess.run(uv, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (site / "test_greenery.py").write_text(files["test_greenery.py"], encoding="utf-8")
    write_module(site)
    return site


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine seconds at 10 frames/s: red, then green, then white."""
    colours = ((200, 40, 40), (40, 180, 50), (255, 255, 255))
    frames = (np.full((120, 160, 3), colours[n // 30], np.uint8) for n in range(90))
    return write_video(tmp_path_factory.mktemp("film") / "film.mp4", frames, fps=10)


def analyze(film: Path, *words: object, **settings: object) -> subprocess.CompletedProcess[str]:
    return here("analyze", film, "--model", "bundled", "--fps", "2", "--json", "-", *words, **settings)


def test_the_package_of_the_page_passes_its_own_test(site: Path) -> None:
    code = f"import sys; sys.path[:0] = [{str(site)!r}, {str(ROOT)!r}]; import pytest; "
    code += "sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', 'test_greenery.py']))"
    done = subprocess.run([sys.executable, "-c", code], cwd=site, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_it_keeps_the_contract_and_every_check_is_on_the_page(site: Path) -> None:
    answer = command("models", "check", "greenery", "--json", site=site)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    report = json.loads(answer.stdout)
    assert report["passed"]
    states = {check["name"]: check["state"] for check in report["checks"]}
    assert {name for name, state in states.items() if state == "skipped"} == {"gpu", "texts"}
    table = PAGE.partition("| check |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(states)


@pytest.mark.usefixtures("installed")
def test_its_tag_and_its_space_are_in_the_report(film: Path, tmp_path: Path) -> None:
    lawns = tmp_path / "models.yaml"
    lawns.write_text(re.search(r"```yaml\n(models:\n  lawns.*?)```", PAGE, re.DOTALL)[1])
    answer = analyze(film, "--with", "greenery", "--with", "lawns", AUTOMATIONS_JOBS__MODELS_FILE=lawns)
    assert answer.returncode == 0, answer.stderr
    report = json.loads(answer.stdout)
    used = [model for model in report["models"] if model["name"] == "greenery"]
    assert len({model["space"] for model in used}) == 2, "options have to be part of the space"
    assert {model["kind"] for model in used} == {"scores"}
    tags = [tag for tag in report["tags"] if tag["source"]["name"] == "greenery"]
    for space in (model["space"] for model in used):
        (tag,) = (tag for tag in tags if tag["kind"] == "tag" and tag["source"]["version"] == space)
        assert (tag["label"], tag["parent"]) == ("greenery", "nature")
        assert tag["start_s"] == pytest.approx(3.0, abs=0.6)
        assert tag["end_s"] == pytest.approx(6.0, abs=0.6)
    assert [tag["label"] for tag in tags if tag["kind"] == "category"] == ["nature", "nature"]


@pytest.mark.parametrize(
    ("model", "limits", "said"),
    [
        ("WrongShape", "", "does not answer to its example as it should: ValueError: an answer of shape (1, 1), not"),
        ("NotANumber", "", "an answer that holds no numbers"),
        ("Raises", "", "RuntimeError: no"),
        ("Hangs", ", trial_s: 2", "gave no answer within 2 s while it looked at its example"),
        ("Greedy", ", trial_gib: 0.5", "took more than 0.5 GiB of memory while it was loaded"),
        ("Nobody", "", "strangers has no Nobody"),
    ],
)
def test_bad_ones_are_refused_in_one_line(
    site: Path,
    film: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    model: str,
    limits: str,
    said: str,
) -> None:
    """In this process, which that is not to be the end of."""
    bad = tmp_path / "models.yaml"
    bad.write_text(f"models: {{bad: {{source: 'strangers:{model}'{limits}}}}}")
    monkeypatch.setenv("AUTOMATIONS_JOBS__MODELS_FILE", str(bad))
    monkeypatch.syspath_prepend(site)
    words = ["analyze", str(film), "--model", "bundled", "--json", "-", "--with", "bad"]
    monkeypatch.setattr(sys, "argv", ["automations", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capfd.readouterr()
    line = refusal(ended.value.code, told.err)
    assert line.startswith("error: bad: ")
    assert said in line
    assert line.endswith("[model_unavailable]")
    assert told.out == ""


@pytest.mark.usefixtures("installed")
def test_a_bad_one_fails_its_checks() -> None:
    answer = here("models", "check", "strangers:FailsLater", "--json")
    assert answer.returncode == 1, answer.stderr
    failed = [check["name"] for check in json.loads(answer.stdout)["checks"] if check["state"] == "failed"]
    assert failed == ["finite", "bounds"]
    answer = here("models", "check", "strangers:CrashesOnWhite")
    assert answer.returncode == 1, answer.stderr
    *_, crashed, last = answer.stdout.strip().splitlines()
    assert crashed.startswith("finite        failed   strangers:CrashesOnWhite crashed the process that tried it out")
    assert last == "strangers:CrashesOnWhite: 1 failed"
    answer = here("models", "check", "nowhere:Model")
    assert "there is no module nowhere" in refusal(answer.returncode, answer.stderr)


@pytest.mark.usefixtures("installed")
def test_one_that_fails_on_some_frames_costs_the_report_nothing_else(film: Path) -> None:
    answer = analyze(film, "--with", "strangers:FailsLater", "--with", "greenery")
    assert answer.returncode == 0, answer.stderr
    report = json.loads(answer.stdout)
    (warning,) = (warning for warning in report["warnings"] if warning["code"] == "model_failed")
    assert "strangers:FailsLater" in warning["message"]
    assert "ValueError: white" in warning["message"]
    assert "greenery" in {tag["label"] for tag in report["tags"]}


def test_a_new_package_is_written_by_the_command(tmp_path: Path) -> None:
    answer = here("models", "new", "dusk", "--folder", tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert (tmp_path / "dusk" / "README.md").is_file()
    assert "next: " in answer.stdout
    answer = here("models", "new", "dusk", "--folder", tmp_path)
    assert "nothing is overwritten" in refusal(answer.returncode, answer.stderr)
