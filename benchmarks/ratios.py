"""From single runs to ratios: medians per video, geometric means over videos, and whether the goals are met."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

OURS = "ours-embed"
SCRIPTS = ("opencv", "decord", "torchcodec")

#: Script -> how many times as fast the product is to be in float32.
GOALS = {"opencv": 3.0, "decord": 2.0, "torchcodec": 2.0}
FLOOR_GOAL = 1.2

Run = Mapping[str, Any]
"""An answer of `benchmarks.contender.Handle.ask`."""


def contender_summary(runs: Sequence[Run], duration_s: float) -> dict[str, Any]:
    """Medians of the runs of one contender on one video, and all that they were made from."""
    wall_s, cpu_s = _median(runs, "wall_s"), _median(runs, "cpu_s")
    parts = {key: median([run["parts"][key] for run in runs]) for key in runs[0]["parts"]}
    return {
        "wall_s": rounded(wall_s),
        "cpu_s": rounded(cpu_s),
        "realtime_factor": rounded(duration_s / wall_s),
        "frames": runs[0]["frames"],
        "others": rounded(_median(runs, "others")),
        "wall_runs_s": [rounded(run["wall_s"]) for run in runs],
        "cpu_runs_s": [rounded(run["cpu_s"]) for run in runs],
        "parts": {key: rounded(value) for key, value in parts.items()},
    }


def floor_summary(runs: Sequence[Run], cores: int) -> dict[str, Any]:
    """The floor of one video; `benchmarks.floor` says what it is."""
    middle = {key: median([run["parts"][key] for run in runs]) for key in runs[0]["parts"]}
    network = min(("eager", "tower"), key=lambda name: middle[f"{name}_cpu_s"])
    cpu_s = middle["decode_cpu_s"] + middle[f"{network}_cpu_s"]
    return {
        "cpu_s": rounded(cpu_s),
        "decode_cpu_s": rounded(middle["decode_cpu_s"]),
        "network_cpu_s": rounded(middle[f"{network}_cpu_s"]),
        "network": {"eager": "eager open_clip", "tower": "the product's tower"}[network],
        "wall_ideal_s": rounded(cpu_s / cores),
        "wall_measured_s": rounded(middle["decode_wall_s"] + middle[f"{network}_wall_s"]),
        "frames": runs[0]["frames"],
        "decoded_frames": int(middle["decoded_frames"]),
    }


def agreement(ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Whether two contenders found the same vectors at the same times.

    A random network gives all pictures similar vectors, so a high cosine alone proves little: `matched` is the share of
    frames whose nearest vector of the other contender, once the common mean is taken off, is the one of the same time.
    """
    times, others = ours["times_s"], theirs["times_s"]
    if len(times) != len(others):
        return {"frames": [len(times), len(others)], "same_times": False}
    a, b = ours["embeddings"], theirs["embeddings"]
    centre = a.mean(axis=0)
    nearest = (_unit(b - centre) @ _unit(a - centre).T).argmax(axis=1)
    return {
        "same_times": bool(np.abs(times - others).max() < 0.02),
        "time_error_s": rounded(float(np.abs(times - others).max())),
        "cosine_min": rounded(float((_unit(a) * _unit(b)).sum(axis=1).min()), 6),
        "cosine_of_different_frames_median": rounded(float(np.median((a @ b.T)[~np.eye(len(a), dtype=bool)])), 6),
        "matched": rounded(float((nearest == np.arange(len(a))).mean())),
    }


def video_ratios(contenders: Mapping[str, Any], floor: Mapping[str, Any] | None, bf16: Mapping[str, Any]) -> dict:
    """All ratios of one video: above 1 the product is the faster one, except `to_floor`, which cannot be below 1."""
    ours = contenders.get(OURS)
    if ours is None:
        return {}
    ratios: dict[str, Any] = {}
    for name in (name for name in SCRIPTS if name in contenders):
        theirs = contenders[name]
        ratios[name] = _ratio(theirs, ours)
        measured = contenders.get(f"{name}+bfloat16")
        ratios[f"{name}+bfloat16"] = _ratio(measured or _in_bf16(theirs, bf16), ours)
        if floor:
            # No implementation with this network in this arithmetic can be further ahead of the script than that.
            ratios[f"{name}_ceiling"] = _ratio(theirs, _as_cost(floor))
    if "ours-report" in contenders:
        ratios["ours-report"] = _ratio(contenders["ours-report"], ours)
    if floor:
        ideal = rounded(ours["wall_s"] / floor["wall_ideal_s"])
        ratios["to_floor"] = _ratio(ours, _as_cost(floor)) | {"wall_ideal": ideal}
        if "ours-report" in contenders:
            ratios["report_to_floor"] = _ratio(contenders["ours-report"], _as_cost(floor))
    return ratios


def geometric_means(videos: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Over the videos that have the ratio."""
    collected: dict[str, dict[str, list[float]]] = {}
    for video in videos:
        for name, kinds in video["ratios"].items():
            for kind, value in kinds.items():
                collected.setdefault(name, {}).setdefault(kind, []).append(value)
    return {
        name: {kind: rounded(math.exp(sum(map(math.log, values)) / len(values))) for kind, values in kinds.items()}
        for name, kinds in collected.items()
    }


def goals(means: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """Each goal, what was measured (CPU and wall), what would have been possible, and whether it is met."""
    found = []
    for name, goal in GOALS.items():
        if name in means:
            ceiling = means.get(f"{name}_ceiling")
            found.append(_verdict(f"at least {goal:g}x {name}, float32", means[name], goal, ceiling))
            found.append(_verdict(f"not below {name}, bfloat16", means[f"{name}+bfloat16"], 1.0, None))
    if "to_floor" in means:
        floor = means["to_floor"]
        met = {f"met_{kind}": floor[kind] <= FLOOR_GOAL for kind in ("cpu", "wall")}
        found.append({"goal": f"within {FLOOR_GOAL:g}x of the floor"} | dict(floor) | met)
    return found


def _verdict(text: str, measured: Mapping[str, float], goal: float, ceiling: Mapping[str, float] | None) -> dict:
    met = {f"met_{kind}": measured[kind] >= goal for kind in ("cpu", "wall")}
    most = {"possible_cpu": ceiling["cpu"], "possible_wall": ceiling["wall"]} if ceiling else {}
    return {"goal": text, "cpu": measured["cpu"], "wall": measured["wall"]} | most | met


def _in_bf16(script: Mapping[str, Any], bf16: Mapping[str, float]) -> dict[str, float]:
    """The float32 run with its forward passes replaced by bfloat16 ones, by what one batch was measured to take."""
    more = {kind: bf16[f"bfloat16_{kind}"] - bf16[f"float32_{kind}"] for kind in ("cpu_s", "wall_s")}
    return {kind: script[kind] + script["frames"] * more[kind] for kind in ("cpu_s", "wall_s")}


def _as_cost(floor: Mapping[str, Any]) -> dict[str, float]:
    return {"cpu_s": floor["cpu_s"], "wall_s": floor["wall_measured_s"]}


def _ratio(slow: Mapping[str, Any], fast: Mapping[str, Any]) -> dict[str, float]:
    return {kind: rounded(slow[f"{kind}_s"] / fast[f"{kind}_s"]) for kind in ("cpu", "wall")}


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _median(runs: Sequence[Run], key: str) -> float:
    return median([run[key] for run in runs])


def median(values: Sequence[float]) -> float:
    """Plain float, so that it can go into JSON."""
    return float(np.median(values))


def rounded(value: float, digits: int = 4) -> float:
    """For the result file."""
    return round(float(value), digits)
