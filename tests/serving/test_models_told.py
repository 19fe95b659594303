"""`automations models list`, `info` and `bench`: what each says, beside what the model itself is."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

from models import inspecting
from models.base import Score
from models.catalog import load
from models.head_card import HeadCard
from models.heads import Layer, save
from models.weights import bundled_folder
from pipeline.errors import InvalidSpec
from serving.model_options import parse_options
from serving.models_bench_measure import rates
from serving.models_bench_memory import peak_of, taken_by
from tests.serving import commands
from tests.serving.commands import environment

ROOT = Path(__file__).resolve().parents[2]
automations = commands.automations_here


@pytest.fixture(scope="module")
def head(tmp_path_factory) -> Path:
    """A head on the bundled model's vectors, with a card of its training."""
    info = load("bundled", "cpu", "float32").model.info
    path = tmp_path_factory.mktemp("heads") / "looks.safetensors"
    layer = Layer(np.full((2, info.dim), 0.1, np.float32), np.zeros(2, np.float32))
    card = HeadCard(
        name="looks",
        encoder="bundled",
        space=info.space,
        dim=info.dim,
        labels=(Score("warm", 0.4, parent="colour"), Score("nice", signal=True)),
        metrics={"f1": 0.93, "folds": 5},
    )
    save(path, [layer], card)
    return path


# --- list -----------------------------------------------------------------------------------------------------------


def test_list_has_what_is_built_in_and_what_the_operator_named(automations, tmp_path, monkeypatch):
    file = tmp_path / "models.yaml"
    file.write_text(
        "models:\n  sports: {source: 'head:sports.safetensors'}\n  mine: {source: 'my_package.models:Mine'}\n"
    )
    monkeypatch.setenv("AUTOMATIONS_JOBS__MODELS_FILE", str(file))
    code, out, err = automations("models", "list", "--json")
    assert code == 0, err
    found = json.loads(out)
    named = {one["name"]: (one["origin"], one["kind"], one["here"]) for one in found["named"]}
    assert named["bundled"] == ("built in", "encoder", True)
    assert named["sports"] == ("models file", "head", None)
    assert named["mine"] == ("models file", "custom", None)
    assert found["pretrained"] == len(open_clip.list_pretrained())
    code, out, err = automations("models", "list")
    assert code == 0, err
    assert f"{found['pretrained']} pretrained models of open_clip" in out
    assert "ViT-L-14/openai" not in out
    code, out, _ = automations("models", "list", "--all")
    line = next(line for line in out.splitlines() if line.strip().startswith("ViT-L-14:"))
    assert {"openai", "laion2b_s32b_b82k"} <= {tag.strip(" *") for tag in line.partition(":")[2].split(",")}


def test_list_says_which_pretrained_models_are_here(automations, monkeypatch):
    from models import hub

    monkeypatch.setattr(
        hub, "cached", lambda repo, names: Path("x") if "vit_base_patch32_clip_224.openai" in repo else None
    )
    _, out, _ = automations("models", "list", "--json")
    here = [one["name"] for one in json.loads(out)["named"] if one["origin"] == "open_clip"]
    assert here
    assert all(name.startswith("ViT-B-32") and name.endswith("/openai") for name in here)


def test_entry_points_are_listed(automations, monkeypatch):
    from importlib.metadata import EntryPoint, EntryPoints

    from models import custom

    point = EntryPoint("sharpness", "my_package:Sharpness", custom.GROUP)
    monkeypatch.setattr(custom, "entry_points", lambda **asked: EntryPoints([point]).select(**asked))
    _, out, _ = automations("models", "list", "--json")
    assert {
        "name": "sharpness",
        "origin": "entry point",
        "kind": "custom",
        "source": "my_package:Sharpness",
        "here": True,
        "unusable": None,
    } in (json.loads(out)["named"])


# --- info -----------------------------------------------------------------------------------------------------------


def test_info_tells_the_card_of_an_encoder(automations):
    code, out, err = automations("models", "info", "bundled", "--device", "cpu", "--dtype", "float32", "--json")
    assert code == 0, err
    card = json.loads(out)
    model = load("bundled", "cpu", "float32").model
    network = open_clip.create_model(f"local-dir:{bundled_folder()}", load_weights=False, device="cpu")
    assert card["parameters"] == sum(one.numel() for one in network.parameters())
    assert (card["space"], card["dim"], card["kind"], card["encoder"]) == (model.info.space, 192, "embedding", True)
    assert card["checksum"].startswith(model.info.version)
    assert card["placed"] == "the CPU was asked for; float32 was asked for"
    assert json.loads(card["preprocessing"])[0] == [64, 64]
    assert set(card["known_words"]) == set(model.known_words or ())
    assert (card["absolute"], card["notices"], card["training"]) == (True, [], None)
    code, out, _ = automations("models", "info", "bundled")
    assert code == 0
    assert f"{card['parameters']:,}" in out
    assert card["space"] in out


def test_info_tells_the_training_of_a_head(automations, head):
    code, out, err = automations("models", "info", f"head:{head}", "--json")
    assert code == 0, err
    card = json.loads(out)
    assert card["scores"] == [
        {"label": "warm", "threshold": 0.4, "parent": "colour", "signal": False},
        {"label": "nice", "threshold": 0.5, "parent": None, "signal": True},
    ]
    assert card["needs"]["space"] == load("bundled", "cpu", "float32").model.info.space
    assert card["training"]["encoder"] == "bundled"
    assert card["training"]["metrics"] == {"f1": 0.93, "folds": 5}
    assert card["parameters"] == 2 * 192 + 2
    _, out, _ = automations("models", "info", f"head:{head}")
    assert "training: f1" in out
    assert "warm from 0.4, of colour; nice, a signal" in out


