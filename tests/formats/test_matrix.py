"""Every entry of the matrix, through every decoder: equal frames at the right times, or the refusal that it names."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.formats.chart import WEIGHTS, chart, psnr, sdr_of_pq, to_yuv
from tests.formats.colours import COLOUR_DB
from tests.formats.matrix import Entry, entries
from tests.formats.publish import DOCUMENT, table
from tests.formats.running import DECODERS, outcome
from tests.formats.writing import Known

ENTRIES = entries()


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Entry], tuple[Path, Known | None]]:
    """entry -> its file and what must come out of it; written once for all decoders."""
    files: dict[str, tuple[Path, Known | None]] = {}

    def make(entry: Entry) -> tuple[Path, Known | None]:
        if entry.name not in files:
            path = tmp_path_factory.mktemp(entry.name) / f"video.{entry.suffix}"
            files[entry.name] = path, entry.make(path)
        return files[entry.name]

    return make


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.name for entry in ENTRIES])
def test_outcome(entry, decoder, made):
    path, known = made(entry)
    assert outcome(path, known, entry.bound_db, DECODERS[decoder]()) == entry.expected(decoder)


def test_names_are_unique_and_many():
    names = [entry.name for entry in ENTRIES]
    assert len(set(names)) == len(names) >= 60


def test_document_says_what_the_matrix_says():
    assert DOCUMENT.read_text(encoding="utf-8") == table(), "run: python -m tests.formats.publish"


def _seen(picture: np.ndarray, written: int, read: int, *, full: bool = False, read_full: bool = False) -> np.ndarray:
    """The picture, coded by one matrix and range and read by another."""
    yuv = to_yuv(picture / 255, written, full=full, bits=8)
    scale = np.array([255.0, 255, 255]) if read_full else np.array([219.0, 224, 224])
    luma, cb, cr = np.moveaxis((yuv - np.array([0 if read_full else 16, 128, 128])) / scale, -1, 0)
    weight_red, weight_blue = WEIGHTS[read]
    red, blue = luma + 2 * (1 - weight_red) * cr, luma + 2 * (1 - weight_blue) * cb
    green = (luma - weight_red * red - weight_blue * blue) / (1 - weight_red - weight_blue)
    return (np.clip(np.stack([red, green, blue], -1), 0, 1) * 255).round().astype(np.uint8)


def test_the_chart_shows_every_mistake():
    picture = chart(5)
    assert psnr(_seen(picture, 6, 6), picture) > 60
    mistakes = {
        "BT.709 for BT.601": _seen(picture, 6, 1),
        "BT.601 for BT.709": _seen(picture, 1, 6),
        "BT.2020 for BT.709": _seen(picture, 1, 9),
        "full for limited range": _seen(picture, 6, 6, read_full=True),
        "limited for full range": _seen(picture, 6, 6, full=True),
        "red for blue": picture[..., ::-1],
        "mirrored": picture[:, ::-1],
        "upside down": picture[::-1],
        "turned by 180 degrees": picture[::-1, ::-1],
        "the next picture": chart(6),
        "the picture before": chart(4),
    }
    assert max(psnr(wrong, picture) for wrong in mistakes.values()) < COLOUR_DB - 8
    signal = picture / 255 * 0.75
    untouched = (signal * 255).round().astype(np.uint8)
    assert psnr(untouched, sdr_of_pq(signal)) < 20
