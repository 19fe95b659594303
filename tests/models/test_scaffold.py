"""New packages: each works as it stands, and nothing is overwritten."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from models.catalog import load_any
from models.errors import ModelError
from models.scaffold import KINDS, CannotWrite, write_package

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_passes_its_own_tests(kind: str, tmp_path: Path) -> None:
    files = write_package("new_one", tmp_path, kind)
    assert files[0].name == "README.md"
    assert all(file.is_file() and "$" not in file.read_text(encoding="utf-8") for file in files)
    package = tmp_path / "new_one"
    path = f"import sys; sys.path[:0] = [{str(package)!r}, {str(ROOT)!r}]; import pytest; "
    code = path + "sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', 'tests']))"
    done = subprocess.run([sys.executable, "-c", code], cwd=package, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_is_as_tidy_as_the_project(kind: str, tmp_path: Path) -> None:
    write_package("new_one", tmp_path, kind)
    ruff = [sys.executable, "-m", "ruff"]
    # How imports are grouped goes by where a file lies.
    check = [*ruff, "check", "--ignore", "I001"]
    config = ["--no-cache", "--config", str(ROOT / "pyproject.toml"), str(tmp_path)]
    for command in ([*check, *config], [*ruff, "format", "--check", *config]):
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_new_head_reads_the_vectors_of_the_bundled_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_package("new_head", tmp_path, "head")
    monkeypatch.syspath_prepend(tmp_path / "new_head")
    head = importlib.import_module("new_head.model").NewHead()
    encoder = load_any("bundled", "cpu", "float32").model
    assert head.info.needs.space == encoder.info.space
    assert head.run(encoder.run(encoder.example())).shape == (2, 1)
    with pytest.raises(CannotWrite, match="there is a module new_head already"):
        write_package("new_head", tmp_path / "elsewhere", "head")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Sharp", "can be no name"),
        ("2d", "can be no name"),
        ("sharp-ness", "can be no name"),
        ("a__b", "can be no name"),
        ("../up", "can be no name"),
        ("", "can be no name"),
        ("class", "a word of Python's"),
        ("match", "a word of Python's"),
        ("json", "there is a module json"),
        ("torch", "there is a module torch"),
        ("models", "there is a module models"),
        ("bundled", "there is a model bundled"),
    ],
)
def test_names_that_cannot_be(name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match=said):
        write_package(name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten_and_nothing_is_half_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("mine")
    with pytest.raises(CannotWrite, match="nothing is overwritten"):
        write_package("mine", tmp_path)
    assert [file.read_text() for file in (tmp_path / "mine").iterdir()] == ["mine"]
    with pytest.raises(CannotWrite, match="no kind 'detector'; there are classifier, head, encoder"):
        write_package("other", tmp_path, "detector")
    write = Path.write_text

    def full(self: Path, *args: object, **kwargs: object) -> int:
        if self.name == "model.py":
            raise OSError(28, "No space left on device")
        return write(self, *args, **kwargs)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(CannotWrite, match="No space left"):
        write_package("other", tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine"]
    assert not issubclass(CannotWrite, ModelError)
