"""The file of a head: what it holds, what comes back, and what is said of one that is damaged."""

import itertools
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import models
from models import catalog, heads
from models.base import ModelInfo, Score
from models.errors import BadModel, BadWeights, ModelError, UnknownModel
from models.head_card import CARD_KEY, HeadCard, to_json
from models.heads import Layer
from models.training.foreign_head import mapped, read_layers
from pipeline.checking import require_rows
from pipeline.errors import ModelUnavailable
from serving.beside import added_of

DIM = 6
LABELS = (Score("goal", threshold=0.7, parent="sport"), Score("save", signal=True))
CARD = HeadCard(name="sports", encoder="bundled", space="abc", dim=DIM, labels=LABELS, metrics={"videos": 3})


def layers(seed: int = 0, widths: tuple[int, ...] = (DIM, 4, 2)) -> list[Layer]:
    """Random layers of these widths, the first that of what goes in."""
    rng = np.random.default_rng(seed)
    pairs = itertools.pairwise(widths)
    return [
        Layer(rng.normal(size=(out, into)).astype(np.float32), rng.normal(size=out).astype(np.float32))
        for into, out in pairs
    ]


def vectors(count: int) -> np.ndarray:
    """float32 [count, DIM], of length 1."""
    rows = np.random.default_rng(1).normal(size=(count, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def tensors(given: list[Layer]) -> dict[str, np.ndarray]:
    """As the file has them."""
    named = {f"layers.{n}.weight": layer.weight for n, layer in enumerate(given)}
    return named | {f"layers.{n}.bias": layer.bias for n, layer in enumerate(given)}


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "sports.safetensors"
    saved = heads.save(file, layers(), CARD)
    loaded = catalog.load_any(f"head:{file}", "cpu", "float32").model
    assert isinstance(loaded, heads.MlpHead)
    assert loaded.card == CARD
    assert loaded.trained_on == "bundled"
    assert loaded.info == saved.info
    assert loaded.info.kind == "scores"
    assert loaded.info.scores == LABELS
    assert loaded.info.needs.space == "abc"
    assert np.array_equal(loaded.run(vectors(5)), saved.run(vectors(5)))
    assert [one.name for one in file.parent.iterdir()] == [file.name]
    first = file.read_bytes()
    heads.save(file, layers(), CARD)
    assert file.read_bytes() == first


@pytest.mark.parametrize(("activation", "output"), [("relu", "sigmoid"), ("none", "clip"), ("relu", "softmax")])
def test_it_computes_what_torch_does(activation: Any, output: Any) -> None:
    given, rows = layers(), torch.from_numpy(vectors(9))
    head = heads.MlpHead(given, replace(CARD, activation=activation, output=output), "head:x")
    hidden = rows @ torch.from_numpy(given[0].weight).T + torch.from_numpy(given[0].bias)
    hidden = hidden.relu() if activation == "relu" else hidden
    logits = hidden @ torch.from_numpy(given[1].weight).T + torch.from_numpy(given[1].bias)
    wanted = {"sigmoid": logits.sigmoid(), "clip": logits.clip(0, 1), "softmax": logits.softmax(1)}[output]
    answer = head.run(rows.numpy())
    require_rows(answer, 9, head.info)
    assert np.allclose(answer, wanted.numpy(), atol=1e-6)
    require_rows(head.run(vectors(0)), 0, head.info)


def test_huge_weights_still_give_probabilities() -> None:
    given = [replace(layer, weight=layer.weight * 1e6) for layer in layers()]
    for output in ("sigmoid", "softmax", "clip"):
        head = heads.MlpHead(given, replace(CARD, output=output), "head:x")
        require_rows(head.run(vectors(20)), 20, head.info)


def test_threads_may_share_it() -> None:
    head, rows = heads.MlpHead(layers(), CARD, "head:x"), vectors(64)
    wanted = head.run(rows)
    with ThreadPoolExecutor(8) as pool:
        assert all(np.array_equal(answer, wanted) for answer in pool.map(head.run, [rows] * 64))


def test_the_space_is_that_of_weights_and_meaning() -> None:
    def space(given: list[Layer], card: HeadCard) -> str:
        return heads.MlpHead(given, card, "head:x").info.space

    plain = space(layers(), CARD)
    assert plain == space(layers(), replace(CARD, name="other", metrics={}))
    changed = replace(CARD, labels=(replace(LABELS[0], threshold=0.8), LABELS[1]))
    others = (space(layers(1), CARD), space(layers(), changed), space(layers(), replace(CARD, output="softmax")))
    assert len({plain, *others}) == 4


def test_vectors_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match=r"reads vectors \[N, 6\], not \[2, 5\]"):
        heads.MlpHead(layers(), CARD, "head:x").run(np.zeros((2, 5), np.float32))


NAN = [Layer(layers()[0].weight, np.full(4, np.nan, np.float32)), layers()[1]]


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        (tensors(layers(widths=(5, 4, 2))), BadWeights, r"layers.0.weight is \[4, 5\], not \[out, 6\]"),
        (tensors([layers()[0], *layers(widths=(3, 2))]), BadWeights, r"layers.1.weight is \[2, 3\], not \[out, 4\]"),
        (tensors(layers()) | {"layers.0.bias": np.zeros(3, np.float32)}, BadWeights, r"bias is \[3\], not \[4\]"),
        (tensors(layers(widths=(DIM, 3))), BadWeights, "names 2 labels, its last layer gives 3"),
        (tensors(NAN), BadWeights, "no number"),
        (tensors(layers()) | {"extra": np.zeros(1, np.float32)}, BadWeights, "a tensor 'extra'"),
        ({"layers.0.bias": np.zeros(2, np.float32)}, BadWeights, "layers.0.weight is missing"),
        ({"layers.0.weight": np.zeros(2, np.float32)}, BadWeights, "no matrix"),
        ({"layers.0.weight": np.zeros((2, DIM), np.int64)}, BadWeights, "int64, not floats"),
        ({}, BadWeights, "no layers"),
    ],
)
def test_weights_that_do_not_fit_have_a_name(given: Any, error: type[Exception], said: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.safetensors"
    save_file(given, file, metadata={CARD_KEY: to_json(CARD)})
    with pytest.raises(error, match=said) as caught:
        heads.from_path(f"head:{file}", file)
    assert "\n" not in str(caught.value)


CONTENT = json.loads(to_json(CARD))
GOAL = {"label": "goal"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "no JSON object"),
        (json.dumps(CONTENT | {"format": 2}), "format 2, this version reads 1; update"),
        (json.dumps(CONTENT | {"format": None}), "format None"),
        (json.dumps(CONTENT | {"space": ""}), "not empty"),
        (json.dumps({key: value for key, value in CONTENT.items() if key != "encoder"}), "lacks encoder"),
        (json.dumps(CONTENT | {"dim": "6"}), "dim is no whole number"),
        (json.dumps(CONTENT | {"activation": "gelu"}), "there are relu, none"),
        (json.dumps(CONTENT | {"output": "tanh"}), "there are sigmoid, softmax, clip"),
        (json.dumps(CONTENT | {"colour": 1}), "nobody knows: colour"),
        (json.dumps(CONTENT | {"labels": []}), "names no labels"),
        (json.dumps(CONTENT | {"labels": ["goal", "save"]}), r"labels\[0\] is no object"),
        (json.dumps(CONTENT | {"labels": [GOAL, {"label": 3}]}), r"labels\[1\].label is no text"),
        (json.dumps(CONTENT | {"labels": [GOAL, GOAL]}), "twice"),
        (json.dumps(CONTENT | {"labels": [GOAL, {"label": "save", "threshold": 1.5}]}), "1.5, not 0 to 1"),
        (json.dumps(CONTENT | {"labels": [GOAL, {"label": "save", "threshold": "x"}]}), "threshold is no number"),
        (json.dumps(CONTENT | {"labels": [GOAL, {"label": "save", "signal": 1}]}), "neither true nor false"),
        (json.dumps(CONTENT | {"labels": [GOAL, {"label": "--"}]}), "cannot be a label"),
    ],
)
def test_cards_that_cannot_be_have_a_name(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.safetensors"
    save_file(tensors(layers()), file, metadata={CARD_KEY: text})
    with pytest.raises(BadModel, match=said) as caught:
        heads.from_path(f"head:{file}", file)
    assert "\n" not in str(caught.value)


def test_softmax_over_one_label_is_refused() -> None:
    with pytest.raises(BadModel, match="always 1"):
        heads.MlpHead(layers(widths=(DIM, 1)), replace(CARD, labels=LABELS[:1], output="softmax"), "head:x")


def test_files_that_are_no_heads_have_a_name(tmp_path: Path) -> None:
    def refused(file: Path) -> ModelError:
        with pytest.raises(ModelError) as caught:
            heads.from_path(f"head:{file}", file)
        assert "\n" not in str(caught.value)
        return caught.value

    assert isinstance(refused(tmp_path / "none"), UnknownModel)
    for name, content in (("empty", b""), ("text", b"hello, I am a text file"), ("huge", b"\xff" * 64)):
        (tmp_path / name).write_bytes(content)
        error = refused(tmp_path / name)
        assert isinstance(error, BadWeights)
        assert "no safetensors file" in str(error)
    save_file(tensors(layers()), tmp_path / "bare.safetensors")
    assert "has no card" in str(refused(tmp_path / "bare.safetensors"))
    torch.save({"weight": torch.zeros(1, DIM)}, tmp_path / "torch.safetensors")
    assert "import-head" in str(refused(tmp_path / "torch.safetensors"))
    whole = tmp_path / "whole.safetensors"
    heads.save(whole, layers(), CARD)
    for length in (4, 20, whole.stat().st_size - 1):
        (tmp_path / "cut.safetensors").write_bytes(whole.read_bytes()[:length])
        assert isinstance(refused(tmp_path / "cut.safetensors"), BadWeights)


def test_an_encoder_of_another_space_is_told_which_one_it_wants() -> None:
    head = heads.MlpHead(layers(), CARD, "head:x")
    other = ModelInfo(name="ViT-B-32/openai", version="1", space="xyz", dim=DIM)
    with pytest.raises(ModelUnavailable, match=r"of the space abc, not of ViT-B-32/openai \(xyz\).*the model bundled"):
        added_of({"x": head}, "embedding", other, only="x")
    assert added_of({"x": head}, "embedding", replace(other, space="abc"), only="x").of == "embedding"


def test_a_head_loads_no_torch(tmp_path: Path) -> None:
    file = tmp_path / "sports.safetensors"
    heads.save(file, layers(), CARD)
    code = f"import sys; from models import heads; heads.from_path('x', {str(file)!r}); print('torch' in sys.modules)"
    root = Path(models.__path__[0]).parent
    assert subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True).stdout == "False\n"


