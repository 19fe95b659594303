"""Image towers that open_clip takes from timm, computed with less work and the same result; see `models.towers`.

SigLIP is a plain vision transformer whose rows are pooled by an attention with one learnt question. That question does
not change, so what it asks of a row is one product per head: 4 to 10 % less time for a ViT-B/16. The parallel branches
and batch norms of a FastViT (MobileCLIP) are folded into one convolution each, which run with channels innermost: 1.3
times as fast in float32, 1.5 in bfloat16. A ConvNeXt gains nothing that way and runs as timm has it.
"""

from __future__ import annotations

from typing import Any

import torch
from open_clip.timm_model import TimmModel
from timm.layers.activations import GELUTanh
from timm.layers.attention import Attention
from timm.layers.attention_pool import AttentionPoolLatent
from timm.layers.mlp import Mlp
from timm.layers.patch_embed import PatchEmbed
from timm.models import FastVit, VisionTransformer, reparameterize_model
from timm.models.vision_transformer import Block as TimmBlock
from torch import nn

from models.products import Activation, Product
from models.towers import Block, Tower, asking, patches, read_norm

# Modules are `Any` below: what hangs on one is only known after looking.


def _each_is(kind: type, *modules: Any) -> bool:
    """Whether they are of just that class: one that derives from it may do something else."""
    return all(type(module) is kind for module in modules)


def fold_timm_(visual: Any) -> None:
    """As `models.towers.fold_`, for an image tower of timm; does nothing to others."""
    if _each_is(TimmModel, visual) and _each_is(FastVit, visual.trunk):
        visual.trunk = reparameterize_model(visual.trunk, inplace=True)


def fast_timm(visual: Any) -> Tower | None:
    """A function [N, 3, S, S] -> [N, D] (not normalised) equal to `visual`, or None if not known here."""
    if not _each_is(TimmModel, visual):
        return None
    trunk = visual.trunk
    if _each_is(FastVit, trunk):
        visual.to(memory_format=torch.channels_last)
        return lambda pixels: visual(pixels.contiguous(memory_format=torch.channels_last))
    if not _each_is(VisionTransformer, trunk) or not _is_plain(trunk):
        return None
    # Looked at before any is read, which takes memory.
    if not all(map(_is_known, trunk.blocks)) or not _is_known_pool(trunk.attn_pool):
        return None
    with torch.no_grad():
        return _PooledTower(visual, tuple(map(_read_block, trunk.blocks)), _Pool(trunk.attn_pool))


def _is_plain(trunk: Any) -> bool:
    """Patches and their positions, blocks, a norm, and the pooling."""
    embed = trunk.patch_embed
    return (
        _each_is(PatchEmbed, embed)
        and _each_is(nn.Identity, embed.norm, trunk.norm_pre, trunk.patch_drop)
        and not embed.dynamic_img_pad
        and not trunk.dynamic_img_size
        and trunk.cls_token is None
        and trunk.reg_token is None
        and trunk.pos_embed is not None
    )


def _is_known(block: Any) -> bool:
    if not (_each_is(TimmBlock, block) and _each_is(Attention, block.attn) and _each_is(Mlp, block.mlp)):
        return False
    attention, mlp = block.attn, block.mlp
    plain = (block.ls1, block.ls2, attention.q_norm, attention.k_norm, attention.norm, mlp.norm)
    if not _each_is(nn.Identity, *plain) or attention.gate is not None or _activation(mlp.act) is None:
        return False
    return attention.qkv.bias is not None and attention.attn_dim == attention.qkv.in_features


def _read_block(block: Any) -> Block:
    attention, mlp = block.attn, block.mlp
    return Block(
        heads=attention.num_heads,
        ln_1=read_norm(block.norm1),
        asking=asking(attention.qkv.weight, attention.qkv.bias, one_row=False),
        out=Product(attention.proj.weight, attention.proj.bias),
        ln_2=read_norm(block.norm2),
        up=Product(mlp.fc1.weight, mlp.fc1.bias, _activation(mlp.act)),
        down=Product(mlp.fc2.weight, mlp.fc2.bias),
    )


def _activation(module: Any) -> Activation | None:
    """None for one that is not known."""
    if _each_is(GELUTanh, module) or (_each_is(nn.GELU, module) and module.approximate == "tanh"):
        return "gelu_tanh"
    return "gelu" if _each_is(nn.GELU, module) else None


class _Pool:
    """`AttentionPoolLatent` with one question."""

    def __init__(self, pool: Any) -> None:
        self.heads = heads = pool.num_heads
        width = pool.kv.in_features
        key, value = pool.kv.weight.float().view(2, heads, width // heads, width)
        question = pool.q(pool.latent).float().view(heads, 1, width // heads) * pool.scale
        # What a head asks of a row; the keys' bias adds the same to all rows, which a softmax does not see.
        self.asked = (question @ key)[:, 0].to(pool.kv.weight.dtype)
        self.value = value.to(pool.kv.weight.dtype)
        self.value_bias = pool.kv.bias[width:].view(1, heads, 1, -1)
        self.out, self.norm = Product(pool.proj.weight, pool.proj.bias), pool.norm
        self.up = Product(pool.mlp.fc1.weight, pool.mlp.fc1.bias, _activation(pool.mlp.act))
        self.down = Product(pool.mlp.fc2.weight, pool.mlp.fc2.bias)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """[N, L, W] -> [N, W]."""
        shares = (self.asked @ x.transpose(1, 2)).float().softmax(dim=-1).to(x.dtype)
        # [N, heads, 1, W] @ [heads, W, W / heads]
        seen = (shares @ x)[:, :, None] @ self.value.transpose(1, 2) + self.value_bias
        x = self.out(seen.flatten(1))
        return self.down.added_to(x, self.up(self.norm(x)))


def _is_known_pool(pool: Any) -> bool:
    if not _each_is(AttentionPoolLatent, pool) or not _each_is(Mlp, pool.mlp):
        return False
    if pool.latent_len != 1 or pool.pos_embed is not None or pool.pool != "token":
        return False
    if not _each_is(nn.Identity, pool.q_norm, pool.k_norm, pool.mlp.norm) or pool.kv.bias is None:
        return False
    return _activation(pool.mlp.act) is not None


class _PooledTower:
    def __init__(self, visual: Any, blocks: tuple[Block, ...], pool: _Pool) -> None:
        trunk = visual.trunk
        project = trunk.patch_embed.proj
        self.blocks, self.pool = blocks, pool
        self.patch: tuple[int, int] = tuple(project.kernel_size)
        self.embed = Product(project.weight.permute(0, 2, 3, 1).flatten(1).contiguous(), project.bias)
        self.position = trunk.pos_embed
        self.norm = trunk.norm
        self.rest = nn.Sequential(trunk.fc_norm, trunk.head, visual.head)

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """[N, 3, H, W] -> [N, D], in the dtype of the weights."""
        x = self.embed(patches(pixels, self.patch)).view(len(pixels), -1, self.position.shape[-1])
        x += self.position
        for block in self.blocks:
            x = block.all_rows(x, None)
        return self.rest(self.pool(self.norm(x)))
