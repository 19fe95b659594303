"""Fitting one label: a logistic regression by Newton's method, a network of one hidden layer, and Platt's scaling."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import numpy as np
import torch
from torch.nn.functional import softplus

from models.heads import Layer

Network = tuple[Layer, ...]
"""Layers that end in one number, the logit; float64."""

Fit = Callable[[np.ndarray, np.ndarray, np.ndarray, float, int], Network]
"""(vectors float64 [N, D], targets float64 [N] in [0, 1], weights float64 [N], strength, seed) -> a network. Weights
are scaled so that they add up to 1; `strength` is that of the L2 regularisation of all but biases."""

HIDDEN: Final = 16
"""Units of the hidden layer, for each label: with tens of examples, more only learn them by heart."""

_STEPS: Final = 50
"""Of Newton; ten are usual."""

_ADAM_STEPS, _ADAM_RATE = 300, 0.03
"""The rate falls to nothing over the steps."""


def fit_linear(
    vectors: np.ndarray, targets: np.ndarray, weights: np.ndarray, strength: float, seed: int = 0
) -> Network:
    """Logistic regression with L2, see `Fit`; the one solution there is, so that `seed` does nothing."""
    share, middle, centred = _prepared(vectors, weights)
    basis = None
    if len(vectors) < vectors.shape[1]:
        # The solution lies in the span of the examples: with fewer of them than columns, that is the smaller problem.
        basis, triangle = torch.linalg.qr(centred.T)
        centred = triangle.T
    y = torch.from_numpy(targets)
    columns = torch.cat([centred, torch.ones(len(centred), 1, dtype=torch.float64)], 1)
    penalty = torch.full((columns.shape[1],), strength, dtype=torch.float64)
    penalty[-1] = 1e-9

    def loss_at(solution: torch.Tensor) -> float:
        z = columns @ solution
        return float(share @ (softplus(z) - y * z) + 0.5 * penalty @ solution.square())

    solution = torch.zeros(columns.shape[1], dtype=torch.float64)
    loss = loss_at(solution)
    for _ in range(_STEPS):
        p = torch.sigmoid(columns @ solution)
        slope = columns.T @ (share * (p - y)) + penalty * solution
        curvature = (columns * (share * p * (1.0 - p))[:, None]).T @ columns + torch.diag(penalty + 1e-12)
        step = torch.linalg.solve(curvature, slope)
        while (after := loss_at(solution - step)) > loss and float(step.abs().max()) > 1e-9:
            step = step / 2.0
        gained = loss - after
        if gained > 0.0:
            solution, loss = solution - step, after
        if gained < 1e-10:
            break
    direction = (solution[:-1] if basis is None else basis @ solution[:-1]).numpy()
    return (Layer(direction[None, :], np.array([float(solution[-1]) - middle @ direction])),)


def fit_mlp(vectors: np.ndarray, targets: np.ndarray, weights: np.ndarray, strength: float, seed: int = 0) -> Network:
    """A hidden layer of `HIDDEN` rectified units, see `Fit`; Adam on all examples at once, from a start that `seed`
    decides. (By hand, because torch.optim takes seconds for its import alone.)"""
    share, middle, x = _prepared(vectors, weights)
    scale = 1.0 / max(float(x.norm(dim=1).mean()), 1e-9)
    x, y = x * scale, torch.from_numpy(targets)
    rng = np.random.default_rng(seed)
    start = (rng.normal(0.0, 1.0, (HIDDEN, x.shape[1])), np.zeros(HIDDEN), rng.normal(0.0, 0.3, HIDDEN), np.zeros(1))
    parameters = [torch.from_numpy(one) for one in start]
    means, squares = ([torch.zeros_like(one) for one in parameters] for _ in range(2))
    first, first_bias, second, second_bias = parameters
    for step in range(1, _ADAM_STEPS + 1):
        hidden = torch.relu(x @ first.T + first_bias)
        error = share * (torch.sigmoid(hidden @ second + second_bias) - y)
        back = (error[:, None] * second) * (hidden > 0)
        slopes = (back.T @ x + strength * first, back.sum(0), hidden.T @ error + strength * second, error.sum()[None])
        rate = _ADAM_RATE * (1.0 - (step - 1) / _ADAM_STEPS)
        for parameter, slope, mean, square in zip(parameters, slopes, means, squares, strict=True):
            mean.lerp_(slope, 0.1)
            square.lerp_(slope.square(), 0.001)
            parameter -= rate * (mean / (1.0 - 0.9**step)) / ((square / (1.0 - 0.999**step)).sqrt() + 1e-8)
    weight = first.numpy() * scale
    return Layer(weight, first_bias.numpy() - weight @ middle), Layer(second.numpy()[None, :], second_bias.numpy())


FITS: Final[dict[str, Fit]] = {"linear": fit_linear, "mlp": fit_mlp}

STRENGTHS: Final[dict[str, tuple[float, ...]]] = {
    "linear": (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
    "mlp": (1e-3, 3e-3, 1e-2),
}
"""What cross-validation chooses from."""

DEFAULT_STRENGTH: Final = 1e-3
"""Where it cannot choose."""


def logits(network: Network, vectors: np.ndarray) -> np.ndarray:
    """float64 [N, D] -> float64 [N]."""
    rows = vectors
    for layer in network[:-1]:
        rows = np.maximum(rows @ layer.weight.T + layer.bias, 0.0)
    return (rows @ network[-1].weight.T + network[-1].bias)[:, 0]


def platt(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray, counts: tuple[int, int]) -> tuple[float, float]:
    """(slope, offset) that make `sigmoid(slope * score + offset)` a probability.

    Args:
        scores: float64 [N], logits of examples that the network was not fitted to.
        truth: bool [N].
        weights: float64 [N].
        counts: examples that are true, and that are false: the fewer, the less is claimed (Platt 1999, section 2.2).
    """
    high, low = (counts[0] + 1.0) / (counts[0] + 2.0), 1.0 / (counts[1] + 2.0)
    (line,) = fit_linear(scores[:, None], np.where(truth, high, low), weights, 1e-6)
    # A slope that is not above 0 says that there was nothing to learn; the order of the scores must not be turned.
    return max(float(line.weight[0, 0]), 1e-3), float(line.bias[0])


def scaled(network: Network, slope: float, offset: float) -> Network:
    """The network whose logits are `slope * logit + offset`."""
    last = network[-1]
    return (*network[:-1], Layer(last.weight * slope, last.bias * slope + offset))


def stacked(networks: Sequence[Network]) -> Network:
    """One network of several with as many layers each, which gives the logit of each: float32."""
    depth = len(networks[0])
    layers = []
    for level in range(depth):
        parts = [network[level] for network in networks]
        weight = np.concatenate([part.weight for part in parts]) if level == 0 else _diagonal([p.weight for p in parts])
        layers.append(Layer(weight.astype(np.float32), np.concatenate([p.bias for p in parts]).astype(np.float32)))
    return tuple(layers)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Of float64, any shape."""
    return 1.0 / (1.0 + np.exp(-np.clip(x, -500.0, 500.0)))


def _diagonal(blocks: Sequence[np.ndarray]) -> np.ndarray:
    out = np.zeros((sum(len(block) for block in blocks), sum(block.shape[1] for block in blocks)))
    row = column = 0
    for block in blocks:
        out[row : row + len(block), column : column + block.shape[1]] = block
        row, column = row + len(block), column + block.shape[1]
    return out


def _prepared(vectors: np.ndarray, weights: np.ndarray) -> tuple[torch.Tensor, np.ndarray, torch.Tensor]:
    """Shares that add up to 1, the middle of the vectors, and the vectors less it."""
    share = weights / weights.sum()
    middle = share @ vectors
    return torch.from_numpy(share), middle, torch.from_numpy(vectors - middle)


@contextmanager
def one_thread() -> Iterator[None]:
    """These problems are small: threads would wait for each other, and on a busy machine for minutes. And one thread
    adds up in one order, so that the same examples give the same numbers."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
