"""What replicas of the graph count, for Prometheus. Ray's agent on each node exports it, with `ray_` before each name.

    meters = EngineMeters()                      # in a replica: Serve adds deployment, replica and application
    model = meters.watched("auto", model)        # a FrameModel whose batches are counted
    meters.clip("auto", version, output)         # one that came back from LocalEngine.run
    meters.refused("auto", "corrupt_video")      # one that did not
    meters.served("auto", version, generation)   # after each load and each swap
    meters.swap_failed("auto", took_s)

No label names a video, a job or a tenant. Nothing here raises for what is counted, and nothing waits. Ray keeps only
the counts of a histogram's buckets and reckons its sum from their middles: what has to be exact is a counter.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Literal

from models.base import FrameModel

if TYPE_CHECKING:
    import numpy as np

    from pipeline.frames import ClipOutput


@dataclass(frozen=True, slots=True)
class Metric:
    """One name that is exported."""

    kind: Literal["counter", "gauge", "histogram"]
    text: str
    """What it is, for a person."""
    labels: tuple[str, ...] = ()
    """Besides those that Serve adds."""
    bounds: tuple[float, ...] = ()
    """Upper bounds of a histogram's buckets."""


#: A Clip is mostly 1 to 60 s of video: 10 ms of work for a few frames on a GPU, a minute for 4K on one core.
_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)

#: A swap reads weights of 0.01 to 10 GB, and may download them.
_SWAP_SECONDS: Final = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)

_FRAMES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)

ENGINE: Final[Mapping[str, Metric]] = {
    "automations_clips": Metric("counter", "Clips that were decoded and inferred.", ("model", "version")),
    "automations_clips_refused": Metric(
        "counter", "Clips that were not, by the code of the refusal.", ("model", "code")
    ),
    "automations_frames_decoded": Metric("counter", "Wanted frames that were decoded.", ("model", "decoder")),
    "automations_decode_fallbacks": Metric(
        "counter", "Clips that a decoder passed on to the next, for example from the GPU to the CPU.", ("decoder",)
    ),
    "automations_clip_stage_seconds": Metric(
        "counter", "Work on Clips: decode, preprocess, infer.", ("model", "stage")
    ),
    "automations_clip_seconds": Metric("histogram", "Work on one Clip, all stages.", ("model",), _SECONDS),
    "automations_frames_encoded": Metric("counter", "Frames that went through a network.", ("model",)),
    "automations_encode_seconds": Metric("counter", "Duration of the forward passes.", ("model",)),
    "automations_batch_frames": Metric("histogram", "Frames in one forward pass.", ("model",), _FRAMES),
    "automations_model_generation": Metric(
        "gauge", "Number of the generation that new Clips go to; 0 of a version that is gone.", ("model", "version")
    ),
    "automations_model_swaps": Metric("counter", "Swaps by how they ended: served or failed.", ("model", "outcome")),
    "automations_model_swap_seconds": Metric(
        "histogram", "From a new configuration to traffic on it, or to giving it up.", ("model",), _SWAP_SECONDS
    ),
    "automations_model_swap_failed": Metric(
        "gauge", "1 while the latest configuration could not be loaded, and the one before serves.", ("model",)
    ),
}
"""Of an `engine-<name>` deployment; a generation, swaps and their failures also of `text`."""

WORKER: Final[Mapping[str, Metric]] = {
    "automations_clips_in_flight": Metric("gauge", "Clips that engines have of this worker."),
    "automations_clips_resent": Metric(
        "counter", "Clips that were sent again, for their replica was lost.", ("reason",)
    ),
}
"""Of the deployment `worker`."""


def exported(metrics: Mapping[str, Metric]) -> frozenset[str]:
    """The names as Prometheus stores them: `automations_clips` -> `ray_automations_clips_total`."""
    ends = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
    return frozenset(f"ray_{name}{end}" for name, metric in metrics.items() for end in ends[metric.kind])


