"""How many useful pictures does a second of one core give, against the readers that people use?

    python -m benchmarks decode [--quick] [--repeats 3] [--videos av1-720p-gop120 ...]

Every contender hands out every n-th picture of a file as RGB at full size; n goes from all of them to one in five
seconds. Runs are interleaved, a process each; CPU time of the process, its threads and children. In a run of its own,
each contender's pictures are compared with those of a decode from the first packet to the last.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.contender import Handle
from benchmarks.corpus import decode as corpus
from benchmarks.corpus import job
from benchmarks.decode_contenders import READERS
from benchmarks.ratios import median, rounded

OUT = Path("benchmarks/results/decode.json")
OURS, SEQUENTIAL = "ours", "pyav"

#: Pictures a second that are asked for.
RATES = (0.2, 1.0, 2.0, 30.0)

#: A picture is the right one from this PSNR of its thumbnail on, dB, if no neighbour is nearer. Not more: which matrix
#: untagged pictures are read with is each library's choice, and between BT.601 and BT.709 lie 29 dB.
RIGHT_DB = 25.0

DEFINITIONS = {
    "useful_per_core_s": "pictures handed out, as RGB at full size, for each second of CPU time (threads and children)",
    "right": f"share of pictures whose thumbnail is within {RIGHT_DB:g} dB of the same picture in a sequential decode "
    "and nearer to none of its neighbours",
    "to_best": "ours against the best other contender, useful pictures per core second",
    "to_median": "ours against the median of the other contenders",
    "adapters": "CPU time of an adapter of pipeline.decode over that of PyAV, on the Clips that it takes; above 1, "
    "PyAV is the faster one; `clips` is (taken, all)",
    "others": "share of the machine that other processes used meanwhile",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Time readers of videos against one another."""
    parser = argparse.ArgumentParser(prog="benchmarks decode", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two videos of 8 s, once")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each contender on each video at each rate")
    parser.add_argument("--videos", nargs="+", metavar="NAME", help="only these of the corpus")
    parser.add_argument("--contenders", nargs="+", default=(*READERS, "adapters"), choices=(*READERS, "adapters"))
    parser.add_argument("--out", type=Path, default=OUT, help=f"result file (default {OUT})")
    args = parser.parse_args(argv)
    videos = job.chosen(args, parser, corpus.VIDEOS, corpus.QUICK)
    result = measure(videos, args.contenders, 1 if args.quick else args.repeats)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    show(result, Console())
    return 0


def measure(videos: Sequence[job.JobVideo], names: Sequence[str], repeats: int) -> dict[str, Any]:
    """Everything, as it goes into the result file."""
    paths = job.written(videos)
    before = machine.record()
    handles = [Handle(name, module="benchmarks.decode_contenders") for name in names]
    runs: dict[tuple[str, float, str], list[dict[str, Any]]] = defaultdict(list)
    failures: dict[str, str] = {}
    try:
        with tempfile.TemporaryDirectory() as folder:
            right = _checked(handles, videos, paths, Path(folder), failures)
        for repeat in range(repeats):
            for number, (video, path) in enumerate(zip(videos, paths, strict=True)):
                for turn, rate in enumerate(RATES):
                    first = (repeat + number + turn) % len(handles)
                    for handle in (*handles[first:], *handles[:first]):
                        name = f"{handle.name} on {video.name}"
                        if handle.unavailable is not None or name in failures:
                            continue
                        answer = handle.ask(path, step=_step(video, rate), check=False)
                        if "failed" in answer:
                            failures[name] = answer["failed"]
                            print(f"{name}: {answer['failed']}", file=sys.stderr)
                        else:
                            runs[video.name, rate, handle.name].append(answer)
                print(f"repeat {repeat + 1}/{repeats}: {video.name}", file=sys.stderr)
    finally:
        for handle in handles:
            handle.close()
    summaries = [_summary(video, rate, runs, right) for video in videos for rate in RATES]
    return {
        "machine": before | {"load_average_after": machine.record()["load_average"], "ffmpeg": _ffmpeg_version()},
        "definitions": DEFINITIONS,
        "repeats": repeats,
        "unavailable": {handle.name: handle.unavailable for handle in handles if handle.unavailable},
        "failures": failures,
        "goals": goals(summaries),
        "geometric_means": _means(summaries),
        "runs": summaries,
    }


def _step(video: job.JobVideo, rate: float) -> int:
    return max(1, round(video.fps / rate))


def _checked(
    handles: Sequence[Handle],
    videos: Sequence[job.JobVideo],
    paths: Sequence[Path],
    folder: Path,
    failures: dict[str, str],
) -> dict[tuple[str, str], float]:
    """(video, contender) -> share of right pictures at one a second; also the first, untimed use of everything."""
    found = {}
    readers = [handle for handle in handles if handle.name in READERS and handle.unavailable is None]
    sequential = next(handle for handle in readers if handle.name == SEQUENTIAL)
    for video, path in zip(videos, paths, strict=True):
        truth = _thumbs(sequential, path, 1, folder / "truth.npz", failures)
        for handle in readers:
            step = _step(video, 1.0)
            name = f"{handle.name} on {video.name}"
            thumbs = _thumbs(handle, path, step, folder / "found.npz", failures, name)
            if thumbs is not None and truth is not None:
                found[video.name, handle.name] = share_right(thumbs, truth, step)
    return found


