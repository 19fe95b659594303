"""What training minimises."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy, softplus

from models.training.facts import ANY, KINDS, TAUGHT, fact
from models.training.outlines import SHAPES
from models.training.scenes import COLORS

_TRUE_WEIGHT = 4.0
"""Most captions are false of most pictures, so the true ones count more. Calibration undoes the bias."""


def pair_loss(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Mean binary cross-entropy over the pairs whose truth is clear. Both [images, captions]; truth is -1, 0 or 1."""
    weights = (truth != 0) + (_TRUE_WEIGHT - 1.0) * (truth > 0)
    return (softplus(-logits * truth) * weights).sum() / weights.sum()


_WHICH: tuple[tuple[tuple[str, ...], ...], ...] = (
    tuple(("object", color, ANY, ANY, "some") for color in COLORS),
    tuple(("object", ANY, shape, ANY, "some") for shape in SHAPES),
    tuple(("kind", kind) for kind in KINDS),
)
"""Facts of which a picture has one or a few, asked as "which?"."""


class PlainQuestions(torch.nn.Module):
    """Asks the vision tower about plain facts, without words, while it learns; thrown away afterwards.

    Two towers that both start from nothing learn slowly from each other. Here the vision tower is told directly what
    is in the picture, and for colours, shapes and kinds of background which ones, which gives it features for the words
    to find.
    """

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.facts = torch.nn.Linear(embed_dim, len(TAUGHT))
        torch.nn.init.constant_(self.facts.bias, -2.0)
        self._groups = [[TAUGHT.index(fact(*name)) for name in group] for group in _WHICH]
        self.choices = torch.nn.Linear(embed_dim, sum(map(len, self._groups)))

    def forward(self, images: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
        """Loss from raw embeddings [images, embed_dim] and answers int8 [images, len(TAUGHT)]."""
        choices = self.choices(images).split([len(group) for group in self._groups], dim=1)
        which = [_which_loss(logits, answers[:, group]) for logits, group in zip(choices, self._groups, strict=True)]
        return pair_loss(self.facts(images), answers) + torch.stack(which).sum()


def _which_loss(logits: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    """Cross-entropy with what is there, evenly shared; over the images where something is. What is unclear takes no
    part: `facts.without_hints` leaves something so in every picture with an object."""
    true = (answers > 0).float()
    asked = true.sum(dim=1) > 0
    if not asked.any():
        return logits.sum() * 0.0
    clear = logits[asked].masked_fill(answers[asked] == 0, -1e4)
    return cross_entropy(clear, true[asked] / true[asked].sum(dim=1, keepdim=True))