class EngineMeters:
    """Counts for one replica of an engine. Any thread may call any method. For `text`, too, which has no Clips."""

    def __init__(self) -> None:
        self._made = _made(ENGINE)
        self._versions: dict[str, str] = {}

    def clip(self, model: str, version: str, output: "ClipOutput") -> None:
        """Count a Clip that came out.

        Args:
            model: the name that the job asked for; `version` of the network that answered (`ModelInfo.version`).
        """
        if output.lost is not None:
            self.refused(model, "decoder_lost")
            return
        self._made["automations_clips"].inc(1, {"model": model, "version": version})
        if output.rows:
            decoded = {"model": model, "decoder": output.decoder}
            self._made["automations_frames_decoded"].inc(len(output.rows), decoded)
        for passed in output.passed_on:
            self._made["automations_decode_fallbacks"].inc(1, {"decoder": passed.decoder})
        stages = {"decode": output.decode_s, "preprocess": output.preprocess_s, "infer": output.infer_s}
        for stage, took_s in stages.items():
            # A Clip of which no frame is wanted skips stages, and Ray counts no zeros.
            if took_s > 0:
                self._made["automations_clip_stage_seconds"].inc(took_s, {"model": model, "stage": stage})
        self._made["automations_clip_seconds"].observe(sum(stages.values()), {"model": model})

    def refused(self, model: str, code: str) -> None:
        """Count a Clip that nothing came of; `code` as in `pipeline.errors`, of which there are few."""
        self._made["automations_clips_refused"].inc(1, {"model": model, "code": code})

    def batch(self, model: str, frames: int, took_s: float) -> None:
        """Count a forward pass; `watched` does."""
        self._made["automations_frames_encoded"].inc(frames, {"model": model})
        self._made["automations_encode_seconds"].inc(took_s, {"model": model})
        self._made["automations_batch_frames"].observe(frames, {"model": model})

    def served(self, model: str, version: str, generation: int, took_s: float) -> None:
        """Say that new Clips of `model` go to this version from now on, `took_s` after that was asked for."""
        before = self._versions.get(model)
        if before is not None and before != version:
            self._made["automations_model_generation"].set(0, {"model": model, "version": before})
        self._versions[model] = version
        self._made["automations_model_generation"].set(generation, {"model": model, "version": version})
        self._swapped(model, "served", took_s)

    def swap_failed(self, model: str, took_s: float) -> None:
        """Say that the version before goes on, for the new one could not be loaded or was no good."""
        self._swapped(model, "failed", took_s)

    def watched(self, name: str, model: FrameModel) -> FrameModel:
        """`model`, whose forward passes are counted under `name`."""
        return _Watched(name, model, self)

    def _swapped(self, model: str, outcome: Literal["served", "failed"], took_s: float) -> None:
        self._made["automations_model_swaps"].inc(1, {"model": model, "outcome": outcome})
        self._made["automations_model_swap_seconds"].observe(took_s, {"model": model})
        self._made["automations_model_swap_failed"].set(float(outcome == "failed"), {"model": model})


class WorkerMeters:
    """Counts for one replica of `worker`."""

    def __init__(self) -> None:
        self._made = _made(WORKER)

    def in_flight(self, clips: int) -> None:
        """Say how many Clips are out."""
        self._made["automations_clips_in_flight"].set(clips)

    def resent(self, reason: str) -> None:
        """Count a Clip that goes out again; `reason` is one of a few words, such as `replica_died`."""
        self._made["automations_clips_resent"].inc(1, {"reason": reason})


class _Watched(FrameModel):
    """A model, and a stopwatch."""

    def __init__(self, name: str, model: FrameModel, meters: EngineMeters) -> None:
        self.info = model.info
        self._name = name
        self._model = model
        self._meters = meters

    def run(self, pixels: Any) -> "np.ndarray":
        return self._model.run(pixels)

    def preprocess(self, pixels: Any) -> Any:
        return self._model.preprocess(pixels)

    def encode(self, frames: Any) -> "np.ndarray":
        began = perf_counter()
        rows = self._model.encode(frames)
        self._meters.batch(self._name, len(rows), perf_counter() - began)
        return rows

    def example(self) -> Any:
        return self._model.example()


def _made(metrics: Mapping[str, Metric]) -> dict[str, Any]:
    """The metrics as Ray knows them. Made once in a process: a second one of the same name would count beside it."""
    from ray.serve import metrics as serve

    made: dict[str, Any] = {}
    for name, metric in metrics.items():
        labels: Any = metric.labels  # Ray's annotations know of one
        match metric.kind:
            case "counter":
                made[name] = serve.Counter(name, metric.text, labels)
            case "gauge":
                made[name] = serve.Gauge(name, metric.text, labels)
            case "histogram":
                made[name] = serve.Histogram(name, metric.text, list(metric.bounds), labels)
    return made
