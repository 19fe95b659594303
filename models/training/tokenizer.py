"""The tokenizer of the bundled model: open_clip's own, with a small vocabulary learnt from the caption language."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from open_clip.tokenizer import SimpleTokenizer

CONTEXT_LENGTH = 24
"""Tokens a caption may have, the start and end marks included; longer ones are cut."""

BPE_FILE = "bpe.txt.gz"


def learn_merges(words: Sequence[str]) -> list[tuple[str, str]]:
    """Byte-pair merges, most frequent first, until each of `words` is one token.

    Any other word falls back to pieces.
    """
    pieces = {word: [*word[:-1], word[-1] + "</w>"] for word in sorted(set(words))}
    merges: list[tuple[str, str]] = []
    while True:
        pairs = Counter(pair for parts in pieces.values() for pair in pairwise(parts))
        if not pairs:
            return merges
        # Ties are broken by spelling, so that the file is the same on every machine.
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        pieces = {word: _merged(parts, best) for word, parts in pieces.items()}


def _merged(parts: list[str], pair: tuple[str, str]) -> list[str]:
    out: list[str] = []
    for part in parts:
        if out and (out[-1], part) == pair:
            out[-1] += part
        else:
            out.append(part)
    return out


def write_bpe(path: Path, words: Sequence[str]) -> None:
    """Write the merges for `words` in the format `SimpleTokenizer` reads; equal words give equal bytes."""
    # The first line is skipped by the reader; a final newline would be read as an empty merge.
    lines = ["#version: 0.2", *(" ".join(merge) for merge in learn_merges(words))]
    path.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))


def load_tokenizer(directory: Path) -> SimpleTokenizer:
    """The tokenizer of a bundled model; calling it on a list of texts gives int64 [texts, CONTEXT_LENGTH]."""
    return SimpleTokenizer(bpe_path=str(directory / BPE_FILE), context_length=CONTEXT_LENGTH)
