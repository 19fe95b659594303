"""Shots: how well and how cheaply they are found, against PySceneDetect's two main detectors with their defaults.

Everything that finding shots needs is counted: the packet index, decoding the sampled pictures (1 per second, as an
analysis does anyway), what is decoded on top, and the search itself; no model runs. CPU time of the whole process, all
threads; all take turns on each file and each takes the median of its runs. The part that an analysis does anyway,
index and sampled pictures, is measured by itself too (`sampling`).

    python -m benchmarks.shots [--corpus build/corpus/shots] [--runs 3] [--seeds 1 2 3] [--out FILE]
"""

import argparse
import json
import resource
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median

import numpy as np
import scenedetect

from benchmarks.corpus.shots import HELD_OUT, TUNED, Item, Transition, build
from benchmarks.machine import cpu_model
from pipeline import shots
from pipeline.cutting import cut
from pipeline.decode.pyav import PyAVDecoder
from pipeline.dispatch import join_strips
from pipeline.frames import Strip
from pipeline.packets import read_index
from pipeline.plans import plan
from pipeline.sampling import choose
from pipeline.spec import Sampling
from pipeline.thumbs import THUMB_SIZE

#: A gradual transition is found if its middle is within this, seconds.
NEAR_S = 0.5

Found = list[tuple[float, str]]
"""(time in seconds, "cut" or "gradual")"""


def ours(path: Path) -> Found:
    """The product's own path, without models and without event loop."""
    index = read_index(path)
    decoder = PyAVDecoder()
    wanted = choose(index, Sampling())
    nothing = np.empty(0, np.int64)

    def thumbs(rows: np.ndarray, along: np.ndarray) -> Strip:
        clips = cut(path, index, plan(index, rows, glimpsed=along), pixels=False, glimpse=True)
        strip = join_strips([strip for clip in clips if (strip := decoder.decode(clip).strip) is not None])
        return strip or Strip(np.empty(0), np.empty((0, *THUMB_SIZE[::-1], 3), np.uint8))

    coarse = thumbs(wanted, shots.Hints(index).first_rows(wanted))
    found = shots.find(index, coarse, lambda rows: thumbs(nothing, rows))
    return [(shot.start_s, "cut" if shot.transition == "cut" else "gradual") for shot in found[1:]]


def _detect(path: Path, detector) -> Found:
    manager = scenedetect.SceneManager()
    manager.add_detector(detector)
    manager.detect_scenes(scenedetect.open_video(str(path)))
    return [(start.seconds, "either") for start, _ in manager.get_scene_list()[1:]]


def sampling(path: Path) -> Found:
    """What an analysis does anyway, shots or not: the index, and one picture a second. No boundaries."""
    index = read_index(path)
    decoder = PyAVDecoder()
    for clip in cut(path, index, plan(index, choose(index, Sampling())), pixels=False):
        decoder.decode(clip)
    return []


FINDERS: dict[str, Callable[[Path], Found]] = {
    "ours": ours,
    "sampling": sampling,
    "content": lambda path: _detect(path, scenedetect.ContentDetector()),
    "adaptive": lambda path: _detect(path, scenedetect.AdaptiveDetector()),
}


