"""Image towers of timm, computed here, against timm's own forward."""

from typing import Any

import pytest
import timm
import torch
from open_clip.timm_model import TimmModel
from timm.layers import GELUTanh
from timm.models import VisionTransformer

from models.timm_towers import fast_timm, fold_timm_

PLAIN: dict[str, Any] = {"img_size": 48, "patch_size": 16, "embed_dim": 64, "depth": 3, "num_heads": 2}
PLAIN |= {"class_token": False, "global_pool": "map", "num_classes": 0}


def tower(trunk: torch.nn.Module, seed: int = 0) -> TimmModel:
    """As open_clip has it, with random weights: none of them is as small or as plain as in a fresh network."""
    made = TimmModel("test_vit", 64, image_size=48, pool="", proj="none")
    made.trunk = trunk
    torch.manual_seed(seed)
    with torch.no_grad():
        for value in made.parameters():
            value.normal_(std=0.2) if value.ndim > 1 else value.add_(torch.randn_like(value), alpha=0.3)
        for name, value in made.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                value.uniform_(0.5, 1.5)
    return made.eval().requires_grad_(False)


def outcome(visual: TimmModel, side: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    """(ours, timm's in float32) for a few frames."""
    frames = torch.randn(3, 3, side, side)
    with torch.inference_mode():
        theirs = visual(frames)
        fold_timm_(visual)
        fast = fast_timm(visual.to(dtype))
        assert fast is not None, "the tower is not known"
        return fast(frames.to(dtype)).float(), theirs


@pytest.mark.parametrize(
    "changes",
    [{}, {"act_layer": GELUTanh}, {"num_classes": 24}, {"img_size": 40}, {"fc_norm": True}, {"mlp_ratio": 3.0}],
    ids=["siglip", "siglip2", "projected", "not-a-multiple", "norm-after-pool", "so400m"],
)
def test_attention_pooled_vits_are_the_same(changes: dict[str, Any]) -> None:
    ours, theirs = outcome(tower(VisionTransformer(**PLAIN | changes)), changes.get("img_size", 48))
    assert (ours - theirs).abs().max() <= 2e-4 * theirs.abs().max()


def test_bfloat16_is_close() -> None:
    ours, theirs = outcome(tower(VisionTransformer(**PLAIN)), 48, torch.bfloat16)
    assert torch.nn.functional.cosine_similarity(ours, theirs).min() >= 0.999


def test_fast_vits_are_the_same_with_their_branches_folded() -> None:
    visual = tower(timm.create_model("fastvit_t8", num_classes=24))
    before = sum(1 for _ in visual.modules())
    ours, theirs = outcome(visual, 64)
    assert sum(1 for _ in visual.modules()) < before, "nothing was folded"
    assert torch.nn.functional.cosine_similarity(ours, theirs).min() >= 0.99999


@pytest.mark.parametrize(
    "changes",
    [
        {"class_token": True},
        {"reg_tokens": 1},
        {"global_pool": "avg"},
        {"qk_norm": True},
        {"init_values": 0.1},
        {"pre_norm": True},
        {"dynamic_img_size": True},
        {"qkv_bias": False},
        {"act_layer": torch.nn.SiLU},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_others_are_left_to_timm(changes: dict[str, Any]) -> None:
    """A tower that does more than ours computes must never be taken for one that does not."""
    assert fast_timm(tower(VisionTransformer(**PLAIN | changes))) is None


def test_other_networks_are_left_to_timm() -> None:
    assert fast_timm(tower(timm.create_model("test_convnext", num_classes=24))) is None
    assert fast_timm(torch.nn.Identity()) is None
