"""Heads on an embedding: small networks in one file, which read the vectors of an encoder and say what they mean.

    head = from_path("head:sports.safetensors", "sports.safetensors")
    head.trained_on                                   # the encoder whose vectors it reads, for example `bundled`
    scores = head.run(vectors)                        # float32 [N, D] of that encoder -> float32 [N, labels]

The file is safetensors: tensors `layers.0.weight` [out, in] and `layers.0.bias` [out], `layers.1.weight` and so on, and
a card, JSON, in its metadata under `CARD_KEY`. `models.training.head` makes one of examples. docs/heads.md has it all.

A head costs a matrix product or two a frame, so it runs in numpy and loads no torch.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load as from_safetensors
from safetensors.numpy import save as to_safetensors

from models.base import Head, ModelInfo, Needs, space_id
from models.declared import require_declared
from models.errors import BadModel, BadWeights, UnknownModel
from models.head_card import CARD_KEY, HeadCard, from_json, meaning, to_json


@dataclass(frozen=True, slots=True)
class Layer:
    """A linear map."""

    weight: np.ndarray
    """float32 [out, in]."""
    bias: np.ndarray
    """float32 [out]."""


class MlpHead(Head):
    """Linear layers with the card's activation between them and its output at the end. All threads may share one."""

    def __init__(self, layers: Sequence[Layer], card: HeadCard, name: str) -> None:
        """
        Args:
            name: as it was asked for.

        Raises:
            BadWeights: the layers do not fit each other or the card, or hold what is no number.
            BadModel: the labels of the card cannot be labels.
        """
        self.card = card
        self.trained_on = card.encoder
        self._layers = tuple(layers)
        _require_fit(self._layers, card, name)
        checksum = _checksum(self._layers)
        self.info = ModelInfo(
            name=name,
            version=checksum[:12],
            space=space_id(architecture="head", weights=checksum, preprocessing=meaning(card), dim=len(card.labels)),
            dim=len(card.labels),
            kind="scores",
            scores=card.labels,
            needs=Needs(space=card.space),
        )
        require_declared(self, name)

    def run(self, vectors: np.ndarray) -> np.ndarray:
        """float32 [N, card.dim], of length 1, of the space `card.space` -> float32 [N, labels] in [0, 1].

        Raises:
            ValueError: vectors of another shape.
        """
        rows = np.asarray(vectors, dtype=np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.card.dim:
            raise ValueError(f"{self.info.name} reads vectors [N, {self.card.dim}], not {list(rows.shape)}")
        for layer in self._layers[:-1]:
            rows = rows @ layer.weight.T + layer.bias
            if self.card.activation == "relu":
                rows = np.maximum(rows, 0.0, out=rows)
        last = self._layers[-1]
        return _outputs(rows @ last.weight.T + last.bias, self.card.output)

    def example(self) -> np.ndarray:
        """Two vectors that it has to have an answer to: float32 [2, card.dim]."""
        return np.eye(2, self.card.dim, dtype=np.float32)


def from_path(name: str, path: str | Path) -> MlpHead:
    """The head in a file.

    Args:
        name: as it was asked for, `head:PATH`.

    Raises:
        UnknownModel: there is no such file.
        BadWeights: it is no safetensors file, has no card, or its tensors are not those that the card describes.
        BadModel: its card says what cannot be.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise UnknownModel(f"there is no head at {file}")
    try:
        with safe_open(file, framework="numpy") as opened:
            text = (opened.metadata() or {}).get(CARD_KEY)
            tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 - it is no mapping
    except (SafetensorError, TypeError, ValueError, OverflowError) as error:
        raise BadWeights(f"{file} {_no_safetensors(file, error)}") from error
    except OSError as error:
        raise BadWeights(f"{file} cannot be read ({error})") from error
    if text is None:
        raise BadWeights(
            f"{file} has no card ({CARD_KEY} in its metadata), so that nobody knows what its numbers mean: write it "
            "with `automations models train-head`, or bring it in with `automations models import-head`"
        )
    return MlpHead(_layers(tensors, file), from_json(text, str(file)), name)


def save(path: str | Path, layers: Sequence[Layer], card: HeadCard) -> MlpHead:
    """Write a head, whole or not at all, and give it back as `head:PATH` would be. The same head is the same bytes.

    Raises:
        BadWeights: as `MlpHead`.
        BadModel: as `MlpHead`.
        OSError: the file cannot be written.
    """
    file = Path(path)
    head = MlpHead(layers, card, f"head:{file}")
    content = to_bytes(layers, card)
    write_whole(file, content)
    return head


def to_bytes(layers: Sequence[Layer], card: HeadCard) -> bytes:
    """What the file of a head holds; of the same head the same bytes."""
    tensors = {}
    for number, layer in enumerate(layers):
        tensors[f"layers.{number}.weight"] = np.ascontiguousarray(layer.weight, np.float32)
        tensors[f"layers.{number}.bias"] = np.ascontiguousarray(layer.bias, np.float32)
    return to_safetensors(tensors, metadata={CARD_KEY: to_json(card)})


def from_bytes(name: str, content: bytes) -> MlpHead:
    """The head that `to_bytes` wrote. `name`: for people. Raises as `from_path`."""
    try:
        tensors = from_safetensors(content)
        # The library reads metadata of files alone: a length of eight bytes, and so much JSON.
        text = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"][CARD_KEY]
    except (SafetensorError, ValueError, KeyError) as error:
        raise BadWeights(f"{name} holds no head ({str(error)[:200]})") from error
    return MlpHead(_layers(tensors, Path(name)), from_json(text, name), name)


def write_whole(file: Path, content: bytes) -> None:
    """Write a file so that a reader finds what was there before, or all of the new. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{uuid.uuid4().hex}.part")
    try:
        with temporary.open("xb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def layers_of(tensors: dict[str, np.ndarray]) -> list[Layer]:
    """`layers.N.weight` and `layers.N.bias`, in the order of N, whichever those are; without a bias: zeros.

    Raises:
        ValueError: something else is there, too, or a weight is missing, or not a matrix.
    """
    numbers: dict[int, dict[str, np.ndarray]] = {}
    for key, tensor in tensors.items():
        if tensor.dtype.kind != "f":
            raise ValueError(f"{key[:50]} holds {tensor.dtype}, not floats")
        parts = key.split(".")
        if len(parts) != 3 or parts[0] != "layers" or not parts[1].isdecimal() or parts[2] not in ("weight", "bias"):
            raise ValueError(f"a tensor {key[:50]!r}; a head has layers.N.weight and layers.N.bias")
        numbers.setdefault(int(parts[1]), {})[parts[2]] = tensor
    layers = []
    for number, both in sorted(numbers.items()):
        weight = both.get("weight")
        if weight is None or weight.ndim != 2:
            raise ValueError(f"layers.{number}.weight is {'missing' if weight is None else 'no matrix [out, in]'}")
        bias = both.get("bias", np.zeros(len(weight), np.float32))
        layers.append(Layer(weight.astype(np.float32), bias.astype(np.float32)))
    return layers


def _layers(tensors: dict[str, np.ndarray], file: Path) -> list[Layer]:
    try:
        return layers_of(tensors)
    except ValueError as error:
        raise BadWeights(f"{file}: {error}") from error


def _outputs(logits: np.ndarray, output: str) -> np.ndarray:
    """float32 [N, L] -> [N, L] in [0, 1]."""
    if output == "sigmoid":
        return 1.0 / (1.0 + np.exp(-np.clip(logits, -60.0, 60.0)))
    if output == "clip":
        return np.clip(logits, 0.0, 1.0)
    if not len(logits):
        return logits
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def _require_fit(layers: tuple[Layer, ...], card: HeadCard, name: str) -> None:
    """Raises BadWeights, says at which layer."""
    if not layers:
        raise BadWeights(f"{name} has no layers")
    width = card.dim
    for number, layer in enumerate(layers):
        here, shape = f"{name}: layers.{number}", layer.weight.shape
        if layer.weight.ndim != 2 or shape[1] != width or shape[0] < 1:
            raise BadWeights(f"{here}.weight is {list(shape)}, not [out, {width}]")
        if layer.bias.shape != shape[:1]:
            raise BadWeights(f"{here}.bias is {list(layer.bias.shape)}, not [{shape[0]}]")
        if not (np.isfinite(layer.weight).all() and np.isfinite(layer.bias).all()):
            raise BadWeights(f"{here} holds what is no number (NaN or infinity)")
        width = shape[0]
    if width != len(card.labels):
        raise BadWeights(f"{name}: its card names {len(card.labels)} labels, its last layer gives {width} numbers")
    if card.output == "softmax" and width < 2:
        raise BadModel(f"{name}: softmax over one label is always 1; its output has to be `sigmoid`")


def _checksum(layers: tuple[Layer, ...]) -> str:
    """SHA-256 over all weights with their shapes."""
    digest = hashlib.sha256()
    for layer in layers:
        digest.update(f"{list(layer.weight.shape)}\n".encode())
        digest.update(np.ascontiguousarray(layer.weight, "<f4").tobytes())
        digest.update(np.ascontiguousarray(layer.bias, "<f4").tobytes())
    return digest.hexdigest()


def _no_safetensors(file: Path, error: Exception) -> str:
    """Why a file cannot be read, once it is known that it cannot."""
    with file.open("rb") as opened:
        start = opened.read(4)
    if start == b"PK\x03\x04" or (start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05"):
        return (
            "is a checkpoint of torch (a pickle), which is not opened here, because it may run code; bring it in with "
            "`automations models import-head`, which reads tensors only"
        )
    said = str(error).strip().splitlines() or [type(error).__name__]
    return f"is no safetensors file, or a damaged one ({said[0][:200]})"
