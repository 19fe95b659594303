"""The least that a job can cost with the same frames and the same network: bare decoding plus the bare network.

Decoding: only the packets that the wanted frames need, already cut and in memory, into libavcodec through PyAV; one
single-threaded decoder per chain, a thread per core, no colour conversion, nothing kept. The network: frames already
preprocessed, everything in one call, the cheaper of eager open_clip and the product's own tower. Reading the file,
colours, scaling, copies and every line of Python between the two are what an implementation adds to the floor.
"""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

from benchmarks.contender import ARCHITECTURE, MODEL, Answer
from benchmarks.contenders import FRAMES_PER_S
from benchmarks.machine import Cost, Stopwatch, cores
from models import catalog
from pipeline.clips import Clip
from pipeline.cutting import cut
from pipeline.decode.pyav import PyAVDecoder, open_codec
from pipeline.packets import read_index
from pipeline.plans import plan
from pipeline.sampling import choose
from pipeline.spec import Sampling

#: Frames a forward pass of eager open_clip; larger ones fall out of the cache and were no faster.
EAGER_BATCH = 16


@dataclass(frozen=True, slots=True)
class _Ready:
    """Everything about a video that is not timed."""

    chains: list[list[Clip]]
    times_s: np.ndarray
    """float64 [N], seconds."""
    pictures: torch.Tensor
    """uint8 [N, 3, S, S], resized and cut."""
    images: torch.Tensor
    """float32 [N, 3, S, S], normalised as well."""


class Floor:
    """A `Contender` that knows everything beforehand."""

    def __init__(self) -> None:
        import open_clip

        self._model = catalog.load(MODEL).model
        torch.manual_seed(0)
        self._eager = open_clip.create_model(ARCHITECTURE, pretrained=None).eval()
        self._pool = ThreadPoolExecutor(cores(), initializer=lambda: torch.set_num_threads(1))
        self._ready: dict[Path, _Ready] = {}

    def prepare(self, path: Path) -> None:
        """Cut the packets, and decode and preprocess the frames for the network."""
        if path in self._ready:
            return
        index = read_index(path)
        clips = list(cut(path, index, plan(index, choose(index, Sampling(fps=FRAMES_PER_S)))))
        decoder = PyAVDecoder()
        batches = [decoder.decode(clip).frames for clip in clips]
        pictures = torch.cat([self._model.preprocess(batch.pixels) for batch in batches if len(batch)])
        order = np.argsort(np.concatenate([batch.pts_s for batch in batches]), kind="stable")
        pictures = pictures[torch.from_numpy(order)]
        config = self._eager.visual.preprocess_cfg
        mean, std = (torch.tensor(config[key]).view(3, 1, 1) for key in ("mean", "std"))
        self._ready[path] = _Ready(
            chains=[list(chain) for _, chain in groupby(clips, key=lambda clip: clip.chain)],
            times_s=np.concatenate([batch.pts_s for batch in batches])[order],
            pictures=pictures,
            images=((pictures.float() / 255 - mean) / std).contiguous(),
        )

    def run(self, path: Path) -> Answer:
        """See `Contender.run`; what counts are the parts, not the whole."""
        ready = self._ready[path]
        packets = [_packets(chain) for chain in ready.chains]
        decode, frames = _timed(lambda: sum(self._pool.map(_decode, ready.chains, packets)))
        eager, _ = _timed(lambda: list(self._pool.map(self._encode_eager, ready.images.split(EAGER_BATCH))))
        own, embeddings = _timed(lambda: self._model.encode(ready.pictures))
        parts = {f"decode_{key}": value for key, value in _figures(decode).items()}
        parts |= {f"eager_{key}": value for key, value in _figures(eager).items()}
        parts |= {f"tower_{key}": value for key, value in _figures(own).items()}
        return Answer(ready.times_s, embeddings, parts | {"decoded_frames": frames})

    @torch.inference_mode()
    def _encode_eager(self, images: torch.Tensor) -> torch.Tensor:
        return self._eager.encode_image(images, normalize=True)


def _timed(work: Callable[[], Any]) -> tuple[Cost, Any]:
    watch = Stopwatch()
    result = work()
    return watch.cost(), result


def _figures(cost: Cost) -> dict[str, float]:
    return {"wall_s": cost.wall_s, "cpu_s": cost.cpu_s}


def _packets(chain: list[Clip]) -> Iterator[av.Packet]:
    """Packets of a chain, a None where the decoder starts afresh."""
    made = []
    for clip in chain:
        restarts = set(clip.flush_at)
        for position, (row, data) in enumerate(zip(clip.rows, clip.packets, strict=True)):
            if position in restarts:
                made.append(None)
            packet = av.Packet(len(data))
            packet.update(data)
            packet.pts = packet.dts = row
            made.append(packet)
    return iter(made)


def _decode(chain: list[Clip], packets: Iterator[av.Packet]) -> int:
    context = open_codec(chain[0].codec, threads=1)
    frames = 0
    for packet in packets:
        frames += len(context.decode(packet))
        if packet is None:
            context.flush_buffers()
            context.reorder_depth = chain[0].codec.reorder_depth
    return frames + len(context.decode(None))


def bf16_cost(batch: int = 8, limit_s: float = 20.0) -> dict[str, float]:
    """CPU seconds an image, eager open_clip on one thread, in either arithmetic; what bfloat16 would cost a script."""
    import open_clip

    torch.set_num_threads(1)
    model = open_clip.create_model(ARCHITECTURE, pretrained=None).eval()
    took = {}
    for dtype in (torch.float32, torch.bfloat16):
        encode = partial(model.to(dtype).encode_image, torch.zeros(batch, 3, 224, 224, dtype=dtype))
        costs: list[float] = []
        with torch.no_grad():
            # The first is the warm-up; where it alone takes long, that no longer matters.
            while len(costs) < 5 and sum(costs) < limit_s:
                costs.append(_timed(encode)[0].cpu_s)
        took[f"{str(dtype).removeprefix('torch.')}_cpu_s"] = min(costs) / batch
    return took


if __name__ == "__main__":
    print(json.dumps(bf16_cost()))
