"""How many useful pictures a second does a GPU decode, with 1 to 14 sessions at once? Needs a CUDA device.

    python -m benchmarks gpu_decode [--rates 1 30]

Each session is a thread that decodes Clips of 1080p through an adapter of `pipeline.decode`; wall time, Clips cut
beforehand. PyAV on the CPU with as many threads stands beside it: where it is faster, `pipeline.decode.choice.TABLE`
should say so. The numbers of `TABLE` for GPUs come from here.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.corpus import decode as corpus
from benchmarks.corpus import job
from benchmarks.ratios import median, rounded
from pipeline.clips import Clip
from pipeline.cutting import cut
from pipeline.decode.available import support
from pipeline.decode.base import Decoder
from pipeline.decode.dali import DaliDecoder
from pipeline.decode.pyav import PyAVDecoder
from pipeline.decode.torchcodec import TorchCodecDecoder
from pipeline.errors import DecodeFailed
from pipeline.packets import read_index
from pipeline.plans import plan

OUT = Path("benchmarks/results/gpu_decode.json")

#: Decoders at work at the same time; an H200 has seven NVDEC units.
SESSIONS = (1, 2, 4, 7, 10, 14)

#: Clips that a measurement runs through, so that every session gets several.
CLIPS = 56

MAKERS: dict[tuple[str, str], Callable[[], Decoder]] = {
    ("torchcodec", "cuda"): lambda: TorchCodecDecoder("cuda"),
    ("dali", "cuda"): lambda: DaliDecoder("cuda"),
    ("pyav", "cpu"): PyAVDecoder,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Time decoders on a GPU."""
    parser = argparse.ArgumentParser(prog="benchmarks gpu_decode", description=__doc__.partition("\n")[0])
    parser.add_argument("--rates", nargs="+", type=float, default=(1.0, 30.0), help="pictures a second that are wanted")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each decoder with each number of sessions")
    parser.add_argument("--out", type=Path, default=OUT, help=f"result file (default {OUT})")
    args = parser.parse_args(argv)
    if (why := support("torchcodec", "cuda").why_not) and support("dali", "cuda").why_not:
        print(f"nothing decodes on a GPU here: {why}", file=sys.stderr)
        return 1
    working = {key: make() for key, make in MAKERS.items() if support(*key).works}
    runs = []
    for video, path in zip(corpus.VIDEOS, job.written(corpus.VIDEOS), strict=True):
        index = read_index(path)
        for rate in args.rates:
            rows = index.display_order[:: max(1, round(video.fps / rate))]
            clips = [clip for clip in cut(path, index, plan(index, rows)) if not clip.part and clip.last]
            for (name, device), decoder in working.items():
                taken = [clip for clip in clips if device == "cpu" or decoder.refuses(clip) is None]
                measured = _measured(decoder, taken, args.repeats)
                runs.append({"video": video.name, "rate": rate, "decoder": name, "device": device} | measured)
                print(runs[-1], file=sys.stderr)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({"machine": machine.record(), "sessions": SESSIONS, "runs": runs}, indent=1) + "\n")
    return 0


def _measured(decoder: Decoder, clips: Sequence[Clip], repeats: int) -> dict[str, Any]:
    """Pictures a second for each number of sessions; nothing where no Clip is taken or the device fails at one."""
    if not clips:
        return {"clips": 0}
    work = [clips[number % len(clips)] for number in range(CLIPS)]
    try:
        decoder.decode(clips[0])
        rates = {
            sessions: median([_pictures_per_s(decoder, work, sessions) for _ in range(repeats)])
            for sessions in SESSIONS
        }
    except DecodeFailed as error:
        return {"clips": len(clips), "failed": str(error)}
    packets = sum(len(clip.packets) for clip in clips) / len(clips)
    return {
        "clips": len(clips),
        "packets_a_clip": rounded(packets, 1),
        "pictures_per_s": {str(sessions): rounded(rate, 1) for sessions, rate in rates.items()},
    }


def _pictures_per_s(decoder: Decoder, work: Sequence[Clip], sessions: int) -> float:
    began = time.perf_counter()
    with ThreadPoolExecutor(sessions) as pool:
        # Counting waits for a GPU too: a picture's first value is read.
        counts = list(pool.map(lambda clip: _count(decoder, clip), work))
    return sum(counts) / (time.perf_counter() - began)


def _count(decoder: Decoder, clip: Clip) -> int:
    pixels = decoder.decode(clip).frames.pixels
    if len(pixels):
        int(pixels[-1, 0, 0, 0])
    return len(pixels)


if __name__ == "__main__":
    sys.exit(main())
