"""Names that installed packages register, and what a model says of itself: what cannot be is refused with a reason."""

from pathlib import Path

import pytest

from models import custom
from models.base import FrameModel, ModelInfo, Score
from models.catalog import load_any
from models.declared import require_declared
from models.errors import BadModel
from serving.models_list import names
from serving.settings import DEFAULTS


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that are installed, as importlib finds them."""
    for package, registered in {"one": ("twice", "lone"), "two": ("twice", "a/b", "auto")}.items():
        folder = tmp_path / f"{package}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = "".join(f"{name} = {package}_module:Model\n" for name in registered)
        (folder / "entry_points.txt").write_text(f"[{custom.GROUP}]\n{lines}")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("packages")
def test_a_name_that_two_packages_have_is_refused_with_both() -> None:
    with pytest.raises(BadModel, match=r"twice is registered by one \(one_module:Model\) and two \(two_module:Model\)"):
        load_any("twice", "cpu", "float32")
    assert custom.entry_point("lone").value == "one_module:Model"


@pytest.mark.usefixtures("packages")
def test_the_list_says_of_names_that_nobody_can_use_why() -> None:
    found = {one.name: one.unusable for one in names(DEFAULTS, every=False).named if one.origin == "entry point"}
    assert found["lone"] is None
    assert "registered by one" in found["twice"]
    assert found["a/b"] == "a name of the form */* means something else: its package has to register another one"
    assert "of the form auto " in found["auto"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"scores": ("x",)}, r"info.scores is \('x',\); it has to be a tuple of Score"),
        ({"scores": [Score("x")]}, "info.scores is .* has to be a tuple of Score"),
        ({"scores": (Score(3),)}, "the label 3 is no text"),
        ({"scores": (Score("x", "high"),)}, "the threshold of x is 'high'"),
        ({"scores": (Score("x", parent=3),)}, "the parent of x is 3"),
        ({"kind": "measurement", "columns": (1,)}, "info.columns is .* tuple of str"),
        ({"needs": None}, "info.needs is None"),
    ],
)
def test_fields_of_another_kind_are_named(changes: dict, told: str) -> None:
    class Odd(FrameModel):
        info = ModelInfo(**({"name": "m", "version": "1", "space": "s", "dim": 1, "kind": "scores"} | changes))

        def run(self, pixels):
            return pixels

    with pytest.raises(BadModel, match=told):
        require_declared(Odd(), "it")
