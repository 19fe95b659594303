"""Any open_clip model as a frame model and a text model of one space.

The class below does not care where weights come from; `models.catalog` turns names into it. A forward pass on a CPU is
split over single-threaded workers and uses the towers of `models.towers` and `models.timm_towers` where they know the
architecture: 1.2 to 1.8x eager open_clip with the same vectors (`python -m benchmarks encode`).
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from models.base import Encoder, Likelihood, ModelInfo, Pixels, space_id
from models.compiling import Compilation, compiled
from models.device import Placement, Workers, moved, split
from models.preprocess import Preprocessing
from models.products import packs
from models.timm_towers import fast_timm, fold_timm_
from models.towers import fast_text, fast_vision, fold_

Tokenizer = Callable[[list[str]], torch.Tensor]

ROWS_A_PART = 400
"""Tokens that a worker takes at a time: from here on the matrix products are at full speed, and a part's activations
(5 MB in a ViT-B/32) stay in the cache."""

TEXTS_A_PART = 64

COMPILED_BATCH = 32
"""Frames in a batch that a tower is compiled for, where nobody says: as many as an engine takes by default."""


class ClipModel(Encoder):
    """An Encoder. All methods may be called from several threads at once."""

    info: ModelInfo
    likelihood: Likelihood
    known_words: frozenset[str] | None
    """The words that the model was taught, lower case; None where it was taught on everything."""
    preprocessing: Preprocessing
    placement: Placement
    """Where it runs, and why there."""
    knows_tower: bool
    """Whether its image tower is computed by `models.towers`, and not by open_clip."""
    checksum: str
    """SHA-256 of the weights, see `weights_checksum`."""
    parameters: int
    """Of both towers."""

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
        self.checksum = checksum = weights_checksum(network)
        self.parameters = sum(parameter.numel() for parameter in network.parameters())
        self.placement = placement
        self.known_words = known_words
        self.likelihood = _likelihood(network)
        self.preprocessing = Preprocessing.from_config(network.visual.preprocess_cfg)
        self._tokenizer = tokenizer
        self._tokenizing = threading.Lock()  # Hugging Face's fast tokenizers change themselves while they run
        self._device = torch.device(placement.device)
        self._dtype = placement.torch_dtype
        fold_(network)
        fold_timm_(network.visual)
        network = network.to(self._device, self._dtype)
        self._part = max(1, -(-ROWS_A_PART // _tokens(network.visual)))
        vision = fast_vision(network.visual) or fast_timm(network.visual)
        self.knows_tower = vision is not None
        self._vision = vision or network.encode_image
        if vision is not None:
            # Its weights may lie in memory twice by now, of which only the tower's are still of use.
            network.visual = nn.Identity()
        self._text = fast_text(network) or network.encode_text
        self._workers = Workers(placement.workers) if self._device.type == "cpu" and placement.workers > 1 else None
        self._see = self._seen
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
        # Each worker prepares what it looks at: an engine has threads for that, whoever calls this has none.
        return self._in_parts(pixels, lambda part: self._image(self.preprocess(part)))

    def preprocess(self, pixels: Pixels) -> torch.Tensor:
        """uint8 [N, H, W, 3] RGB on any device -> uint8 [N, 3, S, S] on the model's, resized and cut.

        Runs on the calling thread. On a GPU the copy is under way when this returns.
        """
        return moved(self.preprocessing(pixels), self._device)

    def encode(self, frames: torch.Tensor) -> np.ndarray:
        """uint8 [N, 3, S, S] as `preprocess` gives them, also concatenated -> float32 [N, info.dim], L2-normalised."""
        return self._in_parts(frames, self._image)

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

    def compile(self, batch: int = COMPILED_BATCH) -> Compilation:
        """Have torch.compile make the image tower faster for batches of that size, where it can. Takes up to minutes;
        before anybody else has the model."""
        if self._device.type == "cpu" and self.knows_tower and packs(self._dtype):
            return Compilation(
                False,
                "on this CPU its layers run on weights that are laid out for oneDNN, which the compiler cannot take in",
            )
        size = batch if self._workers is None else min(self._part, -(-batch // self._workers.count))
        noise = torch.Generator().manual_seed(0)
        frames = torch.randint(0, 256, (size, 3, *self.preprocessing.size), dtype=torch.uint8, generator=noise)
        with torch.inference_mode():
            self._see, found = compiled(self._seen, frames.to(self._device))
        return found

    def _in_parts(self, frames: Any, see: Callable[[Any], torch.Tensor]) -> np.ndarray:
        """float32 [N, info.dim] on the host, of N frames as `see` takes them; on a CPU each worker sees a part."""
        if len(frames) == 0:
            return np.zeros((0, self.info.dim), np.float32)
        if self._workers is None or len(frames) < self._workers.count:
            return see(frames).numpy(force=True)
        ends = itertools.accumulate(split(len(frames), self._workers.count, self._part), initial=0)
        parts = [frames[start:end] for start, end in itertools.pairwise(ends)]
        return torch.cat(self._workers.map(see, parts)).numpy(force=True)

    def _image(self, frames: torch.Tensor) -> torch.Tensor:
        return self._run(self._see, frames.to(self._device))

    def _seen(self, frames: torch.Tensor) -> torch.Tensor:
        return self._vision(self.preprocessing.normalise(frames, self._dtype))

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
    embed = getattr(getattr(visual, "trunk", None), "patch_embed", None)
    grid = grid or getattr(embed, "grid_size", None)
    return 50 if grid is None else grid[0] * grid[1] + 1
