"""A loaded model against open_clip's own encode_image and encode_text, on small models made here."""

import gzip
import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer
from open_clip.transform import PreprocessCfg
from PIL import Image
from safetensors.torch import load_file, save_file

from models.base import FrameModel, TextModel
from models.catalog import load
from models.clip import ClipModel
from models.errors import BadWeights, UnknownModel

VIT: dict[str, Any] = {"image_size": 32, "patch_size": 8, "width": 64, "layers": 3, "head_width": 16}
RESNET: dict[str, Any] = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "head_width": 64, "patch_size": None}
TEXT: dict[str, Any] = {"context_length": 16, "vocab_size": 516, "width": 32, "heads": 2, "layers": 2}
WORDS = ("red", "circle")

TOWERS: dict[str, dict[str, Any]] = {
    "vit": {"vision_cfg": VIT},
    "quick-gelu": {"vision_cfg": VIT, "quick_gelu": True},
    "layer-scale": {"vision_cfg": VIT | {"ls_init_value": 0.3}, "text_cfg": TEXT | {"ls_init_value": 0.3}},
    "average": {"vision_cfg": VIT | {"pool_type": "avg"}},
    "average-then-norm": {"vision_cfg": VIT | {"pool_type": "avg", "final_ln_after_pool": True, "no_ln_pre": True}},
    "attentional-pool": {"vision_cfg": VIT | {"attentional_pool": True, "attn_pooler_heads": 2}},
    "qk-norm": {"vision_cfg": VIT | {"qk_norm": True}},
    "resnet": {"vision_cfg": RESNET},
    "text-apart": {"vision_cfg": VIT, "custom_text": True},
    "text-both-ways": {"vision_cfg": VIT, "text_cfg": TEXT | {"no_causal_mask": True, "pool_type": "last"}},
    "sigmoid": {"vision_cfg": VIT, "init_logit_bias": -10.0, "init_logit_scale": 2.0},
}