def cpu_s() -> float:
    """CPU seconds of this process and its children so far."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def matched(truth: list[float], found: list[float], within_s: list[float]) -> list[tuple[int, int]]:
    """Pairs (truth, found), each used once, nearest first."""
    near = [
        (abs(t - f), i, j)
        for i, (t, limit) in enumerate(zip(truth, within_s, strict=True))
        for j, f in enumerate(found)
        if abs(t - f) <= limit
    ]
    pairs, used_truth, used_found = [], set(), set()
    for _, i, j in sorted(near):
        if i not in used_truth and j not in used_found:
            pairs.append((i, j))
            used_truth.add(i)
            used_found.add(j)
    return pairs


def score(item: Item, frame_s: float, found: Found) -> dict:
    """Hits, misses and false alarms of one file.

    A detector that does not tell kinds apart (PySceneDetect) is not blamed for what it reports near a gradual
    transition when its hard cuts are counted, nor for its hard cuts when its gradual ones are.
    """
    hard = [m for m in item.transitions if m.kind == "cut"]
    soft = [m for m in item.transitions if m.kind != "cut"]
    cuts = [time_s for time_s, kind in found if kind != "gradual"]
    gradual = [time_s for time_s, kind in found if kind != "cut"]
    untold = any(kind == "either" for _, kind in found)
    hits = matched([m.time_s for m in hard], cuts, [1.25 * frame_s] * len(hard))
    if untold:
        cuts_left = [t for j, t in enumerate(cuts) if j not in {b for _, b in hits}]
        false_cuts = [t for t in cuts_left if not _inside(t, soft)]
        gradual = cuts_left
    else:
        false_cuts = [t for j, t in enumerate(cuts) if j not in {b for _, b in hits}]
    soft_hits = matched([m.time_s for m in soft], gradual, [NEAR_S] * len(soft))
    false_soft = [t for j, t in enumerate(gradual) if j not in {b for _, b in soft_hits}]
    if untold:
        false_soft = [t for t in false_soft if _inside(t, soft)]
    return {
        "cut": [len(hits), len(hard) - len(hits), len(false_cuts)],
        "gradual": [len(soft_hits), len(soft) - len(soft_hits), len(false_soft)],
        "missed": [round(m.time_s, 2) for i, m in enumerate(hard) if i not in {a for a, _ in hits}],
        "missed_gradual": [round(m.time_s, 2) for i, m in enumerate(soft) if i not in {a for a, _ in soft_hits}],
        "false": [round(t, 2) for t in false_cuts],
        "false_gradual": [round(t, 2) for t in false_soft],
    }


def _inside(time_s: float, soft: list[Transition]) -> bool:
    return any(abs(time_s - m.time_s) <= max(m.length_s / 2, NEAR_S) for m in soft)


def f1(counts: list[int]) -> float:
    """Of [hits, misses, false alarms]; 1 where there is nothing to find and nothing was."""
    hits, misses, false = counts
    return 2 * hits / (2 * hits + misses + false) if any(counts) else 1.0


def measure(items: list[Item], runs: int) -> tuple[list[dict], dict]:
    """A row for each file, and the totals of the set."""
    rows = []
    for item in items:
        times_s = np.sort(read_index(item.path).times_s)
        frame_s = float(np.median(np.diff(times_s)))
        spent: dict[str, list[float]] = {name: [] for name in FINDERS}
        found: dict[str, Found] = {}
        for _ in range(runs):
            for name, finder in FINDERS.items():
                began = cpu_s()
                found[name] = finder(item.path)
                spent[name].append(cpu_s() - began)
        row = {"name": item.name, "duration_s": round(item.duration_s, 2), "frames": len(times_s)}
        for name in FINDERS:
            row[name] = {"cpu_s": round(median(spent[name]), 3), **score(item, frame_s, found[name])}
        rows.append(row)
        print(_line(row), flush=True)
    totals = {name: _total([row[name] for row in rows]) for name in FINDERS}
    for name in ("content", "adaptive"):
        totals["ours"][f"cpu_share_of_{name}"] = round(totals["ours"]["cpu_s"] / totals[name]["cpu_s"], 3)
        own_s = totals["ours"]["cpu_s"] - totals["sampling"]["cpu_s"]
        totals["ours"][f"cpu_share_of_{name}_beyond_sampling"] = round(own_s / totals[name]["cpu_s"], 3)
    return rows, totals


def _total(rows: list[dict]) -> dict:
    cut_counts, soft_counts = (np.sum([row[kind] for row in rows], axis=0).tolist() for kind in ("cut", "gradual"))
    return {
        "cpu_s": round(sum(row["cpu_s"] for row in rows), 3),
        "cut_hit_miss_false": cut_counts,
        "cut_f1": round(f1(cut_counts), 4),
        "gradual_hit_miss_false": soft_counts,
        "gradual_f1": round(f1(soft_counts), 4),
    }


def _line(row: dict) -> str:
    cells = [f"{row['name']:22s}"]
    for name in FINDERS:
        one = row[name]
        cells.append(f"{name} {f1(one['cut']):.2f} {f1(one['gradual']):.2f} {one['cpu_s']:6.2f}s")
    one = row["ours"]
    detail = " ".join(f"{key} {one[key]}" for key in ("missed", "false", "missed_gradual", "false_gradual") if one[key])
    return " | ".join([*cells, detail])


def main(argv: list[str] | None = None) -> int:
    """Build the set, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=Path("build/corpus/shots"))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[*TUNED, HELD_OUT])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/shots.json"))
    args = parser.parse_args(argv)
    record: dict = {
        "versions": {name: version(name) for name in ("av", "scenedetect", "opencv-python-headless", "numpy")},
        "cpu": cpu_model(),
        "tuned_on_seeds": TUNED,
        "seeds": {},
    }
    for seed in args.seeds:
        print(
            f"seed {seed} ({'tuned on it' if seed in TUNED else 'held out'}): F1 of cuts, of gradual ones, CPU seconds"
        )
        rows, totals = measure(build(args.corpus, seed), args.runs)
        print(json.dumps(totals, indent=1))
        record["seeds"][str(seed)] = {"totals": totals, "files": rows}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(record, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
