"""Those who encode the same frames with the same weights: what scripts do with open_clip, and other runtimes.

Each takes uint8 frames [N, H, W, 3] and gives unit rows, and tells its two halves apart: `prepare`, which is timed only
together with the other, and `forward`. Runtimes that are not installed are left out; they may lie in a folder of their
own (`--peers`), so that nobody who installs this project gets them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch import nn
from torch.nn import functional

from models.clip import ClipModel
from models.device import split


@dataclass(frozen=True, slots=True)
class Peer:
    """One way from frames to rows."""

    name: str
    dtype: str
    """`float32` or `bfloat16`."""
    prepare: Callable[[np.ndarray], Any]
    """uint8 [N, H, W, 3] -> what `forward` takes."""
    forward: Callable[[Any], np.ndarray]
    """-> float32 [N, D], unit rows."""
    at_once: Callable[[np.ndarray], np.ndarray] | None = None
    """Both halves, where that is more than the one after the other."""

    def run(self, frames: np.ndarray) -> np.ndarray:
        """Both halves."""
        return self.forward(self.prepare(frames)) if self.at_once is None else self.at_once(frames)


def ours(model: ClipModel) -> Peer:
    """The project."""
    return Peer("ours", model.info.dtype, model.preprocess, model.encode, model.run)


def bare(model: ClipModel) -> Peer:
    """The project's own network on prepared tensors, in as many parts and threads, and nothing around it."""

    def prepare(frames: np.ndarray) -> torch.Tensor:
        return model.preprocessing.normalise(model.preprocess(frames), model.placement.torch_dtype)

    @torch.inference_mode()
    def tower(part: torch.Tensor) -> torch.Tensor:
        return model._vision(part)

    def forward(inputs: torch.Tensor) -> np.ndarray:
        if model._workers is None or len(inputs) < model._workers.count:
            rows = tower(inputs)
        else:
            sizes = split(len(inputs), model._workers.count, model._part)
            rows = torch.cat(model._workers.map(tower, inputs.split(sizes)))
        return functional.normalize(rows.float(), dim=-1).numpy()

    return Peer("bare", model.info.dtype, prepare, forward)


def eager(network: nn.Module, dtype: str) -> Peer:
    """What a script does: open_clip's transform frame by frame through PIL, its own forward, torch's threads."""
    kind = getattr(torch, dtype)

    def forward(inputs: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network.encode_image(torch.from_numpy(inputs).to(kind), normalize=True).float().numpy()

    return Peer("eager", dtype, _by_pil(network), forward)


def onnxruntime(network: nn.Module) -> Peer:
    """ONNX Runtime's CPU provider on an export of the network. Raises ImportError where it is not installed."""
    import onnx  # noqa: F401 - the exporter needs it
    import onnxruntime as runtime

    side = sample(network)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "vision.onnx"
        batch = torch.export.Dim("batch", min=1, max=4096)
        torch.onnx.export(
            _Images(network).eval(),
            (side.repeat(2, 1, 1, 1),),
            file,
            dynamo=True,
            dynamic_shapes=({0: batch},),
            verbose=False,
        )
        options = runtime.SessionOptions()
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
        # Threads that spin would count as CPU time without bound where others hold the cores.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return Peer("onnxruntime", "float32", _by_pil(network), lambda inputs: _unit(session.run(None, {name: inputs})[0]))


def openvino(network: nn.Module, dtype: str) -> Peer:
    """OpenVINO's CPU plugin. Raises ImportError where it is not installed."""
    import openvino as runtime

    converted = runtime.convert_model(_Images(network).eval(), example_input=sample(network))
    converted.reshape([-1, *sample(network).shape[1:]])
    precision = {"float32": "f32", "bfloat16": "bf16"}[dtype]
    compiled = runtime.Core().compile_model(
        converted, "CPU", {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    )
    return Peer("openvino", dtype, _by_pil(network), lambda inputs: _unit(np.array(compiled(inputs)[0])))


def others(network: nn.Module, half: nn.Module | None) -> Iterator[Peer | tuple[str, str]]:
    """All but the project: peers, and (name, why not) of those that cannot run here.

    Args:
        network: in float32; `half`: the same in bfloat16, None where this CPU only emulates it.
    """
    yield eager(network, "float32")
    if half is not None:
        yield eager(half, "bfloat16")
    runtimes: list[tuple[str, Callable[[], Peer]]] = [("onnxruntime float32", lambda: onnxruntime(network))]
    for dtype in ("float32",) if half is None else ("float32", "bfloat16"):
        runtimes.append((f"openvino {dtype}", lambda dtype=dtype: openvino(network, dtype)))
    for name, make in runtimes:
        try:
            yield make()
        except Exception as error:  # noqa: BLE001 - a peer that cannot run is a line of the result, not the end
            yield name, f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"


class _Images(nn.Module):
    """Only the image tower, for exporters."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.visual = network.visual

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.visual(pixels)


def _by_pil(network: nn.Module) -> Callable[[np.ndarray], np.ndarray]:
    transform = image_transform_v2(PreprocessCfg(**network.visual.preprocess_cfg), is_train=False)
    return lambda frames: torch.stack([transform(Image.fromarray(frame)) for frame in frames]).numpy()


def sample(network: nn.Module) -> torch.Tensor:
    """One black picture, as the network takes it."""
    size = network.visual.preprocess_cfg["size"]
    height, width = (size, size) if isinstance(size, int) else size
    return torch.zeros(1, 3, height, width)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
