"""Any open_clip model as a frame model and a text model of one space.

The class below does not care where weights come from; `models.catalog` turns names into it. A forward pass on a CPU is
split over single-threaded workers and uses the towers of `models.towers` where they know the architecture: 1.2 to 1.5x
eager open_clip with the same vectors (`python -m benchmarks.encode`).
"""

from __future__ import annotations

import functools
import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from models.base import FrameModel, Likelihood, ModelInfo, Pixels, TextModel, space_id
from models.device import Placement, Workers, split
from models.preprocess import Preprocessing
from models.towers import fast_text, fast_vision, fold_

Tokenizer = Callable[[list[str]], torch.Tensor]

ROWS_A_PART = 400
"""Tokens that a worker takes at a time: from here on the matrix products are at full speed, and a part's activations
(5 MB in a ViT-B/32) stay in the cache."""

TEXTS_A_PART = 64


class ClipModel(FrameModel, TextModel):
    """A FrameModel and a TextModel. All methods may be called from several threads at once."""

    info: ModelInfo
    likelihood: Likelihood
    known_words: frozenset[str] | None
    """The words that the model was taught, lower case; None where it was taught on everything."""
    preprocessing: Preprocessing
    placement: Placement
    """Where it runs, and why there."""

    def __init__(
        self,
        network: nn.Module,
        tokenizer: Tokenizer,
        *,
        name: str,
        version: str | None,
        architecture: str,
        placement: Placement,
        known_words: frozenset[str] | None = None,
    ) -> None:
        """Take over `network`, a built open_clip model in float32; it is changed and must not be used by others.

        `version` None stands for the checksum of the weights; `architecture` is a canonical description of the network.
        """
        network = network.eval().requires_grad_(False)
        checksum = weights_checksum(network)
        self.placement = placement
        self.known_words = known_words
        self.likelihood = _likelihood(network)
        self.preprocessing = Preprocessing.from_config(network.visual.preprocess_cfg)
        self._tokenizer = tokenizer
        self._tokenizing = threading.Lock()  # Hugging Face's fast tokenizers change themselves while they run
        self._device = torch.device(placement.device)
        self._dtype = placement.torch_dtype
        fold_(network)
        network = network.to(self._device, self._dtype)
        self._vision = fast_vision(network.visual) or network.encode_image
        self._text = fast_text(network) or network.encode_text
        self._part = max(1, -(-ROWS_A_PART // _tokens(network.visual)))
        self._workers = Workers(placement.workers) if self._device.type == "cpu" and placement.workers > 1 else None
        dim = self._run(self._vision, self._blank()).shape[1]
        self.info = ModelInfo(
            name=name,
            version=version or checksum[:12],
            space=space_id(
                architecture=architecture, weights=checksum, preprocessing=self.preprocessing.describe(), dim=dim
            ),
            dim=dim,
            device=placement.device,
            dtype=placement.dtype,
        )

    def run(self, pixels: Pixels) -> np.ndarray:
        """uint8 [N, H, W, 3] RGB -> float32 [N, info.dim] on the host, L2-normalised."""
        return self.encode(self.preprocess(pixels))

    def preprocess(self, pixels: Pixels) -> torch.Tensor:
        """uint8 [N, H, W, 3] RGB on any device -> uint8 [N, 3, S, S] on the model's, resized and cut.

        Runs on the calling thread. On a GPU the copy is under way when this returns.
        """
        frames = self.preprocessing(pixels)
        if self._device.type == "cuda" and frames.device.type == "cpu":
            return frames.pin_memory().to(self._device, non_blocking=True)
        return frames.to(self._device)

    def encode(self, frames: torch.Tensor) -> np.ndarray:
        """uint8 [N, 3, S, S] as `preprocess` gives them, also concatenated -> float32 [N, info.dim], L2-normalised."""
        if len(frames) == 0:
            return np.zeros((0, self.info.dim), np.float32)
        if self._workers is None or len(frames) < self._workers.count:
            return self._image(frames).numpy(force=True)
        sizes = split(len(frames), self._workers.count, self._part)
        return torch.cat(self._workers.map(self._image, frames.split(sizes))).numpy(force=True)

    def embed_text(self, texts: list[str]) -> np.ndarray:
        """N strings, as they are -> float32 [N, info.dim], L2-normalised. What the model cannot hold is cut off."""
        if not texts:
            return np.zeros((0, self.info.dim), np.float32)
        with self._tokenizing:
            tokens = self._tokenizer(texts)
        # Texts of a length together, because a part takes as long as its longest text.
        order = (tokens != tokens[:, -1:]).sum(dim=1).argsort()
        sizes = split(len(texts), self._workers.count if self._workers else 1, TEXTS_A_PART)
        parts = [tokens[part].to(self._device) for part in order.split(sizes)]
        encode = functools.partial(self._run, self._text)
        embedded = self._workers.map(encode, parts) if self._workers else [encode(part) for part in parts]
        rows = torch.empty(len(texts), self.info.dim)
        rows[order] = torch.cat(embedded).cpu()
        return rows.numpy()

    def _image(self, frames: torch.Tensor) -> torch.Tensor:
        return self._run(lambda x: self._vision(self.preprocessing.normalise(x, self._dtype)), frames.to(self._device))

    @torch.inference_mode()
    def _run(self, tower: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return functional.normalize(tower(x).to(torch.float32), dim=-1)

    def _blank(self) -> torch.Tensor:
        return torch.zeros(1, 3, *self.preprocessing.size, device=self._device, dtype=self._dtype)


def weights_checksum(network: nn.Module) -> str:
    """SHA-256 over every tensor, its name and shape: the same for the same weights from any kind of file.

    Take it in float32, before the network is cast, so that a model has one space on all devices.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def canonical(config: dict[str, Any]) -> str:
    """A model's configuration as one line that does not depend on the order of its keys."""
    return json.dumps(config, sort_keys=True, separators=(",", ":"), default=str)


def _likelihood(network: nn.Module) -> Likelihood:
    bias = getattr(network, "logit_bias", None)
    return Likelihood(scale=float(network.logit_scale.exp()), bias=None if bias is None else float(bias))


def _tokens(visual: nn.Module) -> int:
    """Rows that one image is to the matrix products; 50 where the tower does not tell."""
    grid: Sequence[int] | None = getattr(visual, "grid_size", None)
    return 50 if grid is None else grid[0] * grid[1] + 1
