"""How long does a whole job take, against the scripts that people write and against what is possible?

    python -m benchmarks job [--quick] [--repeats 5] [--videos h264-720p-gop30 ...]

Every contender embeds the same frames (one per second) with the same ViT-B/32 (seeded random weights), in a process of
its own; runs are interleaved video by video. benchmarks/README.md says how to read the result.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import machine, ratios
from benchmarks.contender import ARCHITECTURE, BATCH, Handle
from benchmarks.corpus import job as corpus

OUT = Path("benchmarks/results/job.json")
CONTENDERS = (ratios.OURS, "ours-report", *ratios.SCRIPTS, "floor")

#: From this factor on bfloat16 scripts are not run: one batch says it all, and a video would take many minutes.
HOPELESS = 5.0

DEFINITIONS = {
    "ours-embed": "index, sparse decoding, preprocessing, embeddings through the engine: the output of the scripts",
    "ours-report": "the whole analysis with shots, signals, key segments, tags and sound: far more than the scripts do",
    "opencv": "cv2.VideoCapture.read of every frame, one per second kept, open_clip's PIL transform, torch.no_grad",
    "decord": "decord.VideoReader.get_batch of the wanted frames, then as above",
    "torchcodec": "torchcodec VideoDecoder.get_frames_at of the wanted frames on all cores, then as above",
    "floor": "libavcodec on the needed packets only (in memory, no colour conversion, a thread per core) plus the bare "
    "network on preprocessed frames; cpu_s is their sum, wall_measured_s their sum when each has all cores, "
    "wall_ideal_s is cpu_s / cores",
    "others": "share of the machine that other processes used meanwhile",
    "ceiling": "script / floor: how far ahead of the script anything with this network in float32 can be",
}

Runs = dict[str, dict[str, list[dict[str, Any]]]]
"""Video -> contender -> its runs."""


def main(argv: Sequence[str] | None = None) -> int:
    """Time whole jobs against scripts and against the floor."""
    parser = argparse.ArgumentParser(prog="benchmarks job", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two videos of 8 s, once")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each contender on each video")
    parser.add_argument("--videos", nargs="+", metavar="NAME", help="only these of the corpus")
    parser.add_argument("--contenders", nargs="+", default=CONTENDERS, choices=CONTENDERS)
    parser.add_argument("--ffmpeg-libraries", metavar="FOLDER", help="where torchcodec finds FFmpeg's shared libraries")
    parser.add_argument("--out", type=Path, default=OUT, help=f"result file (default {OUT})")
    args = parser.parse_args(argv)
    videos = corpus.chosen(args, parser, corpus.VIDEOS, corpus.QUICK)
    environments = {"torchcodec": {"LD_LIBRARY_PATH": args.ffmpeg_libraries}} if args.ffmpeg_libraries else {}
    result = measure(videos, args.contenders, 1 if args.quick else args.repeats, environments)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    show(result, Console())
    return 0


def measure(
    videos: Sequence[corpus.JobVideo], names: Sequence[str], repeats: int, environments: dict[str, dict[str, str]]
) -> dict[str, Any]:
    """Everything, as it goes into the result file. `environments`: contender -> variables for its process alone."""
    paths = corpus.written([corpus.WARM_UP, *videos])
    before = machine.record()
    bf16 = _bf16()
    if bf16["slower"] < HOPELESS:
        names = [*names, *(f"{name}+bfloat16" for name in names if name in ratios.SCRIPTS)]
    handles: list[Handle] = []
    try:
        # One after the other: loading is heavy, and nobody's warm-up should be disturbed by another's.
        for name in names:
            handles.append(handle := Handle(name, environments.get(name.partition("+")[0])))
            if handle.unavailable is None:
                handle.ask(paths[0])
        with tempfile.TemporaryDirectory() as folder:
            runs, failures = _interleaved(handles, videos, paths[1:], repeats, Path(folder))
            agreements = _agreements(Path(folder), videos, names)
    finally:
        for handle in handles:
            handle.close()
    summaries = [_summary(video, runs[video.name], agreements[video.name], bf16) for video in videos]
    means = ratios.geometric_means(summaries)
    return {
        "machine": before | {"load_average_after": machine.record()["load_average"]},
        "model": f"{ARCHITECTURE}, random weights, {BATCH} frames a batch in the scripts",
        "definitions": DEFINITIONS,
        "repeats": repeats,
        "unavailable": {handle.name: handle.unavailable for handle in handles if handle.unavailable},
        "failures": failures,
        "bf16": bf16,
        "quiet": max(_disturbances(summaries), default=0.0) < machine.QUIET_SHARE,
        "goals": ratios.goals(means),
        "geometric_means": means,
        "videos": summaries,
    }


def _interleaved(
    handles: Sequence[Handle], videos: Sequence[corpus.JobVideo], paths: Sequence[Path], repeats: int, folder: Path
) -> tuple[Runs, dict[str, str]]:
    """All runs. Contenders take turns on every video, in another order each time: a busy minute hits them alike."""
    runs: Runs = defaultdict(lambda: defaultdict(list))
    failures: dict[str, str] = {}
    for repeat in range(repeats):
        for number, (video, path) in enumerate(zip(videos, paths, strict=True)):
            first = (repeat + number) % len(handles)
            for handle in (*handles[first:], *handles[:first]):
                # bfloat16 on a CPU without its instructions takes minutes: once is enough to know.
                if handle.unavailable is not None or (repeat and "+" in handle.name):
                    continue
                answer = handle.ask(path, None if repeat else _saved(folder, video.name, handle.name))
                if "failed" in answer:
                    failures[f"{handle.name} on {video.name}"] = answer["failed"]
                else:
                    runs[video.name][handle.name].append(answer)
            print(f"repeat {repeat + 1}/{repeats}: {video.name}", file=sys.stderr)
    return runs, failures


def _saved(folder: Path, video: str, contender: str) -> Path:
    return folder / f"{video}.{contender}.npz"


def _agreements(folder: Path, videos: Sequence[corpus.JobVideo], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Video -> contender -> how its embeddings compare with ours."""
    found: dict[str, dict[str, Any]] = {}
    for video in videos:
        files = {name: _saved(folder, video.name, name) for name in names}
        answers = {name: dict(np.load(file)) for name, file in files.items() if file.exists()}
        ours = answers.pop(ratios.OURS, None)
        found[video.name] = {name: ratios.agreement(ours, theirs) for name, theirs in answers.items()} if ours else {}
    return found


