"""What training minimises."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy, softplus

from models.training.facts import ANY, TAUGHT, fact
from models.training.outlines import SHAPES
from models.training.scenes import COLORS

_TRUE_WEIGHT = 4.0
"""Most captions are false of most pictures, so the true ones count more. Calibration undoes the bias."""


def pair_loss(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Mean binary cross-entropy over the pairs whose truth is clear. Both [images, captions]; truth is -1, 0 or 1."""
    weights = (truth != 0) + (_TRUE_WEIGHT - 1.0) * (truth > 0)
    return (softplus(-logits * truth) * weights).sum() / weights.sum()


class PlainQuestions(torch.nn.Module):
    """Asks the vision tower about plain facts, without words, while it learns; thrown away afterwards.

    Two towers that both start from nothing learn slowly from each other. Here the vision tower is told directly what
    is in the picture, and for colours and shapes which ones, which gives it features for the words to find.
    """

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.facts = torch.nn.Linear(embed_dim, len(TAUGHT))
        torch.nn.init.constant_(self.facts.bias, -2.0)
        self.choices = torch.nn.Linear(embed_dim, len(COLORS) + len(SHAPES))
        self._colors = [TAUGHT.index(fact("object", color, ANY, ANY, "some")) for color in COLORS]
        self._shapes = [TAUGHT.index(fact("object", ANY, shape, ANY, "some")) for shape in SHAPES]

    def forward(self, images: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
        """Loss from raw embeddings [images, embed_dim] and answers int8 [images, len(TAUGHT)]."""
        colors, shapes = self.choices(images).split([len(COLORS), len(SHAPES)], dim=1)
        which = _which_loss(colors, answers[:, self._colors]) + _which_loss(shapes, answers[:, self._shapes])
        return pair_loss(self.facts(images), answers) + which


def _which_loss(logits: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    """Cross-entropy with what is there, evenly shared; over the images where something is, and nothing is unclear."""
    true = (answers > 0).float()
    asked = (true.sum(dim=1) > 0) & (answers != 0).all(dim=1)
    if not asked.any():
        return logits.sum() * 0.0
    return cross_entropy(logits[asked], true[asked] / true[asked].sum(dim=1, keepdim=True))