def write_folder(folder: Path, config: dict[str, Any], seed: int = 0) -> Path:
    """An open_clip folder with random weights and a vocabulary of two merges."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"embed_dim": 24, "text_cfg": TEXT} | config
    preprocess = {"mean": [0.5, 0.4, 0.3], "std": [0.25, 0.25, 0.2], "resize_mode": "shortest"}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    (folder / "bpe.txt.gz").write_bytes(gzip.compress(b"#version: 0.2\nr e\nre d</w>"))
    (folder / "words.json").write_text(json.dumps({"known": WORDS}))
    torch.manual_seed(seed)
    network = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if name.endswith(("bias", "in_proj_bias")):
                value.normal_(std=0.2)  # a fresh network's zeros would hide a bias that is left out
        for name, value in network.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                value.uniform_(0.5, 1.5)
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, folder / WEIGHTS)
    return folder


WEIGHTS = "open_clip_model.safetensors"


def frames(count: int, height: int = 54, width: int = 96) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("tiny"), TOWERS["vit"])


@pytest.fixture(scope="module")
def model(folder: Path) -> ClipModel:
    return load(f"local-dir:{folder}", "cpu", "float32").model


def closest(ours: np.ndarray, theirs: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(torch.from_numpy(ours), theirs).min())


@pytest.mark.parametrize("tower", TOWERS)
def test_equals_open_clip(tower: str, tmp_path: Path) -> None:
    """Every kind of tower, known to the fast paths or not: the same vectors from the same pixels and words."""
    folder = write_folder(tmp_path / tower, TOWERS[tower])
    network, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    network.eval()
    pixels, texts = frames(5), ["red", "a red circle on a red circle", ""]
    tokenizer = SimpleTokenizer(bpe_path=str(folder / "bpe.txt.gz"), context_length=16)
    with torch.inference_mode():
        images = network.encode_image(torch.stack([transform(Image.fromarray(frame)) for frame in pixels]))
        words = network.encode_text(tokenizer(texts), normalize=True)
    ours = load(f"local-dir:{folder}", "cpu", "float32").model
    assert closest(ours.run(pixels), images) >= 0.999  # the resize may differ by one step of 255
    assert closest(ours.embed_text(texts), words) >= 0.99999
    assert ours.likelihood.scale == pytest.approx(float(network.logit_scale.exp()))
    assert ours.likelihood.bias == (None if network.logit_bias is None else pytest.approx(float(network.logit_bias)))


def test_arithmetic_is_open_clips_to_rounding(folder: Path, model: ClipModel) -> None:
    """From the very same tensor, so that only the forward pass is compared."""
    network = open_clip.create_model(f"local-dir:{folder}").eval()
    prepared = model.preprocess(frames(7))
    cfg = PreprocessCfg(**network.visual.preprocess_cfg)
    with torch.inference_mode():
        inputs = (prepared.float() / 255 - torch.tensor(cfg.mean)[:, None, None]) / torch.tensor(cfg.std)[:, None, None]
        theirs = network.encode_image(inputs, normalize=True)
    assert np.abs(model.encode(prepared) - theirs.numpy()).max() < 1e-5


def test_rows_do_not_depend_on_their_batch(model: ClipModel) -> None:
    pixels = frames(29)
    whole = model.run(pixels)
    assert whole.shape == (29, model.info.dim)
    assert whole.dtype == np.float32
    assert np.allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-5)
    for size in (1, 9, 17):
        parts = [model.run(pixels[start : start + size]) for start in range(0, 29, size)]
        assert np.abs(np.concatenate(parts) - whole).max() < 1e-5
    assert model.run(pixels[:0]).shape == (0, model.info.dim)


def test_stages_can_be_joined_and_run_from_many_threads(model: ClipModel) -> None:
    pixels = [frames(9, 54, 96), frames(4, 40, 40), frames(23, 96, 54)]
    expected = [model.run(part) for part in pixels] * 4
    with ThreadPoolExecutor(6) as pool:
        prepared = list(pool.map(model.preprocess, pixels * 4))
        for ours, theirs in zip(pool.map(model.encode, prepared), expected, strict=True):
            assert np.abs(ours - theirs).max() < 1e-5
    assert np.abs(model.encode(torch.cat(prepared[:3])) - np.concatenate(expected[:3])).max() < 1e-5


def test_texts_are_normalised_and_keep_their_order(model: ClipModel) -> None:
    texts = ["red", "a", "red red red red red red", "circle", "a very long text " * 30, ""] * 20
    rows = model.embed_text(texts)
    assert rows.shape == (120, model.info.dim)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert np.abs(np.concatenate([model.embed_text([text]) for text in texts[:6]]) - rows[:6]).max() < 1e-5
    assert np.array_equal(rows[:6], rows[6:12]) or np.abs(rows[:6] - rows[6:12]).max() < 1e-5
    assert model.embed_text([]).shape == (0, model.info.dim)


def test_card(folder: Path, model: ClipModel) -> None:
    assert {FrameModel, TextModel} <= set(type(model).__mro__)
    assert model.info.name == f"local-dir:{folder}"
    assert (model.info.dim, model.info.device, model.info.dtype) == (24, "cpu", "float32")
    assert len(model.info.version) == 12
    assert model.known_words == frozenset(WORDS)


def test_space_is_the_weights_and_the_preprocessing(folder: Path, model: ClipModel, tmp_path: Path) -> None:
    again = write_folder(tmp_path / "again", TOWERS["vit"])
    assert load(f"local-dir:{again}", "cpu", "float32").model.info.space == model.info.space

    weights = load_file(folder / WEIGHTS)
    weights["visual.proj"][0, 0] += 1e-3
    save_file(weights, again / WEIGHTS)
    assert load(f"local-dir:{again}", "cpu", "float32").model.info.space != model.info.space

    again = write_folder(tmp_path / "again", TOWERS["vit"])
    config = json.loads((again / "open_clip_config.json").read_text())
    config["preprocess_cfg"]["resize_mode"] = "squash"
    (again / "open_clip_config.json").write_text(json.dumps(config))
    assert load(f"local-dir:{again}", "cpu", "float32").model.info.space != model.info.space


def test_bfloat16_keeps_the_space_and_nearly_the_vectors(folder: Path, model: ClipModel) -> None:
    half = load(f"local-dir:{folder}", "cpu", "bfloat16").model
    assert half.info.space == model.info.space
    assert half.info.dtype == "bfloat16"
    assert closest(half.run(frames(2)), torch.from_numpy(model.run(frames(2)))) > 0.998


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("code from a weights file ran",))


def test_weights_that_would_run_code_are_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    evil = tmp_path / "evil"
    evil.mkdir()
    (evil / "open_clip_config.json").write_bytes((folder / "open_clip_config.json").read_bytes())
    with (evil / "open_clip_pytorch_model.bin").open("wb") as file:
        pickle.dump(Evil(), file)
    with pytest.raises(BadWeights):
        load(f"local-dir:{evil}", "cpu", "float32")
    assert "code from a weights file" not in capsys.readouterr().out

    torch.save(load_file(folder / WEIGHTS), evil / "open_clip_pytorch_model.bin")  # tensors alone are welcome
    assert load(f"local-dir:{evil}", "cpu", "float32").model.info.dim == 24


def test_damage_is_told(folder: Path, tmp_path: Path) -> None:
    broken = write_folder(tmp_path / "broken", TOWERS["vit"])
    whole = (broken / WEIGHTS).read_bytes()
    for damage in (whole[: len(whole) // 2], b"", b"not weights at all"):
        (broken / WEIGHTS).write_bytes(damage)
        with pytest.raises(BadWeights, match="cannot be loaded"):
            load(f"local-dir:{broken}", "cpu", "float32")
    save_file({"visual.proj": torch.zeros(3)}, broken / WEIGHTS)
    with pytest.raises(BadWeights):
        load(f"local-dir:{broken}", "cpu", "float32")
    (broken / WEIGHTS).unlink()
    with pytest.raises(BadWeights, match="has no weights"):
        load(f"local-dir:{broken}", "cpu", "float32")
    (broken / "open_clip_config.json").write_text("{")
    (broken / WEIGHTS).write_bytes(whole)
    with pytest.raises(BadWeights):
        load(f"local-dir:{broken}", "cpu", "float32")
    with pytest.raises(UnknownModel, match="has no open_clip_config"):
        load(f"local-dir:{tmp_path / 'nowhere'}", "cpu", "float32")


def test_refuses_frames_of_another_kind(model: ClipModel) -> None:
    with pytest.raises(ValueError, match="uint8"):
        model.run(np.zeros((1, 3, 32, 32), np.float32))
