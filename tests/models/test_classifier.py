"""Classifiers against torchvision's own network and transform; and everything that can be wrong with a file."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision import models as torchvision_models

from models.catalog import load, load_any
from models.classifier import preprocessing_of
from models.errors import BadModel, BadWeights, ModelError, UnknownModel

SMALL = "mobilenet_v3_small"
LABELS = ["cat", "dog", "fox"]


def network(architecture: str = SMALL, classes: int = 3) -> torch.nn.Module:
    torch.manual_seed(5)
    made = torchvision_models.get_model(architecture, weights=None, num_classes=classes).eval()
    with torch.no_grad():
        for name, value in made.named_buffers():
            if name.endswith("running_var"):
                value.uniform_(0.5, 1.5)
        list(made.parameters())[-1].copy_(torch.linspace(-2, 2, classes))
    return made


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_file(network().state_dict(), file)
    return file


def frames(count: int, height: int = 120, width: int = 160) -> np.ndarray:
    """Smooth, so that a resize that rounds once more or less does not matter."""
    coarse = np.random.default_rng(count).integers(0, 256, (count, 6, 8, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(one).resize((width, height))) for one in coarse])


def loaded(name: str, **options: object):
    return load_any(name, "cpu", "float32", options).model


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize(("height", "width"), [(120, 160), (301, 170), (64, 64)])
def test_equals_torchvision(weights: Path, multi_label: bool, height: int, width: int) -> None:
    model = loaded(f"classifier:{SMALL}@{weights}", labels=LABELS, multi_label=multi_label)
    transform = torchvision_models.get_model_weights(SMALL).DEFAULT.transforms()
    pixels = frames(5, height, width)
    with torch.inference_mode():
        logits = network()(torch.stack([transform(Image.fromarray(frame)) for frame in pixels]))
    theirs = logits.sigmoid() if multi_label else logits.softmax(1)
    assert np.abs(model.run(pixels) - theirs.numpy()).max() < 5e-3
    assert np.ptp(model.run(pixels), axis=1).max() > 0.05, "all labels alike: nothing was compared"


@pytest.mark.parametrize("architecture", ["googlenet", "inception_v3"])
def test_pixels_are_transformed_as_torchvisions_own_weights_want_them(architecture: str, tmp_path: Path) -> None:
    """What torchvision builds with weights of its own, which no file of weights says."""
    torch.manual_seed(5)
    theirs = torchvision_models.get_model(
        architecture, weights=None, num_classes=3, init_weights=False, transform_input=True
    )
    # Statistics of its own: as it is made, next to nothing of a picture reaches the end.
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        theirs.train()(torch.randn(2, 3, 299, 299))
    theirs.eval()
    file = tmp_path / "own.safetensors"
    save_file(theirs.state_dict(), file)
    name = f"classifier:{architecture}@{file}"
    model, plain = loaded(name, labels=LABELS), loaded(name, labels=LABELS, transform_input=False)
    pixels = frames(2)
    transform = torchvision_models.get_model_weights(architecture).DEFAULT.transforms()
    with torch.inference_mode():
        expected = theirs(torch.stack([transform(Image.fromarray(one)) for one in pixels])).softmax(1).numpy()
    apart = np.abs(plain.run(pixels) - expected).max()
    assert np.abs(model.run(pixels) - expected).max() < min(5e-3, apart / 5)
    assert model.info.space != plain.info.space


@pytest.mark.parametrize(
    ("architecture", "size"), [("vit_b_32", 384), ("vit_b_32", 128), ("maxvit_t", 448), ("resnet18", 96)]
)
def test_it_is_built_for_the_size_that_it_sees(architecture: str, size: int) -> None:
    model = loaded(f"classifier:{architecture}/random", labels=LABELS, size=size)
    assert model.run(frames(1)).shape == (1, 3)


@pytest.mark.parametrize("architecture", ["resnet18", "inception_v3", "swin_t"])
@pytest.mark.parametrize(("height", "width"), [(360, 640), (641, 363), (97, 500)])
def test_what_it_sees_is_what_torchvision_shows(architecture: str, height: int, width: int) -> None:
    ours = preprocessing_of("it", architecture)
    pixels = frames(1, height, width)
    theirs = torchvision_models.get_model_weights(architecture).DEFAULT.transforms()(Image.fromarray(pixels[0]))
    seen = ours.normalise(ours(pixels), torch.float32)[0]
    assert seen.shape == theirs.shape
    assert float((seen - theirs).abs().max()) < 2.5 / 255 / min(ours.std)


def test_its_card_and_its_space(weights: Path, tmp_path: Path) -> None:
    name = f"classifier:{SMALL}@{weights}"
    model = loaded(name, labels=LABELS)
    assert model.info.kind == "scores"
    assert [score.label for score in model.info.scores] == LABELS
    assert model.info.version == model.checksum[:12]
    checkpoint = tmp_path / "checkpoint.pt"
    tensors = {f"module.{key}": value for key, value in network().state_dict().items()}
    torch.save({"epoch": 3, "state_dict": tensors}, checkpoint)
    same = loaded(f"classifier:{SMALL}@{checkpoint}", labels=LABELS)
    assert same.info.space == model.info.space, "the same weights from another kind of file"
    others = ({"multi_label": True}, {"size": 128}, {"threshold": 0.6}, {"labels": ["cat", "dog", "wolf"]})
    spaces = {loaded(name, **({"labels": LABELS} | other)).info.space for other in others}
    assert len(spaces | {model.info.space}) == 5


def test_labels_from_files(weights: Path, tmp_path: Path) -> None:
    text, listed = tmp_path / "labels.txt", tmp_path / "labels.json"
    text.write_text("cat\n dog \nfox\n\n")
    listed.write_text(json.dumps(["cat", {"label": "dog", "parent": "pets", "threshold": 0.7}, "fox"]))
    for file in (text, listed):
        model = loaded(f"classifier:{SMALL}@{weights}", labels=str(file), threshold=0.4)
        assert [score.label for score in model.info.scores] == LABELS
    assert [score.threshold for score in model.info.scores] == [0.4, 0.7, 0.4]
    assert model.info.scores[1].parent == "pets"


def test_untrained_ones_are_the_same_every_time_and_warned_about() -> None:
    first, second = (load_any(f"classifier:{SMALL}/random", "cpu", "float32") for _ in range(2))
    assert first.model.info == second.model.info
    assert first.model.info.dim == 1000
    assert [notice.code for notice in first.notices] == ["random_weights"]
    rows = first.model.run(frames(3))
    assert np.allclose(rows.sum(1), 1, atol=1e-4)
    assert first.model.run(frames(3)[:0]).shape == (0, 1000)
    with pytest.raises(BadModel, match="no encoder"):
        load(f"classifier:{SMALL}/random", "cpu", "float32")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"labels": ["cat", "dog"]}, "2 labels for weights with 3 classes"),
        ({"labels": []}, "one for each class"),
        ({"labels": "/nowhere/labels.txt"}, "cannot be read"),
        ({"labels": ["cat", {"label": "dog", "colour": 1}, "fox"]}, "is no label"),
        ({"labels": ["cat", {"label": "dog", "parent": 1}, "fox"]}, "the parent of"),
        ({"labels": LABELS, "threshold": 2}, "threshold is 2"),
        ({"labels": LABELS, "multi_label": "yes"}, "multi_label is 'yes'"),
        ({"labels": LABELS, "size": [256, 224]}, "size is"),
        ({"labels": LABELS, "size": "large"}, "size is"),
        ({"labels": LABELS, "tau": 1}, "no option 'tau'"),
        ({"labels": LABELS, "transform_input": True}, "for googlenet and inception_v3"),
    ],
)
def test_options_that_cannot_be(weights: Path, options: dict[str, object], said: str) -> None:
    refused(f"classifier:{SMALL}@{weights}", BadModel, said, options)


def test_a_size_that_cannot_be_built_for_is_refused() -> None:
    options = {"labels": LABELS, "size": 100}
    refused("classifier:vit_b_32/random", BadModel, "cannot be built for a size of 100", options)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_files_and_names_that_cannot_be(weights: Path, tmp_path: Path) -> None:
    def name(file: Path) -> str:
        return f"classifier:{SMALL}@{file}"

    labels = {"labels": LABELS}
    refused("classifier:resnet81@x.pt", UnknownModel, "near names: resnet18", labels)
    refused("classifier:resnet18", UnknownModel, "classifier:ARCHITECTURE@FILE", labels)
    refused(name(tmp_path / "none.pt"), UnknownModel, "no file of weights", labels)
    refused(f"classifier:resnet18@{weights}", BadWeights, "cannot be loaded from", labels)
    evil = tmp_path / "evil.pt"
    evil.write_bytes(pickle.dumps(Exploding(tmp_path / "exploded")))
    refused(name(evil), BadWeights, "holds more than tensors", labels)
    torch.save({"network": Exploding(tmp_path / "exploded")}, evil)
    refused(name(evil), BadWeights, "holds more than tensors", labels)
    assert not (tmp_path / "exploded").exists()
    torch.save({"epoch": 3}, evil)
    refused(name(evil), BadWeights, "holds no tensors", labels)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(weights.read_bytes()[:-1000])
    refused(name(cut), BadWeights, "cannot be loaded from", labels)


class Exploding:
    """Runs code where it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return (Path.touch, (self.file,))


def refused(name: str, kind: type[ModelError], said: str, options: dict[str, object]) -> None:
    with pytest.raises(kind, match=said) as caught:
        load_any(name, "cpu", "float32", options)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
