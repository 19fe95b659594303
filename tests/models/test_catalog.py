"""Names to models. Nothing here reaches the network: where one would be asked, its address leads nowhere."""

import json
import os
import subprocess
import sys
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file

import models
from models import weights
from models.catalog import DEFAULT, load, names
from models.errors import BadWeights, ModelError, UnknownModel, WeightsUnavailable

ARCHITECTURE = "tiny-for-tests"
BUNDLED = Path(models.__path__[0]) / "bundled"


@pytest.fixture(scope="module", autouse=True)
def architecture(tmp_path_factory: pytest.TempPathFactory) -> None:
    """An architecture of open_clip's kind that is small enough for tests."""
    file = tmp_path_factory.mktemp("configs") / f"{ARCHITECTURE}.json"
    vision = {"image_size": 32, "patch_size": 16, "width": 32, "layers": 1, "head_width": 16}
    text = {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    file.write_text(json.dumps({"embed_dim": 8, "vision_cfg": vision, "text_cfg": text}))
    open_clip.add_model_config(file)
    weights.architectures.cache_clear()


def test_random_weights_are_the_same_every_time_and_warned_about() -> None:
    first, second = (load(f"{ARCHITECTURE}/random", "cpu", "float32") for _ in range(2))
    assert first.model.info == second.model.info
    assert [notice.code for notice in first.notices] == ["random_weights"]


def test_a_file_of_weights_for_an_architecture(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = open_clip.create_model(ARCHITECTURE)
    file = tmp_path / "mine@home.safetensors"
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, file)
    loaded = load(f"{ARCHITECTURE}@{file}", "cpu", "float32")
    assert loaded.notices == ()
    assert loaded.model.embed_text(["a dog"]).shape == (1, 8)
    with pytest.raises(BadWeights):
        load(f"ViT-S-32-alt@{file}", "cpu", "float32")
    with pytest.raises(UnknownModel, match="no file of weights"):
        load(f"{ARCHITECTURE}@{tmp_path / 'none.safetensors'}", "cpu", "float32")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("ViT-B32/openai", "ViT-B-32/openai"),
        ("ViT-B-32/laion2b", "ViT-B-32/laion2b_e16"),
        ("ViT-B-32__opnai", "ViT-B-32/openai"),
        ("vit-b-32/random", "ViT-B-32"),
        ("ViT-B-23@weights.safetensors", "ViT-B-32"),
        ("bundeld", "bundled"),
        ("", "bundled"),
    ],
)
def test_an_unknown_name_is_told_with_its_neighbours(name: str, near: str) -> None:
    with pytest.raises(UnknownModel) as caught:
        load(name, "cpu", "float32")
    assert near in str(caught.value)
    assert repr(name) in str(caught.value)
    assert isinstance(caught.value, ModelError)
    assert isinstance(caught.value, ValueError)
    assert caught.value.code == "unknown_model"


def test_the_default_exists() -> None:
    assert DEFAULT in set(names())
    assert {"auto", "bundled"} <= set(names())


def offline(code: str, tmp_path: Path, **environment: str) -> subprocess.CompletedProcess:
    """Run Python in a process of its own with an empty cache: the hub's client reads its settings once, on import."""
    settings = {"HF_HOME": str(tmp_path), "HF_HUB_CACHE": str(tmp_path / "hub"), **environment}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    root = Path(models.__path__[0]).parent
    return subprocess.run([sys.executable, "-c", code], env=kept | settings, cwd=root, capture_output=True, text=True)


ASK = """
import time
import huggingface_hub.errors, huggingface_hub.file_download
from models import hub
if HANG:
    import socket
    socket.getaddrinfo = lambda *_, **__: time.sleep(60)
began = time.monotonic()
try:
    hub.fetch("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", ("open_clip_model.safetensors",))
except hub.WeightsUnavailable as error:
    print("refused", time.monotonic() - began, error)
"""


@pytest.mark.parametrize(
    ("environment", "hang", "limit_s"),
    [
        ({"HF_HUB_OFFLINE": "1"}, False, 0.5),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, False, 3.0),
        ({"HF_ENDPOINT": "http://hub.invalid"}, True, 3.0),
    ],
    ids=["told", "refused", "lookup-hangs"],
)
def test_no_network_is_found_out_within_three_seconds(
    environment: dict[str, str], hang: bool, limit_s: float, tmp_path: Path
) -> None:
    answer = offline(f"HANG = {hang}{ASK}", tmp_path, **environment)
    assert answer.returncode == 0, answer.stderr
    word, seconds, told = answer.stdout.split(" ", 2)
    assert word == "refused"
    assert float(seconds) < limit_s
    assert "cannot be reached" in told
    assert "local-dir:" in told


def test_a_pretrained_model_without_network_is_a_plain_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    for name in ("RN50/yfcc15m", "hf-hub:nobody/nothing"):
        with pytest.raises(WeightsUnavailable, match="local cache"):
            load(name, "cpu", "float32")


def test_a_download_that_breaks_off_is_a_plain_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    from models import hub

    def broken(repo: str, name: str) -> str:
        raise ConnectionResetError("peer went away")

    monkeypatch.setattr(hub, "reachable", lambda repo, name: True)
    monkeypatch.setattr(hub, "cached", lambda repo, names: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", broken)
    with pytest.raises(WeightsUnavailable, match=r"broke off \(peer went away\)"):
        load("RN50/yfcc15m", "cpu", "float32")


def test_auto_without_network_is_the_bundled_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    loaded, bundled = load("auto", "cpu", "float32"), load("bundled", "cpu", "float32")
    assert loaded.model.info == bundled.model.info
    assert bundled.model.info.name == "bundled"
    assert bundled.notices == ()
    assert "red" in (bundled.model.known_words or ())
    (notice,) = loaded.notices
    assert notice.code == "bundled_model"
    assert "\n" not in notice.message
    assert DEFAULT in notice.message


def test_a_cached_model_needs_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From the cache's own layout on, through the tag's preprocessing and its QuickGELU."""
    from huggingface_hub import constants

    from models import hub

    torch.manual_seed(0)
    network = open_clip.create_model(ARCHITECTURE)
    snapshot = tmp_path / "models--org--repo" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot.parent.parent / "refs").mkdir()
    (snapshot.parent.parent / "refs" / "main").write_text("abc")
    save_file(
        {key: value.contiguous() for key, value in network.state_dict().items()}, snapshot / weights.WEIGHTS_FILES[0]
    )
    entry = {"hf_hub": "org/repo/", "mean": (0.5,) * 3, "std": (0.5,) * 3, "resize_mode": "squash", "quick_gelu": True}
    monkeypatch.setattr(weights, "tags", lambda: {(ARCHITECTURE, "mine"): entry})
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub, "reachable", lambda repo, name: pytest.fail("asked the network"))
    slash, underscores = (load(ARCHITECTURE + name, "cpu", "float32").model for name in ("/mine", "__mine"))
    assert slash.info.version == "mine"
    assert slash.info.space == underscores.info.space
    assert slash.info.space != load(f"{ARCHITECTURE}/random", "cpu", "float32").model.info.space
    assert '"squash"' in slash.preprocessing.describe()


def test_listing_commands_load_nothing_heavy() -> None:
    code = "import sys, models.catalog, models.errors, models.base; print('torch' in sys.modules)"
    root = Path(models.__path__[0]).parent
    assert subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True).stdout == "False\n"
