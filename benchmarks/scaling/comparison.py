"""The step on a real graph, and the same one replayed with what was measured before it."""

import asyncio
import logging
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.corpus.job import JobVideo, written
from benchmarks.scaling import real
from benchmarks.scaling.arrivals import Arrival
from benchmarks.scaling.plant import Plant, replay
from benchmarks.scaling.settings import from_yaml
from pipeline.engine import Engine
from pipeline.frames import ClipOutput


def compared(seed: int) -> dict[str, Any]:
    """Both, as they go into the result file; the first run is the real one."""
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        config = real.written(Path(folder))
        setting = from_yaml(str(config))
        clips = clips_out(real.VIDEO)
        found = real.step(config)
    plant = _plant(found, clips)
    video_s = float(real.VIDEO.duration_s)
    arrivals = [Arrival(at_s, video_s) for at_s in found.asked_s]
    replayed = replay(arrivals, setting, plant, found.until_s, seed)
    runs = [
        {"setting": name, "summary": measures.summary(), "curves": measures.curves()}
        for name, measures in (("real", found.measures), ("replayed", replayed))
    ]
    what = (
        f"one job, {real.JOBS} at once {found.step_s:.0f} s later, and one every {real.EVERY_S:g} s once these were "
        f"done, of a video of {video_s:g} s"
    )
    return {
        "definition": "real: automations serve on this machine; workers as they say that they are there, engines as "
        "their processes are; replayed: the simulator, with what a replica does and how long it takes to start as "
        "measured before the step",
        "seed": seed,
        "plant": asdict(plant),
        "settings": [msgspec.to_builtins(setting)],
        "real": {
            "lost": found.lost,
            "twice": found.twice,
            "handed_back": found.measures.handed_back,
            "step_s": round(found.step_s, 1),
            "alone_s": round(found.alone_s, 2),
            "full_s": round(found.full_s, 2),
            "starts_s": found.starts_s,
        },
        "patterns": {"step": {"what": what, "runs": runs}},
    }


def _plant(found: real.Real, clips: float) -> Plant:
    """What the replay is told: nothing that was seen in the step itself. Engines share the machine's cores: two of them
    get through no more than one."""
    video_s = real.VIDEO.duration_s
    machine = found.slots * video_s / found.full_s
    starts = {f"{kind}_start_s": round(seconds, 1) for kind, seconds in found.starts_s.items()}
    return Plant(
        slot_video_s_per_s=round(video_s / found.alone_s, 2),
        engine_video_s_per_s=round(machine, 2),
        machine_video_s_per_s=round(machine, 2),
        clips_of_a_job=round(clips, 2),
        **starts,
    )


def clips_out(video: JobVideo) -> float:
    """Clips of a job that are at the engine, on average over its time; counted in this process."""
    from pipeline.analyze import analyze
    from pipeline.spec import AnalysisSpec
    from serving.local import local_toolkit

    (path,) = written((video,))
    with local_toolkit("auto") as toolkit:
        counted = _Counted(toolkit.engine)
        began = time.monotonic()
        asyncio.run(analyze(path, AnalysisSpec(), replace(toolkit, engine=counted)))
        return counted.spent_s / (time.monotonic() - began)


class _Counted:
    """An Engine that adds up for how long it was asked for something."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.spent_s = 0.0

    async def run(self, *what: Any, **how: Any) -> ClipOutput:
        began = time.monotonic()
        try:
            return await self._engine.run(*what, **how)
        finally:
            self.spent_s += time.monotonic() - began

    async def check(self) -> None:
        await self._engine.check()


def verdict(result: Mapping[str, Any]) -> Iterator[str]:
    """In words: what was lost, and when replicas came and went."""
    real_run, replayed = result["patterns"]["step"]["runs"]
    told = result["real"]
    yield f"lost {told['lost']}, done twice {told['twice']}, handed back {told['handed_back']}"
    for kind in ("workers", "engines"):
        for name, run in (("real", real_run), ("replayed", replayed)):
            times, counts = run["curves"]["at_s"], run["curves"][kind]
            came, gone = _came(times, counts, told["step_s"]), _gone(times, counts)
            yield f"{kind:8} {name:9} the first more {came}, {max(counts):g} at most, the last gone {gone}"


def _came(times: Sequence[float], counts: Sequence[float], step_s: float) -> str:
    """When there were more than at first."""
    more = [at_s for at_s, count in zip(times, counts, strict=True) if count > counts[0]]
    return f"{more[0] - step_s:.1f} s after the step" if more else "never"


def _gone(times: Sequence[float], counts: Sequence[float]) -> str:
    """From when on there were no more than at first."""
    more = [at_s for at_s, count in zip(times, counts, strict=True) if count > counts[0]]
    return f"at {more[-1]:.1f} s" if more and more[-1] < times[-1] else "never"
