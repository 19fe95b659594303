"""Runs a benchmark by name: `python -m benchmarks job --quick`."""

import importlib
import sys
from collections.abc import Sequence

#: Module of this package with a `main(argv)` -> what it answers.
BENCHMARKS = {
    "job": "how long a whole job takes, against usual scripts and against what is possible",
    "decode": "how many useful pictures a core gives a second, against usual readers",
    "gpu_decode": "how many pictures a GPU decodes a second, with 1 to 14 sessions",
    "memory": "whether memory grows with the length of a video",
    "shots": "whether cuts and gradual transitions are found, against PySceneDetect",
    "segments": "whether key segments hit what was planted, and what scoring again costs",
    "tags": "whether tags name what is to be seen",
    "copies": "whether copies are found in a library, and recommendations hit what was planted",
    "recommended": "whether a real server finds copies, and recommends what was planted",
    "sandbox": "what it costs that videos are read and decoded by locked-in processes",
    "api": "how fast the API answers, against a bare handler and a bare query",
    "rotation": "whether anybody notices that all keys are wrapped anew",
    "storage": "what it costs that videos are sealed: uploads, downloads, seeks, memory; beside nginx",
    "playback": "how long who plays a film first waits: never made, kept, in memory",
    "serve": "what Ray Serve costs, against a worker with its models in it",
    "encode": "how fast models encode, against eager open_clip, with the same vectors",
    "gpu_encode": "how near models on a GPU come to what it can multiply, as they are and compiled",
    "parity": "whether models see and say the same as in open_clip",
    "models": "what several models on one decode cost, and several videos at once",
    "unload": "whether a model that is unloaded gives its memory back",
    "autoscale": "how long jobs wait and what replicas cost, by the numbers in a Serve YAML",
    "search": "how fast moments are found, and whether they are the nearest, beside other indexes",
    "search_quality": "whether searches find what is there, say what is not, and mean what they say",
    "heads": "what heads learn from twenty examples that words cannot say, and what they cost",
    "taxonomies": "how fast a library is tagged anew, what twenty corrections teach, and whether undoing restores",
    "bundled_model": "what the bundled model knows",
}


def main(argv: Sequence[str]) -> int:
    """Dispatch; the exit status is the benchmark's own."""
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: python -m benchmarks NAME [options]; NAME --help lists the options\n")
        print("\n".join(f"  {name:14s} {text}" for name, text in BENCHMARKS.items()))
        return 0
    name, *rest = argv
    if name not in BENCHMARKS:
        print(f"there is no benchmark {name!r}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    return importlib.import_module(f"benchmarks.{name}").main(rest) or 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
