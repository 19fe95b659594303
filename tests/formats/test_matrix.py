"""Every entry of the matrix, through every decoder: equal frames at the right times, or the refusal that it names."""

from collections.abc import Callable

import numpy as np
import pytest

from tests.formats.chart import WEIGHTS, chart, psnr, sdr_of_pq, to_yuv
from tests.formats.colours import COLOUR_DB
from tests.formats.decoders import GPU_FLAT_DB, OTHERS, REFERENCE, Column
from tests.formats.matrix import Entry, entries, groups
from tests.formats.publish import COLUMNS, DOCUMENT, comparable, expected_cell, page
from tests.formats.running import Written, alone, flat, may_be, with_takeover, write

ENTRIES = entries()


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Entry], Written]:
    """entry -> its file, written once for all decoders."""
    files: dict[str, Written] = {}

    def find(entry: Entry) -> Written:
        if entry.name not in files:
            files[entry.name] = write(entry, tmp_path_factory.mktemp(entry.name))
        return files[entry.name]

    return find


def _parameter(column: Column):
    marks = [pytest.mark.gpu] if column.on_gpu else []
    return pytest.param(column, id=f"{column.decoder}-{column.device}", marks=marks)


@pytest.fixture(params=[_parameter(column) for column in OTHERS])
def column(request) -> Column:
    """A decoder other than the reference, on a device, that works on this machine."""
    found = request.param.support()
    if not found.works:
        pytest.skip(f"{found.library} on {found.device}: {found.why_not}; {found.fix}")
    return request.param


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.name for entry in ENTRIES])
def test_outcome(entry, written):
    found, expected = alone(written(entry), REFERENCE), written(entry).expected(REFERENCE)
    assert found.is_as(expected), (found, expected)


@pytest.mark.parametrize("group", groups())
def test_other_decoders_are_right_or_refuse_for_the_expected_reason(group, column, written):
    came = [(file, alone(file, column)) for file in map(written, groups()[group])]
    assert not {file.entry.name: (one, file.expected(column)) for file, one in came if not may_be(one, file, column)}


@pytest.mark.parametrize("group", groups())
def test_what_a_decoder_does_not_do_another_takes_over(group, column, written):
    faults = {entry.name: with_takeover(written(entry), column) for entry in groups()[group]}
    assert not {name: fault for name, fault in faults.items() if fault}


def test_names_are_unique_and_many():
    names = [entry.name for entry in ENTRIES]
    assert len(set(names)) == len(names) >= 60


def test_document_says_what_the_matrix_says(written):
    published = DOCUMENT.read_text(encoding="utf-8")
    here = [one for one in COLUMNS if not one.on_gpu and one.support().works]
    fresh = page(expected_cell, [written(entry) for entry in ENTRIES], "")
    assert comparable(published, here) == comparable(fresh, here), "run: python -m tests.formats.publish"


def test_flat_areas_are_away_from_borders():
    picture = np.zeros((12, 12, 3), np.uint8)
    picture[:, 6:] = 200
    assert flat(picture)[0].tolist() == [True] * 4 + [False] * 4 + [True] * 4


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
    inside = flat(picture)
    assert max(psnr(wrong[inside], picture[inside]) for wrong in mistakes.values()) < GPU_FLAT_DB
    signal = picture / 255 * 0.75
    untouched = (signal * 255).round().astype(np.uint8)
    assert psnr(untouched, sdr_of_pq(signal)) < 20
