"""Calibration: after it, `sigmoid(exp(logit_scale) * cosine + logit_bias)` is a probability one can act on."""

from __future__ import annotations

import math

import numpy as np
import open_clip
import torch
from open_clip.tokenizer import SimpleTokenizer
from torch.nn.functional import softplus

from models.training.batches import render_frame, truth_table
from models.training.captions import sample_caption
from models.training.facts import answers
from models.training.sampling import sample_scene
from models.training.train import TrainingConfig, normalize

PRIOR = 0.1
"""Share of asked labels that is assumed to be in a frame: people ask for what may well be there."""


@torch.no_grad()
def embed_frames(model: open_clip.CLIP, frames: np.ndarray, config: TrainingConfig) -> torch.Tensor:
    """uint8 [N, size, size, 3] to float32 [N, embed_dim], unit length."""
    chunks = torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2))).split(256)
    return torch.cat([model.encode_image(normalize(chunk, config), normalize=True) for chunk in chunks])


@torch.no_grad()
def embed_texts(model: open_clip.CLIP, tokenizer: SimpleTokenizer, texts: list[str]) -> torch.Tensor:
    """Texts to float32 [N, embed_dim], unit length."""
    return torch.cat([model.encode_text(chunk, normalize=True) for chunk in tokenizer(texts).split(512)])


def fit_probabilities(
    cosine: torch.Tensor, truth: torch.Tensor, scale: float, bias: float, *, prior: float = PRIOR
) -> tuple[float, float]:
    """The (scale, bias) of the sigmoid that explains the truth best, when a share `prior` of the pairs is true.

    `cosine` is [N, M]; `truth` is [N, M] with 1 true, -1 false, 0 left out; `scale` and `bias` are where to start.
    """
    clear = truth != 0
    x, sign = cosine[clear].double(), truth[clear].double()
    positives = (sign > 0).double()
    # Captions are sampled, so how many are true here is arbitrary: reweight both sides to the prior.
    weight = positives * (prior / positives.sum()) + (1 - positives) * ((1 - prior) / (1 - positives).sum())
    log_scale = torch.tensor(math.log(scale), dtype=torch.float64, requires_grad=True)
    offset = torch.tensor(bias, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_scale, offset], lr=0.5, max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (weight * softplus(-sign * (log_scale.exp() * x + offset))).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return float(log_scale.detach().exp()), float(offset.detach())


def calibrate(
    model: open_clip.CLIP, tokenizer: SimpleTokenizer, config: TrainingConfig, *, seed: int, scenes: int = 3000
) -> tuple[float, float]:
    """Fit the probabilities on fresh renders and store them in the model; returns (scale, bias)."""
    rng = np.random.default_rng(seed)
    drawn = [sample_scene(rng) for _ in range(scenes)]
    frames = np.stack([render_frame(scene, config.image_size, rng) for scene in drawn])
    captions = [sample_caption(rng, drawn[int(rng.integers(scenes))]) for _ in range(600)]
    captions += [sample_caption(rng) for _ in range(600)]
    truth = torch.from_numpy(truth_table(np.stack([answers(scene) for scene in drawn]), captions))
    cosine = embed_frames(model, frames, config) @ embed_texts(model, tokenizer, [c.text for c in captions]).T
    start = float(model.logit_scale.detach().exp()), float(model.logit_bias.detach())
    scale, bias = fit_probabilities(cosine, truth, *start)
    with torch.no_grad():
        model.logit_scale.fill_(math.log(scale))
        model.logit_bias.fill_(bias)
    return scale, bias
