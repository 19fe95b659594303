"""Text tracks: whatever a label says, the file stays one that every parser reads, and the label comes out of it."""

import itertools
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.webvtt import Cue, data, shown, text_of, timestamp
from tests.pipeline.vtt import parsed

HOSTILE = [
    "a --> b",
    "-->",
    "<script>alert(1)</script>",
    "a\n\n00:00:00.000 --> 00:00:01.000\nintruder",
    "WEBVTT\r\rNOTE x",
    "fish & chips &amp; &lt;",
    "\0\x1b[31m\u2028\u2029\x85",
    "half a pair \udcff",
    "",
    "   ",
    "NOTE nothing",
    "STYLE\n::cue{}",
]


@pytest.mark.parametrize("label", HOSTILE)
def test_a_label_is_one_line_of_text(label):
    (cue,) = parsed(text_of([Cue(1.0, 2.0, shown(label))]))
    visible = re.sub(r"[\x00-\x20\x7f-\x9f\u2028\u2029]+", " ", label.replace("\udcff", "?")).strip()
    assert cue.text == (visible or "-")
    (cue,) = parsed(text_of([Cue(1.0, 2.0, data({"label": label}))]))
    assert json.loads(cue.payload)["label"] == label.replace("\udcff", "?")


@given(st.lists(st.text(), max_size=5), st.text())
def test_no_label_makes_or_loses_a_cue(labels, note):
    cues = [Cue(n, n + 1, how(label)) for n, (label, how) in enumerate(zip(labels, (shown, json_of) * 3, strict=False))]
    assert [(cue.start_s, cue.end_s) for cue in parsed(text_of(cues, note))] == [(n, n + 1) for n in range(len(labels))]


def json_of(label):
    return data({"label": label})


def test_times_are_told_to_the_nearest_millisecond():
    cues = parsed(text_of([Cue(0.0, 0.0005, "a"), Cue(1.0004999, 1.9995, "b"), Cue(1.9995, 359_999.9996, "c")]))
    assert [(cue.start_s, cue.end_s) for cue in cues] == [(0.0, 0.001), (1.0, 2.0), (2.0, 360_000.0)]
    assert timestamp(360_000_000) == "100:00:00.000"
    # Half of one, as it is written: in binary, 2.0005 is less than that.
    assert parsed(text_of([Cue(2.0005, 3.0, "a")]))[0].start_s == 2.001


def test_cues_are_in_order_and_last():
    cues = parsed(text_of([Cue(3.0, 3.0, "nothing"), Cue(1.0, 2.0, "short"), Cue(1.0, 5.0, "long"), Cue(-1.0, 0, "x")]))
    assert [cue.payload for cue in cues] == ["x", "long", "short", "nothing"]
    assert cues[-1].end_s == 3.001


def test_neighbours_share_their_border():
    borders = [n / 30 for n in range(1000)]
    cues = parsed(text_of([Cue(a, b, "x") for a, b in itertools.pairwise(borders)]))
    assert all(one.end_s == other.start_s for one, other in itertools.pairwise(cues))