def _summary(
    video: corpus.JobVideo, runs: dict[str, list[dict[str, Any]]], agreements: dict[str, Any], bf16: dict[str, Any]
) -> dict[str, Any]:
    contenders = {
        name: ratios.contender_summary(ones, video.duration_s) | {"agreement": agreements.get(name)}
        for name, ones in runs.items()
        if name != "floor"
    }
    floor = ratios.floor_summary(runs["floor"], machine.cores()) if "floor" in runs else None
    return {
        "name": video.name,
        "codec": video.encoding.codec,
        "size": [video.width, video.height],
        "gop": video.encoding.gop,
        "fps": video.fps,
        "duration_s": video.duration_s,
        "ratios": ratios.video_ratios(contenders, floor, bf16),
        "floor": floor,
        "contenders": contenders,
    }


def _disturbances(summaries: Sequence[dict[str, Any]]) -> list[float]:
    return [one["others"] for video in summaries for one in video["contenders"].values()]


def _bf16() -> dict[str, Any]:
    command = (sys.executable, "-m", "benchmarks.floor")
    took = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    slower = took["bfloat16_cpu_s"] / took["float32_cpu_s"]
    how = "measured" if slower < HOPELESS else "extrapolated from one batch: a forward pass takes that much longer"
    # Perfectly parallel, which favours the scripts.
    walls = {key.replace("cpu", "wall"): value / machine.cores() for key, value in took.items()}
    figures = took | walls | {"slower": slower}
    return {key: ratios.rounded(value) for key, value in figures.items()} | {"scripts": how}


def show(result: dict[str, Any], console: Console) -> None:
    """The result as tables."""
    names = [name for name in CONTENDERS if name != "floor" and name not in result["unavailable"]]
    table = Table(title="CPU s / wall s (median); x: as fast as, by CPU / by wall", title_justify="left")
    for column in ("video", *names, "floor", "x opencv", "x decord", "to floor"):
        table.add_column(column, justify="left" if column == "video" else "right")
    for video in result["videos"]:
        costs = [video["contenders"].get(name) for name in names]
        floor = video["floor"]
        table.add_row(
            video["name"],
            *(f"{cost['cpu_s']:.2f} / {cost['wall_s']:.2f}" if cost else "-" for cost in costs),
            f"{floor['cpu_s']:.2f} / {floor['wall_measured_s']:.2f}" if floor else "-",
            *(_pair(video["ratios"].get(name)) for name in ("opencv", "decord", "to_floor")),
        )
    console.print(table)
    goals = Table(title="Goals (geometric means over the videos)", title_justify="left")
    for column in ("goal", "by CPU", "by wall", "possible (CPU)", "met"):
        goals.add_column(column)
    for goal in result["goals"]:
        possible = f"{goal['possible_cpu']:.2f}x" if "possible_cpu" in goal else ""
        met = ", ".join(kind for kind in ("cpu", "wall") if goal[f"met_{kind}"]) or "no"
        goals.add_row(goal["goal"], f"{goal['cpu']:.2f}x", f"{goal['wall']:.2f}x", possible, met)
    console.print(goals)
    for name, why in result["unavailable"].items():
        console.print(f"{name} could not take part: {why}")
    if not result["quiet"]:
        console.print("Others used the machine meanwhile: trust the CPU times, not the wall times.")


def _pair(ratio: dict[str, float] | None) -> str:
    return f"{ratio['cpu']:.2f} / {ratio['wall']:.2f}" if ratio else "-"


if __name__ == "__main__":
    sys.exit(main())
