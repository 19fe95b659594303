"""Replicas that compute nothing, to be put behind a handle of `handles`."""

import asyncio

import numpy as np

from models.base import Likelihood, ModelInfo
from pipeline.decode.base import Decoding
from pipeline.errors import DecoderStateLost, ModelReplaced
from pipeline.frames import ClipOutput
from serving.graph import messages
from serving.graph.calling import Remote
from serving.graph.messages import (
    Embedded,
    EmbedTexts,
    GenerationDescription,
    Handled,
    ModelDescription,
    Ran,
    ReplicaDescription,
    RunClip,
)
from serving.graph.remote import RemoteEngine, Slots
from tests.serving.graph.handles import Handle


def model(space: str, *, name: str = "auto", dtype: str = "float32") -> ModelDescription:
    info = ModelInfo(name=name, version=space, space=space, dim=2, dtype=dtype)
    return ModelDescription(name=name, info=info, likelihood=Likelihood(10.0, None), known_words=("red",))


class Fake:
    """A replica whose generations have one model each, of these spaces; its rows say which one it was."""

    def __init__(self, name: str, *spaces: str, state="ready", error=None) -> None:
        self.name, self.spaces = name, list(spaces)
        self.state, self.error = state, error
        self.chains: dict[tuple[str, int], int] = {}
        self.now = self.most = 0
        self.takes_s = 0.0

    async def run(self, request: bytes) -> bytes:
        clip_asked = messages.decode(request, RunClip)
        clip = clip_asked.clip
        space = clip_asked.identity.partition("-")[0]
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(self.takes_s)
        self.now -= 1
        if space not in self.spaces:
            return messages.encode(messages.refusal(ModelReplaced("gone")))
        if clip.part != self.chains.pop((clip.job, clip.chain), 0):
            return messages.encode(messages.refusal(DecoderStateLost(f"part {clip.part} came alone")))
        if not clip.last:
            self.chains[clip.job, clip.chain] = clip.part + 1
        rows = np.full((len(clip.wanted), 2), float(space), np.float32)
        output = ClipOutput(
            chain=clip.chain, part=clip.part, rows=clip.wanted, pts_s=np.array(clip.wanted, float) / 10,
            arrays={"embedding": rows}, strip=None, packets=1, decode_s=0.0, preprocess_s=0.0, infer_s=0.0,
        )  # fmt: skip
        return messages.encode(Ran(output=output, replica=self.name))

    async def embed(self, request: bytes) -> bytes:
        asked = messages.decode(request, EmbedTexts)
        if asked.space not in (None, *self.spaces):
            return messages.encode(messages.refusal(ModelReplaced("gone")))
        space = asked.space or self.spaces[0]
        return messages.encode(Embedded(rows=np.full((len(asked.texts), 2), float(space), np.float32), space=space))

    async def describe(self) -> bytes:
        generations = tuple(
            GenerationDescription(number=len(self.spaces) - place, models=(model(space),), loaded_ago_s=10.0 * place)
            for place, space in enumerate(self.spaces)
        )
        return messages.encode(
            ReplicaDescription(
                deployment="engine-default",
                replica=self.name,
                host="h",
                pid=1,
                state=self.state,
                error=self.error,
                generations=generations,
                checked_ago_s=1.0,
                decoding=Decoding("pyav", "cpu", "because"),
                handled=Handled(),
            )
        )


def engine(handle: Handle, space: str = "1", slots: int = 8, **more) -> RemoteEngine:
    return RemoteEngine(Remote("default", handle, **more), model(space), Slots(slots))
