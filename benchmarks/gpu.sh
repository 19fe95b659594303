#!/bin/sh
# All that needs a GPU, in one command: the tests marked `gpu`, decoding with 1 to 14 sessions, models eager and compiled.
# From the root of the checkout, on a machine with a CUDA device and FFmpeg's shared libraries (apt-get install ffmpeg).
set -eu
cd "$(dirname "$0")/.."
PYTHON="${PYTHON:-.venv/bin/python}"
"$PYTHON" -c 'import torch, sys; sys.exit(0 if torch.cuda.is_available() else "no CUDA device that torch can use")'
"$PYTHON" -m pytest -m gpu -q
"$PYTHON" -m benchmarks gpu_decode "$@"
"$PYTHON" -m benchmarks gpu_encode