def test_info_passes_options_on_and_says_in_a_line_what_is_wrong(automations):
    code, out, err = automations("models", "info", "tests.serving.judges:Reds", "--option", "threshold=0.25", "--json")
    assert code == 0, err
    assert json.loads(out)["scores"][0]["threshold"] == 0.25
    code, out, err = automations("models", "info", "bundled", "--option", "threshold=0.25")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "takes one option, compile" in err
    code, _, err = automations("models", "info", "no-such-model")
    assert code == 2
    assert "[model_unavailable]" in err


def test_options_are_read_as_yaml():
    given = ["threshold=0.7", "labels=[a, b]", "name=x=y", "none="]
    assert parse_options(given) == {"threshold": 0.7, "labels": ["a", "b"], "name": "x=y", "none": None}
    for wrong in (["threshold"], ["=1"], ["a b=1"], ["a=1", "a=2"], ["a=[1"]):
        with pytest.raises(InvalidSpec):
            parse_options(wrong)


def test_the_work_of_a_frame_is_that_of_the_network():
    model = load("bundled", "cpu", "float32").model
    told = inspecting.gflop_per_frame(model)
    network = open_clip.create_model(f"local-dir:{bundled_folder()}", load_weights=False, device="cpu").eval()
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.encode_image(torch.zeros(1, 3, 64, 64))
    assert told == pytest.approx(counter.get_total_flops() / 1e9, rel=0.05)


def test_work_in_place_is_counted_too():
    class InPlace:
        def example(self) -> np.ndarray:
            return np.zeros((2, 4, 4, 3), np.uint8)

        def preprocess(self, pixels: np.ndarray) -> torch.Tensor:
            return torch.zeros(len(pixels), 100)

        def encode(self, frames: torch.Tensor) -> np.ndarray:
            return torch.zeros(len(frames), 50).addmm_(frames, torch.zeros(100, 50)).numpy()

    assert inspecting.gflop_per_frame(InPlace()) == pytest.approx(2 * 100 * 50 / 1e9)  # type: ignore[arg-type]


# --- bench ----------------------------------------------------------------------------------------------------------


def test_bench_measures_images_and_texts(automations):
    args = ("bundled", "--batches", "1,4", "--seconds", 0.05, "--dtype", "float32", "--device", "cpu")
    code, out, err = automations("models", "bench", *args, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["machine"]["matrix_gflops"]["float32"] > 0
    (model,) = found["models"]
    assert [rate["batch"] for rate in model["images"]] == [1, 4]
    for rate in (*model["images"], model["texts"]):
        assert rate["per_s"] > 0
        assert rate["turns"] >= 3
    share = model["images"][1]["matrix_share"]
    rate = found["machine"]["matrix_gflops"]["float32"]
    assert share == pytest.approx(model["gflop"] * model["images"][1]["per_cpu_s"] / rate, rel=0.01)
    assert 0 < share < 1.2
    code, out, err = automations("models", "bench", *args)
    assert code == 0, err
    assert "GFLOP a frame" in out
    assert "\N{REPLACEMENT CHARACTER}" not in out
    assert "Texts" in out


def test_bench_takes_two_arithmetics_and_heads(automations, head):
    args = ("bundled", f"head:{head}", "--batches", "8", "--seconds", 0.05, "--dtype", "float32", "--dtype", "bfloat16")
    code, out, err = automations("models", "bench", *args, "--json")
    assert code == 0, err
    found = {model["name"]: model for model in json.loads(out)["models"]}
    assert set(found) == {
        f"{name} in {dtype}" for name in ("bundled", f"head:{head}") for dtype in ("float32", "bfloat16")
    }
    assert found["bundled in bfloat16"]["dtype"] == "bfloat16"
    assert found[f"head:{head} in float32"]["texts"] is None
    assert found[f"head:{head} in float32"]["images"][0]["per_s"] > found["bundled in float32"]["images"][0]["per_s"]


@pytest.mark.parametrize("args", [("--batches", "0"), ("--batches", "a,b"), ("--seconds", "0"), ("--dtype", "int8")])
def test_bench_refuses_what_cannot_be_measured(automations, args):
    code, out, err = automations("models", "bench", "bundled", *args)
    assert (code, out, len(err.splitlines())) == (2, "", 1)


def test_all_take_turns_and_the_slower_one_is_slower():
    order: list[str] = []

    def job(name: str, seconds: float) -> Callable[[], None]:
        def run() -> None:
            if not order or order[-1] != name:
                order.append(name)
            time.sleep(seconds)

        return run

    found = rates({"a": job("a", 0.002), "b": job("b", 0.02)}, 4, 0.1)
    assert order[:2] == ["a", "b"], "warmed up first"
    assert order[2:6] == ["a", "b", "a", "b"], "then forwards and backwards"
    assert found["a"].per_s > 2 * found["b"].per_s
    assert found["b"].per_s == pytest.approx(4 / 0.02, rel=0.5)
    assert found["a"].turns == found["b"].turns >= 3


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the system does not tell")
def test_memory_is_what_is_used_on_top():
    size = 64 << 20
    held, more = taken_by(lambda: np.ones(size, np.uint8))
    assert more == pytest.approx(size, rel=0.2)
    _, peak = peak_of(lambda: np.ones(size, np.uint8).sum())
    assert peak == pytest.approx(size, rel=0.2)
    _, nothing = peak_of(lambda: held[0])
    assert nothing is not None
    assert nothing < size / 8


def test_the_commands_are_told_without_loading_anything():
    code = (
        "import sys; from serving import cli; heavy = {'torch', 'numpy', 'open_clip', 'rich.table'}; "
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment({}), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