def _thumbs(
    handle: Handle, path: Path, step: int, save: Path, failures: dict[str, str], name: str = "truth"
) -> np.ndarray | None:
    answer = handle.ask(path, save, step=step, check=True)
    if "failed" in answer:
        failures[name] = answer["failed"]
        return None
    return np.load(save)["embeddings"]


def share_right(thumbs: np.ndarray, truth: np.ndarray, step: int) -> float:
    """Share, 0 to 1, of the pictures every `step` that are the right ones.

    Args:
        thumbs: uint8 [N, D], what a contender handed out.
        truth: uint8 [M, D], every picture of the file in order.
    """
    wanted = np.arange(0, len(truth), step)
    right = 0
    for number, thumb in zip(wanted, thumbs, strict=False):
        near = np.arange(max(0, number - 2), min(len(truth), number + 3))
        errors = ((truth[near].astype(np.float64) - thumb) ** 2).mean(axis=1)
        own = errors[near == number][0]
        right += bool(own <= 255**2 / 10 ** (RIGHT_DB / 10) and own <= errors.min())
    return right / max(len(wanted), len(thumbs))


def _summary(
    video: job.JobVideo,
    rate: float,
    runs: Mapping[tuple[str, float, str], list[dict[str, Any]]],
    right: Mapping[tuple[str, str], float],
) -> dict[str, Any]:
    contenders = {}
    for name in READERS:
        answers = runs.get((video.name, rate, name))
        if answers:
            spent = [answer["cpu_s"] for answer in answers]
            contenders[name] = {
                "useful_per_core_s": rounded(answers[0]["frames"] / median(spent), 2),
                "frames": answers[0]["frames"],
                "cpu_s": rounded(median(spent)),
                "wall_s": rounded(median([answer["wall_s"] for answer in answers])),
                "others": rounded(median([answer["others"] for answer in answers])),
                "right": rounded(right.get((video.name, name), 0.0)),
                "cpu_runs_s": [rounded(one) for one in spent],
            }
    return {
        "video": video.name,
        "codec": video.encoding.codec,
        "size": [video.width, video.height],
        "gop": video.encoding.gop,
        "rate": rate,
        **_ratios(contenders),
        "contenders": contenders,
        "adapters": _adapters(runs.get((video.name, rate, "adapters"), [])),
    }


def _ratios(contenders: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Ours against the others; who hands out other pictures than the right ones is no comparison."""
    useful = {name: one["useful_per_core_s"] for name, one in contenders.items() if one["right"] == 1}
    others = {name: value for name, value in useful.items() if name != OURS}
    if OURS not in useful or not others:
        return {}
    best = max(others, key=others.__getitem__)
    return {
        "to_best": rounded(useful[OURS] / others[best]),
        "best": best,
        "to_median": rounded(useful[OURS] / median(list(others.values()))),
    }


def _adapters(answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    found = {}
    for name in ("torchcodec", "decord", "dali"):
        parts = [answer["parts"] for answer in answers if answer["parts"].get(f"{name}_clips")]
        if parts:
            own, pyav = (median([part[f"{name}{what}_cpu_s"] for part in parts]) for what in ("", "_pyav"))
            clips = [int(parts[0][f"{name}_clips"]), int(parts[0]["clips"])]
            found[name] = {"to_pyav": rounded(own / pyav), "cpu_s": rounded(own), "clips": clips}
    return found


def _means(summaries: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Geometric means over videos and rates."""
    return {
        key: rounded(float(np.exp(np.mean(np.log([one[key] for one in summaries if key in one])))))
        for key in ("to_best", "to_median")
        if any(key in one for one in summaries)
    }


def goals(summaries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each goal, what was measured, and whether it is met."""
    measured = [one for one in summaries if "to_best" in one]
    if not measured:
        return []
    worst = min(measured, key=lambda one: one["to_best"])
    overall = _means(measured)["to_median"]
    where = f"{worst['video']} at {worst['rate']:g} frames/s, {worst['best']}"
    return [
        {
            "goal": "not below the best on any file",
            "worst": worst["to_best"],
            "where": where,
            "met": worst["to_best"] >= 1,
        },
        {"goal": "at least 2x the median of the others overall", "mean": overall, "met": overall >= 2},
    ]


def _ffmpeg_version() -> str | None:
    try:
        done = subprocess.run(("ffmpeg", "-version"), check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.split()[2]


def show(result: dict[str, Any], console: Console) -> None:
    """The result as tables."""
    names = [name for name in READERS if name not in result["unavailable"]]
    table = Table(title="Useful pictures per core second (median)", title_justify="left")
    for column in ("video", "frames/s", *names, "to best", "to median"):
        table.add_column(column, justify="left" if column == "video" else "right")
    for one in result["runs"]:
        cells = [one["contenders"].get(name) for name in names]
        table.add_row(
            one["video"],
            f"{one['rate']:g}",
            *(f"{cell['useful_per_core_s']:.1f}{'' if cell['right'] == 1 else '*'}" if cell else "-" for cell in cells),
            f"{one.get('to_best', float('nan')):.2f}",
            f"{one.get('to_median', float('nan')):.2f}",
        )
    console.print(table)
    console.print("* not all pictures were the right ones")
    for goal in result["goals"]:
        console.print(goal)
    for name, why in result["unavailable"].items():
        console.print(f"{name} could not take part: {why}")


if __name__ == "__main__":
    sys.exit(main())
