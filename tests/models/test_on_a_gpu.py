"""Models on a GPU: the same answers as on a CPU, and memory that comes back."""

import gc

import numpy as np
import pytest
import torch

from models.catalog import load, load_any
from models.conformance import checks
from models.sizing import measure
from pipeline.allocator import free_memory

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

NAMES = ("bundled", "ViT-B-32/random", "ViT-B-16-SigLIP/random", "MobileCLIP-S1/random", "convnext_base_w/random")
COSINES = {"float32": 0.9999, "bfloat16": 0.999}


def frames(count: int) -> np.ndarray:
    """uint8 [count, 360, 640, 3]: noise over shading, each frame another."""
    rng = np.random.default_rng(0)
    shading = np.linspace(0, 128, 640)[None, None, :, None] * np.linspace(0.2, 1.0, count)[:, None, None, None]
    return (rng.integers(0, 128, (count, 360, 640, 3)) + shading).astype(np.uint8)


@pytest.mark.parametrize("dtype", COSINES)
@pytest.mark.parametrize("name", NAMES)
def test_vectors_are_those_of_the_cpu(name: str, dtype: str):
    here, there = load(name, "cpu", "float32").model, load(name, "cuda", dtype).model
    assert there.info.space == here.info.space
    pixels = frames(9)
    wanted = here.run(pixels)
    for given in (there.run(pixels), there.run(torch.from_numpy(pixels).cuda())):
        assert (given * wanted).sum(axis=1).min() >= COSINES[dtype]
    assert (there.embed_text(["a dog", ""]) * here.embed_text(["a dog", ""])).sum(axis=1).min() >= COSINES[dtype]


@pytest.mark.parametrize("name", ["bundled", "ViT-B-32/random", "classifier:mobilenet_v3_small/random"])
def test_they_keep_the_contract(name: str):
    results = list(checks(load_any(name, "cuda").model))
    assert [result for result in results if result.state == "failed"] == []


def test_the_batch_size_is_found_by_measuring():
    found = measure(load("ViT-B-32/random", "cuda").model)
    assert found.batch_size >= 8
    assert found.images_per_s[found.batch_size] > found.images_per_s[1]


@pytest.mark.parametrize("name", ["ViT-B-32/random", "ViT-L-14/random"])
def test_memory_comes_back(name: str):
    def cycle() -> int:
        model = load(name, "cuda").model
        model.run(frames(16))
        return torch.cuda.memory_reserved()

    cycle()
    free_memory()
    before = torch.cuda.memory_reserved()
    for _ in range(5):
        taken = cycle() - before
        gc.collect()
        free_memory()
        assert torch.cuda.memory_reserved() - before <= 0.05 * taken