def test_a_state_dict_of_elsewhere_is_brought_in(tmp_path: Path) -> None:
    """As LAION's aesthetic predictor is: linear layers with dropout between, marks from 1 to 10."""
    network = torch.nn.Sequential(torch.nn.Linear(DIM, 4), torch.nn.Dropout(0.2), torch.nn.Linear(4, 1)).eval()
    rows = torch.from_numpy(vectors(7))
    with torch.inference_mode():
        network[2].bias.fill_(5.0)
        marks = network(rows)
    renamed = {f"layers.{key}": value for key, value in network.state_dict().items()}
    torch.save({"state_dict": renamed}, tmp_path / "mlp.pth")
    card = replace(CARD, labels=LABELS[1:], activation="none", output="clip")
    head = heads.MlpHead(mapped(read_layers(tmp_path / "mlp.pth"), 1.0, 10.0), card, "head:x")
    assert np.allclose(head.run(rows.numpy()), (marks.numpy() - 1.0) / 9.0, atol=1e-6)
    torch.save(torch.nn.Linear(DIM, 1).state_dict(), tmp_path / "linear.pt")
    assert read_layers(tmp_path / "linear.pt")[0].weight.shape == (1, DIM)


class Evil:
    """Runs something where a pickle is opened without care."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (print, ("this must not run",))


def test_nothing_of_a_foreign_file_is_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(BadWeights, match="more than tensors"):
        read_layers(tmp_path / "evil.pth")
    assert capsys.readouterr().out == ""
    torch.save(torch.nn.BatchNorm1d(4).state_dict(), tmp_path / "norm.pth")
    with pytest.raises(BadWeights, match="running_mean"):
        read_layers(tmp_path / "norm.pth")
