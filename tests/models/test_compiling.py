"""torch.compile as an option: what is faster and gives the same is used, and all else is said."""

import math
from types import SimpleNamespace

import pytest
import torch

from models import compiling, products
from models.catalog import load, load_any
from models.compiling import Compilation, compiled
from models.errors import BadModel

WEIGHT = torch.randn(64, 32, generator=torch.Generator().manual_seed(0))
BATCH = torch.randn(8, 32, generator=torch.Generator().manual_seed(1))


NOW = [0.0]
"""What the clock shows: functions say themselves how long they take, for machines are busy."""


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that timings are taken by."""
    monkeypatch.setattr(compiling, "time", SimpleNamespace(perf_counter=lambda: NOW[0]))


def slow(x: torch.Tensor) -> torch.Tensor:
    """A product that takes two seconds."""
    NOW[0] += 2.0
    return x @ WEIGHT.T


def fast(x: torch.Tensor) -> torch.Tensor:
    """The same in one."""
    NOW[0] += 1.0
    return x @ WEIGHT.T


def test_what_is_faster_and_the_same_is_used_for_its_size():
    calls = []

    def counted(x: torch.Tensor) -> torch.Tensor:
        calls.append(len(x))
        return fast(x)

    function, found = compiled(slow, BATCH, compile=lambda function: counted)
    assert found.used
    assert (found.eager_s, found.compiled_s) == (2.0, 1.0)
    assert found.said == "2.00x as fast: 1000.0 ms a batch of 8, 2000.0 ms as it was; took 4 s"
    calls.clear()
    assert torch.equal(function(BATCH), fast(BATCH))
    assert calls == [8]
    assert torch.equal(function(BATCH[:3]), fast(BATCH[:3]))
    assert calls == [8], "another size would be compiled anew"


def _raises(function):
    raise RuntimeError("no compiler here\nand more of it")


@pytest.mark.parametrize(
    ("function", "compile", "said"),
    [
        (fast, lambda function: slow, "no faster: "),
        (slow, lambda function: lambda x: -fast(x), "computes something else: cosine -1.0000"),
        (slow, lambda function: lambda x: fast(x) * math.nan, "computes something else: cosine nan"),
        (slow, _raises, "cannot be compiled: RuntimeError: no compiler here"),
    ],
)
def test_all_else_is_not_used_and_said(function, compile, said: str):
    given, found = compiled(function, BATCH, compile=compile)
    assert given is function
    assert not found.used
    assert said in found.said
    assert "\n" not in found.said


def test_too_little_memory_is_no_matter_of_the_compiler():
    def full(function):
        raise MemoryError

    with pytest.raises(MemoryError):
        compiled(slow, BATCH, compile=full)


def test_torchs_own_compiler_gives_the_same():
    """Whatever it is good for on this machine, which may have no compiler for it."""
    given, found = compiled(lambda x: x @ WEIGHT.T, BATCH, gain=0.0)
    assert found.used or found.said.startswith("cannot be compiled")
    assert torch.allclose(given(BATCH), fast(BATCH), rtol=1e-5, atol=1e-5)


def test_a_model_says_what_came_of_it(monkeypatch):
    """By its option, as a YAML has it."""
    asked = []

    def pretended(function, example):
        asked.append(tuple(example.shape))
        return function, Compilation(True, "2.00x as fast: of no machine")

    name = "ViT-S-32-alt/random"
    if products.packs(torch.float32):
        said = {one.code: one.message for one in load(name, "cpu", "float32", {"compile": True}).notices}
        assert "oneDNN" in said["not_compiled"]
    monkeypatch.setattr("models.clip.packs", lambda dtype: False)
    monkeypatch.setattr("models.clip.compiled", pretended)
    loaded = load(name, "cpu", "float32", {"compile": 6})
    assert {"compiled"} <= {one.code for one in loaded.notices}
    (shape,) = asked
    assert shape[1:] == (3, 224, 224)
    assert 1 <= shape[0] <= 6
    assert not {"compiled", "not_compiled"} & {
        one.code for one in load(name, "cpu", "float32", {"compile": False}).notices
    }


@pytest.mark.parametrize("options", [{"compile": "fast"}, {"compile": -1}, {"size": 3}, {"compile": True, "size": 3}])
def test_other_options_are_refused(options):
    with pytest.raises(BadModel, match="takes one option, compile"):
        load_any("bundled", "cpu", "float32", options)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cuda_graph_gives_what_the_network_gives_for_any_size():
    eager = load("ViT-B-32/random", "cuda", "bfloat16").model
    quick = load("ViT-B-32/random", "cuda", "bfloat16", {"compile": 32}).model
    frames = torch.randint(0, 256, (77, 360, 640, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    for count in (32, 5, 77, 32):
        alike = (eager.run(frames[:count]) * quick.run(frames[:count])).sum(axis=1)
        assert alike.min() >= compiling.COSINE
