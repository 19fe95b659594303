"""Products with weights that are laid out beforehand, against torch's own."""

import pytest
import torch
from torch.nn import functional

from models import products
from models.products import Product

WIDE, TALL = 48, 64
ACTIVATIONS = {
    None: lambda x: x,
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "silu": functional.silu,
}


@pytest.fixture(params=["laid out", "plain"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways, on whatever CPU this is."""
    if request.param == "plain":
        monkeypatch.setattr(products, "packs", lambda dtype: False)
    elif not products.packs(torch.float32):
        pytest.skip("oneDNN does not do this here")
    return request.param


def _drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(1, WIDE), (7, WIDE), (3, 5, WIDE), (0, WIDE)], ids=str)
@pytest.mark.parametrize("biased", [True, False])
@torch.inference_mode()
def test_product(activation, shape: tuple[int, ...], biased: bool) -> None:
    x, weight, bias = _drawn(*shape), _drawn(TALL, WIDE), _drawn(TALL) if biased else None
    before = x.clone()
    made = Product(weight, bias, activation)(x)
    assert made.shape == (*shape[:-1], TALL)
    assert torch.allclose(made, ACTIVATIONS[activation](functional.linear(x, weight, bias)), rtol=1e-4, atol=1e-4)
    assert torch.equal(x, before)


@pytest.mark.parametrize("biased", [True, False])
@torch.inference_mode()
def test_sum(biased: bool) -> None:
    x, y, weight, bias = _drawn(7, WIDE), _drawn(7, TALL), _drawn(TALL, WIDE), _drawn(TALL) if biased else None
    wanted = y + functional.linear(x, weight, bias)
    assert torch.allclose(Product(weight, bias).added_to(y, x), wanted, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_bfloat16_rounds_once() -> None:
    x, weight, bias = _drawn(9, WIDE), _drawn(TALL, WIDE), _drawn(TALL)
    made = Product(weight.bfloat16(), bias.bfloat16(), "gelu")(x.bfloat16())
    wanted = functional.gelu(functional.linear(x, weight, bias))
    assert made.dtype == torch.bfloat16
    assert (made.float() - wanted).abs().max() <= 0.02 * wanted.abs().max()


def test_what_computes_something_else_is_not_used(way: str, monkeypatch, caplog: pytest.LogCaptureFixture) -> None:
    """torch may change what its operators do: then models run slower, and right."""
    if way == "plain":
        pytest.skip("it is not used there")
    products.packs.cache_clear()
    monkeypatch.setitem(products._FUSED, "gelu", ("relu", ""))
    try:
        assert products.packs(torch.float32) is False
        assert "slower than they could" in caplog.text
    finally:
        products.packs.cache_clear()
